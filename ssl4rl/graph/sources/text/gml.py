"""GML, the nested key-value text of Newman's networks, Gephi and yEd."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource, node_source, summed
from ssl4rl.graph.sources.builder import CELL_BYTES, NODE_BYTES, Builder, letters
from ssl4rl.graph.sources.files import DIRECTED, Input, choice, directed_or, find
from ssl4rl.graph.sources.text.xml_reader import WEIGHT, Broken

_TOKEN = re.compile(
    r'(?P<space>\s+|\#[^\n]*)|(?P<text>"[^"]*")|(?P<open>\[)|(?P<close>\])'
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+|INF\b)(?:[Ee][+-]?\d+)?)|(?P<word>[A-Za-z_]\w*)"
)
_ENTITY = re.compile(r"&(?:#x?[0-9A-Fa-f]{1,7}|\w{1,32});")
_DEEPEST = 100
_RECORD_BYTES = 250
_LIST_START = "_networkx_list_start"

Record = dict[str, Any]


def open_gml(text: str) -> NodeSource | GraphSource:
    """`gml:FILE[?weight=NAME&directed=false]`, also compressed.

    Nodes are named by their labels, or ids where labels lack or repeat. What a node holds becomes
    columns, nested records as dicts. Several graphs are a collection.

    Raises:
        Ssl4rlError: no such file, no GML, a node without an id or with another's, an edge to a node that is not there.
    """
    file = find("gml", text, [WEIGHT, DIRECTED], "data.gml")
    try:
        made = [_graph(file, record) for record in _graphs(file)]
    except Broken as error:
        raise file.unreadable(error) from None
    if not made:
        raise file.unreadable("it holds no graph")
    if len(made) == 1:
        return node_source(file.uri, *made[0])
    return GraphSource(file.uri, [graph for graph, _ in made], summed([p for _, found in made for p in found]))


def _tokens(file: Input) -> Iterator[tuple[str, str]]:
    """(kind, text) of each token, texts without their quotes. A text may span lines."""
    waiting: list[str] = []
    size = 0
    for number, line in enumerate(file.lines(), start=1):
        if waiting or line.count('"') % 2:
            if not waiting and line.lstrip().startswith("#"):
                continue
            waiting.append(line)
            size += letters(line) + CELL_BYTES
            file.budget.afford(2 * size)
            if (len(waiting) == 1) == bool(line.count('"') % 2):
                continue
            line, waiting, size = "".join(waiting), [], 0
        at = 0
        while at < len(line):
            found = _TOKEN.match(line, at)
            if found is None:
                raise Broken(f"line {number}: {line[at : at + 40]!r} is no key, number or text")
            at = found.end()
            kind = str(found.lastgroup)
            if kind != "space":
                yield kind, found[0][1:-1] if kind == "text" else found[0]
    if waiting:
        raise Broken("a text has no closing quote")


def _graphs(file: Input) -> Iterator[Record]:
    """The records called graph, nodes and edges in lists; memory is counted as values are kept."""
    stack: list[tuple[str, Record]] = [("", {})]
    key = None
    for kind, text in _tokens(file):
        name, record = stack[-1]
        if kind == "close":
            if key is not None or len(stack) == 1:
                raise Broken(f"']' {f'in place of the value of {key!r}' if key else 'closes nothing'}")
            stack.pop()
            if name == "graph" and len(stack) == 1:
                yield record
            else:
                _add(file, stack[-1][1], name, record)
        elif key is None:
            if kind != "word":
                raise Broken(f"{text[:40]!r} where a key was expected")
            key = text
        elif kind == "open":
            if len(stack) > _DEEPEST:
                raise Broken(f"records are nested more than {_DEEPEST} deep")
            stack.append((key, {}))
            key = None
        else:
            _add(file, record, key, _value(kind, text))
            key = None
    if len(stack) > 1 or key is not None:
        raise Broken("it is cut off")


def _value(kind: str, text: str) -> Any:
    if kind == "text":
        return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text
    if kind == "word":
        return float(text) if text in ("NAN", "INF") else text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise Broken(f"the number {text[:20]}.. has {len(text)} digits") from None


def _add(file: Input, record: Record, key: str, value: Any) -> None:
    """A repeated key holds a list; nodes and edges always do."""
    held = letters(value) if isinstance(value, str) else _RECORD_BYTES * isinstance(value, dict)
    file.budget.spend(CELL_BYTES + held)
    if key in ("node", "edge") and isinstance(value, dict):
        record.setdefault(key, []).append(value)
    elif key in record:
        if not isinstance(record[key], _Several):
            record[key] = _Several([record[key]])
        record[key].append(value)
    else:
        record[key] = value


class _Several(list[Any]):
    """The values of a repeated key."""


def _plain(value: Any) -> Any:
    """A list without the mark that NetworkX writes before a list of one."""
    if isinstance(value, _Several):
        return list(value[1:] if value[0] == _LIST_START else value)
    return value


def _graph(file: Input, record: Record) -> tuple[Graph, list[Problem]]:
    builder = Builder(file.budget)
    labels: list[Any] = []
    nodes, edges = (_records(record, name) for name in ("node", "edge"))
    for number, node in enumerate(nodes):
        if "id" not in node:
            raise Broken(f"node {number} has no 'id'")
        name = _id(node.pop("id"))
        if name in builder.numbers:
            raise Broken(f"node id {name!r} is duplicated")
        builder.node(name)
        labels.append(node.get("label"))
        for key, value in node.items():
            builder.value(number, key, _plain(value))
    wanted = file.options.get(WEIGHT, WEIGHT)
    known: dict[str, None] = {}
    for number, edge in enumerate(edges):
        ends = []
        for end in ("source", "target"):
            found = builder.numbers.get(_id(edge.get(end)))
            if found is None:
                raise Broken(f"edge {number} has the {end} {_id(edge.get(end))!r}, which is no node")
            ends.append(found)
        known |= dict.fromkeys(key for key in edge if key not in ("source", "target"))
        builder.edge(ends[0], ends[1], _number(file, edge.get(wanted, 1.0)) if wanted != "none" else 1.0)
    if wanted == "none" or (WEIGHT not in known and WEIGHT not in file.options):
        del builder.weights[:]
    else:
        choice(file.uri, "edge attribute", wanted, list(known))
    names = None
    if labels and None not in labels and len({*map(str, labels)}) == len(labels):
        names = [str(label) for label in labels]
        file.budget.spend(NODE_BYTES * len(names))
        builder.columns.pop("label")
    return builder.graph(directed_or(file, record.get("directed") in (1, "1", "true")), names)


def _records(record: Record, name: str) -> list[Record]:
    found = record.get(name, [])
    if not isinstance(found, list) or isinstance(found, _Several):
        raise Broken(f"{name!r} is {str(found)[:40]!r}; allowed: records in brackets")
    return found


def _id(value: Any) -> str:
    return "".join(str(value).splitlines())[:200] if isinstance(value, dict | list) else str(value)


def _number(file: Input, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Ssl4rlError(
            f"{file.uri!r}: an edge has the weight {str(value)[:40]!r}; allowed: numbers, or leave weights out with "
            "?weight=none"
        ) from None
