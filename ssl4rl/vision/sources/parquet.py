"""Pictures in parquet files: a column of bytes, of {bytes, path} structs, or of lists of either."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable, nearest
from ssl4rl.core.uri import split_options
from ssl4rl.vision.photo import EncodedPhoto
from ssl4rl.vision.sources.base import PhotoSource, examine, find_files, inside

_USUAL = ("image", "images", "img", "picture", "photo", "jpg", "png", "webp", "image_bytes", "bytes")
"""Names of picture columns, the likeliest first."""


@dataclass(frozen=True, slots=True)
class ParquetPhoto(EncodedPhoto):
    """The `part`-th picture of row `row` of a row group."""

    file: str
    column: str
    group: int
    row: int
    part: int
    name: str

    def open(self) -> BinaryIO:
        cell = _row_group(self.file, self.group, self.column)[self.row].as_py()
        return open_cell(cell, self.part, (str(Path(self.file).parent),), self.label)


def open_parquet(text: str) -> PhotoSource:
    """The pictures of parquet files: `parquet:FILE`, a folder of them, a glob or braces, then perhaps `?column=NAME`.

    The column may hold encoded pictures (bytes), the {bytes, path} structs of the datasets library, or lists of either;
    a path without bytes is read beside the file and never outside its folder. Row groups are read whole and the last
    two are kept: files written in row groups of some hundred pictures are read fastest.

    Raises:
        Ssl4rlError: pyarrow is missing, no such file, no column of pictures or several, or no usable picture.
    """
    uri = f"parquet:{text}"
    name, options = split_options("parquet", text, ["column"])
    files, problems = find_files("parquet", name, ".parquet")
    photos: list[ParquetPhoto] = []
    for file in files:
        try:
            photos += _pictures(file, options.get("column"), problems)
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are kinds of these
            problems.append(Problem(str(file), f"no parquet file ({str(error).splitlines()[0]})"))
    if not photos and not problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    return examine(uri, photos, problems)


def _pictures(file: Path, column: str | None, problems: list[Problem]) -> list[ParquetPhoto]:
    """The pictures of one file in order. Rows without go to `problems`."""
    with _parquet().ParquetFile(file) as opened:
        chosen = choose_column(f"parquet:{file}", opened.schema_arrow, column)
        several = is_list(opened.schema_arrow.field(chosen).type)
        groups = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
    photos = []
    first = 1
    for group, rows in enumerate(groups):
        cells = _row_group(str(file), group, chosen) if several else None
        for row in range(rows):
            name = f"{file.name} row {first + row}"
            count = cell_length(cells[row]) if cells is not None else 1
            if count == 0:
                problems.append(Problem(name, "no picture"))
            for part in range(count):
                label = f"{name} picture {part + 1}" if part else name
                photos.append(ParquetPhoto(str(file), chosen, group, row, part, label))
        first += rows
    return photos


@lru_cache(maxsize=2)
def _row_group(file: str, group: int, column: str) -> Any:
    """One row group's cells, a pyarrow ChunkedArray."""
    with _parquet().ParquetFile(file) as opened:
        return opened.read_row_group(group, columns=[column]).column(column)


def open_cell(cell: Any, part: int, roots: Sequence[str], label: str) -> BinaryIO:
    """A cell's picture as a stream: bytes, {bytes, path}, or the `part`-th of a list of those.

    Args:
        cell: what the table holds.
        part: which of a list.
        roots: the folders outside which no path is followed.
        label: the row, for messages.

    Raises:
        Unusable: nothing is there, or the path leads outside.
    """
    if isinstance(cell, list):
        cell = cell[part]
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if data is not None:
        return io.BytesIO(data)
    if not path:
        raise Unusable(f"{label}: no picture")
    reason: Unusable | None = None
    for root in roots:
        try:
            return inside(Path(root), path).open("rb")
        except Unusable as unusable:
            reason = unusable
    raise Unusable(f"{label}: {reason}")


def cell_length(cell: Any) -> int:
    """How many pictures a list cell (a pyarrow scalar) holds."""
    return len(cell) if cell.is_valid else 0


def choose_column(uri: str, schema: Any, asked: str | None) -> str:
    """The column of pictures in an Arrow schema: the one asked for, the only one, or the one with a usual name.

    Raises:
        Ssl4rlError: there is none, or several and none has a usual name.
    """
    if asked is not None:
        if asked not in schema.names:
            raise Ssl4rlError(f"{uri!r} has no column {asked!r}{nearest(asked, schema.names)}")
        return asked
    fitting = [field.name for field in schema if _holds_pictures(field.type)]
    return pick(uri, fitting, schema.names)


def pick(uri: str, fitting: Sequence[str], names: Sequence[str]) -> str:
    """Of the columns that fit the only one, or the one with a usual name.

    Raises:
        Ssl4rlError: see `choose_column`.
    """
    if len(fitting) == 1:
        return fitting[0]
    for name in _USUAL:
        if name in fitting:
            return name
    if fitting:
        raise Ssl4rlError(f"{uri!r} has several columns of pictures; add ?column=NAME, one of: {', '.join(fitting)}")
    raise Ssl4rlError(f"{uri!r} has no column of pictures (bytes or {{bytes, path}}); it has: {', '.join(names)}")


def is_list(kind: Any) -> bool:
    types = import_module("pyarrow.types")
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _holds_pictures(kind: Any) -> bool:
    types = import_module("pyarrow.types")
    if is_list(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return _is_bytes(kind)


def _is_bytes(kind: Any) -> bool:
    types = import_module("pyarrow.types")
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError:
        raise Ssl4rlError("parquet: needs pyarrow, which is not installed; pip install pyarrow") from None
