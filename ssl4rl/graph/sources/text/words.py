"""NetworkX's lists of words (`edgelist:`, `adjlist:`) and Matrix Market files (`mtx:`), line by line."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress

from ssl4rl.core.limits import Budget
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.sources.base import NodeSource, is_directed, node_source
from ssl4rl.graph.sources.builder import EDGE_BYTES, Builder
from ssl4rl.graph.sources.files import Input, choice, find, flag
from ssl4rl.graph.sources.text.dialect import Dialect, Skipped, rows
from ssl4rl.graph.sources.text.table import number
from ssl4rl.graph.sources.text.xml_reader import WEIGHT

_LONGEST_DICT = 10_000
_JSON_STEPS, _PYTHON_STEPS = (12, 1 / 4), (30, 2)
"""What a dict costs, and each of its characters, where it is nearly JSON and where Python's parser is needed."""


def open_edgelist(text: str) -> NodeSource:
    """`edgelist:FILE[?directed=true&weight=NAME]`, NetworkX's: "u v", "u v 3.5" or "u v {'weight': 3.5}" a line.

    Lines that begin with # or % are comments; elsewhere these are letters. An edge without a weight weighs 1.

    Raises:
        Ssl4rlError: no such file, no list of words, a weight that is no number, or no edges.
    """
    file = find("edgelist", text, ["directed", WEIGHT], "data.edgelist")
    directed = flag(file.uri, file.options, "directed")
    wanted = file.options.get(WEIGHT, WEIGHT)
    builder, skipped = Builder(file.budget), Skipped()
    known: dict[str, None] = {}
    further = 0
    for at, line, words in _words(file, skipped):
        if len(words) < 2:
            raise file.unreadable(f"line {at} has one word, {words[0][:40]!r}; an edge needs two")
        weight = 1.0
        data = line.split(None, 2)[2].rstrip() if len(words) > 2 and words[2].startswith("{") else ""
        if data.endswith("}"):
            given = _literal(file, data, at)
            known |= dict.fromkeys(map(str, given))
            weight = number(file, str(given.get(wanted, 1.0)), at) if wanted != "none" else 1.0
        elif len(words) > 2:
            known[WEIGHT] = None
            weight = number(file, words[2], at) if wanted != "none" else 1.0
            further += len(words) > 3
        builder.edge(builder.node(words[0]), builder.node(words[1]), weight)  # type: ignore[arg-type]
    if wanted == "none" or (WEIGHT not in known and WEIGHT not in file.options):
        del builder.weights[:]
    else:
        choice(file.uri, "edge attribute", wanted, list(known))
    graph, problems = builder.graph(directed)
    if further:
        problems.append(Problem("further words", f"of {further} lines not kept"))
    return node_source(file.uri, graph, problems, taken=f"two words a line{_said(skipped)}")


def open_adjlist(text: str) -> NodeSource:
    """`adjlist:FILE[?directed=true]`, NetworkX's: a node and its neighbours a line; comments as in an edge list.

    Raises:
        Ssl4rlError: no such file, or no list of words.
    """
    file = find("adjlist", text, ["directed", WEIGHT], "data.adjlist")
    directed = flag(file.uri, file.options, "directed")
    builder, skipped = Builder(file.budget), Skipped()
    for _, _, words in _words(file, skipped):
        nodes = [builder.node(word) for word in words]
        for end in nodes[1:]:
            builder.edge(nodes[0], end)  # type: ignore[arg-type]
    graph, problems = builder.graph(directed)
    return node_source(file.uri, graph, problems, taken=f"a node and its neighbours a line{_said(skipped)}")


def _said(skipped: Skipped) -> str:
    return f", {skipped.comments} comment lines skipped" if skipped.comments else ""


def _words(file: Input, skipped: Skipped) -> Iterator[tuple[int, str, list[str]]]:
    """The lines that are no comments, each with its number and its words; a word "#" ends a line.

    Raises:
        Ssl4rlError: it is no list of words.
    """
    file.refuse_other_formats("list of words")
    dialect = Dialect(" ")
    first = True
    for at, line in enumerate(file.lines(), start=1):
        if not line.strip():
            continue
        if dialect.is_comment(line):
            skipped.comments += 1
            continue
        file.budget.afford(70 * (len(line) // 2) if len(line) > 1 << 20 else 0, "a line")
        words = line.split()
        if "#" in words[1:]:
            words = words[: words.index("#", 1)]
        if first and len(words) == 1 and any(mark in words[0] for mark in ",;|"):
            raise file.unreadable(f"it begins with {words[0][:40]!r}")
        first = False
        yield at, line, words
    if first:
        raise file.unreadable("it is empty")


def _literal(file: Input, text: str, at: int) -> dict[str, object]:
    """A dict written as Python writes it, which takes far longer than other words."""
    if text == "{}":
        return {}
    try:
        found = _parsed(text, file.work) if len(text) < _LONGEST_DICT else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise file.unreadable(f"line {at}: {text[:40]!r} is no dict")
    return found


def _parsed(text: str, work: Budget) -> object:
    """A value as Python writes it; most dicts are nearly JSON, which is read six times as fast."""
    if '"' not in text and "\\" not in text:
        work.spend(_steps(text, _JSON_STEPS))
        with suppress(ValueError, RecursionError):
            return json.loads(text.replace("'", '"'))
    work.spend(_steps(text, _PYTHON_STEPS))
    return ast.literal_eval(text)


def _steps(text: str, cost: tuple[int, float]) -> int:
    return cost[0] + int(cost[1] * len(text))


def open_mtx(text: str) -> NodeSource:
    """`mtx:FILE[?directed=true&weight=none]`: a square Matrix Market file of coordinates, also compressed.

    Rows are the nodes, called 1, 2, .. as the file calls them. Undirected where the file says "symmetric" or every
    entry has its mirror; values are weights unless all are 1.

    Raises:
        Ssl4rlError: no such file, a dense, rectangular or complex matrix, or other entries than its size line says.
    """
    file = find("mtx", text, ["directed", WEIGHT], "data.mtx")
    lines = rows(file.lines(), Dialect(" ", comments="%"), skipped := Skipped(), file.budget, file.work)
    banner = next(file.lines(), "").lower().split()
    if len(banner) != 5 or banner[:2] != ["%%matrixmarket", "matrix"]:
        raise file.unreadable("it does not begin with '%%MatrixMarket matrix'")
    form, field, symmetry = banner[2:]
    for what, got, allowed in (
        ("form", form, ["coordinate"]),
        ("field", field, ["pattern", "real", "integer", "double"]),
        ("symmetry", symmetry, ["general", "symmetric"]),
    ):
        if got not in allowed:
            raise Ssl4rlError(f"{file.uri!r} holds a matrix of {what} {got[:40]!r}; allowed: {', '.join(allowed)}")
    size = _integers(file, *next(lines, (1, [])), 3)
    if size[0] != size[1]:
        raise Ssl4rlError(f"{file.uri!r} holds a matrix of {size[0]}x{size[1]}; allowed: square, rows are nodes")
    builder = Builder(file.budget)
    file.budget.afford(100 * size[0], f"a matrix of {size[0]} rows")
    for node in range(1, size[0] + 1):
        builder.node(str(node))
    file.budget.afford(EDGE_BYTES * size[2], f"a matrix of {size[2]} entries")
    weighted = field != "pattern" and file.options.get(WEIGHT) != "none"
    for at, row in lines:
        u, v = _integers(file, at, row[:2], 2)
        if not (1 <= u <= size[0] and 1 <= v <= size[0]):
            raise Ssl4rlError(f"{file.uri!r}, line {at}: entry {u} {v}; allowed: 1 to {size[0]}")
        if weighted and len(row) < 3:
            raise Ssl4rlError(f"{file.uri!r}, line {at} lacks its value")
        builder.edge(u - 1, v - 1, number(file, row[2], at) if weighted else None)
    if len(builder.sources) != size[2]:
        raise Ssl4rlError(f"{file.uri!r} holds {len(builder.sources)} entries, its size line says {size[2]}")
    skipped.comments -= 1  # the banner
    if all(weight == 1 for weight in builder.weights):
        del builder.weights[:]
    both = symmetry == "symmetric" or not is_directed(size[0], builder.sources, builder.targets)
    graph, problems = builder.graph(flag(file.uri, file.options, "directed", not both))
    said = f"a {symmetry} matrix of {size[0]} rows and {size[2]} entries{_said(skipped)}"
    return node_source(file.uri, graph, problems, taken=said)


def _integers(file: Input, at: int, words: list[str], count: int) -> list[int]:
    if len(words) != count or not all(re.fullmatch("[0-9]{1,18}", word) for word in words):
        shown = " ".join(words)[:40]
        raise Ssl4rlError(f"{file.uri!r}, line {at}: {shown!r}; allowed: {count} whole numbers")
    return [int(word) for word in words]
