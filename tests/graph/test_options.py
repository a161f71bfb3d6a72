"""Options that could each have been the true one of the same set, and relations among them that say nothing."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Unusable
from ssl4rl.graph import options
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import Edge
from ssl4rl.graph.sources.synthetic import open_er, open_sbm
from ssl4rl.graph.tasks.masked_edge import MaskedEdge
from ssl4rl.graph.tasks.perturbed_edge import PerturbedEdge
from tests.graph.helpers import at_chance, credit, makes
from tests.graph.helpers import options as listed

EMPTY = Graph.from_edges(9, [], [])


def shapes(pairs: list[Edge], count: int, graph: Graph = EMPTY) -> set[frozenset[Edge]]:
    return {frozenset(pairs[i] for i in row) for row in options._balanced(graph, pairs, count, True).tolist()}


def test_balanced_fours_are_stars_circles_pairs_of_forks_and_disjoint_pairs() -> None:
    star = [(0, 1), (0, 2), (0, 3), (0, 4)]
    circle = [(0, 1), (1, 2), (2, 3), (0, 3)]
    forks = [(0, 1), (0, 2), (3, 4), (3, 5)]
    apart = [(0, 1), (2, 3), (4, 5), (6, 7)]
    for four in (star, circle, forks, apart):
        assert shapes(four, 4) == {frozenset(four)}
    path = [(0, 1), (1, 2), (2, 3), (3, 4)]
    kite = [(0, 1), (1, 2), (0, 2), (2, 3)]
    fork_and_two = [(0, 1), (0, 2), (3, 4), (5, 6)]
    star_and_one = [(0, 1), (0, 2), (0, 3), (4, 5)]
    for four in (path, kite, fork_and_two, star_and_one):
        assert shapes(four, 4) == set()


def test_ends_of_two_degrees_are_told_apart() -> None:
    """0 and 1 have degree 2, 2 to 5 degree 1: forks at ends of unlike degrees do not balance."""
    graph = Graph.from_edges(9, [0, 0, 1, 1, 2, 3], [6, 7, 6, 7, 8, 8])
    graph = graph.with_edges([(4, 8), (5, 8)])
    assert shapes([(0, 2), (0, 3), (1, 4), (1, 5)], 4, graph)
    assert not shapes([(0, 2), (1, 2), (0, 3), (4, 1)], 4, graph)


def test_circles_of_unlike_lengths_are_no_set() -> None:
    three_and_four = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (5, 6), (3, 6)]
    assert shapes(three_and_four, 7) == set()
    assert shapes(three_and_four[:3], 3) == {frozenset(three_and_four[:3])}


def test_direction_counts() -> None:
    graph = Graph.from_edges(6, [], [], directed=True)
    assert shapes([(0, 1), (0, 2)], 2, graph)
    assert not shapes([(0, 1), (1, 2), (0, 3)], 3, graph)
    assert not shapes([(0, 1), (1, 0)], 2, graph)  # two directions of one pair of nodes


def test_a_set_is_as_probable_whichever_of_its_pairs_is_true() -> None:
    """The argument of the module, counted: P(set | truth) does not depend on which of the set is the truth."""
    shown = Graph.from_edges(8, [0, 1, 2, 3, 4, 5, 6, 0, 1], [1, 2, 3, 4, 5, 6, 7, 2, 5])  # no symmetry but its own
    fits = [(0, 4), (0, 5), (0, 6), (3, 6), (3, 7), (2, 6), (4, 7)]
    tries = 1200
    found: Counter[tuple[frozenset[Edge], Edge]] = Counter()
    for truth in fits:
        rng = keyed_rng("sets", *truth)
        for _ in range(tries):
            try:
                drawn = options.draw_set(shown, fits, truth, 3, rng, by_degree=False)
            except Unusable:
                continue
            assert drawn[0] == truth
            found[frozenset(drawn), truth] += 1
    sets = {chosen for chosen, _ in found}
    assert len(sets) >= 4
    for chosen in sets:
        counts = np.array([found[chosen, truth] for truth in chosen])
        share = counts.mean() / tries
        spread = np.sqrt(tries * share * (1 - share))
        assert (np.abs(counts - counts.mean()) < 4 * spread).all()
    assert len({sum(found[chosen, truth] for chosen in sets) for truth in fits}) > 1  # truths are thinned unlike


def test_orbits() -> None:
    """A path of four: its two outer edges are alike, the middle one is not."""
    path = Graph.from_edges(4, [0, 1, 2], [1, 2, 3])
    assert options.orbits(path, [(0, 1), (1, 2), (2, 3)]) == [0, 1, 0]
    one_way = Graph.from_edges(3, [0, 1], [1, 2], directed=True)
    assert options.orbits(one_way, [(0, 2), (2, 0), (0, 1)]) == [0, 1, 2]


def shared_ends(example: Example) -> list[int]:
    pairs = example.meta["pairs"]
    return [sum(len({*pair} & {*other}) for other in pairs if other is not pair) for pair in pairs]


@pytest.mark.parametrize(
    ("task", "level"),
    [
        (MaskedEdge, "tiny"), (MaskedEdge, "easy"), (MaskedEdge, "medium"), (MaskedEdge, "easy,options=6,nodes=20"),
        (PerturbedEdge, "easy"), (PerturbedEdge, "medium"),
    ],
)  # fmt: skip
def test_all_options_share_as_many_ends_with_the_others(task: type, level: str) -> None:
    source = open_sbm("nodes=16-24&blocks=4&p_in=0.9&p_out=0.05")
    found = [example for _, example in makes(task(), level, [[source[i]] for i in range(60)])]
    assert len(found) > 8
    for example in found:
        assert len(set(shared_ends(example))) == 1


@pytest.mark.parametrize(("task", "level"), [(MaskedEdge, "tiny"), (PerturbedEdge, "easy")])
def test_in_graphs_without_a_pattern_nothing_tells(task: type, level: str) -> None:
    """How often a name is mentioned in the options' graph, common neighbours, distance: all at chance."""
    source = open_er("nodes=20&p=0.25")
    found = [e for _, e in makes(task(), level, [[Rooted(source[i].graph, 0)] for i in range(250)])]
    assert len(found) > 100
    for sign in (1, -1):
        for score in (_near, _hub):
            earned = [credit([sign * s for s in score(e)], list(listed(e)).index(e.answer)) for e in found]
            assert at_chance(earned, 1 / 4)


def _drawn(example: Example) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = {node: set() for node in example.meta["drawing"]["nodes"]}
    for u, v in example.meta["drawing"]["edges"]:
        rows[u].add(v)
        rows[v].add(u)
    return rows


def _near(example: Example) -> list[float]:
    rows = _drawn(example)
    return [float(len(rows[u] & rows[v])) for u, v in listed(example).values()]


def _hub(example: Example) -> list[float]:
    rows = _drawn(example)
    around = {node: sum(len(rows[other]) for other in row) for node, row in rows.items()}
    return [float(around[u] + around[v]) for u, v in listed(example).values()]


def test_pairs_of_a_set_are_told_apart_by_the_graph() -> None:
    """No two options are each other's image under a symmetry of the graph as shown."""
    source = open_sbm("nodes=16-24&blocks=4&p_in=0.9&p_out=0.05")
    for _, example in makes(MaskedEdge(), "tiny,names=own", [[source[i]] for i in range(40)]):
        names = example.meta["drawing"]["nodes"]
        number = {name: i for i, name in enumerate(names)}
        edges = [(number[u], number[v]) for u, v in example.meta["drawing"]["edges"]]
        shown = Graph.from_edges(len(names), *zip(*edges, strict=True))
        pairs = [(number[u], number[v]) for u, v in example.meta["pairs"]]
        assert not any(options.alike(shown, one, other) for one, other in combinations(pairs, 2))
