"""Pictures in a TSV in the layout of VLMEvalKit: base64 in a column, or paths beside the file."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from ssl4rl.core.limits import exceeded, limit, open_regular
from ssl4rl.core.source import Problem, too_many_problems
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.photo import EncodedPhoto, FilePhoto
from ssl4rl.vision.sources.base import NO_PICTURE, SCHEME_OF, PhotoSource, examine, inside, named, one_line
from ssl4rl.vision.streams import MIB, regular, too_much

_REFERENCE = 64
"""An `image` cell of at most so many characters is the index of the row that holds the picture (VLMEvalKit's rule)."""


_MOST_COLUMNS = _MOST_LINES = 1_000_000
"""Of one row. Each costs Python a step, so a megabyte of tabs would be dearer than a megabyte of picture."""
_COMMAS = 16
"""A list's paths may hold so many commas each."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row and where it lies in the file. `number` counts the rows after the header from 1."""

    number: int
    offset: int
    size: int
    fields: list[bytes]


@dataclass(frozen=True, slots=True)
class TsvPhoto(EncodedPhoto):
    """The `part`-th picture in column `column` of the row at byte `offset` of a TSV."""

    file: str
    offset: int
    size: int
    column: int
    part: int
    name: str

    def open(self) -> BinaryIO:
        with _one_row:
            parts = _row_parts(self.file, self.offset, self.size, self.column)
        if self.part >= len(parts):
            raise Unusable("the file has changed")
        return io.BytesIO(self._decode(parts[self.part]))

    def _decode(self, text: bytes) -> bytes:
        if text.startswith(b"data:"):
            text = text.partition(b",")[2]
        try:
            return base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error as error:
            raise Unusable(f"{self.label}: broken base64 ({str(error).lower()})") from None


_one_row = threading.Lock()
"""Rows are read by one thread at a time: together the largest ones would not fit into memory."""


@lru_cache(maxsize=2)
def _row_parts(file: str, offset: int, size: int, column: int) -> list[bytes]:
    """The pictures of one row. Those of the last two rows are kept: one with a thousand is read once, not each time."""
    with regular(file) as opened:
        opened.seek(offset)
        row = next(records(io.BytesIO(opened.read(size))), None)
    if row is None or column >= len(row.fields):
        raise Unusable("the file has changed")
    return parts_of(row.fields[column])


def open_tsv(text: str) -> PhotoSource:
    """The pictures of a VLMEvalKit TSV: `tsv:FILE`.

    Column `image` holds base64, a list of base64, the `index` of the row that holds the picture, or a path; column
    `image_path` a path (or a list of paths) relative to the TSV, used where `image` is missing or empty. Every row
    gives its pictures, so a picture referred to by four rows comes four times under one content id. Only byte offsets
    are kept; a row is read again when its picture is drawn. A file that asks questions with options is a benchmark.

    Raises:
        Ssl4rlError: no such file, neither column in it, or no usable picture.
    """
    uri = f"tsv:{one_line(text)}"
    path = named(uri, text)
    if path.is_dir() or (path.is_file() and SCHEME_OF.get(path.suffix.lower(), "tsv") != "tsv"):
        raise Ssl4rlError(f"{uri!r} is no TSV file; allowed: tsv:FILE.tsv")
    if not path.exists():
        raise missing(uri, path)
    try:
        with open_regular(uri, path) as file:
            rows = records(file, uri)
            header = next(rows, Record(0, 0, 0, [])).fields
            columns = header_of(header)
            if "image" not in columns and "image_path" not in columns:
                shown = ", ".join(columns[:12]) or "nothing"
                raise Ssl4rlError(f"{uri!r} has no column 'image' or 'image_path'; it has: {shown[:200]}")
            photos, problems = _photos(path, rows, columns)
    except OSError as error:
        raise Ssl4rlError(f"{uri!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not photos and not problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    used = " and ".join(repr(name) for name in ("image", "image_path") if name in columns)
    source = examine(uri, photos, problems, f"column {used} of {len(columns)}, header")
    source.benchmark = path.stem if {"question", "answer", "A", "B"} <= set(columns) else ""
    return source


def _photos(path: Path, rows: Iterator[Record], columns: list[str]) -> tuple[list[EncodedPhoto], list[Problem]]:
    """The pictures of all rows in order, and the rows without."""
    by_row, problems = pictures_of(path, rows, columns)
    photos: list[EncodedPhoto] = []
    for here in by_row:
        photos += here
        if len(photos) > limit("pictures"):
            raise exceeded(f"tsv:{path}", "pictures")
    return photos, [problem for _, problem in problems]


def text_of(cell: bytes) -> str:
    """A cell's text; "nan" is how pandas writes nothing."""
    text = cell.decode("utf-8", "replace").strip()
    return "" if text in ("nan", "NaN") else text


def header_of(fields: list[bytes]) -> list[str]:
    """The columns' names in a header row."""
    return [name.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip() for name in fields]


def pictures_of(
    path: Path, rows: Iterator[Record], columns: list[str]
) -> tuple[list[list[EncodedPhoto]], list[tuple[int, Problem]]]:
    """Of each row its pictures, references resolved; and what is wrong with rows, by their numbers."""
    at = {name: number for number, name in enumerate(columns)}
    found: list[list[EncodedPhoto] | bytes] = []  # of each row: its pictures, or the index of the row that has them
    by_index: dict[bytes, list[EncodedPhoto]] = {}
    problems: list[tuple[int, Problem]] = []
    for row in rows:
        name = f"{one_line(path.name)} row {row.number}"
        _require_few(path, problems)
        if len(found) >= limit("pictures"):
            raise exceeded(f"tsv:{path}", "pictures")
        here: list[EncodedPhoto] | bytes = []
        wrong: list[Problem] = []
        if len(row.fields) != len(columns):
            problems.append((row.number, Problem(name, f"has {len(row.fields)} columns, the header {len(columns)}")))
            found.append([])
            continue
        try:
            here = _pictures_in(path, row, at, name, wrong)
        except Unusable as unusable:
            wrong.append(Problem(name, str(unusable)))
        problems += [(row.number, problem) for problem in wrong]
        found.append(here)
        if "index" in at and isinstance(here, list):
            by_index.setdefault(row.fields[at["index"]].strip(), here)
    by_row: list[list[EncodedPhoto]] = []
    for number, here in enumerate(found, 1):
        if isinstance(here, bytes):
            target = by_index.get(here)
            if target is None:
                shown = here.decode("utf-8", "replace")
                why = f"refers to row {shown!r}, which has no picture"
                problems.append((number, Problem(f"{one_line(path.name)} row {number}", why)))
                _require_few(path, problems)
            here = target or []
        by_row.append(here)
    return by_row, problems


def _require_few(path: Path, problems: Sequence[tuple[int, Problem]]) -> None:
    """Gives a table up that has very many rows which cannot be used."""
    if len(problems) > limit("problems"):
        raise too_many_problems(f"tsv:{path}", problems[0][1])


def _pictures_in(
    path: Path, row: Record, at: dict[str, int], name: str, problems: list[Problem]
) -> list[EncodedPhoto] | bytes:
    """One row's pictures, or the index of the row that has them. Raises Unusable."""
    cell = row.fields[at["image"]].strip() if "image" in at else b""
    paths = row.fields[at["image_path"]].strip() if "image_path" in at else b""
    if _names_files(cell):
        return _files(path, name, parts_of(cell), problems)
    if len(cell) > _REFERENCE:
        at_row, column = (str(path), row.offset, row.size), at["image"]
        return [TsvPhoto(*at_row, column, part, _name(name, part)) for part in range(len(parts_of(cell)))]
    if paths:
        return _files(path, name, parts_of(paths), problems)
    if cell:
        return cell
    problems.append(Problem(name, NO_PICTURE))
    return []


def _names_files(cell: bytes) -> bool:
    """Whether an `image` cell holds the path of a picture, or a list of them: base64 has no full stop."""
    return bool(_PICTURE_PATH.search(cell[-80:])) and not cell.startswith(b"data:")


_PICTURE_PATH = re.compile(rb"\.(?:jpe?g|jfif|png|webp|gif|tiff?|bmp|avif)[\"'\]\s]*\Z", re.IGNORECASE)


def _name(row: str, part: int) -> str:
    return f"{row} picture {part + 1}" if part else row


def _files(tsv: Path, row: str, paths: list[bytes], problems: list[Problem]) -> list[EncodedPhoto]:
    files: list[EncodedPhoto] = []
    for path in paths:
        relative = path.decode("utf-8", "surrogateescape")
        try:
            inside(tsv.parent, relative)
        except Unusable as unusable:
            problems.append(Problem(row, str(unusable)))
        else:
            files.append(FilePhoto(str(tsv.parent), relative))
    return files


def parts_of(cell: bytes) -> list[bytes]:
    """One value, or the values of a list written as JSON or as Python writes it, or bare base64 between commas.

    Raises:
        Unusable: more values than are allowed, or a JSON list of something else than texts.
    """
    cell = cell.strip()
    if not (cell.startswith(b"[") and cell.endswith(b"]")):
        return [cell]
    most = limit("pictures_per_row")
    if cell.count(b",") > _COMMAS * most:  # before a list is made of them
        raise too_much("a list of very many", "pictures_per_row")
    values = _json_list(cell)
    if values is None:
        values = _python_list(cell)
    if values is None:
        values = [part.strip().strip(b"\"'") for part in cell[1:-1].split(b",") if part.strip()]
    if len(values) > most:
        raise too_much(f"{len(values)} pictures", "pictures_per_row")
    return values


def _json_list(cell: bytes) -> list[bytes] | None:
    """The texts of a JSON list, None where it is no JSON."""
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise Unusable("its list holds something else than texts")
    return [value.encode("utf-8", "surrogatepass") for value in values]


def _python_list(cell: bytes) -> list[bytes] | None:
    """The texts of a list as Python writes it, None where it is none."""
    values: list[bytes] = []
    at, end = 1, len(cell) - 1
    while at < end:
        match = _PYTHON_TEXT.match(cell, at, end)
        if match is None:
            return values if not cell[at:end].strip() else None
        text = match[1]
        try:
            values.append(
                ast.literal_eval(text.decode()).encode("utf-8", "surrogatepass") if b"\\" in text else text[1:-1]
            )
        except (ValueError, SyntaxError):
            return None
        at = match.end()
    return values


_PYTHON_TEXT = re.compile(rb"""\s*('[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")\s*(?:,|\Z)""", re.DOTALL)


def records(file: BinaryIO, uri: str = "tsv:") -> Iterator[Record]:
    """The rows of a TSV, header included (as number 0), with quoting as pandas and Excel write it.

    Python's csv module would do but for its limit on a field's length, which only a global setting lifts.

    Raises:
        Ssl4rlError: a row longer than "row_mib", or one of very many columns or lines.
    """
    longest = limit("row_mib") * MIB
    offset = number = start = lines = 0
    fields: list[bytes] = []
    open_field: list[bytes] = []  # the pieces of a quoted field that is not closed yet
    while line := file.readline(longest + 1):
        offset, lines = offset + len(line), lines + 1
        if not open_field and not line.strip():
            start, lines = offset, 0
            continue
        if offset - start > longest:
            raise exceeded(uri, "row_mib", f"row {number}")
        if line.count(b"\t") + len(fields) > _MOST_COLUMNS or lines > _MOST_LINES:
            raise Ssl4rlError(f"{uri!r}: row {number} has more than {_MOST_COLUMNS} columns or lines; is it a TSV?")
        for position, piece in enumerate(line.rstrip(b"\r\n").split(b"\t")):
            if open_field:
                open_field += [b"\t" if position else b"\n", piece]
                if piece.count(b'"') % 2:
                    fields.append(_unquote(b"".join(open_field)))
                    open_field = []
            elif piece.startswith(b'"') and piece.count(b'"') % 2:
                open_field = [piece]
            else:
                fields.append(_unquote(piece))
        if not open_field:
            yield Record(number, start, offset - start, fields)
            fields, start, number, lines = [], offset, number + 1, 0
    if open_field:
        yield Record(number, start, offset - start, [*fields, b"".join(open_field)])


def _unquote(field: bytes) -> bytes:
    if len(field) < 2 or not (field.startswith(b'"') and field.endswith(b'"')):
        return field
    return field[1:-1].replace(b'""', b'"')
