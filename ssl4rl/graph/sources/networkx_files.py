"""Graphs that NetworkX has built in (`nx:`), and the text formats it reads."""

from __future__ import annotations

import bz2
import gzip
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError
from xml.parsers import expat

import networkx as nx

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import split_options
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import (
    GraphSource,
    NodeSource,
    assemble,
    choice,
    existing_file,
    flag,
    foreign,
    node_source,
    reading,
    suggestion,
)

_WEIGHT = "weight"
_ATLAS = "atlas"
_UNREADABLE = (
    *(ParseError, nx.NetworkXError, RecursionError),
    *(KeyError, ValueError, TypeError, IndexError, AttributeError),
)
"""What NetworkX's readers raise at files of another format, broken ones and nonsense in them."""


def open_nx(rest: str) -> NodeSource | GraphSource:
    """A graph built into NetworkX by its function's name without "_graph" (`nx:karate_club`), or `nx:atlas`: all 1252
    graphs of one to seven nodes.

    Raises:
        Ssl4rlError: no such graph, with the nearest name.
    """
    uri = f"nx:{rest}"
    if rest == _ATLAS:
        return GraphSource(uri, [from_networkx(uri, graph)[0] for graph in nx.graph_atlas_g()])
    if rest not in built_in():
        raise Ssl4rlError(f"NetworkX has no built-in graph {rest!r}{nearest(rest, [*sorted(built_in()), _ATLAS])}")
    return node_source(uri, *from_networkx(uri, built_in()[rest]()))


@cache
def built_in() -> Mapping[str, Callable[[], Any]]:
    """NetworkX's graphs that take no argument, by short name."""
    found = {}
    for name in dir(nx):
        function = getattr(nx, name)
        if name.endswith("_graph") and callable(function):
            parameters = inspect.signature(function).parameters.values()
            if all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters):
                found[name.removesuffix("_graph")] = function
    return {name: function for name, function in found.items() if name not in ("empty", "null", "trivial")}


def open_graphml(text: str) -> NodeSource:
    """`graphml:FILE[.gz|.bz2][?weight=NAME]`: nodes are named by their ids, their data become columns."""
    return _open("graphml", text, lambda file: nx.read_graphml(file), xml=True)


def open_gml(text: str) -> NodeSource:
    """`gml:FILE[.gz|.bz2][?weight=NAME]`: nodes are named by their labels, or ids where labels lack or repeat."""

    def read(file: BinaryIO) -> Any:
        try:
            return nx.read_gml(file)
        except nx.NetworkXError as error:
            if "label" not in str(error):
                raise
            file.seek(0)
            return nx.read_gml(file, label="id")

    return _open("gml", text, read)


def open_gexf(text: str) -> NodeSource:
    """`gexf:FILE[.gz|.bz2][?weight=NAME]`: nodes are named by their labels where all differ."""

    def read(file: BinaryIO) -> Any:
        graph = nx.read_gexf(file)
        labels = {node: data.pop("label", None) for node, data in graph.nodes(data=True)}
        for data in graph.nodes.values():
            data.pop("viz", None)  # where and in what colour it was drawn
        if None in labels.values() or len(set(labels.values())) < len(labels):
            nx.set_node_attributes(graph, {node: label for node, label in labels.items() if label is not None}, "label")
            return graph
        if any(str(node) != label for node, label in labels.items()):
            nx.set_node_attributes(graph, {node: node for node in graph}, "id")
        return nx.relabel_nodes(graph, labels)

    return _open("gexf", text, read, xml=True)


def open_edgelist(text: str) -> NodeSource:
    """`edgelist:FILE[?directed=true]`, NetworkX's: "u v", "u v 3.5" or "u v {'weight': 3.5}" a line."""
    directed = _directed("edgelist", text)

    def read(file: BinaryIO) -> Any:
        first = _first_line(file).split()
        data = _form(first)
        return nx.read_edgelist(file, create_using=nx.MultiDiGraph if directed else nx.MultiGraph, data=data)

    return _open("edgelist", text, read)


def _form(first: list[str]) -> Any:
    """NetworkX's `data` argument for a list that starts with this line."""
    if len(first) > 2 and not first[2].startswith("{"):
        return [(_WEIGHT, float)]
    return True


def open_adjlist(text: str) -> NodeSource:
    """`adjlist:FILE[?directed=true]`, NetworkX's: a node and its neighbours a line."""
    directed = _directed("adjlist", text)

    def read(file: BinaryIO) -> Any:
        _first_line(file)
        return nx.read_adjlist(file, create_using=nx.DiGraph if directed else nx.Graph)

    return _open("adjlist", text, read)


def _directed(scheme: str, text: str) -> bool:
    _, options = split_options(scheme, text, ["directed", _WEIGHT])
    return flag(f"{scheme}:{text}", options, "directed")


def _first_line(file: BinaryIO) -> str:
    """The first line that is no comment; the file stands at its start again.

    Raises:
        ValueError: it is not a list of words.
    """
    if (kind := foreign(file.read(512))) is not None:
        raise ValueError(f"it is {kind}")
    file.seek(0)
    for line in file:
        words = line.decode().split("#")[0].strip()
        if words:
            if len(words.split()) == 1 and any(mark in words for mark in ",;|"):
                raise ValueError(f"it begins with {words[:40]!r}")
            break
    else:
        raise ValueError("it is empty")
    file.seek(0)
    return words


def _open(scheme: str, text: str, read: Callable[[BinaryIO], Any], xml: bool = False) -> NodeSource:
    uri = f"{scheme}:{text}"
    allowed = ["directed", _WEIGHT] if scheme in ("edgelist", "adjlist") else [_WEIGHT]
    name, options = split_options(scheme, text, allowed)
    path = existing_file(scheme, name, f"data.{scheme}")
    with reading(uri, path), _opened(path) as file:
        problems = _scan(uri, file) if xml else []
        try:
            graph = read(file)
        except UnicodeDecodeError:
            raise
        except _UNREADABLE as error:
            why = " ".join(str(error).split())[:120]
            raise Ssl4rlError(f"{uri!r} cannot be read as {scheme} ({why}){suggestion(scheme, path)}") from None
    made, more = from_networkx(uri, graph, options.get(_WEIGHT))
    return node_source(uri, made, [*problems, *more])


def _opened(path: Path) -> BinaryIO:
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)
    file: BinaryIO = opener(path, "rb")
    return file


class _Doctype(Exception):
    """A DOCTYPE was met."""


@dataclass
class _Ends:
    """What a GraphML or GEXF file declares and names."""

    nodes: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    nameless: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        kind = tag.rpartition(":")[2]
        wanted = {"node": ["id"], "edge": ["source", "target"]}.get(kind, [])
        found = [attributes[key] for key in wanted if key in attributes]
        self.nameless += len(found) < len(wanted)
        (self.nodes if kind == "node" else self.named).update(found)


def _scan(uri: str, file: BinaryIO) -> list[Problem]:
    """Looks through XML before it is parsed: entities can expand without bound, and NetworkX invents missing nodes.

    Raises:
        Ssl4rlError: there is a DOCTYPE, or a node or edge without its ids.
    """
    ends = _Ends()

    def refuse(*_: Any) -> None:
        raise _Doctype

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = ends.start
    try:
        parser.ParseFile(file)
    except _Doctype:
        raise Ssl4rlError(
            f"{uri!r} has a DOCTYPE, which can declare entities that expand without bound; remove it, graphs need none"
        ) from None
    except expat.ExpatError:
        pass  # the reader says it better
    file.seek(0)
    if ends.nameless:
        raise Ssl4rlError(f"{uri!r}: {ends.nameless} nodes or edges lack their id, source or target")
    only_named = ends.named - ends.nodes
    if only_named:
        return [Problem("undeclared nodes", f"{len(only_named)} named by edges alone, first {min(only_named)!r}")]
    return []


def from_networkx(uri: str, graph: Any, weight: str | None = None) -> tuple[Graph, list[Problem]]:
    """A NetworkX graph of any class as arrays, nodes in its order, and what was dropped or merged.

    Args:
        uri: for messages.
        graph: nodes may be anything; their text is their name.
        weight: the edge attribute that holds weights; None: "weight" where edges have it; "none": no weights. An edge
            without it weighs 1.

    Raises:
        Ssl4rlError: a weight is no finite number, or no edge has such an attribute.
    """
    number = {node: i for i, node in enumerate(graph)}
    ends = list(graph.edges(data=True))
    attributes: dict[str, None] = {}
    for _, data in graph.nodes(data=True):
        attributes |= dict.fromkeys(data)
    columns = {str(key): [data.get(key) for _, data in graph.nodes(data=True)] for key in attributes}
    made, problems = assemble(
        uri,
        len(number),
        [number[u] for u, _, _ in ends],
        [number[v] for _, v, _ in ends],
        directed=graph.is_directed(),
        weight=_weights(uri, [data for _, _, data in ends], weight),
        names=[str(node) for node in graph],
        columns=columns,
    )
    names: set[str] = set(map(str, graph))
    if len(names) < len(number):
        problems.append(Problem("names", f"{len(number) - len(names)} nodes share the name of another"))
    return made, problems


def _weights(uri: str, edges: list[dict[str, Any]], weight: str | None) -> list[float] | None:
    present: Iterator[str] = (str(key) for data in edges for key in data)
    known = dict.fromkeys(present)
    if weight == "none" or (weight is None and _WEIGHT not in known):
        return None
    attribute = choice(uri, "edge attribute", weight or _WEIGHT, list(known))
    values = []
    for data in edges:
        value = data.get(attribute, 1.0)
        try:
            values.append(float(value))
        except (TypeError, ValueError):
            raise Ssl4rlError(
                f"{uri!r}: an edge has the weight {value!r}; allowed: numbers, or leave weights out with ?weight=none"
            ) from None
    return values
