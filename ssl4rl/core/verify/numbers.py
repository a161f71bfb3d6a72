"""Verifiers of numbers: a whole number, an angle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example
from ssl4rl.core.verify import made
from ssl4rl.core.verify.base import Verifier, either
from ssl4rl.core.verify.plain import bare

if TYPE_CHECKING:
    import numpy as np

_COUNTED = (
    "hop|edge|link|step|triangle|node|neighbor|neighbour|cell|tile|piece|part|patch|picture|image|photo|point|time|unit"
    "|row|column|word|item|object|letter|character|frame|option|level"
)
_UNIT = rf"(?:{_COUNTED})(?:s|\(s\)?)?|vertex|vertices|patches"
_INTEGER = re.compile(
    rf"(?:(?:cell|number|no\.|tile|#)\s?)?([+-]?\d{{1,9}})(?:\.0{{0,9}})?(?:\s?(?:{_UNIT})(?: away)?)?\.?",
    re.IGNORECASE,
)
_BULLET = re.compile(r"-\s(?=\d)")
_TURN = r"counter[-\s]{0,2}clockwise|anti[-\s]{0,2}clockwise|ccw|clockwise|cw"
_ANGLE = re.compile(
    rf"(?:({_TURN})\s?[,:]?\s)?([+-]?\d{{1,9}})(?:\.0{{1,9}})?(?:[-\s]?(?:°|degrees?\b|degs?\b|度))?"
    rf"(?:\s?[,;(]?\s?({_TURN})\)?)?(?:\s(?:rotation|turn))?\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Integer(Verifier):
    """A whole number from `low` to `high`, both included; "4 hops" is 4, of a few units that graphs and pictures have.

    Reward: exact. Chance: 1 / (high - low + 1).
    """

    low: int
    high: int
    answers: ClassVar[str] = "a whole number"

    def is_answer(self, answer: Any) -> bool:
        return made.is_number(answer)

    @property
    def instruction(self) -> str:
        return f"Answer with a whole number from {self.low} to {self.high}."

    def parse(self, text: str, example: Example) -> int | None:
        text = bare(text)
        bullet = _BULLET.match(text)
        found = _INTEGER.fullmatch(text, bullet.end() if bullet else 0)
        number = int(found[1]) if found else None
        if number is None or not self.low <= number <= self.high:
            return None
        return None if bullet and number and self.low <= -number else number  # "- 5" might mean minus five

    def grade(self, parsed: Any, example: Example) -> float:
        return float(parsed in example.accepted)

    def random_answer(self, example: Example, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high + 1))

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / (self.high - self.low + 1)


@dataclass(frozen=True)
class Angle(Verifier):
    """Degrees counter-clockwise, a multiple of `step_deg` below 360. "90", "90°", "-270" and "270 clockwise" agree.

    "- 90" is unparsed, for the dash might be a minus or a list's.

    Reward: 1 when exact; a miss by d degrees round the circle earns 0.5 * (1 - d / partial_deg), never below 0
    (`partial_deg=0`: exact only). Chance: step_deg / 360.
    """

    step_deg: int
    partial_deg: int = 0
    answers: ClassVar[str] = "a number of degrees"

    def is_answer(self, answer: Any) -> bool:
        return made.is_number(answer)

    @property
    def angles(self) -> range:
        return range(0, 360, self.step_deg)

    @property
    def instruction(self) -> str:
        if len(self.angles) <= 8:
            return f"Answer in degrees: {either([str(a) for a in self.angles])}."
        return f"Answer in degrees: a multiple of {self.step_deg} from 0 to {self.angles[-1]}."

    def parse(self, text: str, example: Example) -> int | None:
        found = _ANGLE.fullmatch(bare(text))
        if not found or (found[1] and found[3]):
            return None
        turn = (found[1] or found[3] or "").lower()
        degrees = int(found[2]) * (-1 if turn in ("clockwise", "cw") else 1) % 360
        return degrees if degrees in self.angles else None

    def grade(self, parsed: Any, example: Example) -> float:
        return max(self._credit(parsed, answer) for answer in example.accepted)

    def _credit(self, parsed: int, answer: int) -> float:
        miss_deg = abs((parsed - answer + 180) % 360 - 180)
        if miss_deg == 0:
            return 1.0
        return max(0.0, 0.5 * (1 - miss_deg / self.partial_deg)) if self.partial_deg else 0.0

    def random_answer(self, example: Example, rng: np.random.Generator) -> int:
        return int(rng.choice(self.angles))

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / len(self.angles)

    def expected(self, example: Example) -> float:
        return sum(self.grade(angle, example) for angle in self.angles) / len(self.angles)
