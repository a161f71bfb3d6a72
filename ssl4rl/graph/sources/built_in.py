"""Graphs that NetworkX has built in (`nx:`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import networkx as nx

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import split_options
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource, assemble, node_source
from ssl4rl.graph.sources.files import choice

_WEIGHT = "weight"
_ATLAS = "atlas"


def open_nx(rest: str) -> NodeSource | GraphSource:
    """A graph built into NetworkX by its function's name without "_graph" (`nx:karate_club`), or `nx:atlas`: all 1252
    graphs of one to seven nodes.

    Raises:
        Ssl4rlError: no such graph, with the nearest name.
    """
    uri = f"nx:{rest}"
    rest, _ = split_options("nx", rest, ())
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
