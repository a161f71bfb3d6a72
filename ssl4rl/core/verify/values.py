"""Verifiers of single values: a choice, a number, an angle, an order, a box, a text."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssl4rl.core.types import Example
from ssl4rl.core.verify.base import Verifier

if TYPE_CHECKING:
    import numpy as np

_INTEGER = re.compile(r"([+-]?\d{1,9})(?:\.0{0,9})?")
_ANGLE = re.compile(
    r"([+-]?\d{1,9})(?:\.0{1,9})?(?:\s?(?:°|degrees?\b|deg\b))?"
    r"(?:\s?(counter-?\s?clockwise|anti-?\s?clockwise|ccw|clockwise|cw))?\.?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,9}")
_LIST_TEXT = re.compile(r"\d{1,9}(?:\s?(?:,|;|->|→|>)\s?\d{1,9}|\s\d{1,9})*[\])}]?\.?")


def _either(options: Sequence[str]) -> str:
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]


def _fold(text: str) -> str:
    """Case, hyphens, underscores, repeated spaces and enclosing punctuation do not matter."""
    return " ".join(re.sub(r"[-_\s]+", " ", text.casefold()).strip(" ()[]{}.,:;!*\"'`").split())


def _bare(text: str) -> str:
    """Without what people put round a number: brackets, quotes, Markdown's stars, dollar signs."""
    return text.strip(" *\"'`$()[]{}")


@dataclass(frozen=True)
class Choice(Verifier):
    """One of a few options: letters ("ABCD") or words (("top left", "top right")).

    A letter may carry brackets or a full stop, words any case and hyphens. Reward: exact. Chance: 1 / options, or
    right options / options where `meta["accepted"]` names several. `meta["options"]` can narrow the options of one
    example to the first so many.
    """

    options: Sequence[str]

    def _open(self, example: Example) -> list[str]:
        return list(self.options[: example.meta.get("options", len(self.options))])

    @property
    def instruction(self) -> str:
        short = all(len(o) == 1 for o in self.options)
        kind = "of these" if not short else "number" if all(o.isdigit() for o in self.options) else "letter"
        return f"Answer with one {kind}: {_either(self.options)}."

    def parse(self, text: str, example: Example) -> str | None:
        folded = _fold(text)
        if not folded:
            return None
        return next((o for o in self._open(example) if _fold(o) == folded), None)

    def grade(self, parsed: Any, example: Example) -> float:
        return float(parsed in example.accepted)

    def random_answer(self, example: Example, rng: np.random.Generator) -> str:
        options = self._open(example)
        return options[int(rng.integers(len(options)))]

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / len(self._open(example))


@dataclass(frozen=True)
class Integer(Verifier):
    """A whole number from `low` to `high`, both included. Reward: exact. Chance: 1 / (high - low + 1)."""

    low: int
    high: int

    @property
    def instruction(self) -> str:
        return f"Answer with a whole number from {self.low} to {self.high}."

    def parse(self, text: str, example: Example) -> int | None:
        found = _INTEGER.fullmatch(_bare(text))
        number = int(found[1]) if found else None
        return number if number is not None and self.low <= number <= self.high else None

    def grade(self, parsed: Any, example: Example) -> float:
        return float(parsed in example.accepted)

    def random_answer(self, example: Example, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high + 1))

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / (self.high - self.low + 1)


@dataclass(frozen=True)
class Angle(Verifier):
    """Degrees counter-clockwise, a multiple of `step_deg` below 360. "90", "90°", "-270" and "270 clockwise" agree.

    Reward: 1 when exact; a miss by d degrees round the circle earns 0.5 * (1 - d / partial_deg), never below 0
    (`partial_deg=0`: exact only). Chance: step_deg / 360.
    """

    step_deg: int
    partial_deg: int = 0

    @property
    def angles(self) -> range:
        return range(0, 360, self.step_deg)

    @property
    def instruction(self) -> str:
        if len(self.angles) <= 8:
            return f"Answer in degrees: {_either([str(a) for a in self.angles])}."
        return f"Answer in degrees: a multiple of {self.step_deg} from 0 to {self.angles[-1]}."

    def parse(self, text: str, example: Example) -> int | None:
        found = _ANGLE.fullmatch(_bare(text))
        if not found:
            return None
        turn = (found[2] or "").lower()
        degrees = int(found[1]) * (-1 if turn in ("clockwise", "cw") else 1) % 360
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


@dataclass(frozen=True)
class Permutation(Verifier):
    """An order of 1 to `n`: "3,1,2,4", with spaces, arrows or brackets; below 10 also "3124".

    Reward: the fraction of positions that agree with the best accepted order, 1 only when all do. What is no
    permutation (a number twice, missing or too large) is unparsed. Chance: accepted orders / n!.
    """

    n: int

    @property
    def instruction(self) -> str:
        example = ",".join(str(i) for i in range(self.n, 0, -1))
        return f"Answer with the numbers 1 to {self.n}, each once, separated by commas, for example {example}."

    def parse(self, text: str, example: Example) -> list[int] | None:
        text = _bare(text)
        if self.n < 10 and len(text) == self.n and text.isdecimal():
            numbers = [int(digit) for digit in text]
        elif _LIST_TEXT.fullmatch(text):
            numbers = [int(number) for number in _NUMBER.findall(text)]
        else:
            return None
        return numbers if sorted(numbers) == list(range(1, self.n + 1)) else None

    def grade(self, parsed: Any, example: Example) -> float:
        right: list[int] = [sum(map(operator.eq, parsed, order)) for order in example.accepted]
        return max(right) / self.n

    def render(self, answer: Any) -> str:
        return ",".join(str(number) for number in answer)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[int]:
        return [int(number) + 1 for number in rng.permutation(self.n)]

    def chance(self, example: Example) -> float:
        return len({tuple(order) for order in example.accepted}) / math.factorial(self.n)

    def expected(self, example: Example) -> float:
        """1/n with one accepted order; with several, the mean over 2,000 orders of a fixed generator (error < 0.01)."""
        if len(example.accepted) == 1:
            return 1 / self.n
        import numpy as np

        rng = np.random.default_rng(0)
        return float(np.mean([self.grade(self.random_answer(example, rng), example) for _ in range(2000)]))


@dataclass(frozen=True)
class Box(Verifier):
    """A box as "x0,y0,x1,y1" in per cent of width and height, whole numbers from the top left corner.

    Reward: intersection over union (IoU) with the true box, and 1 from `correct_iou` on. Chance and expected value:
    the mean over 4,096 uniform boxes of a fixed generator (there is no closed form; error < 0.01).
    """

    correct_iou: float = 0.7

    @property
    def instruction(self) -> str:
        return (
            "Answer with four whole numbers x0,y0,x1,y1: the left, top, right and bottom edge in per cent of the "
            "picture, from 0 to 100, measured from its top left corner."
        )

    def parse(self, text: str, example: Example) -> list[int] | None:
        if not _LIST_TEXT.fullmatch(_bare(text.replace("%", ""))):
            return None
        box = [int(number) for number in _NUMBER.findall(text)]
        valid = len(box) == 4 and max(box) <= 100 and box[0] < box[2] and box[1] < box[3]
        return box if valid else None

    def grade(self, parsed: Any, example: Example) -> float:
        best = max(_iou(parsed, box) for box in example.accepted)
        return 1.0 if best >= self.correct_iou else best

    def render(self, answer: Any) -> str:
        return ",".join(str(number) for number in answer)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[int]:
        x0, x1 = sorted(rng.choice(101, 2, replace=False).tolist())
        y0, y1 = sorted(rng.choice(101, 2, replace=False).tolist())
        return [x0, y0, x1, y1]

    def chance(self, example: Example) -> float:
        return float((self._random_grades(example) >= 1).mean())

    def expected(self, example: Example) -> float:
        return float(self._random_grades(example).mean())

    def _random_grades(self, example: Example) -> np.ndarray[Any, np.dtype[np.float64]]:
        import numpy as np

        rng = np.random.default_rng(0)
        corners = rng.integers(0, 101, size=(6000, 4))
        corners = corners[(corners[:, 0] != corners[:, 2]) & (corners[:, 1] != corners[:, 3])][:4096]
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        best = np.zeros(len(corners))
        for box in example.accepted:
            sides = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
            shared = np.clip(sides, 0, None).prod(axis=1)
            union = (high - low).prod(axis=1) + (box[2] - box[0]) * (box[3] - box[1]) - shared
            best = np.maximum(best, shared / union)
        return np.where(best >= self.correct_iou, 1.0, best)


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


@dataclass(frozen=True)
class Text(Verifier):
    """A short text, compared without regard to case, spacing and enclosing punctuation.

    Reward: exact. Where `meta["candidates"]` lists the possible texts only those are valid and chance is right
    candidates / candidates; otherwise guessing is taken to earn nothing.
    """

    instruction_text: str = "Answer with the text alone."

    @property
    def instruction(self) -> str:
        return self.instruction_text

    def parse(self, text: str, example: Example) -> str | None:
        folded = _fold(text)
        if "candidates" not in example.meta:
            return text if folded else None
        return next((c for c in example.meta["candidates"] if _fold(c) == folded), None)

    def grade(self, parsed: Any, example: Example) -> float:
        return float(_fold(parsed) in {_fold(answer) for answer in example.accepted})

    def random_answer(self, example: Example, rng: np.random.Generator) -> str:
        candidates = example.meta.get("candidates")
        return str(rng.choice(candidates)) if candidates else "?"

    def chance(self, example: Example) -> float:
        candidates = example.meta.get("candidates")
        return len({_fold(answer) for answer in example.accepted}) / len(candidates) if candidates else 0.0
