from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks.masked_edge import MaskedEdge
from tests.graph.helpers import makes, named, options, random_graph, shown_graph

TASK = MaskedEdge()
# A square with one diagonal.
KITE = Graph.from_edges(4, [0, 1, 2, 3, 0], [1, 2, 3, 0, 2], names=["a", "b", "c", "d"])
BOW_TIE = Graph.from_edges(5, [0, 0, 1, 0, 0, 3], [1, 2, 2, 3, 4, 4], names=list("abcde"))
SQUARE = Graph.from_edges(4, [0, 1, 2, 3], [1, 2, 3, 0])
PATH = Graph.from_edges(4, [0, 1, 2], [1, 2, 3])
# Two triangles that share an edge's two ends with a tail each: a house with a chimney on both sides.
HOUSE = Graph.from_edges(6, [0, 1, 2, 3, 0, 1, 4], [1, 2, 3, 0, 4, 4, 5], names=list("uvwxyz"))


def test_a_square_with_a_diagonal_leaves_nothing_to_ask() -> None:
    """Without a-b, b hangs on the triangle a-c-d by c, and nobody can say whether a or d was its neighbour."""
    with pytest.raises(Unusable, match="so symmetric"):
        TASK.make([Rooted(KITE, 1)], TASK.level("hard,options=2").params, keyed_rng(1))


def test_the_missing_neighbour_in_two_triangles() -> None:
    """Two triangles a-b-c and a-d-e; without a-b the nodes left for b are a, d, e."""
    answers = {}
    for _, example in makes(TASK, "hard,names=own,encoding=edge_list,options=2", [[Rooted(BOW_TIE)]] * 60):
        hidden = frozenset(example.meta["drawing"]["hidden_edges"][0])
        answers[hidden] = (example.answer, set(example.meta["candidates"]))
    assert answers[frozenset("ab")] == ("a", {"a", "d", "e"})
    assert answers[frozenset("bc")] == ("c", {"c", "d", "e"})


def test_no_edge_is_hidden_without_which_the_rest_would_not_have_been_in_sight() -> None:
    """Two hops around b: without a-d, d is three away, and whoever counts knows that an edge of d is hidden."""
    made = list(makes(TASK, "hard,names=own,options=2", [[Rooted(BOW_TIE, 1)]] * 60))
    hidden = {frozenset(example.meta["drawing"]["hidden_edges"][0]) for _, example in made}
    assert hidden == {frozenset(pair) for pair in ("bc", "ac", "de")}


def test_a_ring_where_two_nodes_are_equally_right() -> None:
    """A ring of six and a chord: from the chord's end the far nodes come in mirrored pairs."""
    wheel = Graph.from_edges(6, [0, 0, 0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 2, 3, 4, 5])
    accepted = [len(example.accepted) for _, example in makes(TASK, "hard,options=2", [[Rooted(wheel)]] * 60)]
    assert len(accepted) > 30
    assert max(accepted) <= 2


def test_pairs_agree_in_degrees_and_name_shown_nodes() -> None:
    blocks = Graph.from_edges(
        8, [0, 0, 0, 1, 1, 2, 4, 4, 4, 5, 5, 6, 3], [1, 2, 3, 2, 3, 3, 5, 6, 7, 6, 7, 7, 4], names=list("ABCDEFGH")
    )
    for _, example in makes(TASK, "tiny,names=own,options=2", [[Rooted(blocks)]] * 30):
        shown, pairs = shown_graph(example), options(example)
        assert len(pairs) == 2
        assert len({tuple(sorted(shown.degree(node) for node in pair)) for pair in pairs.values()}) == 1
        assert all(shown.degree(node) for pair in pairs.values() for node in pair)


def test_an_edge_can_be_the_answer() -> None:
    example = next(e for _, e in makes(TASK, "tiny,answer=edge,options=2", [[Rooted(HOUSE)]] * 40))
    verifier = TASK.verifier_for(TASK.level("tiny,answer=edge").params)
    ((u, v),) = example.answer
    assert verifier.score(f"<answer>{v}-{u}</answer>", example).verdict == "correct"
    pairs = ", ".join(f"{a}-{b}" for a, b in example.meta["candidates"])
    assert verifier.score(f"<answer>{pairs}</answer>", example).verdict == "unparsed"  # all of them is no answer
    assert verifier.chance(example) == 1 / 2
    assert example.text().endswith(tuple(f"{a}-{b}" for a, b in map(sorted, example.meta["candidates"])))


def test_directed_both_directions_are_hidden() -> None:
    graphs = []
    for index in range(40):
        one_way = random_graph(index, directed=True)
        graphs.append(one_way.with_edges([(v, u) for u, v in one_way.edges()[::2]]))
    found = both = 0
    for index, example in makes(TASK, "easy,names=own,options=2", [[Rooted(graph)] for graph in graphs]):
        u, v = options(example)[example.answer]
        shown = shown_graph(example)
        assert not shown.has_edge(u, v)
        assert not shown.has_edge(v, u)
        both += named(graphs[index]).has_edge(v, u)
        found += 1
    assert found > 10
    assert both


@pytest.mark.parametrize(
    ("graph", "level", "why"),
    [
        (Graph.from_edges(0, [], []), "tiny,options=2", "fewer than 4 nodes"),
        (HOUSE, "tiny,options=3", "fewer than 8 nodes"),  # so few that the pairs alone would tell
        (Graph.from_edges(5, [0], [1]), "hard", "the only way between two parts"),
        (PATH, "hard", "the only way between two parts"),  # every edge is a bridge
        (PATH, "tiny,options=2", "the only way between two parts"),
        (SQUARE, "tiny,options=2", "too few pairs match"),
        (Graph.from_edges(4, [0, 1, 2], [1, 2, 0], directed=True), "tiny,answer=edge,options=2", "directed"),
    ],
)
def test_unusable(graph: Graph, level: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        TASK.make([Rooted(graph)], TASK.level(level).params, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("tiny,options=9", "options is 9; allowed: 2 to 8"),
        ("tiny,match=degrees", "match is degrees; allowed: degree, distance, both"),
        ("tiny,encoding=edgelist", "edge_list"),
        ("tiny,names=numbers", "got 'numbers'"),
        ("tiny,nodes=65", "nodes is 65; allowed: 8 to 64"),
        ("tiny,nodes=7", "nodes is 7; allowed: 8 to 64"),
    ],
)
def test_bad_levels(level: str, message: str) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        TASK.level(level)


def test_a_prompt_in_full() -> None:
    level = TASK.level("hard,names=own,encoding=edge_list,options=2")
    example = TASK.make([Rooted(BOW_TIE, 1)], level.params, keyed_rng(1))
    assert example.text() == (
        "Undirected graph. Nodes: a, d, e, c, b.\nEdges: a-e a-b a-c a-d d-e\n"
        "One edge of node b is hidden. Where does it lead?"
    )
    assert example.answer == "c"
