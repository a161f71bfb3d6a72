"""What docs/vllm.md promises of resume: the same prompts, the same seeds and the same weights, so the same run to
rounding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.sampling.vllm import colocate
from tests.core.grpo.runs import metrics, recipe, resumed, run, run_until, weights

pytestmark = pytest.mark.vllm

Tiny = Callable[[str], Path]


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Those that vLLM is given from here on, in their order; greedy evaluations have none."""
    given: list[int] = []
    seed_of = colocate.seed_of

    def noted(*asked: Any) -> int | None:
        seed = seed_of(*asked)
        given.extend([] if seed is None else [seed])
        return seed

    monkeypatch.setattr(colocate, "seed_of", noted)
    return given


def rollouts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]


def test_a_run_that_was_killed_goes_on_as_it_would_have(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[int]
) -> None:
    learns = {"warmup": {"steps": 1, "lr": 0.01}, "grpo": {"beta": 0.1}, "optim": {"lr": 0.01}, "text": True}
    sampling = {"backend": "vllm", "max_new_tokens": 12}
    every = {"steps": 4, "checkpoint_every": 3, "log_rollouts": 2}
    made = [
        recipe(tmp_path / name, tiny("llama"), sampling=sampling, prompt={"max_tokens": 256}, train=every, **learns)
        for name in ("straight", "stopped")
    ]
    run(made[0])
    straight = list(seeds)
    assert len(set(straight)) == 8  # four steps of two prompts
    seeds.clear()
    run_until(made[1], 4, monkeypatch)  # one step after the checkpoint, which is lost
    assert seeds == straight[:6]
    seeds.clear()
    run(resumed(made[1]))
    assert seeds == straight[4:]

    left, right = (rollouts(tmp_path / name / "run") for name in ("straight", "stopped"))
    assert [line["key"] for line in left] == [line["key"] for line in right]
    assert len({one["text"] for line in left for one in line["completions"]}) > 8
    assert left == right  # in float32, where no two candidates lie within rounding
    trained = [line for line in metrics(tmp_path / "stopped" / "run") if line["phase"] == "train"]
    assert [line["step"] for line in trained] == [2, 3, 4, 5]
    for line in trained:  # at 4 and 5 too vLLM has the checkpoint's weights, not the start's
        assert line["importance"]["mean"] == pytest.approx(1, abs=1e-4)
    first, second = (weights(tmp_path / name / "run" / "final") for name in ("straight", "stopped"))
    start = weights(tiny("llama"))
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-4) for name in first)
    assert max((first[name] - start[name]).abs().max() for name in first.keys() & start.keys()) > 1e-2
