"""The weights in force over (task, level), moved by what rollouts earned.

Deterministic: a function of the recipe and of the outcomes shown to it, so a resumed run and every process of a run
decide the same.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

from ssl4rl.core import registry
from ssl4rl.core.strategies import Arm, ArmStats, Fixed, Goldilocks, Staged, Stats, Strategy, Uniform
from ssl4rl.core.types import Score, Ssl4rlError, nearest

if TYPE_CHECKING:
    from ssl4rl.core.dataset import TaskDataset
    from ssl4rl.core.recipe.sections import CurriculumSection
    from ssl4rl.core.task import Level

STRATEGIES = ("fixed", "uniform", "staged", "goldilocks")
_DIGITS = 6


@dataclass(frozen=True)
class Outcome:
    """One rollout group of the arm at position `arm`; the fields are those of `ArmStats`, of this group alone."""

    arm: int
    success: float
    value: float
    signal: float
    chance: float
    guess: float

    @staticmethod
    def of(arm: int, scores: Sequence[Score], chance: float, guess: float) -> Outcome:
        """From the scores of a group's completions, two or more."""
        values = [score.value for score in scores]
        success = fmean(score.verdict == "correct" for score in scores)
        return Outcome(arm, success, fmean(values), variance(values), chance, guess)


class Curriculum:
    """The weights in force, and the running averages they come from.

    Args:
        arms: of the mixture, in the order of the dataset's components.
        strategy: decides.
        memory: rollout groups that an arm's averages reach back over (the constant of an exponential average).
        steps: GRPO steps that the run is to take.
    """

    def __init__(self, arms: Sequence[Arm], strategy: Strategy, memory: int = 32, steps: int = 1) -> None:
        self.arms, self.strategy, self.memory, self.steps = tuple(arms), strategy, memory, steps
        self._groups = [0] * len(self.arms)
        # sums of an outcome's numbers and of 1, each group's part fading as later ones come
        self._sums = [[0.0] * 6 for _ in self.arms]
        self.weights = self._decide(0)

    @property
    def start(self) -> list[float]:
        """Every level alike: what the format warm-up is spread over, so that no level's answer form is new later."""
        return list(Uniform(self.arms).weights(self.stats(0)))

    def stats(self, step: int) -> Stats:
        """The averages as a strategy gets them."""
        found = []
        for arm, groups, sums in zip(self.arms, self._groups, self._sums, strict=True):
            means = [total / sums[-1] for total in sums[:-1]] if groups else [0.0] * 5
            found.append(ArmStats(arm, groups, *means))
        return Stats(found, step, self.steps)

    def observe(self, outcomes: Sequence[Outcome], step: int) -> None:
        """Takes in all groups of a step (those without variance too) and decides the weights of the next.

        Args:
            outcomes: in the order of their prompts, from all processes.
            step: GRPO steps done, this one included.
        """
        fade = 1 - 1 / self.memory
        for outcome in outcomes:
            new = (outcome.success, outcome.value, outcome.signal, outcome.chance, outcome.guess, 1.0)
            old = self._sums[outcome.arm]
            self._sums[outcome.arm] = [fade * a + b for a, b in zip(old, new, strict=True)]
            self._groups[outcome.arm] += 1
        self.weights = self._decide(step)

    def _decide(self, step: int) -> list[float]:
        found = [float(weight) for weight in self.strategy.weights(self.stats(step))]
        fine = len(found) == len(self.arms) and all(math.isfinite(w) and w >= 0 for w in found)
        if not fine or sum(found) <= 0:
            raise Ssl4rlError(
                f"the curriculum's {type(self.strategy).__name__}.weights gave {found} at step {step}; allowed: "
                f"{len(self.arms)} numbers >= 0, not all 0"
            )
        return [weight / sum(found) for weight in found]

    def log(self) -> dict[str, Any]:
        """The weights in force by arm, and what the strategy remembers, for the run's log."""
        weights = {arm.name: round(w, _DIGITS) for arm, w in zip(self.arms, self.weights, strict=True)}
        memory = self.strategy.state()
        return {"weights": weights, **({"curriculum": memory} if memory else {})}

    def state(self) -> dict[str, Any]:
        """For checkpoints: numbers, lists and mappings only."""
        return {
            "weights": list(self.weights),
            "groups": list(self._groups),
            "sums": [list(sums) for sums in self._sums],
            "strategy": self.strategy.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.weights, self._groups = list(state["weights"]), list(state["groups"])
        self._sums = [list(sums) for sums in state["sums"]]
        self.strategy.load(state["strategy"])


def open_curriculum(settings: CurriculumSection, dataset: TaskDataset, steps: int = 1) -> Curriculum:
    """The curriculum of a recipe over its dataset's components.

    Raises:
        Ssl4rlError: an unknown strategy or target, with the nearest; a strategy of one's own that cannot be made.
    """
    arms = arms_of(dataset, settings.target)
    made = Curriculum(arms, _strategy(settings, arms), settings.memory, steps)
    try:
        json.dumps(made.strategy.state(), allow_nan=False)
    except (TypeError, ValueError) as error:
        kind = type(made.strategy).__name__
        raise Ssl4rlError(f"curriculum.strategy: {kind}.state gives what JSON cannot hold: {error}") from error
    return made


def arms_of(dataset: TaskDataset, target: str | None = None) -> list[Arm]:
    """A dataset's components as arms; two alike on different data have it in their names.

    Raises:
        Ssl4rlError: no task has the level `target`.
    """
    components = dataset.components
    entries: dict[int, list[int]] = {}
    for at, component in enumerate(components):
        entries.setdefault(component.entry, []).append(at)
    ladders = {entry: [components[at].level for at in part] for entry, part in entries.items()}
    if target is not None and not any(_named(level, target) for levels in ladders.values() for level in levels):
        known = list(dict.fromkeys(level.name for levels in ladders.values() for level in levels))
        raise Ssl4rlError(f"curriculum.target: no task has the level {target!r}{nearest(target, known)}")
    whole = sum(c.weight for c in components)
    names = Counter(c.name for c in components)
    arms = []
    for at, c in enumerate(components):
        part = entries[c.entry]
        weight = sum(components[i].weight for i in part)
        rank = part.index(at)
        arms.append(
            Arm(
                name=c.name if names[c.name] == 1 else f"{c.name} {c.split.source.uri}",
                task=c.task.id,
                level=c.level.name,
                entry=c.entry,
                rank=rank,
                weight=weight / whole,
                share=c.weight / weight if weight else 1 / len(part),
                target=rank == target_rank(ladders[c.entry], target),
            )
        )
    return arms


def target_rank(levels: Sequence[Level], target: str | None) -> int:
    """The position of the level to end at: the one named `target`, else the last."""
    return next((i for i, level in enumerate(levels) if target and _named(level, target)), len(levels) - 1)


def _named(level: Level, target: str) -> bool:
    return target in (level.name, level.name.partition(",")[0])


def _strategy(settings: CurriculumSection, arms: Sequence[Arm]) -> Strategy:
    name = settings.strategy
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _own_strategy(path, attribute, settings.options, arms)
    if name not in STRATEGIES:
        raise Ssl4rlError(f"curriculum.strategy: unknown strategy {name!r}{nearest(name, STRATEGIES)}")
    if settings.options:
        raise Ssl4rlError(f"curriculum.options are for a strategy of one's own, './my.py:Class'; {name} takes none")
    if name == "staged":
        return Staged(arms, settings)
    if name == "goldilocks":
        return Goldilocks(arms, settings)
    return Fixed(arms) if name == "fixed" else Uniform(arms)


def _own_strategy(path: str, attribute: str, options: Mapping[str, Any], arms: Sequence[Arm]) -> Strategy:
    """A class in a user's file, made with the recipe's options."""
    kind = getattr(registry.load_file(path), attribute, None)
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise Ssl4rlError(f"curriculum.strategy: {path!r} has no subclass of ssl4rl.Strategy named {attribute!r}")
    try:
        return kind(arms, **options)
    except TypeError as error:
        raise Ssl4rlError(f"curriculum.strategy: {attribute} cannot be made with {dict(options)}: {error}") from error
