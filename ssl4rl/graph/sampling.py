"""Nodes of a large graph that make a small one: ego networks, random walks, snowballs, or all of it.

Every function returns different node numbers, the root first; `Graph.subgraph` makes the induced graph of them. A
sample depends on the graph, the arguments and `rng` alone. Its time and memory depend on the sample: nothing is made
that is as long as the graph, and of a hub's row only the drawn places are read.

Undirected graphs are walked along their edges. Directed ones are walked along edges both ways where their arrays are in
memory (the predecessors are worked out once a graph, in O(M), and kept as long as the graph is), and along out-edges
only where they are memory-mapped, since finding predecessors would mean reading the whole file.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.graph.graph import Graph, Ints, Rooted

METHODS = ("ego", "random_walk", "snowball", "whole")

Cost = Callable[[int], int]
"""How many characters a node's text will take in the prompt."""

_STEPS_PER_NODE = 30
_FOLLOWED_PER_NODE = 4
_predecessors: WeakKeyDictionary[Graph, tuple[Ints, Ints]] = WeakKeyDictionary()


def sample(
    item: Graph | Rooted,
    rng: np.random.Generator,
    method: str = "ego",
    *,
    max_nodes: int = 12,
    hops: int = 2,
    max_degree: int | None = None,
    restart: float = 0.15,
    waves: int = 3,
    each: int = 3,
    max_chars: int | None = None,
    cost: Cost | None = None,
) -> list[int]:
    """A sample of at most `max_nodes` nodes around an item's root, which comes first.

    A graph that is small enough (nodes and characters) is taken whole, whatever the method. An item without a root
    gets a random one. The root is always in the sample, even where it alone is beyond `max_chars`.

    Raises:
        Ssl4rlError: no such method.
    """
    graph, root = (item.graph, item.root) if isinstance(item, Rooted) else (item, None)
    if method not in METHODS:
        raise Ssl4rlError(f"unknown sampling method {method!r}{nearest(method, METHODS)}")
    if not graph.num_nodes:
        return []
    start = int(rng.integers(graph.num_nodes)) if root is None else root
    if graph.num_nodes <= max_nodes:
        everything = [start, *(node for node in whole(graph) if node != start)]
        if max_chars is None or cost is None or sum(map(cost, everything)) <= max_chars:
            return everything
    budget: dict[str, Any] = {"max_nodes": max_nodes, "max_chars": max_chars, "cost": cost}
    if method == "random_walk":
        return random_walk(graph, start, rng, restart=restart, **budget)
    if method == "snowball":
        return snowball(graph, start, rng, waves=waves, each=each, **budget)
    return ego(graph, start, rng, hops=hops, max_degree=max_degree, **budget)


def ego(
    graph: Graph,
    root: int,
    rng: np.random.Generator,
    *,
    hops: int = 2,
    max_nodes: int = 12,
    max_degree: int | None = None,
    max_chars: int | None = None,
    cost: Cost | None = None,
) -> list[int]:
    """The nodes within `hops` of the root, ring by ring; a random choice of the ring that does not fit.

    Of a node with more than `max_degree` neighbours that many are drawn and followed (None: 4 `max_nodes`, so that one
    hub can fill the sample). A node whose text does not fit is passed over.
    """
    rows, basket = _Rows(graph), _Basket(root, max_nodes, max_chars, cost)
    most = _FOLLOWED_PER_NODE * max_nodes if max_degree is None else max_degree
    ring = [root]
    for _ in range(hops):
        found = {new: None for node in ring for new in rows.draw(node, most, rng) if new not in basket}
        new_nodes = list(found)
        ring = [new_nodes[i] for i in rng.permutation(len(new_nodes)).tolist() if basket.add(new_nodes[i])]
        if basket.full or not ring:
            break
    return basket.nodes


def random_walk(
    graph: Graph,
    root: int,
    rng: np.random.Generator,
    *,
    max_nodes: int,
    restart: float = 0.15,
    max_chars: int | None = None,
    cost: Cost | None = None,
) -> list[int]:
    """The nodes that a random walk from the root meets, in that order; it restarts with probability `restart` a step.

    It also restarts in a dead end, and gives up after 30 `max_nodes` steps.
    """
    rows, basket = _Rows(graph), _Basket(root, max_nodes, max_chars, cost)
    node = root
    for _ in range(_STEPS_PER_NODE * max_nodes):
        if basket.full:
            break
        degree = rows.degree(node)
        if not degree or rng.random() < restart:
            node = root
        else:
            node = rows.at(node, int(rng.integers(degree)))
            basket.add(node)
    return basket.nodes


def snowball(
    graph: Graph,
    root: int,
    rng: np.random.Generator,
    *,
    waves: int,
    each: int,
    max_nodes: int,
    max_chars: int | None = None,
    cost: Cost | None = None,
) -> list[int]:
    """A snowball sample: in each wave, every node of the last wave names `each` of its neighbours at random."""
    rows, basket = _Rows(graph), _Basket(root, max_nodes, max_chars, cost)
    wave = [root]
    for _ in range(waves):
        wave = [new for node in wave for new in rows.draw(node, each, rng) if basket.add(new)]
        if basket.full or not wave:
            break
    return basket.nodes


def whole(graph: Graph) -> list[int]:
    """All nodes, ascending. For small graphs."""
    return list(range(graph.num_nodes))


class _Basket:
    """The nodes taken so far, and what is left of the budgets."""

    def __init__(self, root: int, max_nodes: int, max_chars: int | None, cost: Cost | None) -> None:
        self.nodes = [root]
        self._taken = {root}
        self._max_nodes = max_nodes
        self._cost = cost if max_chars is not None else None
        self._left = 0 if max_chars is None or cost is None else max_chars - cost(root)

    def __contains__(self, node: int) -> bool:
        return node in self._taken

    @property
    def full(self) -> bool:
        return len(self.nodes) >= self._max_nodes or (self._cost is not None and self._left <= 0)

    def add(self, node: int) -> bool:
        """Takes a node where it is new and fits; says whether."""
        if self.full or node in self._taken:
            return False
        if self._cost is not None:
            chars = self._cost(node)
            if chars > self._left:
                return False
            self._left -= chars
        self.nodes.append(node)
        self._taken.add(node)
        return True


class _Rows:
    """The nodes that a walk may go to from each node; an edge and its reverse count twice where both are there."""

    def __init__(self, graph: Graph) -> None:
        tables: list[tuple[Ints, Ints]] = [(graph.indptr, graph.indices)]
        if graph.directed and not _is_mapped(graph.indices):
            tables.append(_reversed(graph))
        self._tables = tables

    def degree(self, node: int) -> int:
        return sum(int(indptr[node + 1]) - int(indptr[node]) for indptr, _ in self._tables)

    def at(self, node: int, place: int) -> int:
        """The neighbour at a place below the degree."""
        for indptr, indices in self._tables:
            start, end = int(indptr[node]), int(indptr[node + 1])
            if place < end - start:
                return int(indices[start + place])
            place -= end - start
        raise IndexError(place)

    def draw(self, node: int, most: int, rng: np.random.Generator) -> Sequence[int]:
        """All neighbours, or `most` random places of a longer row. O(most): numpy draws so few by Floyd's method."""
        degree = self.degree(node)
        if degree > most:
            return [self.at(node, place) for place in rng.choice(degree, most, replace=False).tolist()]
        rows = (indices[int(indptr[node]) : int(indptr[node + 1])] for indptr, indices in self._tables)
        return [neighbour for row in rows for neighbour in row.tolist()]


def _is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, (np.memmap, mmap.mmap)):
            return True
        array = getattr(array, "base", None)
    return False


def _reversed(graph: Graph) -> tuple[Ints, Ints]:
    """indptr and indices of the predecessors, ascending."""
    if graph not in _predecessors:
        sources = np.repeat(np.arange(graph.num_nodes), np.diff(graph.indptr))
        indptr = np.zeros(graph.num_nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(graph.indices, minlength=graph.num_nodes), out=indptr[1:])
        _predecessors[graph] = indptr, sources[np.argsort(graph.indices, kind="stable")]
    return _predecessors[graph]
