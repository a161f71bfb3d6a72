"""What a task asks: a question with its answer, its options and its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ssl4rl.qa.constants import Facts
from ssl4rl.vision.photo import EncodedPhoto, Photo


@dataclass(frozen=True, slots=True)
class Raw:
    """A row as its file has it. `answer`: a text, a number, a list of them, or None. `name`: "x.tsv row 7"."""

    name: str
    question: str
    answer: Any
    options: tuple[str, ...] = ()
    photos: tuple[EncodedPhoto, ...] = ()
    hint: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A row as a task of one kind takes it.

    `answers`: all that are right, the first one first: positions among the options, numbers, texts, or boxes as shares
    (0 to 1) of width and height. `leans`: for each option how often its text is right in other rows of the data, where
    that tells something; else empty. `kept`: whether options stay in their order ("order"), the last one does ("last"),
    or none ("").
    """

    name: str
    question: str
    answers: tuple[Any, ...]
    facts: Facts
    options: tuple[str, ...] = ()
    photos: tuple[Photo, ...] = ()
    hint: str = ""
    unit: str = ""
    leans: tuple[float, ...] = ()
    kept: str = ""
