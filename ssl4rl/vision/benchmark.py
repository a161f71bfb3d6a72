"""Multiple-choice questions about pictures in a TSV in VLMEvalKit's layout, MMBench's, SEED-Bench's or BLINK's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ssl4rl.core.benchmark import LETTERS, Benchmark, Item, Question
from ssl4rl.core.limits import open_regular
from ssl4rl.core.types import Media, Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.photo import EncodedPhoto, FilePhoto
from ssl4rl.vision.sources.base import named, one_line
from ssl4rl.vision.sources.tsv import Record, header_of, pictures_of, records, text_of

ROTATION = 1_000_000
"""Rows whose index is the same below this are rotations of one question (VLMEvalKit's `g_index`)."""
GROUPS = ("category", "l2-category", "split")
"""Columns that scores are given by."""

_WHOLE_PX = 1 << 20  # a side that no picture has: every one comes at its full size


def open_benchmark(path: str) -> Benchmark:
    """The questions of a TSV: columns `index`, `question`, `A`, `B`, ..., `answer`, and pictures as `tsv:` reads them
    (`image`: base64, a list of it, or the index of the row that has it; `image_path`); `hint` and `GROUPS` if there.

    An empty option is none. Rows of one index modulo a million are rotations of the first of them, as VLMEvalKit groups
    them; rotations without it are left out and said.

    Raises:
        Ssl4rlError: no such file, a column missing, a row that cannot be asked (its number and why), no rows.
    """
    uri = one_line(path)
    file = named(uri, path)
    if not file.exists():
        raise missing(uri, file)
    if file.is_dir():
        raise Ssl4rlError(f"{uri!r} is a folder; allowed: a TSV file")
    try:
        with open_regular(uri, file) as stream:
            digest = _digest(stream)
            questions = _Table(uri, file, records(stream, uri)).questions()
    except OSError as error:
        raise Ssl4rlError(f"{uri!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    items, lost = _grouped(questions)
    notes = [f"{lost} rotations whose question is missing are left out"] if lost else []
    return Benchmark(file.stem, str(file), digest, items, any(len(item.asked) > 1 for item in items), notes)


def _digest(stream: BinaryIO) -> str:
    found = hashlib.blake2b(digest_size=8)
    while piece := stream.read(1 << 20):
        found.update(piece)
    stream.seek(0)
    return found.hexdigest()


class _Table:
    """A TSV's texts by row and column; what holds pictures is left in the file.

    Raises:
        Ssl4rlError: a column is missing.
    """

    def __init__(self, uri: str, file: Path, rows: Iterator[Record]) -> None:
        self.uri, self._file, self._rows = uri, file, rows
        self._columns = columns = header_of(next(rows, Record(0, 0, 0, [])).fields)
        self._letters = [letter for letter in LETTERS if letter in columns]
        absent = [name for name in ("question", "A", "B", "answer") if name not in columns]
        if absent:
            shown = ", ".join(columns[:12])[:200] or "nothing"
            tests = " (a test split, whose answers its makers keep, cannot be scored here)"
            raise Ssl4rlError(
                f"{uri!r} is no multiple-choice TSV: it has no column {', '.join(map(repr, absent))}; it has: {shown}"
                + (tests if absent == ["answer"] else "")
            )

    def questions(self) -> list[Question]:
        """All rows'. Raises Ssl4rlError for the first one that cannot be asked, or where there are none."""
        texts: list[dict[str, str]] = []
        numbers: list[int] = []
        kept = {"index", "question", "hint", "answer", *self._letters, *GROUPS}

        def light() -> Iterator[Record]:
            for row in self._rows:
                named = zip(self._columns, row.fields, strict=False)
                texts.append({name: text_of(cell) for name, cell in named if name in kept})
                numbers.append(row.number)
                yield row

        pictures: list[list[EncodedPhoto]] = []
        wrong: dict[int, str] = {}
        if {"image", "image_path"} & set(self._columns):
            pictures, problems = pictures_of(self._file, light(), self._columns)
            wrong = {number: problem.why for number, problem in reversed(problems)}
        else:
            pictures = [[] for _ in light()]
        if not texts:
            raise Ssl4rlError(f"{self.uri!r} has no rows below its header")
        return [
            self._question(number, row, photos, wrong.get(number))
            for number, row, photos in zip(numbers, texts, pictures, strict=True)
        ]

    def _question(self, number: int, row: dict[str, str], photos: list[EncodedPhoto], wrong: str | None) -> Question:
        if wrong is not None:
            raise self._refused(number, wrong)
        options = {letter: row[letter] for letter in self._letters if row[letter]}
        if len(options) < 2:
            raise self._refused(number, f"it has {len(options)} options; allowed: 2 or more")
        answer = row["answer"].strip("().").upper()
        if answer not in options:
            said = f"its answer is {row['answer'][:40]!r}" if row["answer"] else "it has no answer"
            raise self._refused(number, f"{said}; allowed: {', '.join(options)}")
        if not row["question"]:
            raise self._refused(number, "it asks nothing")
        for photo in photos:  # told now, not hours later when it is asked
            if isinstance(photo, FilePhoto) and not os.path.isfile(os.path.join(photo.root, photo.name)):
                raise self._refused(number, f"its picture {photo.name!r} is no file")
        return Question(
            number,
            row.get("index") or str(number - 1),
            row["question"],
            options,
            answer,
            row.get("hint", ""),
            {name: row[name] for name in GROUPS if row.get(name)},
            partial(_shown, photos, self.uri, number),
        )

    def _refused(self, number: int, why: str) -> Ssl4rlError:
        return Ssl4rlError(f"{self.uri!r} row {number}: {why}")


def _shown(photos: Sequence[EncodedPhoto], uri: str, row: int) -> list[Media]:
    try:
        return [Media("image", photo.decode(_WHOLE_PX)) for photo in photos]
    except Unusable as unusable:
        raise Ssl4rlError(f"{uri!r} row {row}: {unusable}") from unusable


def _grouped(questions: Sequence[Question]) -> tuple[list[Item], int]:
    """Items in the file's order, and how many rotations have no question that they are of."""
    numbers = [int(q.index) if q.index.isascii() and q.index.isdigit() else None for q in questions]
    mains = {number for number in numbers if number is not None and number < ROTATION}
    turned = [n is not None and n >= ROTATION and n % ROTATION in mains for n in numbers]
    if not any(turned):  # large names, but no rotations
        return [Item((q,)) for q in questions], 0
    groups: dict[int | str, list[Question]] = {}
    for question, number in zip(questions, numbers, strict=True):
        groups.setdefault(question.index if number is None else number % ROTATION, []).append(question)
    whole = {name: group for name, group in groups.items() if isinstance(name, str) or name in mains}
    lost = sum(len(group) for name, group in groups.items() if name not in whole)
    first = {name: sorted(group, key=lambda q: q.index != str(name)) for name, group in whole.items()}
    return [Item(tuple(group)) for group in first.values()], lost
