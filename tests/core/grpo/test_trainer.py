"""The loop against its slow twins: batches cut or whole, groups dropped or kept, runs straight or resumed."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.logps.prefix import Group, unshared_logps
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.opening import open_data
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.stream import Prompt
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update.learner import Learner
from ssl4rl.core.grpo.update.loss import KINDS
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.runs import FAKES, metrics, recipe, resumed, run, run_until, same, start, weights

# the second group has no variance
REWARDS = torch.tensor([[0.0, 1.0, 0.1], [0.1, 0.1, 0.1], [1.1, 0.1, 1.1], [0.3, 0.5, 0.0]])


def trainer(out: Path, policy: Policy, **grpo: Any) -> Trainer:
    settings = recipe(out, grpo={"prompts_per_step": 4, **grpo}, train={"tokens_per_microbatch": 10**6})
    return Trainer(settings, policy, open_data(settings).train)


@pytest.fixture
def policy() -> Policy:
    return load_policy("embedded:tiny_vlm", device="cpu")


def with_settings(trainer: Trainer, **sections: Any) -> None:
    """Replaces settings of a trainer that is under way."""
    changes = {name: getattr(trainer.recipe, name).model_copy(update=value) for name, value in sections.items()}
    now = trainer.recipe = trainer.recipe.model_copy(update=changes)
    learner = trainer.learner
    learner.grpo, learner.optim, learner.sampling = now.grpo, now.optim, now.sampling
    learner.row_tokens = now.train.tokens_per_microbatch


def gradients(trainer: Trainer, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What each of the step's updates would apply, one flat vector an update; no update moves the weights."""
    seen: list[Tensor] = []

    def look(self: Learner, lr: float) -> float:
        flat = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in self.parameters]
        seen.append(torch.cat(flat))
        self.optimizer.zero_grad()
        return 0.0

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", look)
        trainer._learn(rollouts, 1e-3)
    return seen


def move(trainer: Trainer) -> None:
    """Moves the policy off its reference, so that the KL term has a gradient."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trainer.learner.parameters:
            p.add_(0.02 * torch.randn(p.shape, generator=generator))


def close(left: list[Tensor], right: list[Tensor], tolerance: float = 1e-5) -> bool:
    assert len(left) == len(right) > 0
    assert all(float(a.norm()) > 1e-3 for a in left)
    return all(float((a - b).norm() / a.norm()) <= tolerance for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("rehearsal", [0.0, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_give_the_gradient_of_the_whole(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, kind: str, rehearsal: float
) -> None:
    t = trainer(tmp_path, policy, loss=kind, beta=0.1, updates_per_step=2)
    with_settings(t, warmup={"rehearsal": rehearsal})
    rollouts = replace(t.sample(t.stream.take(4)), reward_PG=REWARDS)
    gradients(t, rollouts, monkeypatch)  # takes the reference
    move(t)
    whole = gradients(t, rollouts, monkeypatch)
    assert len(whole) == 2
    with_settings(t, train={"tokens_per_microbatch": 1})
    assert close(whole, gradients(t, rollouts, monkeypatch))
    t.shared = False
    assert close(whole, gradients(t, rollouts, monkeypatch), 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_without_variance_change_nothing(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    t = trainer(tmp_path, policy, loss=kind)
    rollouts = replace(t.sample(t.stream.take(4)), reward_PG=REWARDS)
    dropped = gradients(t, rollouts, monkeypatch)
    # a KL that weighs nothing keeps every group in the computation
    with_settings(t, grpo={"beta": 1e-30})
    assert close(dropped, gradients(t, rollouts, monkeypatch))


def test_a_step_without_any_variance_moves_nothing(tmp_path: Path, policy: Policy) -> None:
    t = trainer(tmp_path, policy)
    before = [p.clone() for p in t.learner.parameters]
    flat = torch.full((4, 3), 1.1)  # not a float32 number: its mean over 3 is off by rounding
    stats, norm = t._learn(replace(t.sample(t.stream.take(4)), reward_PG=flat), 1e-3)
    assert (stats.loss, norm) == (0.0, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, t.learner.parameters, strict=True))


@pytest.mark.parametrize(
    ("varied", "sampled", "used"),
    [
        ({0, 1, 2, 3}, 4, [0, 1, 2, 3]),
        # one of four: three more are missing, twelve would bring them, eight may be had
        ({1, 6, 7, 9}, 12, [1, 6, 7, 9]),
        ({1, 5, 6, 7, 9}, 12, [1, 5, 6, 7]),
        ({1, 6}, 12, [1, 6]),
        # three of four: 4/3 prompts for the missing one, so two; then, three of six, two again
        ({0, 1, 2, 5}, 6, [0, 1, 2, 5]),
        ({0, 1, 2, 7}, 8, [0, 1, 2, 7]),
        (set(), 12, []),
    ],
)
def test_groups_without_variance_are_refilled(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, varied: set[int], sampled: int, used: list[int]
) -> None:
    t = trainer(tmp_path, policy, refill=2)
    sample = Trainer.sample

    def rewarded(self: Trainer, prompts: list[Prompt]) -> Rollouts:
        rewards = [[1.0, 0.5, 0.0] if prompt.index in varied else [0.5] * 3 for prompt in prompts]
        return replace(sample(self, prompts), reward_PG=torch.tensor(rewards))

    before = [p.clone() for p in t.learner.parameters]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "sample", rewarded)
        metrics, rollouts = t.run_step()
    assert rollouts is not None
    assert rollouts.used == used
    assert [prompt.index for prompt in rollouts.prompts] == list(range(sampled))
    assert t.state()["next_index"] == sampled
    counted = {name: metrics[name] for name in ("sampled", "dropped", "groups", "refilled")}
    useful = len([index for index in varied if index < sampled])
    refilled = sum(index >= 4 for index in used)
    assert counted == {"sampled": sampled, "dropped": sampled - useful, "groups": len(used), "refilled": refilled}
    assert metrics["zero_variance"] == round(1 - useful / sampled, 6)
    assert all(torch.equal(a, b) for a, b in zip(before, t.learner.parameters, strict=True)) == (not used)


@pytest.mark.parametrize("scale", ["group", "batch"])
@pytest.mark.parametrize("kind", ["grpo", "dapo", "dr_grpo"])
def test_an_update_is_normalised_over_the_groups_used(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, kind: str, scale: str
) -> None:
    t = trainer(tmp_path, policy, loss=kind, advantage_scale=scale)
    rollouts = replace(t.sample(t.stream.take(4)), reward_PG=REWARDS)
    some = gradients(t, replace(rollouts, used=[0, 2, 3]), monkeypatch)
    rows = [0, 2, 3]
    alone = Rollouts(
        [rollouts.prompts[p] for p in rows],
        [rollouts.completions[p] for p in rows],
        [rollouts.scores[p] for p in rows],
        REWARDS[rows],
        [None] * 3,
    )
    assert close(some, gradients(t, alone, monkeypatch))
    (whole,) = gradients(t, rollouts, monkeypatch)
    if (kind, scale) != ("dapo", "group"):  # whose tokens may be as many in each group
        assert float((whole - some[0]).norm() / whole.norm()) > 0.1


def test_rounding_is_no_advantage(tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer(tmp_path, policy, beta=1e-30)
    flat = torch.full((4, 3), 1.1)
    seen = gradients(t, replace(t.sample(t.stream.take(4)), reward_PG=flat), monkeypatch)
    assert float(seen[0].norm()) < 1e-20


def test_the_gradient_goes_uphill(tmp_path: Path, policy: Policy) -> None:
    """One plain step raises the log-probs of what was rewarded and lowers those of the rest."""
    t = trainer(tmp_path, policy, group_size=2)
    rollouts = replace(t.sample(t.stream.take(4)), reward_PG=torch.tensor([[1.0, 0.0]] * 4))
    t.learner.optimizer = torch.optim.SGD(t.learner.parameters, lr=0.05)  # type: ignore[assignment]

    def scores() -> Tensor:
        pairs = zip(rollouts.prompts, rollouts.completions, strict=True)
        groups = [Group(p.encoded.prompt_ids, p.encoded.media, [c.ids for c in row]) for p, row in pairs]
        with torch.no_grad():
            return unshared_logps(policy.model, groups).logp_PGT.sum(-1).mean(0)

    before = scores()
    t._learn(rollouts, 0.05)
    after = scores()
    assert after[0] - after[1] > before[0] - before[1] + 1e-3


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path: Path, policy: Policy) -> None:
    t = trainer(tmp_path, policy)
    before = [p.clone() for p in t.learner.parameters]
    rewards = REWARDS.clone()
    rewards[0, 0] = torch.inf
    _, norm = t._learn(replace(t.sample(t.stream.take(4)), reward_PG=rewards), 1e-3)
    assert math.isnan(norm)
    assert t.learner.skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(before, t.learner.parameters, strict=True))
    assert not t.learner.optimizer.state
    assert all(p.grad is None for p in t.learner.parameters)


def spoilt(updates: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """At these updates, counted from 1, one number of the gradient is infinite."""
    update, done = Learner.update, []

    def spoil(self: Learner, lr: float) -> float:
        done.append(lr)
        if len(done) in updates:
            next(p.grad for p in self.parameters if p.grad is not None).flatten()[0] = torch.inf
        return update(self, lr)

    monkeypatch.setattr(Learner, "update", spoil)


def test_a_step_whose_gradient_is_not_finite_is_skipped_and_its_keys_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt({2}, monkeypatch)
    settings = recipe(tmp_path, warmup={"rehearsal": 0.1})
    said = run(settings)
    (line,) = (line for line in said if line.startswith("step 2: "))
    assert line == (
        "step 2: the gradient is not finite, so the weights are left as they are; its prompts: vision/rotation@1[90deg,"
        "image_px=32,original=false] seed=0 index=2 attempt=0 and 1 more, in metrics.jsonl"
    )
    steps = {record["step"]: record for record in metrics(settings.folder) if record["phase"] == "train"}
    assert [step for step, record in steps.items() if "skipped" in record] == [2]
    assert (steps[2]["skipped"], len(steps[2]["skipped_keys"]), steps[2]["grad_norm"]) == (1, 2, None)


def test_too_many_bad_steps_end_the_run_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good one in between starts the count anew."""
    length = {"steps": 9, "checkpoint_every": 100}
    settings = recipe(tmp_path, optim={"max_bad_steps": 2}, warmup={"rehearsal": 0.1}, train=length)
    with monkeypatch.context() as patch:
        spoilt({1, 3, 5, 6}, patch)
        with pytest.raises(Ssl4rlError, match=r"^step 6: the gradient was not finite in 2 steps in a row"):
            run(settings)
    assert [path.name for path in (settings.folder / "checkpoints").iterdir()] == ["step_000006"]
    said = run(resumed(settings))
    assert f"resuming {settings.folder} after step 6" in said
    assert [record["step"] for record in metrics(settings.folder) if record["phase"] == "train"] == [*range(1, 10)]


@pytest.mark.parametrize("kind", ["gemma3", "mistral_window", "mamba"])
def test_unshareable_models_train_unshared_and_say_so(tmp_path: Path, tiny: Callable[[str], Path], kind: str) -> None:
    settings = recipe(tmp_path, tiny(kind), text=kind != "gemma3", warmup={"steps": 1}, train={"steps": 2})
    said = run(settings)
    assert sum("WARNING shared prompts: OFF, training runs unshared and slower" in line for line in said) == 1
    before, after = weights(tiny(kind)), weights(settings.folder / "final")
    assert any(not torch.equal(before[name], after[name]) for name in after)


CASES: dict[str, dict[str, Any]] = {
    "full": {"warmup": {"steps": 1, "rehearsal": 0.1}, "grpo": {"beta": 0.05, "updates_per_step": 2}},
    # an untrained model earns nothing: every group is dropped, to the cap
    "refill": {"warmup": {"steps": 1, "rehearsal": 0.1}, "grpo": {"refill": 2}},
    "lora": {"model": {"lora": {"r": 4, "dropout": 0.1}}, "warmup": {"steps": 1}, "grpo": {"beta": 0.05}},
}


@pytest.mark.parametrize("case", ["full", *(pytest.param(name, marks=pytest.mark.slow) for name in ("refill", "lora"))])
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    settings = CASES[case]
    straight = recipe(tmp_path / "straight", **settings)
    run(straight)
    for workers in (0, 1):
        stopped = recipe(tmp_path / f"{workers}", **settings, train={"workers": workers, "keep_checkpoints": 1})
        run_until(stopped, 3, monkeypatch)
        for log in ("metrics.jsonl", "rollouts.jsonl"):
            with (stopped.folder / log).open("a") as file:
                file.write('{"step": 4, "pha')  # a kill may cut a line in two
        last = [folder.name for folder in (stopped.folder / "checkpoints").iterdir()]
        assert last == ["step_000002"]
        said = run(resumed(stopped))
        assert f"resuming {stopped.folder} after step 2" in said
        assert same(straight.folder, stopped.folder)
    changed = weights(straight.folder / "final")
    assert sum(float(tensor.abs().sum()) for name, tensor in changed.items() if "lora_B" in name) > 0 or case != "lora"


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, stopped = recipe(tmp_path / "straight"), recipe(tmp_path / "stopped")
    run(straight)
    run_until(stopped, 1, monkeypatch)
    run(resumed(stopped))
    assert same(straight.folder, stopped.folder)
    assert run(resumed(stopped)) == [f"{stopped.folder} is finished; nothing to resume"]


def test_a_finished_run_goes_on_when_more_steps_are_asked_for(tmp_path: Path) -> None:
    run(recipe(tmp_path, train={"steps": 2}))
    run(resumed(recipe(tmp_path, train={"steps": 4})))
    straight = recipe(tmp_path / "straight", train={"steps": 4})
    run(straight)
    left, right = weights(tmp_path / "run" / "final"), weights(straight.folder / "final")
    assert all(torch.equal(left[name], right[name]) for name in right)
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [1, 2, 3, 4]


def test_checkpoints_are_whole_and_few(tmp_path: Path) -> None:
    settings = recipe(tmp_path, train={"checkpoint_every": 1, "keep_checkpoints": 2})
    (settings.folder / "checkpoints" / ".step_000001.partial").mkdir(parents=True)
    run(settings)
    assert sorted(p.name for p in (settings.folder / "checkpoints").iterdir()) == ["step_000003", "step_000004"]


def test_a_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    settings = recipe(tmp_path, train={"steps": 1})
    run(settings)
    with pytest.raises(Ssl4rlError, match="already holds a run; resume=true continues it, overwrite=true deletes it"):
        run(settings)
    with pytest.raises(Ssl4rlError, match=r"was started with optim.lr=0.001, now it is 0.1; resume with the same"):
        run(resumed(recipe(tmp_path, optim={"lr": 0.1})))
    refused = recipe(tmp_path, overwrite=True, data="no/such/folder")
    with pytest.raises(Ssl4rlError):
        run(refused)
    assert (settings.folder / "summary.json").exists(), "a run was deleted for one that never began"
    run(recipe(tmp_path, overwrite=True, train={"steps": 2}))
    assert len(metrics(settings.folder)) == 4


def test_a_refused_run_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match="no/such/folder"):
        run(recipe(tmp_path, data="no/such/folder"))
    with pytest.raises(Ssl4rlError, match=r"the longest has \d+ tokens\); raise it"):
        run(recipe(tmp_path, prompt={"max_tokens": 5}))
    run(recipe(tmp_path, train={"steps": 1}))


def test_what_could_not_be_used_is_counted_over_all_parts_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pairs(out: Path) -> Recipe:
        return recipe(out, text=True, tasks=[{"task": f"{FAKES}:pair"}], train={"steps": 5, "seed": 2})

    run(pairs(tmp_path / "straight"))
    stopped = pairs(tmp_path / "stopped")
    run_until(stopped, 5, monkeypatch)
    run(resumed(stopped))  # from step 4
    counts = [RunDir(resumed(pairs(tmp_path / name))).finished() for name in ("straight", "stopped")]
    assert counts[0] is not None
    assert counts[1] is not None
    assert counts[0]["unusable"] == counts[1]["unusable"]
    assert counts[0]["unusable"]["reasons"]["bad luck"] > 0


def go_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumes what the process left for a few steps and compares with a straight run of as many."""
    steps = max(int(folder.name.removeprefix("step_")) for folder in (out / "run" / "checkpoints").glob("step_*")) + 2
    run(resumed(recipe(out, train={"steps": steps})))
    straight = recipe(out / "straight", train={"steps": steps})
    run(straight)
    assert same(straight.folder, out / "run")


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    child = start(tmp_path, train={"workers": workers})
    os.killpg(child.pid, signal.SIGINT)  # a terminal sends it to the workers too
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "resume=true goes on from here" in said
    assert "Traceback" not in said
    go_on(tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.013, 0.11])
def test_kill_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_s: float) -> None:
    child = start(tmp_path)
    time.sleep(delay_s)
    child.kill()
    child.communicate()
    go_on(tmp_path, monkeypatch)
