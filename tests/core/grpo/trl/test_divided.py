"""A model that TRL divides: where it is loaded, what each process holds, and who answers in evaluations."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.opening import load, open_data, prepare
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import encode
from ssl4rl.core.recipe.recipe import Recipe
from tests.core.grpo.runs import metrics, recipe, run
from tests.core.grpo.simulated.gpu import simulated
from tests.core.grpo.test_ranks import launch

FSDP = {"fsdp": "full_shard"}
EFFICIENT = {**FSDP, "fsdp_config": {"cpu_ram_efficient_loading": True}}


def divided(out: Path, trl: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    return recipe(out, engine="trl", trl=trl or {}, **sections)


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["full", "lora"])
def test_on_the_host_no_weight_reaches_the_device(lora: dict[str, int] | None, tmp_path: Path) -> None:
    made = divided(tmp_path, FSDP, model={"device": "cuda", "lora": lora})
    with simulated():
        waits, moved = (load(made, prepare(made, None), on_host=on_host) for on_host in (True, False))
        places = [{str(x.device) for x in (*p.model.parameters(), *p.model.buffers())} for p in (waits, moved)]
        assert places == [{"cpu"}, {"cuda:0"}]
        assert (waits.device, waits.half) == (moved.device, moved.half) == (torch.device("cuda"), True)
        kinds = [{name: x.dtype for name, x in p.model.named_parameters()} for p in (waits, moved)]
        assert kinds[0] == kinds[1]
        assert set(kinds[0].values()) == ({torch.bfloat16, torch.float32} if lora else {torch.float32})


LENGTH = {
    "train": {"steps": 2, "processes": 2, "rollout_rows": 2, "checkpoint_every": 2},
    "grpo": {"beta": 0.1, "prompts_per_step": 4, "group_size": 6},
    "eval": {"n": 5, "every": 1, "n_during": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the format, so that some answers are right and there is a gradient."""
    out = tmp_path_factory.mktemp("warm")
    run(recipe(out, warmup={"steps": 30}, train={"steps": 0}))
    return out / "run" / "final"


@pytest.mark.slow
@pytest.mark.parametrize("trl", [FSDP, EFFICIENT], ids=["each its own", "from the first"])
def test_two_processes_hold_half_each(trl: dict[str, Any], tmp_path: Path, folder: Path) -> None:
    sections = {"model": {"path": str(folder)}, "trl": trl, **LENGTH}
    launch("tests.core.grpo.trl.dividing", tmp_path, json.dumps(sections))
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    whole = first["all"]
    assert len(first["held"]) == 4
    for held in (first["held"], second["held"]):
        assert all(0.49 * whole < elements < 0.51 * whole for elements in held)
    # of five examples the first process has three, two at a time; of one example the second has none
    assert first["passes"] == second["passes"] == [2, 1, 1, 2]
    assert [len(answers) for answers in second["answers"]] == [2, 0, 0, 2]

    lines = metrics(tmp_path / "run")
    assert [line["phase"] for line in lines] == ["eval", "train", "eval", "train", "eval", "eval"]
    assert lines[1]["kl"] == pytest.approx(0, abs=1e-6)
    assert max(lines[1]["grad_norm"], lines[3]["grad_norm"]) > 0
    for stage, path in ((0, folder), (3, tmp_path / "run" / "final")):
        answers = [row for pair in zip_longest(first["answers"][stage], second["answers"][stage]) for row in pair]
        assert [row for row in answers if row is not None] == answered(path, divided(tmp_path))


def answered(path: Path, made: Recipe) -> list[list[int]]:
    """What the whole model of that folder answers to the first five held-out questions."""
    policy, held_out = load_policy(str(path), device="cpu", trainable=False), open_data(made).held_out
    prompts = [encode(held_out, policy.encoder, index, held_out.pick(index)).encoded for index in range(5)]
    rows = generate(policy, prompts, 1, Sampling(temperature=0, max_new_tokens=made.sampling.max_new_tokens))
    return [row[0].ids.tolist() for row in rows]
