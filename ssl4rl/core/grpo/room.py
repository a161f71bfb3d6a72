"""What to do where a device's memory runs out: the same work again, in smaller pieces.

Every random number of a step comes from a key and its gradient is the same however its batch is cut, so a phase that
failed is repeated, not the run: with half the rows where completions are sampled, with half the micro-batch where
log-probs or gradients are computed. Ranks decide together, and keep to what was decided until the run ends.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.types import Ssl4rlError

T = TypeVar("T")


@dataclass(frozen=True)
class Shortage:
    """Memory ran out in step `step` (from 1), in `phase`; the recipe's `key` went from `was` to `now`."""

    step: int
    phase: str
    key: str
    was: int
    now: int

    def __str__(self) -> str:
        return (
            f"step {self.step}: out of memory in {self.phase}; {self.key} {self.was:,} -> {self.now:,}, and that is "
            "repeated with the same numbers"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def in_smaller_pieces(
    ranks: Ranks, attempt: Callable[[], T], undo: Callable[[], None], smaller: Callable[[bool], None]
) -> T:
    """What `attempt` returns, called again after each lack of memory.

    Args:
        attempt: this rank's part of the work, without a word to other ranks. One that has done it waits for the others.
        undo: makes it as if `attempt` had not begun.
        smaller: makes the pieces smaller, on every rank; it is told whether this one failed.

    Raises:
        Ssl4rlError: whatever `smaller` raises where nothing is left to make smaller.
    """
    done: list[T] = []
    chance = _generators()
    while True:
        failed = False
        if not done:
            try:
                done.append(attempt())
            except torch.OutOfMemoryError:
                failed = True  # what the traceback holds is free once this block is left
        if not ranks.any(failed):
            return done[0]
        if failed:
            undo()
            _set_generators(chance)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        smaller(failed)


class OutOfRoom(Ssl4rlError):
    """The end of a run that does not fit, raised on every rank before anything of the step was changed, or after."""


def nothing_left(step: int, phase: str, why: str) -> OutOfRoom:
    """What then is raised."""
    return OutOfRoom(
        f"step {step}: out of memory in {phase}, and {why}; `ssl4rl plan` says what would fit (shorter replies, "
        "gradient checkpointing, LoRA, more GPUs)"
    )


def _generators() -> list[Any]:
    return [torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None]


def _set_generators(state: list[Any]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
