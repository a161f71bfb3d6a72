"""Openers of tables with questions: the file's kind, its pictures looked at, what is a benchmark's said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import missing, split_options
from ssl4rl.qa import asking
from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.columns import OPTIONS
from ssl4rl.qa.tables.files import Asked, Found, read_jsonl, read_parquet, read_tsv
from ssl4rl.qa.tables.table import Table
from ssl4rl.vision.sources.base import NO_PICTURE, examine, named, one_line

ENDINGS = {".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_HELPS = {".csv": " (save it with tabs, as .tsv)", ".json": " (write an object a line, as .jsonl)"}
_ABOUT_ANSWERS = ("coords", "corners", "first")

BENCHMARKS = re.compile(
    r"(?:mmbench|seed_?bench|mmstar|blink|mmmu|ai2d|realworldqa|scienceqa|mathvista|mathverse|mathvision|mme|mmvet|chartqa"
    r"|docvqa|infovqa|textvqa|ocrbench|hallusionbench|pope|cv-?bench|vstar|gqa_test|okvqa_val|vqav2_val|muirbench|erqa"
    r"|refcoco\w*_(?:val|test)\w*)(?:[-_.]|$)",
    re.IGNORECASE,
)
"""Files of these names are public benchmarks, in whatever layout."""
_LAYOUT = {"question", "answer", "A", "B"}
_MARKS = {"category", "l2-category", "l2_category", "split"}


def open_path(text: str) -> Table:
    """A table by its path alone: FILE.tsv, FILE.jsonl, FILE.parquet or a folder of parquet files.

    Raises:
        Ssl4rlError: another kind of file; else as the openers below.
    """
    name = split_options("", text, OPTIONS)[0]
    if not text:
        raise Ssl4rlError("no table of questions is named; for example data=questions.jsonl")
    path = named(one_line(text), name)
    kind = ENDINGS.get(path.suffix.lower(), "parquet" if path.is_dir() and any(path.rglob("*.parquet")) else "")
    if not kind:
        if not path.exists():
            raise missing(one_line(name), path)
        what = "a folder" if path.is_dir() else "a file"
        helps = _HELPS.get(path.suffix.lower(), "")
        raise Ssl4rlError(
            f"{one_line(name)!r} is {what} without questions; allowed: {', '.join(ENDINGS)}, drawn:{helps}"
        )
    return _OPENERS[kind](text)


def open_tsv(text: str) -> Table:
    """`tsv:FILE`, questions in a TSV: VLMEvalKit's layout, or any with a header. Options after "?": `OPTIONS`.

    Raises:
        Ssl4rlError: no such file, a column that is not there, or nothing that can be asked.
    """
    return _open("tsv", text, read_tsv)


def open_jsonl(text: str) -> Table:
    """`jsonl:FILE`, questions as JSON objects, one a line. Raises Ssl4rlError as `open_tsv`."""
    return _open("jsonl", text, read_jsonl)


def open_parquet(text: str) -> Table:
    """`parquet:FILE`, a folder, a glob or braces: questions as the datasets library writes them.

    Raises:
        Ssl4rlError: as `open_tsv`; pyarrow is missing.
    """
    name, asked = split_options("parquet", text, OPTIONS)
    uri = f"parquet:{one_line(name)}"
    return _table(uri, read_parquet(uri, name, asked), asked, Path(name).name)


_OPENERS: dict[str, Callable[[str], Table]] = {"tsv": open_tsv, "jsonl": open_jsonl, "parquet": open_parquet}


def _open(scheme: str, text: str, reader: Callable[[str, Path, Asked], Found]) -> Table:
    name, asked = split_options(scheme, text, OPTIONS)
    uri = f"{scheme}:{one_line(name)}"
    if not name:
        raise Ssl4rlError(f"{uri!r} names no file; for example {scheme}:questions.{scheme}")
    path = named(uri, name)
    if not path.exists():
        raise missing(uri, path)
    if path.is_dir():
        raise Ssl4rlError(f"{uri!r} is a folder; allowed: a file")
    try:
        found = reader(uri, path, asked)
    except OSError as error:
        raise Ssl4rlError(f"{uri!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return _table(uri, found, asked, path.name)


def _table(uri: str, found: Found, asked: Asked, name: str) -> Table:
    """The table of the rows whose pictures can all be used."""
    if not found.rows and not found.problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    photos = list(dict.fromkeys(photo for row in found.rows for photo in row.photos))
    pictures = examine(uri, photos) if photos else None
    known = {} if pictures is None else {pictures[at]: pictures.id(at) for at in range(len(pictures))}
    why = {problem.name: problem.why for problem in pictures.problems} if pictures else {}
    rows: list[Raw] = []
    ids: list[tuple[str, ...]] = []
    problems: list[Problem] = list(found.problems)
    for row in found.rows:
        broken = [photo for photo in row.photos if photo not in known]
        reasons = [why.get(photo.label, "cannot be read") for photo in broken]
        if all(reason == NO_PICTURE for reason in reasons):
            shown = tuple(photo for photo in row.photos if photo in known)
            if (needed := asking.places(" ".join((row.hint, row.question, *row.options)))) > len(shown):
                why_not = f"it has places for {needed} pictures (<image>), and {len(shown)} pictures"
                problems.append(Problem(row.name, why_not))
                continue
            rows.append(replace(row, photos=shown))
            ids.append(tuple(known[photo] for photo in shown))
        else:
            problems.append(Problem(row.name, next(f"its picture: {r}" for r in reasons if r != NO_PICTURE)))
    if not rows:
        reasons = [f"{problem.name}: {problem.why}" for problem in problems[:3]]
        raise Ssl4rlError(f"{uri!r} ({found.columns.told()}): no row can be used ({'; '.join(reasons)})")
    answers = {option: asked[option] for option in _ABOUT_ANSWERS if option in asked}
    table = Table(uri, rows, ids, pictures, problems, found.columns.told(), answers, found.columns.others)
    table.benchmark = benchmark_of(name, found.layout)
    return table


def benchmark_of(name: str, columns: Sequence[str]) -> str:
    """The benchmark that a file is, by its name or by VLMEvalKit's columns for scores by category; "" for none."""
    stem = name.partition(".")[0]
    marked = {*columns} >= _LAYOUT and bool(_MARKS & {*columns})
    return stem if marked or BENCHMARKS.match(stem) else ""
