"""The graph as arrays, against NetworkX and against itself on slower paths."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph, _search

Edges = list[tuple[int, int]]


@st.composite
def edge_lists(draw: st.DrawFn) -> tuple[int, Edges, bool]:
    """Nodes, edges with self-loops and repetitions among them, and whether they have a direction."""
    nodes = draw(st.integers(1, 9))
    node = st.integers(0, nodes - 1)
    return nodes, draw(st.lists(st.tuples(node, node), max_size=25)), draw(st.booleans())


def both(nodes: int, edges: Edges, directed: bool) -> tuple[Graph, nx.Graph]:
    """The same graph here and in NetworkX; an edge weighs the sum of 1, 2, 3, ... of its repetitions."""
    expected = (nx.DiGraph if directed else nx.Graph)()
    expected.add_nodes_from(range(nodes))
    for weight, (u, v) in enumerate(edges, 1):
        if u != v:
            before = expected.edges[u, v]["weight"] if expected.has_edge(u, v) else 0
            expected.add_edge(u, v, weight=before + weight)
    columns = {"letter": [chr(97 + i) for i in range(nodes)]}
    weights = list(range(1, len(edges) + 1))
    u, v = [e[0] for e in edges], [e[1] for e in edges]
    return Graph.from_edges(nodes, u, v, directed=directed, weight=weights, columns=columns), expected


def same(graph: Graph, expected: nx.Graph) -> None:
    assert graph.num_nodes == len(expected)
    assert graph.num_edges == expected.number_of_edges()
    found = graph.to_networkx()
    assert found.is_directed() == expected.is_directed() == graph.directed
    assert dict(found.adj) == dict(expected.adj)
    for node in range(len(expected)):
        assert graph.neighbours(node).tolist() == sorted(expected.adj[node])
        assert graph.degree(node) == len(expected.adj[node])


@given(edge_lists())
@settings(max_examples=60, deadline=None)
def test_from_edges_has_what_networkx_has(given: tuple[int, Edges, bool]) -> None:
    graph, expected = both(*given)
    same(graph, expected)
    assert all(graph.has_edge(u, v) == expected.has_edge(u, v) for u in range(given[0]) for v in range(given[0]))


@given(edge_lists(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_subgraph_is_the_induced_one_in_the_order_asked_for(given: tuple[int, Edges, bool], random: object) -> None:
    graph, expected = both(*given)
    nodes = random.sample(range(given[0]), random.randint(1, given[0]))  # type: ignore[attr-defined]
    number = {node: i for i, node in enumerate(nodes)}
    wanted = expected.subgraph(nodes).copy()
    part = graph.subgraph(nodes)
    same(part, nx.relabel_nodes(wanted, number))
    assert part.columns["letter"] == [chr(97 + node) for node in nodes]


@given(edge_lists(), st.data())
@settings(max_examples=60, deadline=None)
def test_edges_come_and_go_as_in_networkx(given: tuple[int, Edges, bool], data: st.DataObject) -> None:
    graph, expected = both(*given)
    edges = graph.edges()
    gone = data.draw(st.lists(st.sampled_from(edges), unique=True)) if edges else []
    reverse = data.draw(st.booleans()) and not graph.directed
    expected.remove_edges_from(gone)
    without = graph.without_edges([(v, u) for u, v in gone] if reverse else gone)
    same(without, expected)
    expected.add_edges_from(gone, weight=1)
    again = without.with_edges([*gone, *gone, *((v, u) for u, v in gone if not graph.directed)])
    same(again, expected)


def test_a_hub_is_searched_and_gives_what_reading_it_gives() -> None:
    """Node 0 knows 1..99: a subgraph of 3 nodes takes the path for hubs, one of 50 the plain one."""
    spokes = list(range(1, 100))
    star = Graph.from_edges(100, [0] * 99 + [7], [*spokes, 9], weight=[*map(float, spokes), 0.5])
    small, large = star.subgraph([9, 0, 7]), star.subgraph([9, 0, 7, *range(20, 67)])
    assert small.edges() == [(0, 1), (0, 2), (1, 2)]
    assert small.to_networkx().edges[0, 1]["weight"] == 9.0
    assert large.subgraph([0, 1, 2]).to_networkx().adj == small.to_networkx().adj
    assert star.subgraph([50, 9]).edges() == []


@pytest.mark.parametrize("dtype", ["<i4", "<i8", ">i4", "<u4"])
def test_rows_of_other_types_and_unaligned_ones_are_searched_alike(dtype: str) -> None:
    values = np.array([2, 3, 5, 8, 13, 1000], dtype=dtype)
    unaligned = np.zeros(values.nbytes + 3, dtype=np.uint8)[3:].view(dtype)
    unaligned[:] = values
    assert not unaligned.flags.aligned
    wanted = np.array([[0, 2, 4], [5, 1000, 2000]])
    for row in (values, unaligned):
        assert _search(row, wanted).tolist() == [[0, 0, 2], [2, 5, 6]]
        assert int(_search(row, 8)) == 3
        assert int(_search(row, 1 << 40)) == 6
        assert int(_search(row[:0], 8)) == 0


def test_loops_go_and_parallel_edges_become_one() -> None:
    graph = Graph.from_edges(3, [0, 0, 1, 2], [0, 1, 0, 1], weight=[9.0, 1.0, 2.0, 4.0])
    assert graph.indptr.tolist() == [0, 1, 3, 4]
    assert graph.indices.tolist() == [1, 0, 2, 1]
    assert graph.weight is not None
    assert graph.weight.tolist() == [3.0, 3.0, 4.0, 4.0]


def test_an_edge_outside_of_the_nodes_is_one_clear_line() -> None:
    with pytest.raises(Ssl4rlError) as caught:
        Graph.from_edges(3, [0, 1], [1, 3])
    assert str(caught.value) == "edge 1 is 1-3; allowed: nodes 0 to 2 (1 of 2 edges are outside)"


def test_values_are_plain_python() -> None:
    graph = Graph.from_edges(2, [0], [1], columns={"x": np.eye(2, dtype=np.float32), "n": np.array([3, 4])})
    assert graph.value("x", 1) == [0.0, 1.0]
    assert type(graph.value("n", 0)) is int
    assert (graph.name(1), graph.subgraph([1]).columns) == ("1", {"x": [[0.0, 1.0]], "n": [4]})
