"""A graph as arrays: compressed sparse rows, and a column for everything that nodes carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.types import Ssl4rlError

if TYPE_CHECKING:
    import networkx

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Graph:
    """N nodes, numbered from 0, and their edges.

    `indptr` int [N+1] and `indices` int [M] are compressed sparse rows, the neighbours of a node in ascending order
    and each once; both may be memory-mapped. An undirected graph holds every edge in both rows, a directed one in its
    source's. There are no self-loops. `weight` float [M] goes with `indices`. `names`: the graph's own names of its
    nodes (None: it has none). `columns`: what nodes carry, a sequence of N values a name ("text", "label", ...).
    """

    indptr: Ints
    indices: Ints
    directed: bool = False
    weight: Floats | None = None
    names: Sequence[str] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @staticmethod
    def from_edges(
        nodes: int,
        sources: Sequence[int] | Ints,
        targets: Sequence[int] | Ints,
        *,
        directed: bool = False,
        weight: Sequence[float] | Floats | None = None,
        names: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Graph:
        """A graph from its edges, each given once (in either direction where undirected).

        Self-loops go, parallel edges become one with their weights' sum. O(M log M) time, O(M) memory.

        Raises:
            Ssl4rlError: an edge names a node that is not in 0..nodes-1.
        """
        u: Ints = np.asarray(sources, dtype=np.int64)
        v: Ints = np.asarray(targets, dtype=np.int64)
        outside = np.flatnonzero((np.minimum(u, v) < 0) | (np.maximum(u, v) >= nodes))
        if len(outside):
            first = int(outside[0])
            raise Ssl4rlError(
                f"edge {first} is {int(u[first])}-{int(v[first])}; allowed: nodes 0 to {nodes - 1} "
                f"({len(outside)} of {len(u)} edges are outside)"
            )
        w: Floats | None = None if weight is None else np.asarray(weight, dtype=np.float64)
        keep = u != v
        u, v, w = u[keep], v[keep], None if w is None else w[keep]
        if not directed:
            low, high = np.minimum(u, v), np.maximum(u, v)
            u, v, w = _merged(nodes, low, high, w)
            u, v, w = np.concatenate([u, v]), np.concatenate([v, u]), None if w is None else np.concatenate([w, w])
        u, v, w = _merged(nodes, u, v, w)
        indptr = np.zeros(nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(u, minlength=nodes), out=indptr[1:])
        return Graph(indptr, v, directed, w, names, dict(columns or {}))

    @property
    def num_nodes(self) -> int:
        return len(self.indptr) - 1

    @property
    def num_edges(self) -> int:
        """Each edge counted once."""
        return len(self.indices) if self.directed else len(self.indices) // 2

    def neighbours(self, node: int) -> Ints:
        """int [degree], ascending: the neighbours of a node (its successors where directed)."""
        return self.indices[int(self.indptr[node]) : int(self.indptr[node + 1])]

    def degree(self, node: int) -> int:
        """How many neighbours (successors where directed)."""
        return int(self.indptr[node + 1]) - int(self.indptr[node])

    def has_edge(self, u: int, v: int) -> bool:
        """Whether there is an edge u-v (u->v where directed). O(log degree)."""
        row = self.neighbours(u)
        at = int(_search(row, v))
        return at < len(row) and int(row[at]) == v

    def edges(self) -> list[tuple[int, int]]:
        """All edges, each once: (u, v) with u < v where undirected. For small graphs."""
        rows = np.repeat(np.arange(self.num_nodes), np.diff(self.indptr))
        pairs = zip(rows.tolist(), np.asarray(self.indices).tolist(), strict=True)
        return [(u, v) for u, v in pairs if self.directed or u < v]

    def name(self, node: int) -> str:
        """The graph's own name of a node; its number where it has none."""
        return str(node) if self.names is None else str(self.names[node])

    def value(self, column: str, node: int) -> Any:
        """What a node carries in a column, as a plain Python value."""
        found = self.columns[column][node]
        return found.tolist() if isinstance(found, np.generic | np.ndarray) else found

    def subgraph(self, nodes: Sequence[int]) -> Graph:
        """The graph induced by different `nodes`, renumbered in that order, with their names and columns.

        Time: the sum of their degrees at most, and less for hubs (each is searched for `nodes`, not read).
        """
        order = np.asarray(nodes, dtype=np.int64)
        by_id = np.argsort(order, kind="stable")
        ranked = order[by_id]
        rows: list[list[int]] = []
        weights: list[list[float]] = []
        for node in order.tolist():
            row = self.neighbours(node)
            start = int(self.indptr[node])
            if len(row) > 8 * len(order):
                at = _search(row, ranked)
                hit = (at < len(row)) & (np.asarray(row[np.minimum(at, len(row) - 1)]) == ranked)
                new, old = by_id[hit], at[hit]
            else:
                at = np.searchsorted(ranked, row)
                hit = ranked[np.minimum(at, len(ranked) - 1)] == row
                new, old = by_id[at[hit]], np.flatnonzero(hit)
            sort = np.argsort(new)
            rows.append(new[sort].tolist())
            if self.weight is not None:
                weights.append(np.asarray(self.weight[start + old[sort]]).tolist())
        indptr = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        return Graph(
            indptr,
            np.array([v for row in rows for v in row], dtype=np.int64),
            self.directed,
            np.array([w for row in weights for w in row]) if self.weight is not None else None,
            None if self.names is None else [str(self.names[i]) for i in order.tolist()],
            {name: [self.value(name, i) for i in order.tolist()] for name in self.columns},
        )

    def without_edges(self, gone: Sequence[tuple[int, int]]) -> Graph:
        """The same graph without some edges (both directions where undirected). For small graphs."""
        drop = {*gone} if self.directed else {*gone, *((v, u) for u, v in gone)}
        kept = [edge for edge in self.edges() if edge not in drop]
        return self._with(kept)

    def with_edges(self, more: Sequence[tuple[int, int]]) -> Graph:
        """The same graph with edges added. For small graphs."""
        more = more if self.directed else [(min(edge), max(edge)) for edge in more]
        return self._with(list(dict.fromkeys([*self.edges(), *more])))

    def _with(self, edges: Sequence[tuple[int, int]]) -> Graph:
        """Weights are kept for the edges that had one; a new edge weighs 1."""
        weight = None if self.weight is None else [self._weight(u, v) for u, v in edges]
        return Graph.from_edges(
            self.num_nodes,
            [u for u, _ in edges],
            [v for _, v in edges],
            directed=self.directed,
            weight=weight,
            names=self.names,
            columns=self.columns,
        )

    def _weight(self, u: int, v: int) -> float:
        assert self.weight is not None
        at = int(self.indptr[u]) + int(_search(self.neighbours(u), v))
        return float(self.weight[at]) if self.has_edge(u, v) else 1.0

    def to_networkx(self) -> networkx.Graph | networkx.DiGraph:
        """The same graph as NetworkX has it, nodes by number, weights as "weight". For small graphs and tests."""
        import networkx as nx

        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(range(self.num_nodes))
        graph.add_edges_from(self.edges())
        if self.weight is not None:
            nx.set_edge_attributes(graph, {edge: self._weight(*edge) for edge in graph.edges}, "weight")
        return graph


def _search(row: Ints, wanted: Any) -> Any:
    """Where `wanted` (an int, or an int array) would go into an ascending row; O(log degree) for each.

    np.searchsorted alone copies the whole row, a hub's million entries too, where its type is another than that of
    what is searched or where it lies unaligned, as arrays inside an .npz do.
    """
    if row.flags.aligned and row.dtype.isnative:
        limits = np.iinfo(row.dtype)
        if np.min(wanted, initial=0) >= limits.min and np.max(wanted, initial=0) <= limits.max:
            return np.searchsorted(row, np.asarray(wanted, dtype=row.dtype))
    asked = np.asarray(wanted, dtype=np.int64)
    low, high = np.zeros(asked.shape, dtype=np.int64), np.full(asked.shape, len(row), dtype=np.int64)
    while np.any(low < high):
        middle = (low + high) // 2
        less = (low < high) & (row[np.minimum(middle, len(row) - 1)] < asked)
        low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
    return low


def _merged(nodes: int, u: Ints, v: Ints, w: Floats | None) -> tuple[Ints, Ints, Floats | None]:
    """Edges sorted by source and target, each once, weights of parallels summed."""
    flat, inverse = np.unique(u * np.int64(nodes) + v, return_inverse=True)
    total: Floats | None = None if w is None else np.bincount(inverse, w, len(flat)).astype(np.float64, copy=False)
    return flat // max(1, nodes), flat % max(1, nodes), total


@dataclass(frozen=True)
class Rooted:
    """What graph sources hand to tasks: a graph and the node this item stands for.

    `root` None: the item is the whole (small) graph, one of a collection, and the task picks a node.
    """

    graph: Graph
    root: int | None = None
