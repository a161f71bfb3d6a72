"""Rows of TSV, JSONL and parquet files: their texts in memory, their pictures as handles that read the file again."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from ssl4rl.core.limits import MIB, Budget, exceeded, limit, open_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable, shortened
from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.columns import Columns, choose
from ssl4rl.qa.tables.options import options_of
from ssl4rl.qa.tables.said import Left, text
from ssl4rl.vision.photo import EncodedPhoto, FilePhoto
from ssl4rl.vision.sources.base import NO_PICTURE, find_files, inside, one_line
from ssl4rl.vision.sources.folder import EXTENSIONS
from ssl4rl.vision.sources.parquet import arrow_parquet, holds_pictures, pictures_by_row
from ssl4rl.vision.sources.tsv import Record, header_of, pictures_of, records, text_of
from ssl4rl.vision.streams import regular, too_much

Asked = Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """A file's rows, in order, and what could not be used. `layout`: its columns' names."""

    columns: Columns
    layout: Sequence[str]
    rows: list[Raw]
    problems: list[Problem]


def read_tsv(uri: str, path: Path, asked: Asked) -> Found:
    """A TSV in the layout of VLMEvalKit, or any other with a header; pictures as `tsv:` reads them.

    Raises:
        Ssl4rlError: a column is missing, or the file asks for more than is allowed.
    """
    with open_regular(uri, path) as stream:
        rows = records(stream, uri)
        layout = _header(uri, next(rows, Record(0, 0, 0, [])).fields)
        columns = choose(uri, layout, asked)
        if len(columns.pictures) > 2 or {*columns.pictures[1:]} - {"image_path"}:
            raise Ssl4rlError(
                f"{uri!r} has pictures in {', '.join(columns.pictures)}; of a TSV one column is read, with lists in it"
            )
        shown = dict.fromkeys(columns.pictures[:1], "image") if columns.pictures != ("image_path",) else {}
        renamed = [shown.get(name, name if name in ("index", "image_path") else f"={name}") for name in layout]
        texts: list[dict[str, str]] = []
        problems: list[tuple[int, Problem]] = []
        light = _light(uri, path, rows, layout, columns, texts, problems)
        photos = _tsv_pictures(path, light, renamed, problems)
    found = Found(columns, layout, [], [])
    wrong = {number: problem.why for number, problem in reversed(problems) if problem.why != NO_PICTURE}
    for number, (cells, here) in enumerate(zip(texts, photos, strict=True), 1):
        name = f"{one_line(path.name)} row {number}"
        if number in wrong:
            found.problems.append(Problem(name, wrong[number]))
        else:
            _add(found, name, cells, here)
    return found


def _header(uri: str, fields: list[bytes]) -> list[str]:
    """The columns' names. Raises Ssl4rlError for a file that is empty, no UTF-8, or parted by something else."""
    layout = header_of(fields)
    if not any(layout):
        raise Ssl4rlError(f"{uri!r} is empty: its first row is to name the columns")
    if any(mark in name for name in layout for mark in "\ufffd\0"):
        raise Ssl4rlError(f"{uri!r}: its header is no text in UTF-8; save the file in UTF-8")
    if len(layout) == 1 and any(mark in layout[0] for mark in ",;|"):
        raise Ssl4rlError(
            f"{uri!r}: its header {shortened(layout[0], 60)!r} has no tab; columns of a TSV are parted by tabs"
        )
    return layout


def _light(
    uri: str,
    path: Path,
    rows: Iterator[Record],
    layout: Sequence[str],
    columns: Columns,
    texts: list[dict[str, str]],
    problems: list[tuple[int, Problem]],
) -> Iterator[Record]:
    """The rows, once their texts are noted, and those that are no UTF-8."""
    budget = Budget(uri, "decoded_mib")
    kept = {*columns.texts}
    for row in rows:
        cells = {name: text_of(cell) for name, cell in zip(layout, row.fields, strict=False) if name in kept}
        budget.spend(sum(map(len, cells.values())), "the text of its rows")
        texts.append(cells)
        if any("\ufffd" in cell for cell in cells.values()):
            named = f"{one_line(path.name)} row {row.number}"
            problems.append((row.number, Problem(named, "its text is not in UTF-8")))
        yield row


def _tsv_pictures(
    path: Path, rows: Iterator[Record], columns: list[str], problems: list[tuple[int, Problem]]
) -> list[list[EncodedPhoto]]:
    if {"image", "image_path"} & {*columns}:
        photos, wrong = pictures_of(path, rows, columns)
        problems += wrong
        return photos
    count = 0
    for row in rows:
        count += 1
        if len(row.fields) != len(columns):
            why = f"has {len(row.fields)} columns, the header {len(columns)}"
            problems.append((row.number, Problem(f"{one_line(path.name)} row {row.number}", why)))
    return [[] for _ in range(count)]


def read_jsonl(uri: str, path: Path, asked: Asked) -> Found:
    """A file with a JSON object a line. Pictures are paths beside the file, base64, data URLs, {bytes, path} or lists.

    Raises:
        Ssl4rlError: a column is missing, no line is an object, or the file asks for more than is allowed.
    """
    lines: list[tuple[int, int, int, Any]] = []  # number, offset, size, the object without its pictures
    budget, longest = Budget(uri, "decoded_mib"), limit("row_mib") * MIB
    layout: dict[str, None] = {}
    with open_regular(uri, path) as stream:
        offset = 0
        for number, line in enumerate(iter(lambda: stream.readline(longest + 1), b""), 1):
            if len(line) > longest:
                raise exceeded(uri, "row_mib", f"row {number}")
            if line.strip():
                record = _object(line)
                if isinstance(record, dict):
                    layout.update(dict.fromkeys(map(str, record)))
                    budget.spend(
                        sum(min(len(line), _weight(value)) for value in record.values()), "the text of its rows"
                    )
                    record = _light_record(record)
                lines.append((number, offset, len(line), record))
            offset += len(line)
    if lines and not layout:
        raise Ssl4rlError(
            f"{uri!r}: no line is a JSON object" + ("; of a list write one object a line" if _is_list(path) else "")
        )
    if not layout:
        raise Ssl4rlError(f"{uri!r} is empty")
    columns = choose(uri, list(layout), asked)
    found = Found(columns, list(layout), [], [])
    for number, offset, size, record in lines:
        name = f"{one_line(path.name)} row {number}"
        if not isinstance(record, dict):
            found.problems.append(Problem(name, "no JSON object"))
            continue
        try:
            at = (str(path), offset, size)
            photos = [p for c in columns.pictures for p in _json_pictures(path, at, c, record.get(c), name)]
        except Unusable as why:
            found.problems.append(Problem(name, str(why)))
        else:
            _add(found, name, record, photos)
    return found


_REFERENCE = 64
"""Characters up to which a text in a JSON line is none in base64, as in a TSV."""
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, str) and not _is_base64(value) else _REFERENCE


def _is_base64(text: str) -> bool:
    """Whether a text looks like an encoded file, by its beginning."""
    head = text[:400]
    return text.startswith("data:") or (
        len(text) > _REFERENCE and " " not in head and _BASE64.fullmatch(head) is not None
    )


def _light_record(record: dict[str, Any]) -> dict[str, Any] | None:
    """An object without the encoded pictures in it; None where its values lie in each other too deeply."""
    try:
        return {name: _placed(value) for name, value in record.items()}
    except RecursionError:
        return None


def _placed(value: Any) -> Any:
    """A value without the encoded pictures in it."""
    if isinstance(value, str):
        return Left(value[:40]) if _is_base64(value) else value
    if isinstance(value, list):
        return [_placed(one) for one in value]
    if isinstance(value, dict):
        return {name: _placed(one) for name, one in value.items()}
    return value


def _object(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None


def _is_list(path: Path) -> bool:
    with regular(path) as file:
        return file.read(16).lstrip().startswith(b"[")


@dataclass(frozen=True, slots=True)
class LinePhoto(EncodedPhoto):
    """The `part`-th picture in field `column` of the JSON line at byte `offset` of a file, as base64."""

    file: str
    offset: int
    size: int
    column: str
    part: int
    name: str

    def open(self) -> BinaryIO:
        values = _line_values(self.file, self.offset, self.size, self.column)
        if self.part >= len(values):
            raise Unusable("the file has changed")
        value = values[self.part]
        text = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise Unusable("the file has changed")
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            return io.BytesIO(base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise Unusable(f"{self.label}: broken base64 ({str(error).lower()})") from None


@lru_cache(maxsize=2)
def _line_values(file: str, offset: int, size: int, column: str) -> list[Any]:
    with regular(file) as opened:
        opened.seek(offset)
        record = _object(opened.read(size))
    value = record.get(column) if isinstance(record, dict) else None
    return value if isinstance(value, list) else [value]


def _json_pictures(path: Path, at: tuple[str, int, int], column: str, value: Any, name: str) -> list[EncodedPhoto]:
    """The pictures that a field names or holds. Raises Unusable for what is neither."""
    values = value if isinstance(value, list) else [] if value in (None, "") else [value]
    if len(values) > limit("pictures_per_row"):
        raise too_much(f"{len(values)} pictures", "pictures_per_row")
    found: list[EncodedPhoto] = []
    for part, one in enumerate(values):
        told = f"{name} picture {part + 1}" if part else name
        inner = one.get("bytes") or one.get("path") or one.get("url") if isinstance(one, dict) else one
        if isinstance(inner, Left):
            found.append(LinePhoto(*at, column, part, told))
        elif isinstance(inner, str) and inner:
            found.append(_file(path, inner))
        else:
            raise Unusable(f"its {column} holds no picture, but {shortened(repr(one), 40)}")
    return found


def _file(table: Path, relative: str) -> FilePhoto:
    """A picture file that a row names. Raises Unusable where it is none, or lies outside the table's folder."""
    if "://" in relative:
        raise Unusable(f"{shortened(relative, 60)!r} is an address; pictures are read from files beside the table")
    if Path(relative).suffix.lower() not in EXTENSIONS:
        raise Unusable(
            f"{shortened(relative, 40)!r} is no path of a picture ({', '.join(EXTENSIONS[:3])}, ...), nor base64"
        )
    inside(table.parent, relative)
    return FilePhoto(str(table.parent), relative)


def read_parquet(uri: str, text: str, asked: Asked) -> Found:
    """Parquet files, as the datasets library writes them: pictures as bytes, {bytes, path}, lists of them, or paths.

    Raises:
        Ssl4rlError: pyarrow is missing, no such file, a column is missing, or the files ask for more than is allowed.
    """
    files, problems = find_files("parquet", text, ".parquet")
    merged: Found | None = None
    budget = Budget(uri, "decoded_mib")
    for file in files:
        try:
            found = _parquet_file(uri, file, asked, budget)
        except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are kinds of these
            problems.append(Problem(str(file), f"no parquet file ({str(error).splitlines()[0]})"))
            continue
        if merged is None:
            merged = found
        else:
            merged.rows.extend(found.rows)
            merged.problems.extend(found.problems)
    if merged is None:
        raise Ssl4rlError(f"{uri!r}: {problems[0].name}: {problems[0].why}")
    merged.problems.extend(problems)
    return merged


def _parquet_file(uri: str, file: Path, asked: Asked, budget: Budget) -> Found:
    problems: list[Problem] = []
    with open_regular(uri, file) as stream, arrow_parquet().ParquetFile(stream) as opened:
        schema = opened.schema_arrow
        columns = choose(uri, schema.names, asked)
        binary = [name for name in columns.pictures if holds_pictures(schema.field(name).type)]
        named_ones = [name for name in columns.pictures if name not in binary]
        wrong = next((name for name in columns.texts if holds_pictures(schema.field(name).type)), None)
        if wrong is not None:
            raise Ssl4rlError(f"{uri!r}: column {wrong!r} holds pictures, and was taken for texts; name another")
        records: list[dict[str, Any]] = []
        for batch in opened.iter_batches(1024, columns=[*columns.texts, *named_ones], use_threads=False):
            budget.spend(batch.nbytes, "the text of its rows")
            records += _plain_floats(batch).to_pylist()
    classes = _class_names(schema, columns.answer)
    for record in records if classes else ():
        label = record[columns.answer]
        record[columns.answer] = classes[label] if isinstance(label, int) and 0 <= label < len(classes) else None
    if classes and not columns.options:
        columns = replace(columns, options=(_CLASSES,))
        records = [{**record, _CLASSES: classes} for record in records]
    pictures = {name: pictures_by_row(file, name, problems) for name in binary}
    found = Found(columns, schema.names, [], [p for p in problems if p.why != NO_PICTURE])
    bad = {problem.name for problem in found.problems}
    for number, record in enumerate(records, 1):
        name = f"{one_line(file.name)} row {number}"
        if name in bad:
            continue
        try:
            photos: list[EncodedPhoto] = []
            for column in columns.pictures:
                if column in pictures:
                    photos += pictures[column][number - 1]
                else:
                    values = record.get(column)
                    photos += [_file(file, str(v)) for v in (values if isinstance(values, list) else [values]) if v]
        except Unusable as why:
            found.problems.append(Problem(name, str(why)))
        else:
            _add(found, name, record, photos)
    return found


def _plain_floats(batch: Any) -> Any:
    """A batch whose 32-bit floats are the numbers that were meant: 0.1, not 0.10000000149011612."""
    import pyarrow as pa

    for at, field in enumerate(batch.schema):
        if pa.types.is_float16(field.type) or pa.types.is_float32(field.type):
            values = [None if v is None else float(str(v)) for v in batch.column(at).to_numpy(zero_copy_only=False)]
            column = pa.array(values, pa.float64(), mask=batch.column(at).is_null().to_numpy(zero_copy_only=False))
            batch = batch.set_column(at, field.with_type(pa.float64()), column)
    return batch


_CLASSES = "its classes"


def _class_names(schema: Any, column: str) -> list[str]:
    """The names of a column of class labels, as the datasets library notes them; none for other columns."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        names = features[column]["names"] if features[column].get("_type") == "ClassLabel" else []
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _add(found: Found, name: str, cells: Mapping[str, Any], photos: Sequence[EncodedPhoto]) -> None:
    """A row of cells, or why it is none."""
    columns = found.columns
    question = columns.ask or text(cells.get(columns.question))
    if columns.ask and columns.question:
        question = text(cells.get(columns.question)) or columns.ask
    answer = cells.get(columns.answer)
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        found.problems.append(Problem(name, "it has no answer"))
    elif not question and not photos:
        found.problems.append(Problem(name, "it asks nothing"))
    else:
        options = tuple(options_of(columns, cells))
        hint, unit = text(cells.get(columns.hint)), text(cells.get(columns.unit))
        found.rows.append(Raw(name, question, answer, options, tuple(photos), hint, unit))
