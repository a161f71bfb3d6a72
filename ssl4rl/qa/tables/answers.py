"""What a column of answers means for a task: a letter, an index or an option's text; a number; a box; texts.

How the column is meant is decided for all rows together and said in a line; what could be meant in two ways and would
train on wrong answers is refused with the option that decides it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable, shortened
from ssl4rl.core.verify import made
from ssl4rl.core.verify.choice import words_of
from ssl4rl.core.verify.plain import layers, normalise
from ssl4rl.core.verify.quantity import quantity
from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.boxes import read_boxes
from ssl4rl.qa.tables.options import choose_from, positions
from ssl4rl.qa.tables.said import several

VOTES = 3
"""Of a list of answers in which some repeat (VQA's ten annotators) those said so often are right."""
LONGEST = 1000
"""Characters of a text that may be an answer."""


@dataclass(frozen=True)
class Read:
    """The rows that one kind of task can use: their numbers, and of each all right answers.

    `how`: how the column was read, in a few words; `units`: of numbers, by row.
    """

    rows: list[int] = field(default_factory=list)
    answers: list[tuple[Any, ...]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    how: str = ""
    units: Mapping[int, str] = field(default_factory=dict)


def read(kind: str, uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> Read:
    """The answers of all rows for a kind of task: "choice", "number", "box" or "text".

    Args:
        asked: of the URI's options those about answers: `coords`, `corners`, `first`.

    Raises:
        Ssl4rlError: the column can be meant in two ways.
    """
    return _KINDS[kind](uri, rows, asked)


def _each(rows: Sequence[Raw], answers_of: Callable[[int, Raw], tuple[Any, ...]], how: str) -> Read:
    found = Read(how=how)
    for number, row in enumerate(rows):
        try:
            answers = answers_of(number, row)
        except Unusable as why:
            found.problems.append(Problem(row.name, str(why)))
        else:
            found.rows.append(number)
            found.answers.append(answers)
    return found


def _choice(uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> Read:
    if not any(row.options for row in rows):
        raise Ssl4rlError(
            f"{uri!r} has no options to choose from (columns A, B, ..., or a list in options or choices); name them: "
            "?options=NAME; qa/text asks without"
        )
    at, how = positions(uri, rows, asked.get("first", ""))

    def answers_of(number: int, row: Raw) -> tuple[int, ...]:
        return (choose_from(row, at),)

    return _each(rows, answers_of, how)


def _number(uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> Read:
    units: dict[int, str] = {}

    def answers_of(number: int, row: Raw) -> tuple[float, ...]:
        values: list[float] = []
        for one in several(row.answer):
            found = (float(one), "") if made.is_number(one) else _quantity(str(one))
            if found is None:
                raise Unusable(f"its answer {shortened(repr(row.answer), 40)} is no number")
            values.append(found[0])
            if unit := row.unit or found[1]:
                units[number] = unit
        if not values:
            raise Unusable("it has no answer")
        return tuple(dict.fromkeys(values))

    found = _each(rows, answers_of, "numbers")
    return Read(found.rows, found.answers, found.problems, found.how, units)


_UNIT = re.compile(r"[^\W\d_][\w°/^. -]{0,20}|[%$€£¥°]\w?")


def _quantity(text: str) -> tuple[float, str] | None:
    """A number with its unit, read as a reply is: without what wraps it."""
    found = next((found for inner in layers(normalise(text)) if (found := quantity(inner)) is not None), None)
    return found if found and (not found[1] or _is_unit(found[1])) else None


def _is_unit(text: str) -> bool:
    return bool(_UNIT.fullmatch(text)) and not re.search(r"\b(?:or|and|to|not)\b", text)


def _text(uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> Read:
    """Of rows with options whose answer is a letter or an index, the option's text."""
    at = None
    if any(row.options for row in rows):
        at, _ = positions(uri, rows, asked.get("first", ""))

    def answers_of(number: int, row: Raw) -> tuple[str, ...]:
        found = at(row) if at and len(row.options) > 1 else None
        texts = [row.options[found]] if found is not None else agreed(several(row.answer))
        texts = [text for text in texts if words_of(text)]
        if not texts:
            raise Unusable("it has no answer")
        if max(map(len, texts)) > LONGEST:
            raise Unusable(f"its answer has more than {LONGEST} characters")
        return tuple(texts)

    return _each(rows, answers_of, "texts")


def _box(uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> Read:
    boxes, how = read_boxes(uri, rows, asked)

    def answers_of(number: int, row: Raw) -> tuple[Any, ...]:
        found = boxes[number]
        if isinstance(found, str):
            raise Unusable(found)
        return tuple(found)

    return _each(rows, answers_of, how)


_KINDS = {"choice": _choice, "number": _number, "box": _box, "text": _text}


def agreed(answers: Sequence[Any]) -> list[str]:
    """Texts that are right, the most frequent first: all of a list of aliases; of one in which some repeat those that
    `VOTES` say, or else the most frequent."""
    texts = [str(one).encode("utf-8", "replace").decode("utf-8").strip() for one in answers]
    counts = Counter(words_of(text) for text in texts)
    first = {words_of(text): text for text in reversed(texts)}
    if len(counts) < len(texts):
        voted = [key for key, n in counts.most_common() if n >= VOTES]
        return [first[key] for key in voted or [counts.most_common(1)[0][0]]]
    return [first[key] for key in counts]
