"""Verifiers of lists of numbers: an order, a box."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ssl4rl.core.types import Example
from ssl4rl.core.verify import made
from ssl4rl.core.verify.base import Verifier
from ssl4rl.core.verify.plain import bare, from_json, unlisted

if TYPE_CHECKING:
    import numpy as np

_WHOLE = r"\d{1,9}"
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_COMMA = r"\s?(?:,(?:\sand\s)?|;|->|=>|>|\||/|\sand\s)\s?|\s"
_ORDER = re.compile(rf"{_WHOLE}(?:(?:{_COMMA}){_WHOLE})*\.?")
_DASHED = re.compile(rf"{_WHOLE}(?:\s?-\s?{_WHOLE}){{2,}}\.?")
_EDGES = re.compile(rf"{_NUMBER}(?:(?:{_COMMA}){_NUMBER})*\.?")
_SHELLS = re.compile(r"[\[\](){}\"'`*$]")
_CORNER_TO_CORNER = re.compile(r"(?<=[)\]])\s?(?:-|->|to|and)\s?(?=[(\[])")
_LABEL = re.compile(r"\b([a-z_]{1,6}\d?)\s?[:=]\s?(?=\d)", re.IGNORECASE)
_BOX_TAGS = re.compile(r"</?box>", re.IGNORECASE)
EDGES = (
    ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
)  # fmt: skip
"""What the edges of a box are called, in the order x0, y0, x1, y1."""
BOX_KEYS = ("bbox_2d", "bbox", "box", "bounding_box")


def _loose(text: str) -> str:
    """Without brackets and quotes, which leave a space, and single spaces elsewhere."""
    return " ".join(_SHELLS.sub(" ", text).split()).rstrip(" .,;")


@dataclass(frozen=True)
class Permutation(Verifier):
    """An order of 1 to `n`: "3,1,2,4", with spaces, arrows or brackets, in rows, one a line; below 10 also "3124".

    Reward: the fraction of positions that agree with the best accepted order, times `partial` where not all do. What is
    no permutation (a number twice, missing or too large) is unparsed. Chance: accepted orders / n!.
    """

    n: int
    partial: float = 1.0
    answers: ClassVar[str] = "an order: a list of whole numbers, each once"

    def is_answer(self, answer: Any) -> bool:
        return made.is_list(answer) and len(answer) == self.n and all(map(made.is_number, answer))

    @property
    def instruction(self) -> str:
        example = ",".join(str(i) for i in range(self.n, 0, -1))
        return f"Answer with the numbers 1 to {self.n}, each once, separated by commas, for example {example}."

    def parse(self, text: str, example: Example) -> list[int] | None:
        text = unlisted(text)
        digits, text = bare(text), _loose(text)
        if self.n < 10 and len(digits) == self.n and digits.isdecimal():
            numbers = [int(digit) for digit in digits]
        elif _ORDER.fullmatch(text) or _DASHED.fullmatch(text):
            numbers = [int(number) for number in re.findall(_WHOLE, text)]
        else:
            return None
        return numbers if sorted(numbers) == list(range(1, self.n + 1)) else None

    def grade(self, parsed: Any, example: Example) -> float:
        right = max(sum(map(operator.eq, parsed, order)) for order in example.accepted)
        return 1.0 if right == self.n else self.partial * right / self.n

    def render(self, answer: Any) -> str:
        return ",".join(str(number) for number in answer)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[int]:
        return [int(number) + 1 for number in rng.permutation(self.n)]

    def chance(self, example: Example) -> float:
        return len({tuple(order) for order in example.accepted}) / math.factorial(self.n)

    def expected(self, example: Example) -> float:
        """With one accepted order 1/n of the places are right; with several, the mean over 2,000 orders of a fixed
        generator (error < 0.01)."""
        if len(example.accepted) == 1:
            return self.partial / self.n + (1 - self.partial) * self.chance(example)
        import numpy as np

        rng = np.random.default_rng(0)
        return float(np.mean([self.grade(self.random_answer(example, rng), example) for _ in range(2000)]))


BoxUnit = Literal["percent", "thousand", "share", "pixel"]
_UNITS: dict[str, tuple[float, str, str]] = {
    "percent": (100, "whole numbers", "in per cent of the picture, from 0 to 100"),
    "thousand": (1000, "whole numbers", "in thousandths of the picture's width and height, from 0 to 1000"),
    "share": (1, "numbers", "as shares of the picture's width and height, from 0 to 1, with three decimals"),
    "pixel": (0, "whole numbers", "in pixels of the picture, whose size is told above"),
}
"""The largest coordinate (0: the picture's own size), and how they are asked for."""


@dataclass(frozen=True)
class Box(Verifier):
    """A box as "x0,y0,x1,y1" in per cent of width and height, whole numbers from the top left corner.

    `unit`: another measure, answers and replies alike: "thousand" (of 0 to 1000), "share" (of 0 to 1), or "pixel", of a
    picture whose width and height are `meta["size"]`.
    Reward: 1 from an intersection over union (IoU) of `correct_iou` with the true box on; below as much as the IoU is
    above `least_iou`, max(0, (IoU - l) / (1 - l)), since a box in the middle overlaps most others a little.
    Guessing draws any box; chance and expected value are the mean over 4,096 boxes of a fixed generator (there is no
    closed form; error < 0.01), the expected value that of `meta["guess"]` where there is one. Where the question is
    known to be about squares, `sides` says from which side to which, in per cent,
    and guessing draws one of the middle side that keeps a fifth of it from the border, where guesses hit less often
    (counted over all such places; of squares from 32 to 44 that lie everywhere as often, it earns .033 and the best
    constant .035).
    """

    correct_iou: float = 0.7
    least_iou: float = 0.5
    sides: tuple[int, int] | None = None
    unit: BoxUnit = "percent"
    answers: ClassVar[str] = "a box: four numbers x0, y0, x1, y1 with x0 < x1 and y0 < y1"

    def is_answer(self, answer: Any) -> bool:
        fits = made.is_list(answer) and len(answer) == 4 and all(map(made.is_number, answer))
        return fits and answer[0] < answer[2] and answer[1] < answer[3]

    def require(self, example: Example) -> None:
        super().require(example)
        if self.unit == "pixel":
            made.listed(example, "size", "numbers: the picture's width and height", least=2, needed=True)
            if not all(made.is_number(side) and side > 0 for side in example.meta["size"]):
                made.refuse("meta['size']", example.meta["size"], "the picture's width and height in pixels")

    @property
    def instruction(self) -> str:
        _, numbers, how = _UNITS[self.unit]
        return (
            f"Answer with four {numbers} x0,y0,x1,y1: the left, top, right and bottom edge {how}, measured from its "
            "top left corner."
        )

    def extent(self, example: Example) -> tuple[float, float]:
        """The largest coordinates to the right and down."""
        if self.unit == "pixel":
            width, height = example.meta["size"][:2]
            return float(width), float(height)
        return _UNITS[self.unit][0], _UNITS[self.unit][0]

    def parse(self, text: str, example: Example) -> list[float] | None:
        text = unlisted(_BOX_TAGS.sub(" ", text.replace("%", "")).strip())
        if "{" in text:
            text = _box_in_json(text)
        text = _loose(_CORNER_TO_CORNER.sub(",", text))
        labels = tuple(label.casefold() for label in _LABEL.findall(text))
        if labels in EDGES:
            text = _LABEL.sub("", text)
        if not _EDGES.fullmatch(text):
            return None
        box = [_number(number) for number in re.findall(_NUMBER, text)]
        across, down = self.extent(example)
        valid = len(box) == 4 and box[0] < box[2] <= across and box[1] < box[3] <= down
        return box if valid else None

    def grade(self, parsed: Any, example: Example) -> float:
        best = max(iou(parsed, box) for box in example.accepted)
        return 1.0 if best >= self.correct_iou else max(0.0, (best - self.least_iou) / (1 - self.least_iou))

    def render(self, answer: Any) -> str:
        return ",".join(str(number) for number in answer)

    def _squares(self, sides: tuple[int, int]) -> tuple[int, int, int]:
        """Of the squares that guessing draws: the side, the least and the greatest place of the left or top edge."""
        side = round(sum(sides) / 2)
        margin = min(round(side / 5), (100 - side) // 2)
        return side, margin, 100 - side - margin

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[float]:
        if self.sides:
            side, low, high = self._squares(self.sides)
            x, y = rng.integers(low, high + 1, 2).tolist()
            return self._scaled([x, y, x + side, y + side], example)
        x0, x1 = sorted(rng.choice(101, 2, replace=False).tolist())
        y0, y1 = sorted(rng.choice(101, 2, replace=False).tolist())
        return self._scaled([x0, y0, x1, y1], example)

    def _scaled(self, percent: Sequence[float], example: Example) -> list[float]:
        """A box of per cent in this unit."""
        across, down = self.extent(example)
        box = [percent[0] * across / 100, percent[1] * down / 100, percent[2] * across / 100, percent[3] * down / 100]
        return [_number(f"{edge:.6f}") for edge in box]

    def chance(self, example: Example) -> float:
        return float((self._random_grades(example) >= 1).mean())

    def expected(self, example: Example) -> float:
        return super().expected(example) if "guess" in example.meta else float(self._random_grades(example).mean())

    def _random_grades(self, example: Example) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What the boxes of guessing earn: float [boxes]."""
        import numpy as np

        low, high = self._guesses()
        best = np.zeros(len(low))
        to_percent = 100 / np.array(self.extent(example) * 2)
        for answer in example.accepted:
            box = np.array(answer) * to_percent
            sides = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
            shared = np.clip(sides, 0, None).prod(axis=1)
            union = (high - low).prod(axis=1) + (box[2] - box[0]) * (box[3] - box[1]) - shared
            best = np.maximum(best, shared / union)
        partial = np.clip((best - self.least_iou) / (1 - self.least_iou), 0, None)
        return np.where(best >= self.correct_iou, 1.0, partial)

    def _guesses(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The top left and bottom right corners of guessing's boxes in per cent, int [boxes, 2] each."""
        import numpy as np

        if self.sides:
            side, least, most = self._squares(self.sides)
            places = np.arange(least, most + 1)
            low = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
            return low, low + side
        rng = np.random.default_rng(0)
        corners = rng.integers(0, 101, size=(6000, 4))
        corners = corners[(corners[:, 0] != corners[:, 2]) & (corners[:, 1] != corners[:, 3])][:4096]
        return np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _box_in_json(text: str) -> str:
    """The four numbers of the only box in JSON, alone or in a list of one; "" where it is anything else."""
    loaded = from_json(text)
    if loaded is None:
        return "" if '"' in text else text
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict):
        return ""
    boxes = [loaded[key] for key in loaded if key in BOX_KEYS]
    if len(boxes) == 1:
        return json.dumps(boxes[0])
    edges = [[loaded.get(label) for label in labels] for labels in EDGES if labels == tuple(loaded)]
    return json.dumps(edges[0]) if edges else ""


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1, each with an area, in [0, 1]."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union
