"""Questions whose answer is a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.core.verify import Number, Verifier
from ssl4rl.qa import asking
from ssl4rl.qa.labelled import Labelled
from ssl4rl.vision import pixels


class OwnNumber(Task[Labelled]):
    """Number: which number answers the question?

    Sees: the question of a row of your own table, its pictures (none, one or several), its hint, and the unit in which
    the answer is asked for, where the row has one.
    Answers: a number; with a unit of the same kind it is converted (120 mm for 12 cm), one in another unit is unparsed.
    Reward: exact within the tolerance. Chance: what the number that is right most often over the whole data earns, 0 or
    1 for one example; 0 where no number is right twice.

    Levels: relaxed (5 % off is right, as ChartQA counts), exact. Parameters: `absolute` and `relative`, the tolerance:
    right is what differs by at most absolute + relative * |right number|; `image_px`, the longer side of pictures at
    most.

    Shortcuts and guards: one number that fits many rows (it is measured with the level's tolerance, and is what
    guessing earns: a reward above it is not luck); two numbers in a reply (unparsed). Not guarded, because the rows are
    yours: questions whose words tell the number.

    Source: your own rows (`tsv:`, `jsonl:`, `parquet:`); the tolerance after ChartQA (arXiv 2203.10244). Without data:
    drawn shapes to count.
    Versions: 1, the first.
    """

    name = "qa/number"
    version = 1
    kind: ClassVar[str] = "number"
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "relaxed": {"absolute": 0.0, "relative": 0.05, "image_px": 1024},
        "exact": {"absolute": 0.0, "relative": 0.0, "image_px": 1024},
    }
    draws = 1
    data = "drawn:"
    verifier = Number()

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Number(level["absolute"], level["relative"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "absolute", 0.0, 1e12)
        pixels.check_between(self.name, params, "relative", 0.0, 0.5)
        asking.check_sizes(self.name, params)

    def make(self, items: Sequence[Labelled], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        (item,) = items
        verifier = Number(level["absolute"], level["relative"])
        answer, *others = (int(one) if float(one).is_integer() else one for one in item.answers)
        meta: dict[str, Any] = {"accepted": others} if others else {}
        if item.unit:
            meta["unit"] = item.unit
        guess = item.facts.best_number(verifier)
        if guess is not None:
            meta["guess"] = int(guess) if guess.is_integer() else guess
        text = asking.worded(item, f"The answer is asked for in {item.unit}." if item.unit else "")
        shown = asking.pictures(item, level["image_px"])
        return asking.given_back(Example(asking.prompt(text, shown), answer, meta=meta), verifier)
