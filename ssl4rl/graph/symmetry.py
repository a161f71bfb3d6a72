"""Which nodes cannot be told apart, so that an answer with one of them is as right as with the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from ssl4rl.graph.graph import Graph

Colours = list[int]


def same_role(
    graph: Graph, first: Sequence[int], second: Sequence[int], labels: Sequence[Hashable] | None = None
) -> bool:
    """Whether an automorphism of a small graph takes the nodes `first`, one by one, to the nodes `second`.

    Exact: colour refinement, and where that leaves nodes of one colour, one of them is singled out and all partners
    are tried. `labels` (one a node) are kept by the automorphism.
    """
    if len(first) != len(second):
        return False
    tables = _tables(graph)
    marks: list[dict[int, tuple[int, ...]]] = [{}, {}]
    for mark, nodes in zip(marks, (first, second), strict=True):
        for place, node in enumerate(nodes):
            mark[node] = (*mark.get(node, ()), place)
    keys = [
        [(mark.get(node, ()), labels[node] if labels is not None else 0) for node in range(graph.num_nodes)]
        for mark in marks
    ]
    number: dict[Hashable, int] = {}
    left, right = ([number.setdefault(key, len(number)) for key in side] for side in keys)
    return _isomorphic(tables, left, right)


def same_shape(first: Graph, second: Graph) -> bool:
    """Whether two small graphs are the same but for their nodes' numbers (exact, as `same_role` is)."""
    n = first.num_nodes
    if (n, first.num_edges) != (second.num_nodes, second.num_edges):
        return False
    edges = [*first.edges(), *((u + n, v + n) for u, v in second.edges())]
    edges += [(2 * n, node) for node in range(n)] + [(2 * n + 1, node + n) for node in range(n)]
    both = Graph.from_edges(2 * n + 2, *zip(*edges, strict=True), directed=first.directed)
    return same_role(both, (2 * n, 2 * n + 1), (2 * n + 1, 2 * n))


def colours(graph: Graph) -> Colours:
    """For each node of a small graph a number; nodes that an automorphism takes to each other have the same one."""
    same = [0] * graph.num_nodes
    refined = _refined(_tables(graph), same, same)
    assert refined is not None  # one colouring is as common as itself
    return refined[0]


def _tables(graph: Graph) -> list[list[list[int]]]:
    """Every node's neighbours; where directed also its predecessors."""
    rows = [graph.neighbours(node).tolist() for node in range(graph.num_nodes)]
    if not graph.directed:
        return [rows]
    into: list[list[int]] = [[] for _ in rows]
    for u, row in enumerate(rows):
        for v in row:
            into[v].append(u)
    return [rows, into]


def _isomorphic(tables: Sequence[list[list[int]]], left: Colours, right: Colours) -> bool:
    """Whether a bijection of the nodes keeps the edges and takes the colours `left` to the colours `right`."""
    refined = _refined(tables, left, right)
    if refined is None:
        return False
    left, right = refined
    cells = Counter(left)
    open_cells = [(size, colour) for colour, size in cells.items() if size > 1]
    if not open_cells:
        return True  # all colours differ, and equal colours have neighbours of equal colours: that is the bijection
    _, colour = min(open_cells)
    single = left.index(colour)
    fresh = len(left)
    marked = [fresh if node == single else c for node, c in enumerate(left)]
    partners = [node for node, c in enumerate(right) if c == colour]
    return any(
        _isomorphic(tables, marked, [fresh if node == partner else c for node, c in enumerate(right)])
        for partner in partners
    )


def _refined(tables: Sequence[list[list[int]]], left: Colours, right: Colours) -> tuple[Colours, Colours] | None:
    """Both colourings refined by the colours of neighbours until nothing changes; equal numbers mean the same.

    None where a colour is not as common on one side as on the other.
    """
    count = len(set(left))
    while Counter(left) == Counter(right):
        number: dict[tuple[object, ...], int] = {}
        sides = []
        for colours in (left, right):
            near = [[tuple(sorted([colours[v] for v in row])) for row in rows] for rows in tables]
            signatures = zip(colours, *near, strict=True)
            sides.append([number.setdefault(signature, len(number)) for signature in signatures])
        left, right = sides
        if len(number) == count:
            return left, right
        count = len(number)
    return None
