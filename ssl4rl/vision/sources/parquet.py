"""Pictures in parquet files: a column of bytes, of {bytes, path} structs, or of lists of either."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from ssl4rl.core.limits import exceeded, limit, open_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable, nearest
from ssl4rl.core.uri import split_options
from ssl4rl.vision.photo import EncodedPhoto
from ssl4rl.vision.sources.base import NO_PICTURE, PhotoSource, examine, find_files, one_line
from ssl4rl.vision.streams import MIB, TooMuch, open_below, regular, too_much

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
        cell = _groups.column(self.file, self.group, self.column)[self.row]
        return open_cell(cell, self.part, (str(Path(self.file).parent),), self.label)


def open_parquet(text: str) -> PhotoSource:
    """The pictures of parquet files: `parquet:FILE`, a folder of them, a glob or braces, then perhaps `?column=NAME`.

    The column may hold encoded pictures (bytes), the {bytes, path} structs of the datasets library, or lists of either;
    a path without bytes is read beside the file and never outside its folder. Row groups are read whole, up to
    "row_group_mib", and the last two are kept where both fit into that: files written in row groups of some hundred
    pictures are read fastest.

    Raises:
        Ssl4rlError: pyarrow is missing, no such file, no column of pictures or several, or no usable picture.
    """
    uri = f"parquet:{one_line(text)}"
    name, options = split_options("parquet", text, ["column"])
    files, problems = find_files("parquet", name, ".parquet")
    photos: list[ParquetPhoto] = []
    columns: dict[str, None] = {}
    for file in files:
        try:
            photos += _pictures(file, options.get("column"), problems, columns)
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are kinds of these
            problems.append(Problem(str(file), f"no parquet file ({str(error).splitlines()[0]})"))
    if not photos and not problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    return examine(uri, photos, problems, " or ".join(columns))


def _pictures(file: Path, column: str | None, problems: list[Problem], columns: dict[str, None]) -> list[ParquetPhoto]:
    """The pictures of one file in order. Rows without go to `problems`, and so do row groups that are too large.

    `columns` is told which one they come from.
    """
    with open_regular(f"parquet:{file}", file) as stream, arrow_parquet().ParquetFile(stream) as opened:
        chosen = choose_column(f"parquet:{one_line(str(file))}", opened.schema_arrow, column)
        columns[f"column {chosen!r} of {len(opened.schema_arrow.names)}"] = None
    return [photo for row in pictures_by_row(file, chosen, problems) for photo in row]


def pictures_by_row(file: Path, column: str, problems: list[Problem]) -> list[list[ParquetPhoto]]:
    """Of each row of a file the pictures in a column. Rows without go to `problems`, and so do too large row groups.

    Raises:
        Ssl4rlError: more rows than are allowed.
        OSError, ValueError: it is no parquet file.
    """
    with open_regular(f"parquet:{file}", file) as stream, arrow_parquet().ParquetFile(stream) as opened:
        several = is_list(opened.schema_arrow.field(column).type)
        groups = [opened.metadata.row_group(group) for group in range(opened.num_row_groups)]
        sizes = [
            (group.num_rows, sum(part.total_uncompressed_size for part in _chunks(group, column))) for group in groups
        ]
    if sum(rows for rows, _ in sizes) > limit("pictures"):
        raise exceeded(f"parquet:{file}", "pictures")
    found: list[list[ParquetPhoto]] = []
    for group, (rows, size_bytes) in enumerate(sizes):
        first = len(found) + 1
        where = f"{one_line(file.name)} rows {first} to {first + rows - 1}"
        try:
            if size_bytes > limit("row_group_mib") * MIB:
                raise too_much(f"one row group of {size_bytes // MIB} MiB", "row_group_mib")
            cells = _groups.column(str(file), group, column) if several else None
        except TooMuch as error:
            problems.append(Problem(where, str(error)))
            found += [[] for _ in range(rows)]
            continue
        handle = (str(file), column, group)
        for row in range(rows):
            name = f"{one_line(file.name)} row {first + row}"
            parts = cell_parts(name, cells[row] if cells is not None else None, problems)
            found.append(
                [ParquetPhoto(*handle, row, part, f"{name} picture {part + 1}" if part else name) for part in parts]
            )
    return found


def _chunks(group: Any, column: str) -> list[Any]:
    """What a row group's metadata says of the leaves of a column."""
    chunks = (group.column(index) for index in range(group.num_columns))
    return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]


class _RowGroups:
    """The row groups read last: at most two, and together within "row_group_mib".

    Values are left in the dictionaries that a file may hold them in, where a picture that a million rows repeat takes
    its room once. One thread reads at a time. That a group is too large is kept too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int, str], Any] = {}

    def column(self, file: str, group: int, column: str) -> Any:
        """One row group's cells, a pyarrow ChunkedArray.

        Raises:
            TooMuch: it is larger than allowed.
        """
        key = (file, group, column)
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None:
                while len(self._kept) > 1 or sum(map(_size, self._kept.values())) > limit("row_group_mib") * MIB // 2:
                    self._kept.pop(next(iter(self._kept)))
                try:
                    found = _read_group(*key)
                except TooMuch as error:
                    found = error
            self._kept[key] = found
        if isinstance(found, TooMuch):
            raise found
        return found


_groups = _RowGroups()


def _size(kept: Any) -> int:
    return 0 if isinstance(kept, TooMuch) else int(kept.nbytes)


def _read_group(file: str, group: int, column: str) -> Any:
    parquet, allowed = arrow_parquet(), limit("row_group_mib") * MIB
    with regular(file) as stream:
        state = os.fstat(stream.fileno())
        metadata = _metadata(file, state.st_mtime_ns, state.st_size)
        chunks = _chunks(metadata.row_group(group), column)
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
        if size > allowed:
            raise too_much(f"one row group of {size // MIB} MiB", "row_group_mib")
        if any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
            with parquet.ParquetFile(stream, metadata=metadata, buffer_size=MIB) as opened:
                return _counted(opened, group, column, max(1, allowed // max(1, size)), allowed)
        leaves = [chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"]
        with parquet.ParquetFile(stream, metadata=metadata, read_dictionary=leaves, buffer_size=MIB) as opened:
            return opened.read_row_group(group, columns=[column], use_threads=False).column(column)


@lru_cache(maxsize=2)
def _metadata(file: str, changed_ns: int, size: int) -> Any:
    """What a file says of its row groups; of thousands of them it takes longer to read than one of them."""
    with regular(file) as stream:
        return arrow_parquet().read_metadata(stream)


def _counted(opened: Any, group: int, column: str, rows: int, allowed: int) -> Any:
    """A row group of values that share their beginnings, where any one may be as large as all that is stored."""
    batches, size = [], 0
    for batch in opened.iter_batches(min(rows, 1024), [group], [column], use_threads=False):
        batches.append(batch.column(0))
        size += batches[-1].nbytes
        if size > allowed:
            raise too_much(f"one row group of more than {size // MIB} MiB", "row_group_mib")
    return import_module("pyarrow").chunked_array(batches)


def require_small_groups(uri: str, file: Path) -> None:
    """Refuses a parquet file with a row group past "row_group_mib" once its dictionaries are written out.

    For readers that do so, a group at a time: a picture that a million rows repeat then takes a million times its room.

    Raises:
        Ssl4rlError: there is one; the file is broken.
    """
    allowed, where = limit("row_group_mib") * MIB, f"a row group of {one_line(file.name)}"
    try:
        with open_regular(uri, file) as stream:
            metadata = arrow_parquet().read_metadata(stream)
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                chunks = [group.column(index) for index in range(group.num_columns)]
                if sum(chunk.total_uncompressed_size for chunk in chunks) > allowed:
                    raise exceeded(uri, "row_group_mib", where)
                if sum(map(_most_bytes, chunks)) > allowed:
                    columns = dict.fromkeys(chunk.path_in_schema.split(".")[0] for chunk in chunks)
                    if sum(written_out(_read_group(str(file), number, column)) for column in columns) > allowed:
                        raise exceeded(uri, "row_group_mib", where)
    except TooMuch:
        raise exceeded(uri, "row_group_mib", where) from None
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are kinds of these
        raise Ssl4rlError(f"{uri!r}: {file.name} is no parquet file ({str(error).splitlines()[0]})") from None


def _most_bytes(chunk: Any) -> int:
    """What a column's values of one row group may take, by its metadata: each as large as all that is stored."""
    stored = int(chunk.total_uncompressed_size)
    plain = {"PLAIN", "RLE", "BIT_PACKED"} >= {*chunk.encodings}
    return stored if plain else int(chunk.num_values) * stored


def written_out(array: Any) -> int:
    """The bytes of a pyarrow array or its chunks with every value in its place, those of dictionaries too."""
    compute, types = import_module("pyarrow.compute"), import_module("pyarrow.types")
    if hasattr(array, "chunks"):
        return sum(map(written_out, array.chunks))
    if types.is_struct(array.type):
        return sum(map(written_out, array.flatten()))
    if is_list(array.type):
        return written_out(array.flatten()) + 8 * len(array)
    if types.is_dictionary(array.type):
        sizes = compute.fill_null(compute.binary_length(array.dictionary), 0)
        return int(compute.sum(compute.take(sizes, array.indices)).as_py() or 0) + 8 * len(array)
    return int(array.nbytes)


def open_cell(cell: Any, part: int, roots: Sequence[str], label: str) -> BinaryIO:
    """A cell's picture as a stream: bytes, {bytes, path}, or the `part`-th of a list of those.

    Args:
        cell: what the table holds, a pyarrow scalar; of a list only that part is made into Python's.
        part: which of a list.
        roots: the folders outside which no path is followed.
        label: the row, for messages.

    Raises:
        Unusable: nothing is there, or the path leads outside.
    """
    value = (cell.values[part] if hasattr(cell, "values") and is_list(cell.type) else cell).as_py()
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if data is not None:
        return io.BytesIO(data)
    if not path:
        raise Unusable(f"{label}: {NO_PICTURE}")
    reason: Unusable | None = None
    for root in roots:
        try:
            return open_below(root, path)
        except Unusable as unusable:
            reason = unusable
    raise Unusable(f"{label}: {reason}")


def cell_parts(name: str, cell: Any, problems: list[Problem]) -> range:
    """Which pictures a row has: 0 alone where `cell` is None (no list), else as many as the list has, if it may."""
    count = 1 if cell is None else len(cell) if cell.is_valid else 0
    if count == 0:
        problems.append(Problem(name, NO_PICTURE))
    if count > limit("pictures_per_row"):
        problems.append(Problem(name, str(too_much(f"{count} pictures", "pictures_per_row"))))
        return range(0)
    return range(count)


def choose_column(uri: str, schema: Any, asked: str | None) -> str:
    """The column of pictures in an Arrow schema: the one asked for, the only one, or the one with a usual name.

    Raises:
        Ssl4rlError: there is none, or several and none has a usual name.
    """
    if asked is not None:
        if asked not in schema.names:
            raise Ssl4rlError(f"{uri!r} has no column {asked!r}{nearest(asked, schema.names)}")
        return asked
    fitting = [field.name for field in schema if holds_pictures(field.type)]
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


def holds_pictures(kind: Any) -> bool:
    """Whether an Arrow type is that of a column of pictures: bytes, {bytes, path}, or lists of either."""
    types = import_module("pyarrow.types")
    if is_list(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return _is_bytes(kind)


def _is_bytes(kind: Any) -> bool:
    types = import_module("pyarrow.types")
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def arrow_parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError:
        raise Ssl4rlError("parquet: needs pyarrow, which is not installed; pip install pyarrow") from None
