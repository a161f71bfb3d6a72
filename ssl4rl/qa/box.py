"""Questions whose answer is a box in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Box, Verifier
from ssl4rl.core.verify.lists import BoxUnit, iou
from ssl4rl.qa import asking
from ssl4rl.qa.labelled import Labelled
from ssl4rl.vision import pixels

ROUNDED_IOU = 0.9
"""A box that overlaps less with itself in whole numbers is too small for the measure that is asked for."""


class OwnBox(Task[Labelled]):
    """Box: where in the picture is it?

    Sees: the question of a row of your own table, its picture, its hint.
    Answers: the box as left, top, right and bottom edge, in the level's `unit`: thousandths of width and height
    ("thousand", 0 to 1000), "percent", "share" (0 to 1), or "pixel" of the picture as it is shown, whose size the
    prompt then says.
    Reward: 1 from an intersection over union of `iou` on, below as much as it is above `credit_from`; of several boxes
    in a row the nearest counts. Chance: what a random box earns; expected is what the box that earns most over the
    whole data does.

    Levels: iou50, iou70 (with partial credit from 0.5 on). Parameters: `iou`, `credit_from`, `unit`; `image_px`, the
    longer side of pictures at most.

    Shortcuts and guards: one box in the middle, where annotators' things lie (the best constant box is measured over
    the data, and is what guessing earns); boxes that whole numbers of the unit cannot say (unusable). Not guarded,
    because the rows are yours: questions whose words tell the place.

    Source: your own rows (`tsv:`, `jsonl:`, `parquet:`), whose boxes are in pixels of the file's picture, thousandths,
    per cent or shares; the reward as in VLM-R1 (arXiv 2504.07615). Without data: drawn shapes.
    Versions: 1, the first.
    """

    name = "qa/box"
    version = 1
    kind: ClassVar[str] = "box"
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "iou50": {"iou": 0.5, "credit_from": 0.5, "unit": "thousand", "image_px": 1024},
        "iou70": {"iou": 0.7, "credit_from": 0.5, "unit": "thousand", "image_px": 1024},
    }
    draws = 1
    data = "drawn:"
    verifier = Box(0.5, 0.5, unit="thousand")

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return _verifier(level)

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "iou", 0.1, 0.95)
        pixels.check_between(self.name, params, "credit_from", 0.0, params["iou"])
        pixels.check_among(self.name, params, "unit", get_args(BoxUnit))
        asking.check_sizes(self.name, params)

    def make(self, items: Sequence[Labelled], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        (item,) = items
        verifier = _verifier(level)
        (medium,) = asking.pictures(item, level["image_px"])
        width, height = medium.data.size
        meta: dict[str, Any] = {"size": [width, height]} if level["unit"] == "pixel" else {}
        across, down = verifier.extent(Example((), None, meta=meta))
        answer, *others = (_whole(box, across, down, level["unit"]) for box in item.answers)
        if others:
            meta["accepted"] = others
        guess = item.facts.best_box(level["iou"], level["credit_from"])
        if guess is not None:
            meta["guess"] = _placed(guess, across, down)
        more = f"The picture is {width} pixels wide and {height} pixels high." if level["unit"] == "pixel" else ""
        example = Example(asking.prompt(asking.worded(item, more), [medium]), answer, meta=meta)
        return asking.given_back(example, verifier)


def _verifier(level: Mapping[str, Any]) -> Box:
    return Box(level["iou"], level["credit_from"], unit=level["unit"])


def _placed(box: Sequence[float], across: float, down: float) -> list[float]:
    return [round(edge * side, 4) for edge, side in zip(box, (across, down, across, down), strict=True)]


def _whole(box: Sequence[float], across: float, down: float, unit: str) -> list[float]:
    """A box of shares in a measure, in whole numbers (shares: three decimals).

    Raises:
        Unusable: rounding changes it too much.
    """
    exact = _placed(box, across, down)
    rounded = [round(edge, 3) if unit == "share" else int(edge + 0.5) for edge in exact]
    if rounded[0] >= rounded[2] or rounded[1] >= rounded[3] or iou(rounded, exact) < ROUNDED_IOU:
        raise Unusable(f"its box is too small to be said in the unit {unit!r}")
    return rounded
