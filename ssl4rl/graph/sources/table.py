"""Edge lists and node tables as CSV or TSV files, with the csv module alone."""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import missing, split_options
from ssl4rl.graph.sources.base import (
    NodeSource,
    assemble,
    existing_file,
    flag,
    foreign,
    node_source,
    reading,
    suggestion,
)

OPTIONS = ("nodes", "source", "target", "id", "directed", "weight")
_ENDS = (
    *(("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v"), ("head", "tail"), ("node1", "node2")),
    *(("node_1", "node_2"), ("id1", "id2"), ("id_1", "id_2"), ("citing", "cited"), ("subject", "object")),
)
"""How headers name the two ends of an edge, in either case of letters."""

_IDS = ("id", "node", "node_id", "nodeid", "name", "key")
_DELIMITERS = "\t,;|"


@dataclass(frozen=True)
class Table:
    """A delimited text file. `header` None: its first row is data. `first` is the first row in either case."""

    uri: str
    path: Path
    delimiter: str
    header: list[str] | None
    first: list[str]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows below the header, each with the number of the line it ends on."""
        rows = _rows(self.uri, self.path, self.delimiter)
        if self.header is not None:
            next(rows, None)
        yield from rows


def open_edges(text: str) -> NodeSource:
    """A CSV or TSV of edges: `edges:FILE[?nodes=FILE&source=..&target=..&id=..&directed=true&weight=..]`.

    The delimiter is the one that the first row has most of (a tab, comma, semicolon, bar or blanks); lines that begin
    with # are comments. `source`, `target` and `weight` name columns; left out, the ends are the columns called so or
    the first two, and there are no weights. A node table (its `id` column: the one called so, or the first) names all
    nodes, and its other columns are what they carry, untouched; an empty cell is None. Its path is relative to the
    edges' folder or the working directory.

    Raises:
        Ssl4rlError: a missing file or column, a bad weight, no text, or no edges.
    """
    uri = f"edges:{text}"
    name, options = split_options("edges", text, OPTIONS)
    path = existing_file("edges", name, "edges.csv")
    with reading(uri, path):
        _refuse_other_formats(uri, path)
        table = open_table(path, uri, [options[key] for key in ("source", "target", "weight") if key in options], _ENDS)
        u, v = _ends(uri, table, options)
        weight = options.get("weight", "none")
        w = None if weight == "none" else column_number(uri, table, weight)
    nodes = _Nodes()
    columns: dict[str, list[str | None]] = {}
    problems: list[Problem] = []
    if "nodes" in options:
        known, columns, problems = read_nodes(uri, beside(uri, path, options["nodes"]), options.get("id"))
        nodes = _Nodes({known_name: number for number, known_name in enumerate(known)}, closed=True)
    elif "id" in options:
        raise Ssl4rlError(f"{uri!r}: id names a column of the node table, but there is no nodes=FILE")
    with reading(uri, path):
        edges = _read_edges(uri, table, (u, v, w), nodes)
    graph, merged = assemble(
        uri,
        len(nodes.numbers),
        np.frombuffer(edges.sources, dtype=np.int64),
        np.frombuffer(edges.targets, dtype=np.int64),
        directed=flag(uri, options, "directed"),
        weight=None if w is None else np.frombuffer(edges.weights, dtype=np.float64),
        names=list(nodes.numbers),
        columns=columns,
    )
    return node_source(uri, graph, [*problems, *edges.problems, *merged])


@dataclass
class _Nodes:
    """Names to numbers; a closed table takes no new names."""

    numbers: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    def number(self, name: str) -> int | None:
        return self.numbers.get(name) if self.closed else self.numbers.setdefault(name, len(self.numbers))


@dataclass
class _Edges:
    sources: array[int] = field(default_factory=lambda: array("q"))
    targets: array[int] = field(default_factory=lambda: array("q"))
    weights: array[float] = field(default_factory=lambda: array("d"))
    problems: list[Problem] = field(default_factory=list)


def _read_edges(uri: str, table: Table, at: tuple[int, int, int | None], nodes: _Nodes) -> _Edges:
    """Rows without both ends, or with an end that the node table lacks, are left out and counted.

    Raises:
        Ssl4rlError: a weight is no number, or no row is left.
    """
    u, v, w = at
    needed = max(u, v, w or 0)
    edges, left_out, first = _Edges(), Counter[str](), dict[str, str]()
    for line, row in table.rows():
        if len(row) <= needed or not row[u].strip() or not row[v].strip():
            left_out["lack an end"] += 1
            first.setdefault("lack an end", f"line {line}")
            continue
        ends = nodes.number(row[u].strip()), nodes.number(row[v].strip())
        if ends[0] is None or ends[1] is None:
            why = "name a node that the node table lacks"
            left_out[why] += 1
            first.setdefault(why, f"line {line}: {row[u if ends[0] is None else v].strip()!r}")
            continue
        edges.sources.append(ends[0])
        edges.targets.append(ends[1])
        if w is not None:
            edges.weights.append(_number(uri, row[w], line))
    edges.problems = [Problem(f"{n} edges", f"{why} (first {first[why]})") for why, n in left_out.items()]
    if not edges.sources:
        reasons = "; ".join(f"{problem.name} {problem.why}" for problem in edges.problems) or "it has no rows"
        raise Ssl4rlError(f"{uri!r} gives no edge ({reasons}){suggestion('edges', table.path)}")
    return edges


def _number(uri: str, text: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise Ssl4rlError(f"{uri!r}, line {line}: the weight is {text!r}; allowed: a number") from None


def _ends(uri: str, table: Table, options: dict[str, str]) -> tuple[int, int]:
    lower = [name.lower() for name in table.header or []]
    pair = next(((lower.index(a), lower.index(b)) for a, b in _ENDS if a in lower and b in lower), (0, 1))
    u = column_number(uri, table, options["source"]) if "source" in options else pair[0]
    v = column_number(uri, table, options["target"]) if "target" in options else pair[1]
    if u == v:
        raise Ssl4rlError(f"{uri!r}: both ends come from column {u + 1}; name two with source=.. and target=..")
    if max(u, v) >= len(table.first):
        raise Ssl4rlError(f"{uri!r} has a single column ({table.first[0][:40]!r}), an edge list needs two")
    return u, v


def column_number(uri: str, table: Table, name: str) -> int:
    """Which column is called `name` (or, without a header, is the `name`-th, from 1)."""
    if table.header is not None and name in table.header:
        return table.header.index(name)
    if table.header is None and name.isascii() and name.isdigit() and 1 <= int(name) <= len(table.first):
        return int(name) - 1
    allowed = table.header or [str(number + 1) for number in range(len(table.first))]
    raise Ssl4rlError(f"{uri!r}: {table.path.name} has no column {name!r}{nearest(name, allowed)}")


def beside(uri: str, path: Path, name: str) -> Path:
    """A file named in an option: relative to the folder of `path`, else to the working directory."""
    for candidate in (path.parent / Path(name).expanduser(), Path(name).expanduser()):
        if candidate.is_file():
            return candidate
    raise missing(name, path.parent / Path(name).expanduser(), f"{uri!r}: node table ")


def read_nodes(
    uri: str, path: Path, id_column: str | None = None
) -> tuple[list[str], dict[str, list[str | None]], list[Problem]]:
    """A node table: the names of its rows in order, its other columns, and the rows without a name or with another's.

    Raises:
        Ssl4rlError: no such column, or no rows.
    """
    names: dict[str, None] = {}
    left_out = Counter[str]()
    with reading(uri, path):
        table = open_table(path, uri, [id_column] if id_column else [], (), headed=True)
        header = table.header or []
        lower = [name.lower() for name in header]
        at = next((lower.index(name) for name in _IDS if name in lower), 0)
        at = column_number(uri, table, id_column) if id_column else at
        cells: list[list[str | None]] = [[] for _ in header]
        for _, row in table.rows():
            name = row[at].strip() if len(row) > at else ""
            if not name or name in names:
                left_out["share the id of another row" if name else "have no id"] += 1
                continue
            names[name] = None
            for number, column in enumerate(cells):
                column.append((row[number] or None) if number < len(row) else None)
    if not names:
        raise Ssl4rlError(f"{uri!r}: the node table {path.name} has no rows")
    problems = [Problem(f"{n} rows of {path.name}", why) for why, n in left_out.items()]
    return list(names), {name: cells[i] for i, name in enumerate(header) if i != at and name}, problems


def _refuse_other_formats(uri: str, path: Path) -> None:
    with path.open("rb") as file:
        kind = foreign(file.read(512))
    if kind is not None:
        raise Ssl4rlError(f"{uri!r} is no CSV but {kind}{suggestion('edges', path)}")


def open_table(
    path: Path, uri: str, named: Sequence[str], ends: Sequence[tuple[str, str]], headed: bool = False
) -> Table:
    """Finds a text table's delimiter and whether its first row is a header.

    It is where it holds what the user `named` or a pair of `ends`, or where words stand above columns of numbers;
    `headed`: always.
    """
    delimiter = _delimiter(path)
    start = [row for _, row in islice(_rows(uri, path, delimiter), 50)]
    if not start:
        raise Ssl4rlError(f"{uri!r}: {path.name} is empty")
    first, rest = [cell.strip() for cell in start[0]], start[1:]
    lower = {cell.lower() for cell in first}
    is_header = (
        headed
        or any(name in first for name in named)
        or any({a, b} <= lower for a, b in ends)
        or (bool(rest) and not any(map(_numeric, first[:2])) and all(_numeric(c) for row in rest for c in row[:2]))
    )
    return Table(uri, path, delimiter, first if is_header else None, first)


def _numeric(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = next((line for line in file if line.strip() and not line.startswith("#")), "")
    counts = {mark: line.count(mark) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else " "


def _rows(uri: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line they end on; blank ones and the comments at the top are skipped."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        skipped, line = 0, ""
        for line in file:
            if line.strip() and not line.startswith("#"):
                break
            skipped += 1
        else:
            return
        reader = csv.reader(chain([line], file), delimiter=delimiter, skipinitialspace=delimiter == " ")
        try:
            for row in reader:
                if any(row):
                    yield reader.line_num + skipped, row
        except csv.Error as error:
            raise Ssl4rlError(f"{uri!r}, line {reader.line_num + skipped} of {path.name}: {error}") from None
