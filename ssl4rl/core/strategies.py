"""Which levels are trained on when: the strategies of a curriculum, and what they are told.

A strategy of one's own is a subclass of `Strategy` with one method (docs/curriculum.md).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl4rl.core.recipe.sections import CurriculumSection

_FEW = 8  # groups below which an average decides nothing
_HALF = 0.5
_LAST_FLOOR = 0.25  # what is left of the floor once everything else is at the target
_LOST = 0.75  # the share of `threshold` below which a mastered level is no longer taken for one


@dataclass(frozen=True)
class Arm:
    """One task at one level, as a strategy sees it.

    `entry`: the recipe's task it belongs to; `rank`: its place among that task's levels, 0 the easiest; `weight`: the
    task's share of the mixture, in (0, 1]; `share`: the level's part of it where nothing moves; `target`: whether it is
    the level to end at; `name`: "task@version[level]".
    """

    name: str
    task: str
    level: str
    entry: int
    rank: int
    weight: float
    share: float
    target: bool


@dataclass(frozen=True)
class ArmStats:
    """An arm and its running averages, over rollout groups; all 0 before the first group.

    `success`: share of fully correct completions; `chance`: of a random answer to be so. `value`: mean accuracy with
    partial credit; `guess`: a random answer's. `signal`: mean unbiased variance of the accuracy within a group, p(1-p)
    where it is right or wrong: what rewards can tell apart. `groups`: how many groups there were in all.
    """

    arm: Arm
    groups: int = 0
    success: float = 0.0
    value: float = 0.0
    signal: float = 0.0
    chance: float = 0.0
    guess: float = 0.0

    @property
    def skill(self) -> float:
        """How far the value is from guessing (0) to perfect (1): comparable between levels of different chance."""
        return (self.value - self.guess) / (1 - self.guess) if self.guess < 1 else 0.0

    def sure_skill(self, memory: int) -> float:
        """Two standard errors below the skill, a group counting as one observation of right or wrong.

        An exponential average over `memory` groups weighs like 2 memory - 1 of them alike.
        """
        if not self.groups or self.guess >= 1:
            return 0.0
        seen = min(self.groups, 2 * memory - 1)
        return self.skill - 2 * math.sqrt(max(0.0, self.value * (1 - self.value)) / seen) / (1 - self.guess)


@dataclass(frozen=True)
class Stats:
    """What is known when weights are decided: each arm's averages, GRPO steps done and to do."""

    arms: Sequence[ArmStats]
    step: int
    steps: int

    def toward(self, anneal: float) -> float:
        """How far the run has come, in [0, 1], to a share of its steps (`anneal` <= 1) or to a number of them."""
        end = anneal * self.steps if anneal <= 1 else anneal
        return min(1.0, self.step / max(1.0, end))


class Strategy(ABC):
    """Weighs arms. Made once a run as `Class(arms, **options)`; asked once a step, after the step's rollouts.

    All it remembers must come out of `state` and go back in by `load`: it is in the checkpoints and in the log. As
    they are, nothing comes out, and what does goes back into the attributes of its names.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms = arms

    @abstractmethod
    def weights(self, stats: Stats) -> Sequence[float]:
        """A weight >= 0 for each of `stats.arms`, not all 0, of any scale; in force from the next step on.

        Asked for the first time before the first step, when nothing is known (`groups` is 0 everywhere).
        """

    def state(self) -> dict[str, Any]:
        """What `weights` remembers, as JSON values."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        vars(self).update(state)


class Fixed(Strategy):
    """The recipe's shares, from the first step to the last."""

    def weights(self, stats: Stats) -> Sequence[float]:
        return [s.arm.weight * s.arm.share for s in stats.arms]


class Uniform(Strategy):
    """Every level of a task alike."""

    def weights(self, stats: Stats) -> Sequence[float]:
        return [s.arm.weight / sum(other.entry == s.arm.entry for other in self.arms) for s in stats.arms]


class Staged(Strategy):
    """One level after the other: on once its skill stays at `threshold`; earlier levels share `keep`."""

    def __init__(self, arms: Sequence[Arm], settings: CurriculumSection) -> None:
        super().__init__(arms)
        self.settings = settings
        self.stage = {arm.entry: 0 for arm in arms}
        self.streak = dict.fromkeys(self.stage, 0)

    def weights(self, stats: Stats) -> Sequence[float]:
        found = [0.0] * len(stats.arms)
        for entry, ladder in _ladders(stats).items():
            self._advance(entry, ladder)
            now, keep = self.stage[entry], self.settings.keep
            for at, s in ladder:
                rank = s.arm.rank
                share = keep / now if rank < now else (1 - keep if now else 1.0) if rank == now else 0.0
                found[at] = s.arm.weight * share
        return found

    def _advance(self, entry: int, ladder: Sequence[tuple[int, ArmStats]]) -> None:
        now = self.stage[entry]
        s = ladder[now][1]
        mastered = s.groups >= _FEW and s.skill >= self.settings.threshold
        self.streak[entry] = self.streak[entry] + 1 if mastered else 0
        if self.streak[entry] >= self.settings.patience and not s.arm.target:
            self.stage[entry], self.streak[entry] = now + 1, 0

    def state(self) -> dict[str, Any]:
        return {"stage": _texts(self.stage), "streak": _texts(self.streak)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.stage, self.streak = _numbers(state["stage"]), _numbers(state["streak"])


class Goldilocks(Strategy):
    """Weights follow what the levels within reach have to teach, and end at the target.

    Within a task, with s_k the signal (within-group variance) of level k, up to the target T:

    - until every level was seen in a few groups, all alike;
    - the frontier F is the hardest level off the floor (skill surely >= `learnable`, by two standard errors), or the
      one after the hardest mastered one (skill >= `threshold`), if that is harder. It moves when that holds for
      `patience` steps in a row, and back only where its own skill is below half of `learnable` and that of the level
      before it below three quarters of `threshold`;
    - g_k, the share by signal among the levels up to F, is s_k over their sum. A level beyond has variance too, that
      of guessing (0.19 among four options), which teaches nothing;
    - the pull to F is how far the run has come to `anneal`; once F is T, at least s_T over the largest s;
    - wanted: floor + (1 - K floor) ((1 - pull) g_k + pull [k = F]). Once F is T the floor shrinks to a quarter with
      the pull; until then the levels beyond F must be seen often enough to notice that one is within reach;
    - the weights move `rate` of the way to that in a step.

    The pull is there because sampling by p(1-p) alone was measured to give a head start and no better end.
    """

    def __init__(self, arms: Sequence[Arm], settings: CurriculumSection) -> None:
        super().__init__(arms)
        self.settings = settings
        self.frontier = {arm.entry: 0 for arm in arms}
        self.streak = dict.fromkeys(self.frontier, 0)
        self.shares: dict[int, list[float]] = {}

    def weights(self, stats: Stats) -> Sequence[float]:
        found = [0.0] * len(stats.arms)
        for entry, ladder in _ladders(stats).items():
            levels = [s for _, s in ladder]
            used = next((k for k, s in enumerate(levels) if s.arm.target), len(levels) - 1) + 1
            self._move_frontier(entry, levels[:used])
            wanted = self._wanted(entry, levels[:used], stats) + [0.0] * (len(levels) - used)
            old = self.shares.get(entry, wanted)
            self.shares[entry] = [a + self.settings.rate * (b - a) for a, b in zip(old, wanted, strict=True)]
            for (at, s), share in zip(ladder, self.shares[entry], strict=True):
                found[at] = s.arm.weight * share
        return found

    def _move_frontier(self, entry: int, levels: Sequence[ArmStats]) -> None:
        now, settings, top = self.frontier[entry], self.settings, len(levels) - 1
        known = [s.skill if s.groups >= _FEW else 0.0 for s in levels]
        sure = [s.sure_skill(settings.memory) if s.groups >= _FEW else 0.0 for s in levels]
        off_floor = max((k for k, skill in enumerate(sure) if skill >= settings.learnable), default=0)
        next_up = max((k + 1 for k, skill in enumerate(known) if skill >= settings.threshold), default=0)
        reached = min(top, max(off_floor, next_up))
        lost = now > 0 and known[now - 1] < _LOST * settings.threshold
        back = reached < now and known[now] < settings.learnable / 2 and lost
        self.streak[entry] = self.streak[entry] + 1 if reached > now or back else 0
        if self.streak[entry] >= settings.patience:
            self.frontier[entry], self.streak[entry] = reached, 0

    def _wanted(self, entry: int, levels: Sequence[ArmStats], stats: Stats) -> list[float]:
        frontier, K = self.frontier[entry], len(levels)
        if min(s.groups for s in levels) < _FEW:
            return [1 / K] * K
        signals = [s.signal if k <= frontier else 0.0 for k, s in enumerate(levels)]
        whole, largest = sum(signals), max(signals)
        by_signal = [signal / whole if whole else float(k == frontier) for k, signal in enumerate(signals)]
        pull = stats.toward(self.settings.anneal)
        if frontier == K - 1 and largest > 0:
            mastered = levels[-1].skill >= _HALF
            pull = max(pull, 1.0 if mastered else signals[-1] / largest)
        shrunk = (1 - _LAST_FLOOR) * pull if frontier == K - 1 else 0.0
        floor = min(self.settings.floor, _HALF / K) * (1 - shrunk)
        return [floor + (1 - K * floor) * ((1 - pull) * g + pull * (k == frontier)) for k, g in enumerate(by_signal)]

    def state(self) -> dict[str, Any]:
        shares = {str(entry): list(part) for entry, part in self.shares.items()}
        return {"frontier": _texts(self.frontier), "streak": _texts(self.streak), "shares": shares}

    def load(self, state: Mapping[str, Any]) -> None:
        self.frontier, self.streak = _numbers(state["frontier"]), _numbers(state["streak"])
        self.shares = {int(entry): list(part) for entry, part in state["shares"].items()}


def _ladders(stats: Stats) -> dict[int, list[tuple[int, ArmStats]]]:
    """Each entry's arms from easy to hard, with their positions."""
    found: dict[int, list[tuple[int, ArmStats]]] = {}
    for at, s in enumerate(stats.arms):
        found.setdefault(s.arm.entry, []).append((at, s))
    return found


def _texts(values: Mapping[int, int]) -> dict[str, int]:
    """With keys that JSON keeps."""
    return {str(key): value for key, value in values.items()}


def _numbers(values: Mapping[str, int]) -> dict[int, int]:
    return {int(key): int(value) for key, value in values.items()}
