"""Questions whose answer is a word or a short phrase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.core.verify import FreeText, Verifier
from ssl4rl.qa import asking
from ssl4rl.qa.labelled import Labelled
from ssl4rl.vision import pixels


class OwnText(Task[Labelled]):
    """Text: which word or phrase answers the question?

    Sees: the question of a row of your own table, its pictures (none, one or several), its hint. Options, where the row
    has them, are not shown: the text of the right one is asked for.
    Answers: a word or a short phrase.
    Reward: 1 where it is one of the row's answers (a list holds aliases; of one in which some repeat, as annotators'
    votes do, those count that three give), case, articles and punctuation left out; with `partial` above 0 a share of
    the words in common, F1 * partial. Chance: what the text that is right most often over the whole data earns, 0 or 1
    for one example; 0 where none is right twice.

    Levels: exact. Parameters: `partial`; `image_px`, the longer side of pictures at most.

    Shortcuts and guards: one text that fits many rows, or a few frequent words that share something with most (both are
    measured, and are what guessing earns); naming several (that is another text, and F1 falls with each word). Not
    guarded, because the rows are yours: questions whose words tell the answer.

    Source: your own rows (`tsv:`, `jsonl:`, `parquet:`); the words' F1 after SQuAD (arXiv 1606.05250). Without data:
    the colours of drawn shapes.
    Versions: 1, the first.
    """

    name = "qa/text"
    version = 1
    kind: ClassVar[str] = "text"
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {"exact": {"partial": 0.0, "image_px": 1024}}
    draws = 1
    data = "drawn:"
    verifier = FreeText()

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return FreeText(partial=level["partial"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "partial", 0.0, 0.9)
        asking.check_sizes(self.name, params)

    def make(self, items: Sequence[Labelled], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        (item,) = items
        verifier = FreeText(partial=level["partial"])
        answer, *others = map(str, item.answers)
        meta: dict[str, Any] = {"accepted": others} if others else {}
        guess = item.facts.best_text(verifier)
        if guess is not None:
            meta["guess"] = guess
        shown = asking.pictures(item, level["image_px"])
        return asking.given_back(Example(asking.prompt(asking.worded(item), shown), answer, meta=meta), verifier)
