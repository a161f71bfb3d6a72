"""Edge lists and node tables as text: CSV, TSV, and what SNAP, KONECT, pandas and R write."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.graph.sources.base import NodeSource, node_source
from ssl4rl.graph.sources.builder import CELL_BYTES, NODE_BYTES, Builder, letters
from ssl4rl.graph.sources.files import Input, find, flag, suggestion
from ssl4rl.graph.sources.text.dialect import NAMES, Dialect, Skipped, rows, sniff

OPTIONS = ("nodes", "source", "target", "id", "directed", "weight")
_ENDS = (
    *(("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v"), ("head", "tail"), ("node1", "node2")),
    *(("node_1", "node_2"), ("id1", "id2"), ("id_1", "id_2"), ("citing", "cited"), ("subject", "object")),
)
"""How headers name the two ends of an edge, in either case of letters."""

_IDS = ("id", "node", "node_id", "nodeid", "name", "key")
_INDEX = re.compile(r"|unnamed: 0", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_START = 50
_LONGEST_NAME = 20


@dataclass(frozen=True)
class Table:
    """A text table. `header` None: its first row is data. `first` is the first row in either case.

    `index`: its first column is the rows' numbers or names, as pandas and R write it, and holds nothing else.
    `skipped` is complete once `rows` is used up.
    """

    file: Input
    dialect: Dialect
    header: list[str] | None
    first: list[str]
    index: bool = False
    skipped: Skipped = field(default_factory=Skipped)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows below the header, each with the number of the line it ends on."""
        found = rows(self.file.lines(), self.dialect, self.skipped, self.file.budget, self.file.work)
        if self.header is not None:
            next(found, None)
        yield from found

    @property
    def form(self) -> str:
        """How it was read, in a few words."""
        parts = [f"cut at {NAMES[self.dialect.delimiter]}", "header" if self.header else f"no header{self._misspelt}"]
        parts += ["first column taken for an index"] if self.index else []
        parts += [f"{self.skipped.comments} comment lines skipped"] if self.skipped.comments else []
        return ", ".join(parts)

    @property
    def _misspelt(self) -> str:
        """What a first row that was taken for data may have meant: it is nearly a header."""
        start = [cell.lower() for cell in self.first[:2]]
        if len(start) < 2 or max(map(len, start)) > _LONGEST_NAME:
            return ""
        alike = difflib.get_close_matches(" ".join(start), [" ".join(pair) for pair in _ENDS], n=1, cutoff=0.8)
        return f", row 1 ({', '.join(self.first[:2])}) is an edge; meant as {alike[0]!r}?" if alike else ""

    def name(self, column: int) -> str:
        """A column's name in its header, or its number from 1."""
        return repr(self.header[column]) if self.header and self.header[column] else str(column + 1)


def open_edges(text: str) -> NodeSource:
    """A table of edges: `edges:FILE[?nodes=FILE&source=..&target=..&id=..&directed=true&weight=..]`, also compressed.

    dialect.py says how it may be written: tabs, commas, semicolons, bars or blanks; lines that begin with # or % are
    comments. `source`, `target` and `weight` name columns (or, without a header, number them from 1); left out, the
    ends are the columns called so or the first two but an unnamed index, and there are no weights. A node table (its
    `id` column: the one called so, or the first) names all nodes, and its other columns are what they carry, untouched;
    an empty cell is None. Its path is relative to the edges' folder or the working directory. A KONECT file that calls
    itself bipartite has nodes L1, L2, .. and R1, R2, ..; a Matrix Market file is read as `mtx:` reads it.

    Raises:
        Ssl4rlError: a missing file or column, a bad weight, no text, or no edges.
    """
    file = find("edges", text, OPTIONS, "edges.csv")
    file.refuse_other_formats("CSV")
    if next(file.lines(), "").startswith("%%MatrixMarket"):
        raise Ssl4rlError(f"{file.uri!r} is a Matrix Market file; did you mean 'mtx:{file.path}'?")
    options = file.options
    table = open_table(file, [options[key] for key in ("source", "target", "weight") if key in options], _ENDS)
    u, v = _ends(table, options)
    weight = options.get("weight", "none")
    w = None if weight == "none" else column_number(table, weight)
    builder = Builder(file.budget)
    problems: list[Problem] = []
    beside = ""
    if "nodes" in options:
        nodes = read_nodes(file.beside(options["nodes"]), options.get("id"))
        builder.numbers, builder.columns, problems = nodes.numbers, nodes.columns, nodes.problems
        builder.closed, beside = True, f"; {nodes.taken}"
    elif "id" in options:
        raise Ssl4rlError(f"{file.uri!r}: id names a column of the node table, but there is no nodes=FILE")
    sides = ("L", "R") if table.skipped.first_comment.startswith("% bip") and not builder.closed else ("", "")
    problems += _read_edges(table, (u, v, w), builder, sides)
    graph, merged = builder.graph(flag(file.uri, options, "directed"))
    ends = f"edges from column {table.name(u)} to {table.name(v)} of {max(len(table.first), table.dialect.columns)}"
    taken = f"{ends} ({table.form}{', bipartite by its first line' if sides[0] else ''}){beside}"
    return node_source(file.uri, graph, [*problems, *merged], taken=taken)


def _read_edges(
    table: Table, at: tuple[int, int, int | None], builder: Builder, sides: tuple[str, str]
) -> list[Problem]:
    """Rows without both ends, or with an end that the node table lacks, are left out and counted.

    Raises:
        Ssl4rlError: a weight is no number, or no row is left.
    """
    u, v, w = at
    needed = max(u, v, w or 0)
    left_out, first = Counter[str](), dict[str, str]()
    for line, row in table.rows():
        source, target = (row[u].strip(), row[v].strip()) if len(row) > needed else ("", "")
        if not source or not target:
            left_out["lack an end"] += 1
            first.setdefault("lack an end", f"line {line}")
            continue
        ends = builder.node(sides[0] + source), builder.node(sides[1] + target)
        if ends[0] is None or ends[1] is None:
            why = "name a node that the node table lacks"
            left_out[why] += 1
            first.setdefault(why, f"line {line}: {(source if ends[0] is None else target)[:80]!r}")
            continue
        builder.edge(ends[0], ends[1], None if w is None else number(table.file, row[w], line))
    problems = [Problem(f"{n} edges", f"{why} (first {first[why]})") for why, n in left_out.items()]
    if not builder.sources:
        reasons = "; ".join(f"{problem.name} {problem.why}" for problem in problems) or "it has no rows"
        raise Ssl4rlError(f"{table.file.uri!r} gives no edge ({reasons}){suggestion('edges', table.file.path)}")
    return problems


def number(file: Input, text: str, line: int) -> float:
    """A weight.

    Raises:
        Ssl4rlError: it is no number.
    """
    try:
        return float(text)
    except ValueError:
        raise Ssl4rlError(f"{file.uri!r}, line {line}: the weight is {text[:80]!r}; allowed: a number") from None


def _ends(table: Table, options: Mapping[str, str]) -> tuple[int, int]:
    lower = [name.lower() for name in table.header or []]
    first = int(table.index)
    pair = next(((lower.index(a), lower.index(b)) for a, b in _ENDS if a in lower and b in lower), (first, first + 1))
    u = column_number(table, options["source"]) if "source" in options else pair[0]
    v = column_number(table, options["target"]) if "target" in options else pair[1]
    uri = table.file.uri
    if u == v:
        raise Ssl4rlError(f"{uri!r}: both ends come from column {u + 1}; name two with source=.. and target=..")
    if max(u, v) >= len(table.first):
        shown = table.first[min(first, len(table.first) - 1)][:40]
        raise Ssl4rlError(f"{uri!r} has a single column ({shown!r}), an edge list needs two")
    return u, v


def column_number(table: Table, name: str) -> int:
    """Which column is called `name` (or, without a header, is the `name`-th, from 1)."""
    if table.header is not None and name in table.header:
        return table.header.index(name)
    if table.header is None and re.fullmatch("[0-9]{1,9}", name) and 1 <= int(name) <= len(table.first):
        return int(name) - 1
    allowed = [column[:40] for column in table.header or [] if column] or [str(i + 1) for i in range(len(table.first))]
    raise Ssl4rlError(f"{table.file.uri!r}: {table.file.path.name} has no column {name!r}{nearest(name, allowed[:20])}")


@dataclass
class NodeTable:
    """The rows of a node table: name to number in order, its other columns, what was left out, and how it was read."""

    numbers: dict[str, int]
    columns: dict[str, list[str | None]]
    problems: list[Problem]
    taken: str


def read_nodes(file: Input, id_column: str | None = None) -> NodeTable:
    """A node table. Rows without a name or with another's are left out and counted.

    Raises:
        Ssl4rlError: no such column, or no rows.
    """
    numbers: dict[str, int] = {}
    left_out = Counter[str]()
    table = open_table(file, [id_column] if id_column else [], (), headed=True)
    header = table.header or []
    lower = [name.lower() for name in header]
    at = next((lower.index(name) for name in _IDS if name in lower), 0)
    at = column_number(table, id_column) if id_column else at
    cells: list[list[str | None]] = [[] for _ in header]
    for _, row in table.rows():
        name = row[at].strip() if len(row) > at else ""
        if not name or name in numbers:
            left_out["share the id of another row" if name else "have no id"] += 1
            continue
        file.budget.spend(NODE_BYTES + CELL_BYTES * len(cells) + sum(map(letters, row)))
        numbers[name] = len(numbers)
        for column, values in enumerate(cells):
            values.append((row[column] or None) if column < len(row) else None)
    if not numbers:
        raise Ssl4rlError(f"{file.uri!r}: the node table {file.path.name} has no rows")
    problems = [Problem(f"{n} rows of {file.path.name}", why) for why, n in left_out.items()]
    kept = {name: cells[header.index(name)] for name in header if name and header.index(name) != at}
    if twice := len([name for name in header if name]) - len({name for name in header if name}):
        problems.append(Problem(f"{twice} columns of {file.path.name}", "share the name of another, not kept"))
    taken = f"nodes from {file.path.name}, ids from column {table.name(at)} of {len(header)} ({table.form})"
    return NodeTable(numbers, kept, problems, taken)


def open_table(file: Input, named: Sequence[str], ends: Sequence[tuple[str, str]], headed: bool = False) -> Table:
    """Finds how a text table is written and whether its first row is a header.

    It is where it holds what the user `named` or a pair of `ends`, where it begins with an empty cell and no other row
    does (pandas' index), where it is one cell shorter (R's), or where words stand above columns of numbers; `headed`:
    always.

    Raises:
        Ssl4rlError: it is empty, or a matrix of nodes by nodes.
    """
    names = {*named, *(name for pair in ends for name in pair)}
    dialect = sniff(file.lines(), {name.lower() for name in names})
    start, skipped = _start(file, dialect)
    if not start:
        raise Ssl4rlError(f"{file.uri!r}: {file.path.name} is empty")
    first, rest = [cell.strip() for cell in start[0]], start[1:]
    row_names = bool(rest) and all(
        len(row) == len(first) + 1 and row[0].strip() == str(i) for i, row in enumerate(rest, start=1)
    )
    first = ["", *first] if row_names else first
    filled = bool(rest) and all(row[0].strip() for row in rest)
    index = filled and len(first) > 1 and _INDEX.fullmatch(first[0]) is not None
    lower = {cell.lower() for cell in first}
    two = first[index : index + 2]
    is_header = (
        (headed or index)
        or any(name in first for name in named)
        or any({a, b} <= lower for a, b in ends)
        or (bool(rest) and not any(map(_numeric, two)) and all(_numeric(c) for r in rest for c in r[index : index + 2]))
    )
    if index and not headed and len(rest) > 2 and _is_matrix(first, rest):
        raise Ssl4rlError(f"{file.uri!r} is a matrix of nodes by nodes; allowed: a row for each edge, or npz:, mtx:")
    table = Table(file, dialect, first if is_header else None, first, index)
    table.skipped.first_comment = skipped.first_comment
    return table


def _start(file: Input, dialect: Dialect) -> tuple[list[list[str]], Skipped]:
    """The first rows, and what was skipped among them."""
    skipped = Skipped()
    return [row for _, row in islice(rows(file.lines(), dialect, skipped, file.budget, file.work), _START)], skipped


def _is_matrix(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether the rows are called as the columns are."""
    called = [row[0].strip() for row in rest][: len(first) - 1]
    return called == list(first[1 : len(called) + 1]) and all(_numeric(cell) for cell in rest[0][1:])


def _numeric(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None
