"""Recipes through TRL's trainer: whole small runs, the mapping of settings, and a step that equals the native one."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from torch import Tensor
from transformers import TrainerCallback

from ssl4rl.core.grpo.logps.prefix import Group, shared_logps
from ssl4rl.core.grpo.opening import open_data
from ssl4rl.core.grpo.preflight import gradient_difference
from ssl4rl.core.grpo.run import train
from ssl4rl.core.grpo.stream import encode
from ssl4rl.core.grpo.trl.arguments import OWNED
from ssl4rl.core.grpo.trl.config import grpo_arguments, refuse, rows_per_device
from ssl4rl.core.grpo.trl.data import Rows
from ssl4rl.core.grpo.update.advantage import group_advantages
from ssl4rl.core.grpo.update.update import Batch, accumulate
from ssl4rl.core.recipe.recipe import Recipe, load_recipe
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.runs import metrics, recipe, resumed, run, start, weights

Tiny = Callable[[str], Path]


def trl_recipe(out: Path, *args: Any, **sections: Any) -> Recipe:
    return recipe(out, *args, engine="trl", **sections)


def arguments(made: Recipe, **more: Any) -> dict[str, Any]:
    given = {"on_cpu": True, "rows": 2, "processes": 1, "banned_ids": [7], "output_dir": Path("x"), **more}
    return grpo_arguments(made, **given)


def test_every_owned_argument_exists_and_is_set_by_its_field() -> None:
    known = {f.name for f in fields(trl.GRPOConfig)} | {"activation_checkpointing"}  # transformers' later name for it
    assert set(OWNED) <= known
    flat = set()
    for name, section in Recipe.model_fields.items():
        flat.add(name)
        flat |= {f"{name}.{key}" for key in getattr(section.annotation, "model_fields", {})}
    assert set(OWNED.values()) <= flat


def test_settings_in_the_words_of_trl(tmp_path: Path) -> None:
    made = trl_recipe(
        tmp_path,
        grpo={"group_size": 4, "prompts_per_step": 6, "updates_per_step": 2, "beta": 0.1, "clip_high": 0.3},
        sampling={"min_p": 0.1, "top_k": 5},
        optim={"schedule": "cosine", "warmup_steps": 3, "betas": [0.8, 0.9]},
        reward={"accuracy": 2.0, "format": 0.5},
        trl={"report_to": "tensorboard", "generation_kwargs": {"repetition_penalty": 1.5}},
    )
    found = arguments(made)
    expected = {
        "num_generations": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 6,  # 6 x 4 sequences a step, in 2 updates, 2 at a time
        "steps_per_generation": 12,
        "max_steps": 8,  # 4 steps of 2 updates
        "beta": 0.1,
        "epsilon": 0.2,
        "epsilon_high": 0.3,
        "min_p": 0.1,
        "top_k": 5,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": 6,
        "adam_beta1": 0.8,
        "adam_beta2": 0.9,
        "reward_weights": [2.0, 0.5],
        "report_to": "tensorboard",
        "generation_kwargs": {"suppress_tokens": [7], "repetition_penalty": 1.5},
        "loss_type": "grpo",
        "bf16": False,
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("gspo", {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_high": 0.2}),
        ("cispo", {"loss_type": "cispo", "epsilon_high": 1.2}),
        ("dr_grpo", {"loss_type": "dr_grpo", "epsilon_high": 0.2}),
    ],
)
def test_losses(loss: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found = arguments(trl_recipe(tmp_path, grpo={"loss": loss}))
    assert {name: found[name] for name in expected} == expected


def test_vllm_gets_the_ban_in_its_own_words(tmp_path: Path) -> None:
    found = arguments(trl_recipe(tmp_path, trl={"use_vllm": True}))
    assert found["use_vllm"]
    assert found["generation_kwargs"] == {"logit_bias": {7: -100.0}}


def test_micro_batches_divide_an_update(tmp_path: Path) -> None:
    made = trl_recipe(
        tmp_path, grpo={"group_size": 6, "prompts_per_step": 2}, train={"tokens_per_microbatch": 500}
    )  # 12 sequences
    assert rows_per_device(made, prompt_tokens=96, processes=1) == 4  # 5 of 100 tokens fit, 4 divide
    assert rows_per_device(made, prompt_tokens=96, processes=2) == 3
    assert rows_per_device(made, prompt_tokens=5000, processes=1) == 1
    for processes in (5, 4):  # 12 sequences divide by 4, but the 2 prompts' groups would be torn
        with pytest.raises(Ssl4rlError, match=f"does not divide over {processes} processes"):
            rows_per_device(made, prompt_tokens=96, processes=processes)
    chosen = made.model_copy(update={"trl": {"per_device_train_batch_size": 6}})
    assert rows_per_device(chosen, prompt_tokens=5000, processes=1) == 6


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"warmup": {"rehearsal": 0.1}}, r"warmup\.rehearsal=0\.1: engine trl cannot .*; allowed: 0, or engine=native"),
        ({"grpo": {"refill": 2}}, r"grpo\.refill=2: engine trl cannot sample further"),
        ({"curriculum": {"strategy": "staged"}}, r"curriculum\.strategy='staged': .* allowed: fixed or uniform"),
        (
            {"train": {"shard": "optimizer"}},
            r"train\.shard='optimizer': engine trl shards by trl\.fsdp .*; allowed: none",
        ),
        ({"train": {"cuda_graphs": True}}, r"train\.cuda_graphs='on': engine trl samples with .*; allowed: off"),
        ({"trl": {"use_vlm": True}}, r"trl\.use_vlm: .* did you mean 'use_vllm'\?"),
        ({"trl": {"learning_rate": 1.0}}, r"trl\.learning_rate: the recipe's optim\.lr sets it"),
        (
            {"trl": {"lr_scheduler_kwargs": {}}},
            r"trl\.lr_scheduler_kwargs: nothing reads it without optim\.schedule=cosine",
        ),
        ({"model": {"device": "cuda:1"}}, r"model\.device='cuda:1': .*CUDA_VISIBLE_DEVICES"),
        (
            {"trl": {"delta": "x", "num_iterations": 3, "loss_type": "sapo"}},
            r"trl\.loss_type: .*grpo\.loss",
        ),
    ],
)
def test_what_trl_cannot_do_is_refused(sections: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        refuse(trl_recipe(tmp_path, **sections))


def test_the_section_is_only_for_this_engine(tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=r"section trl \(use_vllm\) is read by engine=trl"):
        recipe(tmp_path, trl={"use_vllm": True})


def test_trl_says_what_it_refuses(tmp_path: Path) -> None:
    made = trl_recipe(tmp_path, trl={"top_entropy_quantile": 0.5, "auto_find_batch_size": True})
    with pytest.raises(
        Ssl4rlError,
        match=r"TRL refuses trl\.top_entropy_quantile=0\.5, trl\.auto_find_batch_size=True: auto_find_batch_size is ",
    ):
        train(made, lambda line: None, bar=False)


def test_quickstart_recipe(tmp_path: Path) -> None:
    overrides = ["engine=trl", "grpo.prompts_per_step=4", "warmup.steps=3", "warmup.prompts_per_step=8", "eval.n=4"]
    overrides += ["warmup.rehearsal=0", "train.steps=2", "eval.every=1", "train.workers=0", f"out={tmp_path}"]
    said = run(load_recipe("quickstart_vision", overrides))
    folder = tmp_path / "quickstart_vision"
    summary = json.loads((folder / "summary.json").read_text())
    assert {"task", "model", "engine", "seconds", "steps", "before", "after", "unusable", "versions"} <= set(summary)
    assert (summary["engine"], summary["steps"], summary["warmup_steps"]) == ("trl", 2, 3)
    assert set(summary["before"]) >= {"accuracy", "ci95", "chance", "unparsed", "n"}
    lines = metrics(folder)
    assert [(line["phase"], line["step"]) for line in lines] == [
        *[("warmup", step) for step in (1, 2, 3)],
        *[("eval", 3), ("train", 4), ("eval", 4), ("train", 5), ("eval", 5)],
    ]
    step = lines[4]
    assert (step["chance"], step["lr"]) == (0.25, 0.001)
    assert step["unparsed"] + step["truncated"] + step["format"] == pytest.approx(1)
    assert step["completion_tokens"] <= 4 * 8 * 6
    rollout = json.loads((folder / "rollouts.jsonl").read_text().splitlines()[0])
    assert (rollout["step"], rollout["key"]["index"], len(rollout["completions"])) == (4, 24, 8)  # after 3 x 8 prompts
    assert any(line.startswith("first completion:") for line in said)
    assert weights(folder / "final")


def test_lora_with_kl_and_resume(tmp_path: Path) -> None:
    made = trl_recipe(
        tmp_path,
        model={"lora": {"r": 4}},
        grpo={"beta": 0.1, "updates_per_step": 2},
        warmup={"steps": 1},
        train={"steps": 1, "checkpoint_every": 1},
    )
    run(made)
    folder = tmp_path / "run"
    first = weights(folder / "final")
    assert first
    assert all("lora" in name for name in first)
    assert not (folder / "final" / "ref").exists()
    longer = resumed(made.model_copy(update={"train": made.train.model_copy(update={"steps": 3})}))
    said = run(longer)
    assert f"resuming {folder} after step 2" in said
    lines = [line for line in metrics(folder) if line["phase"] == "train"]
    assert [line["step"] for line in lines] == [2, 3, 4]
    rollouts = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert [r["key"]["index"] for r in rollouts] == [4, 6, 8]  # 4 prompts of warm-up, then 2 a step: none twice
    assert json.loads((folder / "summary.json").read_text())["steps"] == 3


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path) -> None:
    """As in the native engine: it ends after the step in progress, whose checkpoint is the last."""
    length = {"steps": 400, "workers": 1, "checkpoint_every": 100}
    child = start(tmp_path, engine="trl", train=length)
    os.killpg(child.pid, signal.SIGINT)  # a terminal sends it to the workers too
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "Traceback" not in said
    folder = tmp_path / "run"
    done = metrics(folder)[-1]["step"]
    assert f"stopped: stopped after step {done} of 400; resume=true goes on from here" in said
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == [f"checkpoint-{done}"]
    made = trl_recipe(tmp_path, train={**length, "steps": done + 1})
    assert f"resuming {folder} after step {done}" in run(resumed(made))
    assert [line["step"] for line in metrics(folder) if line["phase"] == "train"] == [*range(1, done + 2)]
    rollouts = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert [r["key"]["index"] for r in rollouts] == [2 * step for step in range(done + 1)]


@pytest.mark.slow
def test_ctrl_c_in_the_warm_up(tmp_path: Path) -> None:
    child = start(tmp_path, engine="trl", warmup={"steps": 400})
    os.killpg(child.pid, signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert "of 400 of the format warm-up, which engine trl keeps no checkpoint of; resume=true starts it anew" in said


def test_keep_start(tmp_path: Path) -> None:
    """The policy after the warm-up, which is the native engine's to the bit."""
    made = trl_recipe(tmp_path, warmup={"steps": 2}, train={"steps": 1, "keep_start": True})
    run(made)
    native = recipe(tmp_path / "native", warmup={"steps": 2}, train={"steps": 0})
    run(native)
    kept, theirs = weights(made.folder / "start"), weights(native.folder / "final")
    assert kept.keys() == theirs.keys()
    assert all(torch.equal(kept[name], theirs[name]) for name in kept)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
def test_other_families(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    text = kind == "llama"
    made = trl_recipe(tmp_path, tiny(kind), text=text, train={"steps": 1}, grpo={"beta": 0.1, "loss": "dapo"})
    run(made)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 1


@pytest.mark.slow
def test_full_reference_is_the_policy_after_its_warm_up(tmp_path: Path) -> None:
    run(trl_recipe(tmp_path, grpo={"beta": 0.5}, warmup={"steps": 2}, train={"steps": 1}))
    (line,) = [line for line in metrics(tmp_path / "run") if line["phase"] == "train"]
    assert line["kl"] == pytest.approx(0, abs=1e-6)
    assert not (tmp_path / "run" / "as_loaded").exists()


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_a_step_equals_the_native_one(loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL, made by the engine, is handed the completions; its gradient is that of `update.accumulate`."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    made = trl_recipe(
        tmp_path,
        grpo={"group_size": 4, "loss": loss},
        sampling={"max_new_tokens": 16, "temperature": 0.7},
        optim={"max_grad_norm": 1e9},
        train={"steps": 1},
    )
    found: dict[str, Any] = {}

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *args: Any, model: Any, **others: Any) -> None:
            found["trl"] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    class Forced(trl.GRPOTrainer):  # type: ignore[misc]
        def __init__(self, **given: Any) -> None:
            super().__init__(**given, rollout_func=completions_for)
            self.add_callback(Keep())

    policy, data = {}, open_data(made)
    from ssl4rl.core.grpo import opening

    load_policy = opening.load

    def loaded(*args: Any) -> Any:
        policy["it"] = load_policy(*args)
        found["native"] = native_gradient(made, policy["it"], data.train)
        return policy["it"]

    def completions_for(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        ids = [answer_ids(policy["it"], data.train, index) for index in (0, 1)]
        encoded = [encode(data.train, policy["it"].encoder, index).encoded.prompt_ids.tolist() for index in (0, 1)]
        return {
            "prompt_ids": [encoded[p] for p in (0, 1) for _ in range(4)],
            "completion_ids": [c.tolist() for group in ids for c in group],
            "logprobs": None,
        }

    monkeypatch.setattr(trl, "GRPOTrainer", Forced)
    monkeypatch.setattr(opening, "load", loaded)
    train(made, lambda line: None, bar=False)
    ours, theirs = found["native"], found["trl"]
    assert ours.keys() == theirs.keys()
    assert max(float(g.abs().max()) for g in ours.values()) > 1e-3
    assert gradient_difference([ours[name] for name in ours], [theirs[name] for name in ours]) <= 1e-4
    (line,) = [line for line in metrics(tmp_path / "run") if line["phase"] == "train"]
    assert (line["accuracy"], line["format"], line["zero_variance"]) == (0.25, 1.0, 0.0)


TWO = """
import sys
from pathlib import Path
import torch
from tests.core.grpo.runs import recipe, run
torch.set_num_threads(1)
length = {"train": {"steps": 2, "processes": 2}, "warmup": {"steps": 1}}
run(recipe(Path(sys.argv[1]), engine="trl", model={"lora": {"r": 4}}, grpo={"beta": 0.1}, **length))
"""


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run(
        [*launch, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = metrics(tmp_path / "run")
    assert [(line["phase"], line["step"]) for line in lines] == [
        *[("warmup", 1), ("eval", 1), ("train", 2), ("train", 3), ("eval", 3)]
    ]
    assert 2 * 3 <= lines[2]["completion_tokens"] <= 2 * 3 * 4
    rollouts = [json.loads(line) for line in (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()]
    assert [r["key"]["index"] for r in rollouts] == [4, 6]


def answer_ids(policy: Any, dataset: Any, index: int) -> list[Tensor]:
    """The four answers, of which one is right, with ragged lengths ("0" is shorter than "180")."""
    verifier = dataset.component_of(dataset[index]).verifier
    return [policy.tokens(verifier.complete(answer, dataset.style)) for answer in (0, 90, 180, 270)]


def native_gradient(made: Recipe, policy: Any, dataset: Any) -> dict[str, Tensor]:
    """The gradient of the native engine's loss on the same completions, from rewards worked out here."""
    groups, rewards = [], []
    for index in (0, 1):
        prompt = encode(dataset, policy.encoder, index)
        groups.append(Group(prompt.encoded.prompt_ids, prompt.encoded.media, answer_ids(policy, dataset, index)))
        rewards.append([1.1 if answer == prompt.example.answer else 0.1 for answer in (0, 90, 180, 270)])
    batch = Batch(groups, group_advantages(torch.tensor(rewards)))
    policy.model.train()
    accumulate(
        policy,
        lambda model, groups, temperature: shared_logps(model, groups, temperature=temperature),
        batch,
        made.grpo,
        temperature=0.7,
        max_new_tokens=16,
        sequences=8,
        tokens=sum(len(ids) for group in groups for ids in group.completion_ids),
        tokens_per_microbatch=4096,
    )
    gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    return gradients


def test_prompts_too_long_give_their_place_to_later_ones(tmp_path: Path) -> None:
    words = ",".join("x" * n + "y" * (n % 3) for n in range(1, 60))
    made = trl_recipe(tmp_path, text=True).model_copy(update={"data": f"words:{words}"})
    from ssl4rl.core.grpo.opening import load, prepare

    named = made.model_copy(update={"model": made.model.model_copy(update={"path": "embedded:tiny_vlm"})})
    policy = load(named, prepare(named, None))
    dataset = open_data(made).train
    lengths = [len(encode(dataset, policy.encoder, index).encoded.prompt_ids) for index in range(12)]
    limit = sorted(lengths[:6])[3]
    rows = Rows(dataset, policy.encoder, first=0, size=6, max_tokens=limit)
    chosen = rows({"row": list(range(6))})["index"]
    for row, index in enumerate(chosen):
        assert index % 6 == row
        assert rows.skipped(index) == index // 6
        assert len(rows.at(index).encoded.prompt_ids) <= limit
    assert sum(map(rows.skipped, chosen)) > 0
    with pytest.raises(Ssl4rlError, match=r"64 prompts in a row are longer than prompt\.max_tokens=3"):
        Rows(dataset, policy.encoder, first=0, size=6, max_tokens=3)({"row": [0]})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"report_to": "tensorboard"},
            "trl.report_to=tensorboard: TensorBoardCallback requires tensorboard to be installed. Either update your "
            "PyTorch version or install tensorboardX.",
        ),
        (
            {"report_to": ["wandb"]},
            "trl.report_to=wandb: WandbCallback requires wandb to be installed. Run `pip install wandb`.",
        ),
        ({"report_to": 3}, "trl.report_to=3; allowed: null or a text or a list of texts"),
        ({"use_vllm": True}, "trl.use_vllm=True needs vllm, which is not installed"),
        ({"deepspeed": "ds.json"}, "trl.deepspeed=ds.json needs deepspeed, which is not installed"),
        (
            {"optim": "adamw_bnb_8bit"},
            "engine trl: TRL refuses trl.optim=adamw_bnb_8bit: You need to install `bitsandbytes` in order to use "
            "bitsandbytes optimizers: `pip install -U bitsandbytes`",
        ),
        (
            {"optim": "grokadamw"},
            "engine trl: TRL refuses trl.optim=grokadamw: Please install grokadamw with `pip install grokadamw`",
        ),
        ({"generation_kwargs": 5}, "trl.generation_kwargs=5; allowed: a mapping or null"),
    ],
)
def test_what_lacks_a_package_is_said_before_the_model_loads(tmp_path: Path, given: dict[str, Any], line: str) -> None:
    needed = {"tensorboard", "wandb", "vllm", "deepspeed", "bitsandbytes", "grokadamw"}
    here = [name for name in needed if name in line and importlib.util.find_spec(name) is not None]
    if here:
        pytest.skip(f"{here[0]} is installed")
    made = trl_recipe(tmp_path, trl=given, model={"path": str(tmp_path / "none")})
    with pytest.raises(Ssl4rlError) as error:
        train(made, lambda line: None, bar=False)
    assert str(error.value) == line
