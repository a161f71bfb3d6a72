"""Memory that runs out at a chosen operator: the phase is repeated in smaller pieces, and nothing else changes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ssl4rl.core.grpo.room import OutOfRoom
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update.learner import Learner
from ssl4rl.core.recipe.recipe import Recipe
from tests.core.grpo.runs import metrics, recipe, resumed, run, weights
from tests.core.grpo.test_ranks import launch


class Scarce(TorchDispatchMode):
    """Raises out of memory at the `at`-th call of an operator, and at the `times` - 1 that come next."""

    def __init__(self, operator: str, at: int, times: int = 1) -> None:
        super().__init__()
        self.operator, self.at, self.times, self.calls = operator, at, times, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name == f"aten::{self.operator}":
            self.calls += 1
            if self.at <= self.calls < self.at + self.times:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return func(*args, **(kwargs or {}))


@contextmanager
def scarce_in(owner: type, method: str, mode: Scarce, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory is scarce within that method."""
    real = getattr(owner, method)

    def hurt(*args: Any, **more: Any) -> Any:
        with mode:
            return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, hurt)
        yield


PHASES: list[tuple[str, tuple[type, str], Scarce, str, int, int]] = [
    ("sampling", (Trainer, "sample"), Scarce("embedding", 3), "train.rollout_rows", 12, 6),
    ("the log-probs", (Learner, "with_old_logps"), Scarce("mm", 5), "train.tokens_per_microbatch", 200, 100),
    # two groups of 40 tokens an update, so that a budget of 100 would not cut them
    ("the update", (Learner, "accumulate"), Scarce("mm", 40), "train.tokens_per_microbatch", 200, 50),
]


def settings(out: Path, prompts_per_step: int = 4, **changed: int) -> Recipe:
    return recipe(
        out,
        grpo={"group_size": 3, "prompts_per_step": prompts_per_step, "updates_per_step": 2, "beta": 0.01},
        warmup={"steps": 1, "rehearsal": 0.1, "prompts_per_step": 2},
        train={"steps": 2, "rollout_rows": 12, "tokens_per_microbatch": 200, "log_rollouts": 4, **changed},
    )


@pytest.mark.parametrize(("phase", "where", "mode", "key", "was", "now"), PHASES, ids=[one[0] for one in PHASES])
def test_a_phase_is_repeated_in_halves(
    phase: str,
    where: tuple[type, str],
    mode: Scarce,
    key: str,
    was: int,
    now: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scarce_in(*where, mode, monkeypatch):
        said = run(settings(tmp_path / "hurt"))
    assert mode.calls > mode.at
    hurt, small = tmp_path / "hurt" / "run", tmp_path / "small" / "run"
    told = [{"step": 2, "phase": phase, "key": key, "was": was, "now": now}]
    assert json.loads((hurt / "summary.json").read_text())["out_of_memory"] == told
    assert [line.get("out_of_memory") for line in metrics(hurt) if line["phase"] == "train"] == [told, None]
    line = f"step 2: out of memory in {phase}; {key} {was} -> {now}, and that is repeated with the same numbers"
    assert line in said
    owner, method = where
    real = getattr(owner, method)

    def smaller(self: Any, *args: Any, **more: Any) -> Any:
        """What the other run had come to, without a lack of memory."""
        if owner is Trainer:
            self.backend.max_rows = now
        else:
            self.row_tokens = now
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, smaller)
        run(settings(tmp_path / "small"))
    assert (hurt / "rollouts.jsonl").read_text() == (small / "rollouts.jsonl").read_text()
    a, b = weights(hurt / "final"), weights(small / "final")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_checkpoint_stands_before_the_step_that_did_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(tmp_path / "hurt", checkpoint_every=50)
    with scarce_in(Trainer, "sample", Scarce("embedding", 1, 10**9), monkeypatch), pytest.raises(OutOfRoom) as stop:
        run(given)
    assert str(stop.value) == (
        "step 2: out of memory in sampling, and a single prompt's completions are sampled at a time already; `ssl4rl "
        "plan` says what would fit (shorter replies, gradient checkpointing, LoRA, more GPUs)"
    )
    assert [path.name for path in (given.folder / "checkpoints").iterdir()] == ["step_000001"]
    run(resumed(given))
    told = json.loads((given.folder / "summary.json").read_text())["out_of_memory"]
    assert [(one["was"], one["now"]) for one in told] == [(12, 6)], "what the checkpoint knew"


def test_the_update_gives_up_at_a_single_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scarce_in(Learner, "accumulate", Scarce("mm", 1, 10**9), monkeypatch), pytest.raises(OutOfRoom) as stop:
        run(settings(tmp_path))
    assert "out of memory in the update, and a micro-batch is a single prompt's completions already" in str(stop.value)


@pytest.mark.slow
def test_ranks_follow_the_one_that_ran_out(tmp_path: Path) -> None:
    """Memory runs out on the second of two; both end with half the micro-batch, and the run goes on to its end."""
    launch("tests.core.grpo.test_room", tmp_path)
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["out_of_memory"]
    assert [(one["step"], one["phase"], one["now"]) for one in told] == [(2, "sampling", 6), (2, "the update", 50)]
    assert [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)] == [[6, 50], [6, 50]]


def main(out: Path) -> None:
    """One of two ranks; the second is short of memory."""
    torch.set_num_threads(1)
    rank, seen = os.environ["RANK"], list[Trainer]()
    with pytest.MonkeyPatch.context() as patch:
        sample = Trainer.sample
        patch.setattr(Trainer, "sample", lambda self, prompts: (seen.append(self), sample(self, prompts))[1])
        with ExitStack() as stack:
            if rank == "1":
                stack.enter_context(scarce_in(Trainer, "sample", Scarce("embedding", 3), patch))
                stack.enter_context(scarce_in(Learner, "accumulate", Scarce("mm", 40), patch))
            run(settings(out, prompts_per_step=8))
    (out / f"rank{rank}.json").write_text(json.dumps([seen[-1].backend.max_rows, seen[-1].learner.row_tokens]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
