"""Pictures in a TSV in the layout of VLMEvalKit: base64 in a column, or paths beside the file."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.photo import EncodedPhoto, FilePhoto
from ssl4rl.vision.sources.base import SCHEME_OF, PhotoSource, examine, inside

_REFERENCE = 64
"""An `image` cell of at most so many characters is the index of the row that holds the picture (VLMEvalKit's rule)."""


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
        with Path(self.file).open("rb") as file:
            file.seek(self.offset)
            (row,) = records(io.BytesIO(file.read(self.size)))
        return io.BytesIO(self._decode(_parts(row.fields[self.column])[self.part]))

    def _decode(self, text: bytes) -> bytes:
        if text.startswith(b"data:"):
            text = text.partition(b",")[2]
        try:
            return base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error as error:
            raise Unusable(f"{self.label}: broken base64 ({str(error).lower()})") from None


def open_tsv(text: str) -> PhotoSource:
    """The pictures of a VLMEvalKit TSV: `tsv:FILE`.

    Column `image` holds base64, a list of base64, or the `index` of the row that holds the picture; column
    `image_path` a path (or a list of paths) relative to the TSV, used where `image` is missing or empty. Every row
    gives its pictures, so a picture referred to by four rows comes four times under one content id. Only byte offsets
    are kept; a row is read again when its picture is drawn.

    Raises:
        Ssl4rlError: no such file, neither column in it, or no usable picture.
    """
    uri = f"tsv:{text}"
    path = Path(text).expanduser()
    if path.is_dir() or (path.is_file() and SCHEME_OF.get(path.suffix.lower(), "tsv") != "tsv"):
        raise Ssl4rlError(f"{uri!r} is no TSV file; allowed: tsv:FILE.tsv")
    if not path.is_file():
        raise missing(uri, path)
    with path.open("rb") as file:
        rows = records(file)
        header = next(rows, Record(0, 0, 0, [])).fields
        columns = [name.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip() for name in header]
        if "image" not in columns and "image_path" not in columns:
            shown = ", ".join(columns[:12]) or "nothing"
            raise Ssl4rlError(f"{uri!r} has no column 'image' or 'image_path'; it has: {shown[:200]}")
        photos, problems = _photos(path, rows, columns)
    if not photos and not problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    return examine(uri, photos, problems)


def _photos(path: Path, rows: Iterator[Record], columns: list[str]) -> tuple[list[EncodedPhoto], list[Problem]]:
    """The pictures of all rows in order, references resolved, and the rows without."""
    at = {name: number for number, name in enumerate(columns)}
    found: list[list[EncodedPhoto] | bytes] = []  # of each row: its pictures, or the index of the row that has them
    by_index: dict[bytes, list[EncodedPhoto]] = {}
    problems: list[Problem] = []
    for row in rows:
        name = f"{path.name} row {row.number}"
        if len(row.fields) != len(columns):
            problems.append(Problem(name, f"has {len(row.fields)} columns, the header {len(columns)}"))
            found.append([])
            continue
        cell = row.fields[at["image"]].strip() if "image" in at else b""
        paths = row.fields[at["image_path"]].strip() if "image_path" in at else b""
        here: list[EncodedPhoto] | bytes = []
        if len(cell) > _REFERENCE:
            parts = range(len(_parts(cell)))
            here = [TsvPhoto(str(path), row.offset, row.size, at["image"], part, _name(name, part)) for part in parts]
        elif paths:
            here = _files(path, name, _parts(paths), problems)
        elif cell:
            here = cell
        else:
            problems.append(Problem(name, "no picture"))
        found.append(here)
        if "index" in at and isinstance(here, list):
            by_index.setdefault(row.fields[at["index"]].strip(), here)
    photos: list[EncodedPhoto] = []
    for number, here in enumerate(found, 1):
        if isinstance(here, bytes):
            target = by_index.get(here)
            if target is None:
                shown = here.decode("utf-8", "replace")
                problems.append(Problem(f"{path.name} row {number}", f"refers to row {shown!r}, which has no picture"))
            photos += target or []
        else:
            photos += here
    return photos, problems


def _name(row: str, part: int) -> str:
    return f"{row} picture {part + 1}" if part else row


def _files(tsv: Path, row: str, paths: list[bytes], problems: list[Problem]) -> list[EncodedPhoto]:
    files: list[EncodedPhoto] = []
    for path in paths:
        relative = path.decode("utf-8", "replace")
        try:
            inside(tsv.parent, relative)
        except Unusable as unusable:
            problems.append(Problem(row, str(unusable)))
        else:
            files.append(FilePhoto(str(tsv.parent), relative))
    return files


def _parts(cell: bytes) -> list[bytes]:
    """One value, or the values of a list written as JSON or Python writes it. Base64 holds no comma and no quote."""
    cell = cell.strip()
    if not (cell.startswith(b"[") and cell.endswith(b"]")):
        return [cell]
    return [part.strip().strip(b"\"'") for part in cell[1:-1].split(b",") if part.strip()]


def records(file: BinaryIO) -> Iterator[Record]:
    """The rows of a TSV, header included (as number 0), with quoting as pandas and Excel write it.

    Python's csv module would do but for its limit on a field's length, which only a global setting lifts.
    """
    offset = number = 0
    fields: list[bytes] = []
    open_field: list[bytes] = []  # the pieces of a quoted field that is not closed yet
    start = 0
    for line in file:
        offset += len(line)
        if not open_field and not line.strip():
            start = offset
            continue
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
            fields, start, number = [], offset, number + 1
    if open_field:
        yield Record(number, start, offset - start, [*fields, b"".join(open_field)])


def _unquote(field: bytes) -> bytes:
    if len(field) < 2 or not (field.startswith(b'"') and field.endswith(b'"')):
        return field
    return field[1:-1].replace(b'""', b'"')
