"""Several questions of one task in one prompt, right when all answers are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example, Media
from ssl4rl.core.verify import made
from ssl4rl.core.verify.base import Verifier

if TYPE_CHECKING:
    import numpy as np

_BETWEEN = re.compile(r"\s?[;\n]\s?")


def join(examples: Sequence[Example]) -> Example:
    """One example that asks all of `examples`: numbered prompts, then answers and `meta`s from the last to the first.

    The last question is answered first, so that an answer stands as far behind its question whatever their number is:
    a small model that can answer two goes on to three.
    """
    prompt: list[str | Media] = []
    for number, example in enumerate(examples, 1):
        prompt += [f"{'' if number == 1 else chr(10)}Question {number}: ", *example.prompt]
    backwards = examples[::-1]
    meta: dict[str, Any] = {"questions": [dict(example.meta) for example in backwards]}
    drawings = [drawing for example in examples for drawing in _listed(example.meta.get("drawing"))]
    if drawings:
        meta["drawing"] = drawings
    return Example(tuple(prompt), [example.answer for example in backwards], meta=meta)


def split(example: Example) -> list[Example]:
    """The questions of what `join` made, the last first, each with its answer and meta, without its prompt."""
    asked = example.meta["questions"]
    return [Example((), answer, meta=meta) for answer, meta in zip(example.answer, asked, strict=True)]


def _listed(drawing: Any) -> list[Any]:
    return [] if drawing is None else list(drawing) if isinstance(drawing, list) else [drawing]


@dataclass(frozen=True)
class Several(Verifier):
    """`n` answers of one kind in a row, the last question's first: "90; 0; 270", also one a line. For what `join` made.

    Reward: 1 when all are right, else 0, so that a task which is too easy one at a time is harder several at a time.
    Fewer or more answers than questions, or one that is not valid, are unparsed. Chance: the product of the chances.
    """

    each: Verifier
    n: int
    answers: ClassVar[str] = "a list of as many answers as questions, the last question's first"

    @property
    def instruction(self) -> str:
        return (
            f"{self.each.instruction} Give {self.n} such answers, from the last question's to the first's, "
            "separated by semicolons."
        )

    def is_answer(self, answer: Any) -> bool:
        return made.is_list(answer) and len(answer) == self.n

    def require(self, example: Example) -> None:
        super().require(example)
        metas = example.meta.get("questions")
        if not made.is_list(metas) or len(metas) != self.n or not all(isinstance(meta, Mapping) for meta in metas):
            made.refuse(
                "meta['questions']", metas, f"a list of the {self.n} questions' metas, the last question's first"
            )
        for question in split(example):
            self.each.require(question)

    def parse(self, text: str, example: Example) -> list[Any] | None:
        texts = _BETWEEN.split(text.strip(" ;"))
        questions = split(example)
        if len(texts) != len(questions):
            return None
        answers = [self.each.read(text, question) for text, question in zip(texts, questions, strict=True)]
        return None if None in answers else answers

    def grade(self, parsed: Any, example: Example) -> float:
        pairs = zip(parsed, split(example), strict=True)
        return float(all(self.each.correct(answer, question) for answer, question in pairs))

    def render(self, answer: Any) -> str:
        return ";".join(self.each.render(one) for one in answer)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[Any]:
        return [self.each.random_answer(question, rng) for question in split(example)]

    def chance(self, example: Example) -> float:
        return math.prod(self.each.chance(question) for question in split(example))
