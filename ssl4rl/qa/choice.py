"""Which of a question's own options is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.benchmark import LETTERS, Question
from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice
from ssl4rl.qa import asking
from ssl4rl.qa.labelled import Labelled
from ssl4rl.qa.tables.options import best, depends
from ssl4rl.vision import pixels


class OwnChoice(Task[Labelled]):
    """Choice: which option answers the question?

    Sees: the question of a row of your own table, its pictures (none, one or several), its hint, its options A, B, ...
    Answers: the letter of one option.
    Reward: exact. Chance: 1 / options.

    Levels: given (all options). Parameters: `options`, how many are shown at most (2 is easier; the right one is always
    among them); `shuffle`, whether their order is drawn anew for each example; `image_px`, the longer side of pictures
    at most.

    Shortcuts and guards: the right letter (options are shuffled by the example's key, so each letter is right as often;
    an option such as "all of the above" stays last, and where one names others by letters the row stays in order, which
    `taken` counts); options that say the same (the row is skipped). Not guarded, because the rows are yours: texts that
    tell. Where an option's text is right more often than chance whatever is asked ("yes"), `taken` says how often, and
    `expected` is what always taking it earns; lengths and shared words are for `ssl4rl audit`, which has no
    content-free twin of your questions and leaves them undecided.

    Source: your own rows (`tsv:`, `jsonl:`, `parquet:`); the prompt is VLMEvalKit's. Without data: drawn shapes.
    Versions: 1, the first.
    """

    name = "qa/choice"
    version = 1
    kind: ClassVar[str] = "choice"
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "given": {"options": len(LETTERS), "shuffle": True, "image_px": 1024}
    }
    draws = 1
    data = "drawn:"
    verifier = Choice(LETTERS, by_example=True)

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "options", 2, len(LETTERS))
        asking.check_sizes(self.name, params)

    def make(self, items: Sequence[Labelled], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        (item,) = items
        shown = self._shown(item, level["options"], rng)
        texts = [item.options[at] for at in shown]
        letters = LETTERS[: len(texts)]
        order = list(range(len(texts)))
        if level["shuffle"] and item.kept != "order":
            free = len(order) - (item.kept == "last")
            order[:free] = rng.permutation(free).tolist()
        question = Question(
            0, item.name, item.question, dict(zip(letters, texts, strict=True)), letters[shown.index(item.answers[0])],
            item.hint,
        ).rearranged(order)  # fmt: skip
        words = question.example_text()
        example = replace(words, prompt=asking.prompt(words.text(), asking.pictures(item, level["image_px"])))
        meta: dict[str, Any] = {**example.meta, "options": len(texts)}
        lean = best([item.leans[at] for at in shown]) if item.leans else None
        if lean is not None:
            meta["guess"] = letters[order.index(lean)]
        return replace(example, meta=meta)

    def _shown(self, item: Labelled, most: int, rng: np.random.Generator) -> list[int]:
        """The positions of the options that are shown, in their order: the right one and others that are drawn.

        Raises:
            Unusable: some have to be left out, and one speaks of the others.
        """
        everyone = list(range(len(item.options)))
        if len(everyone) <= most:
            return everyone
        if depends(item.options):
            raise Unusable("an option speaks of the others, none of which can be left out")
        right = item.answers[0]
        wrong = [at for at in everyone if at != right]
        drawn = [wrong[at] for at in rng.choice(len(wrong), most - 1, replace=False).tolist()]
        return sorted([right, *drawn])
