"""About how long a recipe's steps take on a card: arithmetic and bytes moved, by rules of thumb. Not measured by us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.tools.plan.fit import Peaks


@dataclass(frozen=True)
class Card:
    """A GPU's published peaks: bfloat16 operations a second, a multiply-add being two, and bytes of memory a second."""

    name: str
    operations: float
    bytes: float


CARDS = (Card("A100 80 GB", 312e12, 2.0e12), Card("H100 SXM", 989e12, 3.35e12))
COMPUTING, READING = 0.4, 0.5
"""The shares of the peaks that are reckoned with, for passes over many tokens and for decoding."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a step on one kind of card, by part, and hours of all GRPO steps."""

    card: str
    sampling: float
    update: float
    steps: int

    @property
    def hours(self) -> float:
        return (self.sampling + self.update) * self.steps / 3600


def paces(
    recipe: Recipe,
    work: Mapping[str, int],
    peaks: Peaks,
    prompt_tokens: float,
    parameters: int,
    trained: int,
    gpus: int,
) -> list[Pace]:
    """A step's seconds on each of `CARDS`, if every reply is as long as it may be.

    Sampling: every token reads the weights once and, on average, half of the keys and values that are there at the end;
    prompts are computed once. Update: two operations a parameter and token forward, two backward for what is handed on
    and two for the gradient of what is trained, two more where activations are computed again; prompts once a group.
    Left out: attention's own arithmetic, evaluation, communication, waiting.
    """
    prompts = work["prompts"] / gpus
    replies = prompts * work["group_size"] * work["reply_tokens"]
    tokens = prompts * prompt_tokens + replies
    weights = 2 * parameters  # bfloat16, as they are read
    kept = peaks.get("sampling", {}).get("prompts and replies", 0)
    read = work["chunks"] * work["reply_tokens"] * (weights + kept / 2)
    forward = 1 + work["frozen_passes"] + recipe.model.gradient_checkpointing
    multiplied = 2 * tokens * (forward * parameters + parameters + trained)
    sampled = 2 * tokens * parameters
    return [
        Pace(
            card.name,
            max(read / (READING * card.bytes), sampled / (COMPUTING * card.operations)),
            multiplied / (COMPUTING * card.operations),
            recipe.train.steps,
        )
        for card in CARDS
    ]
