"""What all graph sources share: nodes of one graph, graphs of a collection, and the checks on what becomes a graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Problem, Source, content_id
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph, Ints, Rooted

LARGE_NODES = 200_000
"""Graphs of more nodes are drawn from without looking at every node first (`endless`)."""

_SAMPLED = 1000
_LISTED, _NAME = 12, 40
_WHOLE, _PIECES, _PIECE = 1 << 20, 16, 1 << 13

Opener = Callable[[str], Source[Rooted]]


class NodeSource(Source[Rooted]):
    """The nodes of one graph; item i is the graph, rooted at node i.

    A node's id is the hash of its name and columns. Where these hardly tell nodes apart (no names, no columns, or a
    label alone), the graph's digest and the node's number are hashed too.

    Args:
        uri: what it was opened from.
        graph: the graph.
        problems: what was left out or mended.
        reopen: for graphs on a memory map, the opener and what it was given: pickling then keeps these, not the arrays.
        taken: how the file was read, in a few words.
    """

    def __init__(
        self,
        uri: str,
        graph: Graph,
        problems: Sequence[Problem] = (),
        reopen: tuple[Opener, str] | None = None,
        taken: str = "",
    ) -> None:
        self.uri, self.graph, self._problems, self._reopen = uri, graph, tuple(problems), reopen
        self._taken = taken

    def __len__(self) -> int:
        return self.graph.num_nodes

    def __getitem__(self, index: int) -> Rooted:
        return Rooted(self.graph, int(index))

    def id(self, index: int) -> str:
        content = _node_bytes(self.graph, index)
        return content_id(content if self._telling else f"{self._digest} {index} ".encode() + content)

    def name(self, index: int) -> str:
        return f"node {self.graph.name(index)}"

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        return _in_one_line(self._taken, described(self.graph))

    @cached_property
    def _digest(self) -> str:
        return digest(self.graph)

    @cached_property
    def _telling(self) -> bool:
        """Whether what nodes carry tells most of them apart; judged by nodes evenly spaced."""
        if self.graph.names is None and not self.graph.columns:
            return False
        nodes = np.unique(np.linspace(0, len(self) - 1, min(len(self), _SAMPLED), dtype=np.int64)).tolist()
        return 2 * len({_node_bytes(self.graph, node) for node in nodes}) > len(nodes)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopen is not None:
            return self._reopen[0], (self._reopen[1],)
        return type(self), (self.uri, self.graph, self._problems, None, self._taken)


class LargeNodeSource(NodeSource):
    """The nodes of a graph so large that a split draws from it by rejection; its length is how many nodes it has."""

    endless: ClassVar[bool] = True


class GraphSource(Source[Rooted]):
    """A collection of small graphs; an item is a whole graph, its id the hash of its arrays, names and columns.

    Graphs without an edge are left out and counted.

    Raises:
        Ssl4rlError: no graph is left.
    """

    def __init__(self, uri: str, graphs: Sequence[Graph], problems: Sequence[Problem] = (), taken: str = "") -> None:
        self.uri, self._taken = uri, taken
        self._numbers = [number for number, graph in enumerate(graphs) if graph.num_edges]
        self.graphs = [graphs[number] for number in self._numbers]
        gone = len(graphs) - len(self.graphs)
        self._problems = (*problems, *([Problem("graphs without an edge", f"{gone} left out")] if gone else []))
        self._ids: dict[int, str] = {}
        if not self.graphs:
            raise Ssl4rlError(f"{uri!r} holds {len(graphs)} graphs, none of them with an edge")

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> Rooted:
        return Rooted(self.graphs[index])

    def id(self, index: int) -> str:
        if index not in self._ids:
            self._ids[index] = graph_id(self.graphs[index])
        return self._ids[index]

    def name(self, index: int) -> str:
        return f"graph {self._numbers[index]}"

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        nodes, edges = (sum(counts) for counts in zip(*((g.num_nodes, g.num_edges) for g in self.graphs), strict=True))
        columns = dict.fromkeys(name for graph in self.graphs for name in graph.columns)
        said = f"{len(self.graphs)} graphs, {nodes} nodes, {edges} edges in all; {_listed(columns)}"
        return _in_one_line(self._taken, said)


def _in_one_line(*parts: str) -> str:
    return " ".join("; ".join(part for part in parts if part).split())


def described(graph: Graph) -> str:
    """A graph's size, kind and columns, in a few words."""
    kind = "directed" if graph.directed else "undirected"
    weighted = ", weighted" if graph.weight is not None else ""
    return f"{graph.num_nodes} nodes, {graph.num_edges} edges, {kind}{weighted}; {_listed(graph.columns)}"


def _listed(columns: Iterable[str]) -> str:
    names = [name if len(name) <= _NAME else f"{name[:_NAME]}.." for name in columns]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"nodes carry {', '.join(names[:_LISTED])}{more}" if names else "nodes carry nothing"


def node_source(
    uri: str,
    graph: Graph,
    problems: Sequence[Problem] = (),
    reopen: tuple[Opener, str] | None = None,
    taken: str = "",
) -> NodeSource:
    """The source of a graph's nodes, of the kind that suits its size.

    Raises:
        Ssl4rlError: the graph has no node, or no edge.
    """
    if not graph.num_nodes:
        raise Ssl4rlError(f"{uri!r} holds a graph without nodes")
    if not len(graph.indices):
        raise Ssl4rlError(f"{uri!r} holds a graph of {graph.num_nodes} nodes without edges")
    kind = LargeNodeSource if graph.num_nodes > LARGE_NODES else NodeSource
    return kind(uri, graph, problems, reopen, taken)


def digest(graph: Graph) -> str:
    """16 hex digits over direction, edges and weights, whatever the arrays' types.

    Of arrays with more than 2^20 entries: over their length and pieces evenly spaced.
    """
    h = hashlib.blake2b(f"{graph.num_nodes} {len(graph.indices)} {graph.directed}".encode(), digest_size=8)
    for array, kind in ((graph.indptr, "<i8"), (graph.indices, "<i8"), (graph.weight, "<f8")):
        if array is None:
            continue
        starts = [0] if len(array) <= _WHOLE else np.linspace(0, len(array) - _PIECE, _PIECES, dtype=np.int64).tolist()
        for start in starts:
            piece = array[start:] if len(array) <= _WHOLE else array[start : start + _PIECE]
            h.update(np.ascontiguousarray(piece, dtype=kind).tobytes())
    return h.hexdigest()


def graph_id(graph: Graph) -> str:
    """The content id of a small graph: its arrays, names and columns."""
    nodes = b"".join(_node_bytes(graph, node) for node in range(graph.num_nodes))
    return content_id(digest(graph).encode() + nodes)


def _node_bytes(graph: Graph, node: int) -> bytes:
    """What a node carries, as bytes that tell where one value ends."""
    plain: list[Any] = [None if graph.names is None else graph.name(node)]
    arrays: list[bytes] = []
    for column in sorted(graph.columns):
        found = graph.columns[column][node]
        if isinstance(found, np.ndarray):  # features: a thousand numbers, quicker as they are than as JSON
            arrays.append(found.astype("<f8", copy=False).tobytes())
        else:
            plain += [column, found.item() if isinstance(found, np.generic) else found]
    return json.dumps(plain, default=repr).encode() + b"".join(arrays)


def assemble(
    uri: str,
    nodes: int,
    sources: Sequence[int] | Ints,
    targets: Sequence[int] | Ints,
    *,
    directed: bool,
    weight: Sequence[float] | NDArray[np.floating[Any]] | None = None,
    names: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[Graph, list[Problem]]:
    """A graph from a user's edges, and what had to be dropped or merged.

    An undirected graph may list each edge once or, all of them, in both directions. Names that only repeat the nodes'
    numbers are left out.

    Raises:
        Ssl4rlError: an edge outside of the nodes, or a weight that is not finite.
    """
    u, v = np.asarray(sources, dtype=np.int64), np.asarray(targets, dtype=np.int64)
    w = None if weight is None else np.asarray(weight, dtype=np.float64)
    if names is not None and all(name == str(number) for number, name in enumerate(names)):
        names = None
    if w is not None and not np.isfinite(w).all():
        first = int(np.flatnonzero(~np.isfinite(w))[0])
        ends = [str(int(end)) if names is None else names[int(end)] for end in (u[first], v[first])]
        raise Ssl4rlError(
            f"{uri!r}: {int((~np.isfinite(w)).sum())} of {len(w)} edges have a weight that is no finite number, first "
            f"{ends[0]!r}-{ends[1]!r} with {w[first]}; mend them, or leave weights out with ?weight=none"
        )
    given, loops = len(u), int((u == v).sum())
    if not directed and _both_ways(nodes, u, v):
        once = u < v
        u, v, w = u[once], v[once], None if w is None else w[once]
        given = len(u) + loops
    try:
        graph = Graph.from_edges(nodes, u, v, directed=directed, weight=w, names=names, columns=columns)
    except Ssl4rlError as error:
        raise Ssl4rlError(f"{uri!r}: {error}") from None
    problems = [Problem("self-loops", f"{loops} dropped")] if loops else []
    if parallel := given - loops - graph.num_edges:
        problems.append(Problem("parallel edges", f"{parallel} merged"))
    return graph, problems


def summed(problems: Sequence[Problem]) -> list[Problem]:
    """The problems of many graphs, each beginning with a count, as one of each kind."""
    counts: dict[tuple[str, str], int] = {}
    for problem in problems:
        number, _, rest = problem.why.partition(" ")
        counts[problem.name, rest] = counts.get((problem.name, rest), 0) + int(number)
    return [Problem(name, f"{n} {rest}") for (name, rest), n in counts.items()]


def is_directed(nodes: int, sources: Any, targets: Any) -> bool:
    """Whether some edge lacks its reverse."""
    u, v = np.asarray(sources, dtype=np.int64), np.asarray(targets, dtype=np.int64)
    return not np.array_equal(np.unique(u * np.int64(nodes) + v), np.unique(v * np.int64(nodes) + u))


def _both_ways(nodes: int, u: Ints, v: Ints) -> bool:
    """Whether every edge is there in both directions, equally often."""
    if int((u < v).sum()) != int((u > v).sum()):
        return False
    return bool(np.array_equal(np.sort(u * np.int64(nodes) + v), np.sort(v * np.int64(nodes) + u)))
