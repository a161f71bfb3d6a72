"""hops, motifs, perturbed_edge, neighbours and subgraph_contrast on graphs of a few nodes, expectations written out."""

from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.task import Task
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import skeleton
from ssl4rl.graph.symmetry import same_role, same_shape
from ssl4rl.graph.tasks.hops import Hops, shortest_paths
from ssl4rl.graph.tasks.motifs import Motifs, triangles
from ssl4rl.graph.tasks.neighbours import Neighbours
from ssl4rl.graph.tasks.perturbed_edge import PerturbedEdge
from ssl4rl.graph.tasks.subgraph_contrast import SubgraphContrast
from tests.graph.helpers import makes, options, shown_graph

SQUARE = Graph.from_edges(4, [0, 1, 2, 3], [1, 2, 3, 0], names=list("abcd"))
PATH = Graph.from_edges(5, [0, 1, 2, 3], [1, 2, 3, 4], names=list("abcde"))
RING = Graph.from_edges(6, range(6), [1, 2, 3, 4, 5, 0], names=list("abcdef"))
# a-b-c is a triangle, d hangs on c
PAN = Graph.from_edges(4, [0, 1, 0, 2], [1, 2, 2, 3], names=list("abcd"))
OWN = "names=own,encoding=edge_list"


def test_hops_on_a_ring_where_all_degrees_are_two() -> None:
    seen = set()
    for _, example in makes(Hops(), f"easy,{OWN}", [[Rooted(RING)]] * 30):
        first, last = example.meta["ends"]
        step = abs(ord(first) - ord(last))
        assert example.answer == min(step, 6 - step)
        assert example.text().endswith(f"How many edges is {last} away from {first}?")
        seen.add(example.answer)
    assert seen == {1, 2, 3}


def test_hops_names_the_two_as_an_edge_of_its_list_would_be() -> None:
    level = "tiny,names=own,nodes=6,farthest=3"
    for _, example in makes(Hops(), level, [[Rooted(RING)]] * 10):
        listed, asked = example.text().split("\n")
        first, last = sorted(example.meta["ends"])
        assert asked == f"How many edges is the shortest path {first}-{last}?"
        assert listed.startswith("Edges: ")
        assert (f" {first}-{last}" in listed) == (example.answer == 1)
    ring = Graph.from_edges(4, range(4), [1, 2, 3, 0], directed=True, names=list("abcd"))
    for _, example in makes(Hops(), level, [[Rooted(ring)]] * 10):
        first, last = example.meta["ends"]
        assert example.text().endswith(f"the shortest path {first}->{last}?")
        assert example.answer == (ord(last) - ord(first)) % 4


def test_both_ways_round_a_square_are_right() -> None:
    rows = skeleton(SQUARE)
    ways, path = shortest_paths(rows, 0, 2)
    assert ways == 2
    assert path in ([0, 1, 2], [0, 3, 2])
    verifier = Hops().verifier_for(Hops.levels["path"])
    example = next(e for _, e in makes(Hops(), f"path,{OWN},farthest=2", [[Rooted(SQUARE)]]))
    start, _, end = example.answer
    for middle in set("abcd") - {start, end}:
        assert verifier.score(f"<answer>{start}, {middle}, {end}</answer>", example).verdict == "correct"
    assert verifier.score(f"<answer>{start}, {end}</answer>", example).verdict == "wrong"
    assert verifier.chance(example) == 1.0  # any of the two other nodes lies on a shortest path


def test_directed_distance_follows_the_arrows() -> None:
    ring = Graph.from_edges(4, range(4), [1, 2, 3, 0], directed=True, names=list("abcd"))
    seen = set()
    for _, example in makes(Hops(), f"easy,{OWN}", [[Rooted(ring)]] * 30):
        first, last = example.meta["ends"]
        assert example.answer == (ord(last) - ord(first)) % 4
        seen.add(example.answer)
    assert seen == {1, 2, 3}
    verifier = Hops().verifier_for(Hops.levels["path"])
    for _, example in makes(Hops(), f"path,{OWN},farthest=3", [[Rooted(ring)]] * 5):
        assert verifier.score(verifier.complete(example.answer), example).value == 1
        assert verifier.score(verifier.complete(example.answer[::-1]), example).value == 0


def test_triangles_of_a_pan() -> None:
    assert triangles(skeleton(PAN)) == [1, 1, 1, 0]
    with pytest.raises(Unusable, match="no 3 nodes of one degree"):
        Motifs().make([Rooted(PAN)], Motifs.levels["easy"], np.random.default_rng(0))


def test_the_node_in_most_triangles_has_no_more_neighbours_than_the_others() -> None:
    """b, c of degree 3: b in two triangles (a-b-c, b-c-e), d in one (c-d-e)."""
    graph = Graph.from_edges(
        7, [0, 0, 1, 1, 2, 2, 3, 3, 5], [1, 2, 2, 4, 4, 3, 4, 5, 6], names=list("abcdefg")
    )  # degrees: a 2, b 3, c 4, d 3, e 3, f 2, g 1
    for _, example in makes(Motifs(), f"easy,{OWN},options=2", [[Rooted(graph)]] * 20):
        names = {letter: name for letter, (name,) in options(example).items()}
        assert (names[example.answer], set(names.values())) in [
            ("b", {"b", "d"}), ("e", {"e", "d"}), ("a", {"a", "f"}),
        ]  # fmt: skip


def test_the_edge_added_to_a_path() -> None:
    """One edge more makes one cycle; its edges are all that can be answered, here with all that look the same."""
    task = PerturbedEdge()
    for _, example in makes(task, f"easy,answer=edge,{OWN}", [[Rooted(PATH)]] * 20):
        old = {frozenset(edge) for edge in ("ab", "bc", "cd", "de")}
        fake = frozenset(example.answer[0])
        assert {frozenset(edge) for edge in shown_graph(example).edges} == old | {fake}
        if fake == frozenset("ae"):  # a ring of five: any edge could be the new one
            assert {frozenset(answer[0]) for answer in example.accepted} == old | {fake}
        if fake == frozenset("ac"):  # the pan a-b-c with c-d-e: a-b mirrors itself, a-c mirrors b-c
            assert {frozenset(answer[0]) for answer in example.accepted} == {frozenset("ac"), frozenset("bc")}


def test_collecting_the_neighbours_of_a_path() -> None:
    found = {}
    for _, example in makes(Neighbours(), "collect_lines,names=own", [[Rooted(PATH)]] * 40):
        asked = example.text().split("joined to ")[1][0]
        found[asked] = example.answer
        assert f"{asked} is connected to" not in example.text()
        assert example.text().count(" is connected to ") == 4
    assert found == {"a": ["b"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c", "e"], "e": ["d"]}


def test_half_of_the_neighbours_are_to_be_found() -> None:
    """Two groups of four, all joined within, and one edge across: half of a node's edges are hidden and counted."""
    pairs = [(u, v) for u in range(8) for v in range(u + 1, 8) if u // 4 == v // 4] + [(0, 4)]
    graph = Graph.from_edges(8, [u for u, _ in pairs], [v for _, v in pairs], names=list("abcdefgh"))
    verifier = Neighbours().verifier
    found = list(makes(Neighbours(), f"complete,{OWN}", [[Rooted(graph)]] * 40))
    assert found
    for _, example in found:
        asked = example.text().split("Of node ")[1][0]
        group = "abcd" if asked in "abcd" else "efgh"
        across = {"a": "e", "e": "a"}.get(asked, "")
        assert set(example.answer) <= set(group + across) - {asked}
        assert len(example.answer) == example.meta["count"] == (2 if across else 1)  # of 4, of 3
        everything = verifier.complete(example.meta["nodes"])
        assert verifier.score(everything, example).verdict == "unparsed"


def test_symmetry_by_hand() -> None:
    assert same_role(PAN, [0], [1])
    assert not same_role(PAN, [0], [2])
    assert not same_role(PAN, [0], [1], labels=["x", "y", "z", "z"])
    assert same_role(RING, (0, 1), (3, 2))
    assert not same_role(RING, (0, 1), (0, 2))
    arrow = Graph.from_edges(3, [0, 1], [1, 2], directed=True)
    assert not same_role(arrow, [0], [2])
    assert same_role(Graph.from_edges(3, [0, 1], [1, 2]), [0], [2])
    triangles_ = Graph.from_edges(6, [0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3])
    assert not same_shape(RING, triangles_)  # colour refinement alone cannot tell these
    assert same_shape(RING, Graph.from_edges(6, [0, 2, 4, 1, 3, 5], [2, 4, 1, 3, 5, 0]))


def test_two_rings_look_the_same_and_are_no_question() -> None:
    with pytest.raises(Unusable, match="the regions look the same"):
        SubgraphContrast().make(
            [Rooted(RING), Rooted(RING)], SubgraphContrast().level("easy,drop=0").params, np.random.default_rng(0)
        )


@pytest.mark.parametrize("kind", [Hops, Motifs, PerturbedEdge, Neighbours, SubgraphContrast])
def test_odd_graphs_are_unusable_not_errors(kind: type[Task[Rooted]]) -> None:
    task = kind()
    empty, lonely = Graph.from_edges(0, [], []), Graph.from_edges(7, [], [])
    for level in task.levels:
        for graph in (empty, lonely):
            with pytest.raises(Unusable):
                task.make([Rooted(graph)] * task.draws, task.level(level).params, np.random.default_rng(0))
        with pytest.raises(Unusable):
            task.make([Rooted(lonely, 3)] * task.draws, task.level(level).params, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("task", "level", "message"),
    [
        (Hops(), "easy,farthest=9", "farthest is 9; allowed: 2 to 8"),
        (Motifs(), "easy,ask=least", "ask is least; allowed: most, count"),
        (PerturbedEdge(), "easy,kind=removed", "kind is removed; allowed: added, rewired"),
        (Neighbours(), "collect,encoding=json", "allowed: incident, edge_list"),
        (SubgraphContrast(), "easy,drop=0.6", "drop is 0.6"),
    ],
)  # fmt: skip
def test_bad_levels(task: Task[Rooted], level: str, message: str) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        task.level(level)
