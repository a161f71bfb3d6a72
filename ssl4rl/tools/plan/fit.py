"""What to change so that a recipe fits a smaller card: overrides, found by planning again with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ssl4rl.core.recipe.recipe import Recipe, load_recipe

PHASES = ("sampling", "log-probs", "update", "evaluation")
PARTS = (
    *("weights", "adapter", "gradients", "optimizer", "reference", "bfloat16 copies", "merged adapter"),
    *("pictures", "prompts and replies", "logits", "activations"),
)
"""What memory is for. "bfloat16 copies" are of float32 weights, "prompts and replies" keys and values."""
GB = 10**9
CONTEXT = 0.9 * GB  # what CUDA and its libraries take before the first tensor
ROUNDING = 1.05  # what the allocator holds beyond the tensors, at rest between sizes
DECODING, LEARNING = ("sampling", "evaluation"), ("log-probs", "update")

Peaks = Mapping[str, Mapping[str, int]]
Planner = Callable[[Recipe, tuple[str, ...]], Peaks]
"""(recipe, phases) -> bytes by part, for each of those phases that the recipe has."""


def needed(parts: Mapping[str, int], gpu: bool = True) -> float:
    """Bytes that a card must have for a phase."""
    total = sum(parts.values())
    return ROUNDING * total + CONTEXT if gpu else total


def worst(peaks: Peaks, gpu: bool = True) -> float:
    """Bytes that a card must have for all of them."""
    return max(needed(parts, gpu) for parts in peaks.values())


@dataclass(frozen=True)
class Fit:
    """`overrides`: what to add to the command line for a card of `gb`; None where nothing that is known here does it.
    `peak`: bytes that it then must have."""

    gb: int
    overrides: dict[str, Any] | None
    peak: float

    @property
    def lines(self) -> str:
        return " ".join(f"{key}={_plain(value)}" for key, value in (self.overrides or {}).items())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "'{" + ", ".join(f"{name}: {one}" for name, one in value.items()) + "}'"
    return str(value)


def fits(recipe: Recipe, peaks: Peaks, plan: Planner, cards: tuple[int, ...], processes: int) -> list[Fit]:
    """For each card, from the largest down, what is to be changed: first what alters only the speed, then what alters
    what is learned."""
    found, changed = [], dict[str, Any]()
    for gb in sorted(cards, reverse=True):
        while changed is not None and worst(peaks) > gb * GB:
            step = next(_steps(recipe, peaks, gb * GB, processes), None)
            if step is None:
                changed = None  # type: ignore[assignment]
                break
            phases, override = step
            changed = {**changed, **override}
            recipe = load_recipe(recipe, override)
            peaks = {**peaks, **plan(recipe, phases)}
        found.append(Fit(gb, changed, worst(peaks)))
    return found


def _steps(
    recipe: Recipe, peaks: Peaks, card: float, processes: int
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Changes worth a try, the mildest first: the phases that each alters, and the override."""
    over = {name for name, parts in peaks.items() if needed(parts) > card}
    train, grpo, model = recipe.train, recipe.grpo, recipe.model
    fixed = {name: _fixed(peaks[name]) for name in over}
    hopeless = any(ROUNDING * size + CONTEXT > card for size in fixed.values())
    if not hopeless:
        if over & {*LEARNING} and not model.gradient_checkpointing:
            yield LEARNING, {"model.gradient_checkpointing": True}
        if over & {*DECODING} and train.rollout_rows > grpo.group_size:
            yield DECODING, {"train.rollout_rows": max(grpo.group_size, train.rollout_rows // 2)}
        longest = grpo.group_size * recipe.sampling.max_new_tokens
        if over & {*LEARNING} and train.tokens_per_microbatch > longest:
            yield LEARNING, {"train.tokens_per_microbatch": max(longest, train.tokens_per_microbatch // 2)}
    if "reference" in set().union(*peaks.values()) and model.lora is None and model.reference.device == "same":
        yield PHASES, {"model.reference": {"dtype": "bfloat16", "device": "cpu"}}
    if processes > 1 and train.shard == "none":
        yield PHASES, {"train.shard": "optimizer"}
    if not model.freeze_vision:
        yield PHASES, {"model.freeze_vision": True}
    if model.lora is None:
        yield PHASES, {"model.lora": {"r": 16, "alpha": 32}, "optim.lr": 1e-5}
    elif model.quantize is None and not model.path.startswith("embedded:"):
        yield PHASES, {"model.quantize": "4bit"}


def _fixed(parts: Mapping[str, int]) -> int:
    """What no smaller batch makes smaller."""
    return sum(parts.get(name, 0) for name in ("weights", "adapter", "gradients", "optimizer", "reference"))
