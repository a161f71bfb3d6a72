"""What graph tasks share: the part of a graph a question is about, its options, its drawing, checks of levels."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ssl4rl.core.types import Ssl4rlError, Unusable, shortened
from ssl4rl.graph import sampling, serialise
from ssl4rl.graph.graph import Graph, Rooted

LETTERS = "ABCDEFGH"
NUMBERS = "12345678"
LABEL_COLUMNS = ("label", "section", "block", "community", "club", "class", "category", "type", "group")
"""Columns that say what kind of node a node is, in the order in which they are looked for."""

UNDIRECTED = "?directed=false behind a file's name leaves directions out"
"""What to do where a directed graph is of no use."""

_COMPARED = 100
"""So many columns, and letters of one, are compared for the nearest name; a file may have any number."""

_PLAIN = str.maketrans("<>[]{};", "()()(),")

Edge = tuple[int, int]
Rows = list[set[int]]
"""The neighbours of every node, in either direction."""


@dataclass(frozen=True)
class Place:
    """The part of a graph that a question shows.

    `graph`: its nodes in the random order in which they are written, `names` what they are called there, `origin` which
    nodes of the item's graph they are, `root` the node the item stands for (None: the whole small graph), `centre` the
    node around which it was cut out of a larger graph, all others within the level's hops (None: nothing was cut).
    """

    graph: Graph
    names: tuple[str, ...]
    origin: tuple[int, ...]
    root: int | None
    encoding: str
    centre: int | None = None

    def edge(self, edge: Edge) -> list[str]:
        return [self.names[edge[0]], self.names[edge[1]]]

    def pair_text(self, edge: Edge) -> str:
        """The pair as the edge list would write it, the ends of an undirected one in ascending order of their names."""
        u, v = self.edge(edge)
        if not self.graph.directed and u > v:
            u, v = v, u
        return serialise.edge_text(u, v, directed=self.graph.directed)

    def write(self, graph: Graph, rng: np.random.Generator, **how: Any) -> str:
        """`graph` (this place's, or what is shown of it) as text, an undirected edge's ends in ascending order."""
        return serialise.write(graph, self.names, self.encoding, rng, sort_ends=True, **how)


def find_place(item: Rooted, level: Mapping[str, Any], rng: np.random.Generator, least: int = 3) -> Place:
    """An ego network of at most `level["nodes"]` nodes within `level["hops"]` of the item's node, shuffled and named.

    An item that is a whole graph is shown whole where it has no more nodes than that; else a node is drawn.

    Raises:
        Unusable: fewer than `least` nodes.
    """
    graph, root = item.graph, item.root
    if graph.num_nodes < least:
        raise Unusable(f"the graph has fewer than {least} nodes")
    centre = None
    if root is None and graph.num_nodes <= level["nodes"]:
        nodes = list(range(graph.num_nodes))
    else:
        centre = int(rng.integers(graph.num_nodes)) if root is None else root
        nodes = sampling.ego(graph, centre, rng, hops=level["hops"], max_nodes=level["nodes"])
    if len(nodes) < least:
        raise Unusable(f"fewer than {least} nodes within {level['hops']} hops")
    return named_place(graph, nodes, root, level, rng, centre)


def named_place(
    graph: Graph,
    nodes: Sequence[int],
    root: int | None,
    level: Mapping[str, Any],
    rng: np.random.Generator,
    centre: int | None = None,
) -> Place:
    """The graph induced by `nodes`, in random order, under names and in an encoding as the level says."""
    order = [nodes[i] for i in rng.permutation(len(nodes)).tolist()]
    part = graph.subgraph(order)
    names = serialise.node_names(part, _styles(level["names"]), rng)
    encoding = serialise.draw_encoding(level["encoding"], rng)
    rooted, middle = (None if node is None else order.index(node) for node in (root, centre))
    return Place(part, tuple(names), tuple(order), rooted, encoding, middle)


def drawing(
    place: Place,
    shown: Graph,
    *,
    hidden_edges: Iterable[Edge] = (),
    hidden_nodes: Iterable[int] = (),
    root: int | None = None,
) -> dict[str, Any]:
    """What a page draws: all by name, `edges` those that can be seen."""
    return {
        "nodes": list(place.names),
        "edges": [place.edge(edge) for edge in shown.edges()],
        "directed": shown.directed,
        "hidden_edges": [place.edge(edge) for edge in hidden_edges],
        "hidden_nodes": [place.names[node] for node in hidden_nodes],
        "root": None if root is None else place.names[root],
    }


def skeleton(graph: Graph) -> Rows:
    """The neighbours of every node in either direction. For small graphs."""
    rows: Rows = [set() for _ in range(graph.num_nodes)]
    for u, v in graph.edges():
        rows[u].add(v)
        rows[v].add(u)
    return rows


def distances(rows: Rows, start: int) -> list[int]:
    """Hops from `start` to every node along `rows`; -1 where there is no way."""
    found = [-1] * len(rows)
    found[start] = 0
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in rows[node]:
            if found[other] < 0:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def in_reach(rows: Rows, centre: int | None, hops: int) -> bool:
    """Whether all nodes are within `hops` of the one around which they were chosen: they could have been chosen so."""
    return centre is None or all(0 <= far <= hops for far in distances(rows, centre))


def degrees(graph: Graph) -> list[tuple[int, int]]:
    """(out, in) degree of every node; both are the degree where the graph is undirected."""
    out = np.diff(graph.indptr)
    into = np.bincount(np.asarray(graph.indices, dtype=np.int64), minlength=graph.num_nodes)
    return list(zip(out.tolist(), into.tolist(), strict=True))


def shuffled(values: Iterable[Any], rng: np.random.Generator) -> list[Any]:
    listed = list(values)
    return [listed[i] for i in rng.permutation(len(listed)).tolist()]


def _styles(names: str) -> str:
    """The styles of names that are left open; "any" is all that cannot be taken for an option's letter."""
    return "integers|given" if names == "any" else names


def labels(level: Mapping[str, Any]) -> str:
    """What options are called: letters, or numbers where nodes are called by letters."""
    return NUMBERS if level["names"].startswith("letters") else LETTERS


def lettered(options: Sequence[str], letters: str = LETTERS) -> str:
    """The options, each on a line with its letter."""
    return "\n".join(f"{letter}: {option}" for letter, option in zip(letters, options, strict=False))


def label_column(graph: Graph, asked: str) -> str:
    """The column `asked`, or the first of LABEL_COLUMNS that the graph has where none is asked for.

    Raises:
        Unusable: the graph has none.
    """
    if asked:
        if asked not in graph.columns:
            raise no_column(graph, asked, "column")
        return asked
    found = next((name for name in LABEL_COLUMNS if name in graph.columns), None)
    if found is None:
        raise no_column(graph, LABEL_COLUMNS, "column")
    return found


def no_column(graph: Graph, asked: str | Sequence[str], option: str) -> Unusable:
    """The error for a column, or several, that nodes do not carry: what they carry, and which of it may be meant.

    Args:
        asked: the name, or names any of which would do.
        option: the level's parameter that names it.
    """
    wanted = [asked] if isinstance(asked, str) else list(asked)
    carried = [name for name in islice(graph.columns, _COMPARED) if len(name) <= _COMPARED]
    close = [found for name in wanted for found in difflib.get_close_matches(name, carried, n=1, cutoff=0.6)]
    none = f"no {asked!r}" if isinstance(asked, str) else f"none of {', '.join(wanted)}"
    there = shortened(", ".join(map(repr, carried[:12]))) or "nothing"
    hint = f"did you mean {option}={close[0]}?" if close else f"name the column, as in {option}=..."
    return Unusable(f"nodes carry {none}, but {there}{f'; {hint}' if carried else ''}")


def plain(text: Any, most: int = 0) -> str:
    """A node's text on one line, so that nothing in it ends a part of the prompt or looks like a tag.

    Brackets of all kinds but round ones become round, semicolons commas, quotes and accents stay; at most `most`
    characters, cut at a space (0: all).
    """
    line = " ".join(str(text).translate(_PLAIN).split())
    line = "".join(c for c in line if c.isprintable())
    if most and len(line) > most:
        line = line[: most + 1].rsplit(" ", 1)[0][:most].rstrip(" ,.")
    return line


def check_between(task: str, params: Mapping[str, Any], name: str, low: float, high: float) -> None:
    """Refuse a level's parameter that lies outside [low, high].

    Raises:
        Ssl4rlError: it does.
    """
    if not low <= params[name] <= high:
        raise Ssl4rlError(f"{task}: {name} is {params[name]}; allowed: {low} to {high}")


def check_among(task: str, params: Mapping[str, Any], name: str, allowed: Iterable[Any]) -> None:
    """Refuse a level's parameter that is not one of `allowed`.

    Raises:
        Ssl4rlError: it is not.
    """
    options = list(allowed)
    if params[name] not in options:
        raise Ssl4rlError(f"{task}: {name} is {params[name]}; allowed: {', '.join(map(str, options))}")


def check_place(task: str, params: Mapping[str, Any], least: int = 3) -> None:
    """Refuse an encoding, a way of naming or a size that cannot be.

    Raises:
        Ssl4rlError: it cannot.
    """
    serialise.check_encoding(f"{task}: encoding", params["encoding"])
    serialise.check_names(f"{task}: names", params["names"])
    check_between(task, params, "nodes", least, 64)
    check_between(task, params, "hops", 1, 16)
