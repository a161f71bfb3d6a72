"""Every key against NetworkX: what the prompt says is read back, and the answer worked out anew from it.

Nodes are called by their own names here, so that the prompt's graph and the item's can be laid on each other.
"""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import pytest

from ssl4rl.core.types import Example
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks.hops import Hops
from ssl4rl.graph.tasks.masked_edge import MaskedEdge
from ssl4rl.graph.tasks.motifs import Motifs
from ssl4rl.graph.tasks.neighbours import Neighbours
from ssl4rl.graph.tasks.perturbed_edge import PerturbedEdge
from ssl4rl.graph.tasks.subgraph_contrast import SubgraphContrast
from tests.graph.helpers import Symmetries, makes, named, options, random_graph, same_edges, shown_graph

SIZES = [pytest.param(40, id="few"), pytest.param(2000, id="many", marks=pytest.mark.slow)]
OWN = "names=own,encoding=any,nodes=12"


def check_masked_pair(graph: Graph, example: Example) -> None:
    whole, shown = named(graph), shown_graph(example)
    pairs = options(example)
    truth = pairs[example.answer]
    assert whole.has_edge(*truth)
    whole.remove_edge(*truth)
    if whole.is_directed() and whole.has_edge(*truth[::-1]):
        whole.remove_edge(*truth[::-1])
    assert same_edges(whole, shown)
    symmetries = Symmetries(shown)
    for pair in pairs.values():
        assert not shown.has_edge(*pair)
        assert not shown.has_edge(*pair[::-1])
        assert nx.has_path(shown.to_undirected(), *pair)
        if pair != truth:
            assert not symmetries.take(truth, pair)
            assert shown.is_directed() or not symmetries.take(truth, pair[::-1])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("directed", [False, True])
def test_masked_edge_the_pair_is_the_one_edge_that_is_gone(n: int, directed: bool) -> None:
    graphs = [random_graph(index, directed=directed) for index in range(n)]
    found = 0
    for match in ("degree", "both"):
        level = f"medium,{OWN},options=2,match={match}"
        for index, example in makes(MaskedEdge(), level, [[Rooted(graph)] for graph in graphs]):
            check_masked_pair(graphs[index], example)
            found += 1
    assert found > n / 4


@pytest.mark.parametrize("n", SIZES)
def test_masked_edge_every_node_that_cannot_be_told_apart_is_accepted_and_no_other(n: int) -> None:
    graphs = [random_graph(index) for index in range(n)]
    several = found = 0
    for index, example in makes(MaskedEdge(), f"hard,{OWN},options=2", [[Rooted(graph)] for graph in graphs]):
        shown, whole = shown_graph(example), named(graphs[index])
        anchor = example.text().split("One edge of node ")[1].split(" is hidden")[0]
        assert whole.has_edge(anchor, example.answer)
        whole.remove_edge(anchor, example.answer)
        assert same_edges(whole, shown)
        others = set(shown) - {anchor} - set(shown[anchor])
        assert set(example.meta["candidates"]) == others
        symmetries = Symmetries(shown)
        right = {node for node in others if symmetries.take((anchor, example.answer), (anchor, node))}
        assert set(example.accepted) == right
        several += len(right) > 1
        found += 1
    assert found > n / 2
    assert several > n / 50


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("directed", [False, True])
def test_hops_is_the_shortest_path_length(n: int, directed: bool) -> None:
    graphs = [random_graph(index, 12, directed) for index in range(n)]
    found = 0
    for index, example in makes(Hops(), f"easy,{OWN},farthest=2", [[Rooted(graph)] for graph in graphs]):
        shown = shown_graph(example)
        assert same_edges(named(graphs[index]), shown)
        last, _, first = example.text().split("How many edges is ")[1].rstrip("?").partition(" away from ")
        assert nx.shortest_path_length(shown, first, last) == example.answer
        found += 1
    assert found > n / 3


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("directed", [False, True])
def test_hops_every_shortest_path_is_right_and_no_other(n: int, directed: bool) -> None:
    graphs = [random_graph(index, 12, directed) for index in range(n)]
    verifier = Hops().verifier_for(Hops.levels["path"])
    found = 0
    for _, example in makes(Hops(), f"path,{OWN},farthest=3", [[Rooted(graph)] for graph in graphs]):
        shown = shown_graph(example)
        first, _, last = example.text().split("a shortest path from ")[1].rstrip("?").partition(" to ")
        shortest = list(nx.all_shortest_paths(shown, first, last))
        assert example.meta["paths"] == len(shortest)
        assert example.answer in shortest
        for path in shortest:
            assert verifier.score(verifier.complete(path), example).value == 1
        for path in list(nx.all_simple_paths(shown, first, last, cutoff=len(shortest[0]) + 1))[:20]:
            right = len(path) == len(shortest[0]) and all(shown.has_edge(u, v) for u, v in pairwise(path))
            assert (verifier.score(verifier.complete(path), example).value == 1) == right
        found += 1
    assert found > n / 5


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("level", ["easy,options=2", "medium,options=2", "easy,answer=edge", "hard"])
def test_perturbed_edge_is_the_one_that_was_not_there(n: int, level: str) -> None:
    graphs = [random_graph(index) for index in range(n)]
    found = 0
    for index, example in makes(PerturbedEdge(), f"{level},{OWN}", [[Rooted(graph)] for graph in graphs]):
        whole, shown = named(graphs[index]), shown_graph(example)
        new = {frozenset(edge) for edge in shown.edges} - {frozenset(edge) for edge in whole.edges}
        old = {frozenset(edge) for edge in whole.edges} - {frozenset(edge) for edge in shown.edges}
        assert len(new) == 1
        (fake,) = new
        assert [len(edge & fake) for edge in old] == ([1] if "moved" in example.text() else [])
        assert nx.is_connected(shown)
        if "answer=edge" in level or level == "hard":
            bridges = {frozenset(edge) for edge in nx.bridges(shown)}
            assert {frozenset(edge) for edge in example.meta["candidates"]} == {
                frozenset(edge) for edge in shown.edges
            } - bridges
            pair, symmetries = tuple(fake), Symmetries(shown)
            right = {
                frozenset(edge)
                for edge in shown.edges
                if symmetries.take(pair, edge) or symmetries.take(pair, edge[::-1])
            }
            assert {frozenset(answer[0]) for answer in example.accepted} == right
        else:
            pairs = options(example)
            assert frozenset(pairs[example.answer]) == fake
            assert all(shown.has_edge(*pair) for pair in pairs.values())
            degrees = {tuple(sorted(shown.degree(node) for node in pair)) for pair in pairs.values()}
            assert len(degrees) == 1
        found += 1
    assert found > n / 5


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("directed", [False, True])
def test_motifs_counts_as_networkx_does(n: int, directed: bool) -> None:
    graphs = [random_graph(index, 12, directed) for index in range(n)]
    found = 0
    for level in ("medium,options=2", "count,options=2"):
        for _, example in makes(Motifs(), f"{level},{OWN}", [[Rooted(graph)] for graph in graphs]):
            shown = shown_graph(example).to_undirected()
            counts = nx.triangles(shown)
            if level.startswith("count"):
                assert counts[example.text().split("triangles does ")[1].split(" lie")[0]] == example.answer
            else:
                nodes = {letter: name for letter, (name,) in options(example).items()}
                assert len({shown.degree(name) for name in nodes.values()}) == 1
                most = max(counts[name] for name in nodes.values())
                assert [letter for letter, name in nodes.items() if counts[name] == most] == [example.answer]
            found += 1
    assert found > n / 3


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("level", ["collect", "collect_lines,encoding=incident", "complete,encoding=any"])
def test_neighbours_are_those_of_the_item(n: int, level: str) -> None:
    graphs = [random_graph(index) for index in range(n)]
    found = 0
    for index, example in makes(Neighbours(), f"{level},names=own,nodes=12", [[Rooted(graph)] for graph in graphs]):
        whole, shown = named(graphs[index]), shown_graph(example)
        text = example.text()
        if level.startswith("collect"):
            asked = text.split("joined to ")[1].rstrip("?")
            assert sorted(whole[asked]) == example.answer
            assert "incident" not in level or f"\n{asked} is connected" not in text
        else:
            asked = text.split("Of node ")[1].split(",")[0]
            hidden = set(whole[asked]) - set(shown[asked])
            assert sorted(hidden) == example.answer
            whole.remove_edges_from((asked, node) for node in hidden)
            free = set(shown) - {asked} - set(shown[asked])
            assert set(example.meta["nodes"]) == free
            symmetries = Symmetries(shown)
            for node in hidden:
                for other in free - hidden:
                    assert not symmetries.take((asked, node), (asked, other))
        assert same_edges(whole, shown)
        found += 1
    assert found > n / 3


@pytest.mark.parametrize("n", SIZES)
def test_subgraph_contrast_same_is_one_graph_and_different_two(n: int) -> None:
    pairs = [[random_graph(2 * index, 14), random_graph(2 * index + 1, 14)] for index in range(n)]
    for pair in pairs:  # nodes of the second graph are called m0, m1, ...
        pair[1] = Graph(pair[1].indptr, pair[1].indices, names=[name.replace("n", "m") for name in pair[1].names or ()])
    level = "easy,names=own,nodes=14,drop=0.1"
    found = {"same": 0, "different": 0}
    for index, example in makes(SubgraphContrast(), level, [[Rooted(a), Rooted(b)] for a, b in pairs]):
        views = example.text().split("First: ")[1].split("\nAre both")[0].split("\nSecond: ")
        graphs = [shown_graph(Example((f"{view}\nWhich ",), 0, meta=example.meta)) for view in views]
        assert graphs[0].number_of_nodes() == graphs[1].number_of_nodes()
        assert graphs[0].number_of_edges() == graphs[1].number_of_edges()
        kinds = [{name[0] for name in graph} for graph in graphs]
        assert all(len(kind) == 1 for kind in kinds)
        assert (kinds[0] == kinds[1]) == (example.answer == "same")
        wholes = {"n": named(pairs[index][0]), "m": named(pairs[index][1])}
        for graph, kind in zip(graphs, kinds, strict=True):
            assert all(wholes[next(iter(kind))].has_edge(*edge) for edge in graph.edges)
        found[example.answer] += 1
    assert min(found.values()) > n / 20
