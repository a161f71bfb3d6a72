"""community, centrality and context: keys by another way, and nothing but the graph tells them."""

from __future__ import annotations

import itertools
from collections import Counter

import networkx as nx
import pytest

from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.graph import serialise
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import degrees, distances, skeleton
from ssl4rl.graph.sources.synthetic import open_sbm
from ssl4rl.graph.tasks.centrality import Centrality, betweenness, draw_alike, pagerank
from ssl4rl.graph.tasks.community import ANSWERS, Community, communities
from ssl4rl.graph.tasks.context import Context
from tests.graph.helpers import at_chance, graph_text, makes, texts_graph

CLEAR = open_sbm("nodes=12-16&blocks=2&p_in=0.7&p_out=0.12")
THREE = open_sbm("nodes=12-20&blocks=3&p_in=0.6&p_out=0.06")
# two cliques of four, a-d and e-h, joined by d-e
BARBELL = Graph.from_edges(
    8,
    [*(u for u, _ in itertools.combinations(range(4), 2)), *(u + 4 for u, _ in itertools.combinations(range(4), 2)), 3],
    [*(v for _, v in itertools.combinations(range(4), 2)), *(v + 4 for _, v in itertools.combinations(range(4), 2)), 4],
    names=list("abcdefgh"),
)
TEXTS = texts_graph(5, nodes=400)


def test_two_cliques_are_two_communities() -> None:
    assert communities(skeleton(BARBELL), 8, 0.3, keyed_rng(0)) == [{0, 1, 2, 3}, {4, 5, 6, 7}]


@pytest.mark.parametrize(
    ("graph", "clear", "why"),
    [
        (Graph.from_edges(4, [0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]), 0.0, "the graph is one community"),
        (BARBELL, 0.5, r"the communities are not clear \(modularity 0\.42, below 0\.5\)"),
        (Graph.from_edges(12, range(12), [*range(1, 12), 0]), 0.0, "depends on where one starts"),
    ],
    ids=["clique", "barbell", "ring"],
)
def test_graphs_without_clear_communities_are_not_asked_about(graph: Graph, clear: float, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        communities(skeleton(graph), 16, clear, keyed_rng(0))


def test_pairs_of_both_kinds_are_alike() -> None:
    """Neither degrees nor an edge (medium: nor the distance) between the two says more than chance."""
    for level, most in (("easy", 2), ("medium", 99)):
        seen: list[tuple[object, str]] = []
        for _, example in makes(Community(), f"{level},encoding=edge_list,runs=1", [[CLEAR[i]] for i in range(300)]):
            shown = serialise.read(graph_text(example), "edge_list")
            graph = nx.Graph(shown.edges)
            first, last = example.meta["pair"]
            same = any({first, last} <= set(group) for group in example.meta["communities"])
            assert example.answer == ("same" if same else "different")
            far = nx.shortest_path_length(graph, first, last) if nx.has_path(graph, first, last) else 0
            pair = sorted(graph.degree[end] for end in (first, last))
            seen.append(((*pair, min(far, most)), str(example.answer)))
        learned: dict[object, Counter[str]] = {}
        for key, answer in seen[::2]:
            learned.setdefault(key, Counter())[answer] += 1
        guessed = [max(ANSWERS, key=learned.get(key, Counter()).__getitem__) for key, _ in seen[1::2]]
        assert len(guessed) >= 100
        assert at_chance([guess == answer for guess, (_, answer) in zip(guessed, seen[1::2], strict=True)], 0.5)


def test_centralities_by_hand() -> None:
    """On a path of five the middle lies on 4 of the 6 pairs' paths that could go through it, the next on 3."""
    path = Graph.from_edges(5, [0, 1, 2, 3], [1, 2, 3, 4])
    assert betweenness(path) == pytest.approx([0, 3 / 6, 4 / 6, 3 / 6, 0])
    star = Graph.from_edges(4, [1, 2, 3], [0, 0, 0], directed=True)
    middle, leaf, *_ = found = pagerank(star)
    assert middle == pytest.approx(leaf * (1 + 3 * 0.85), rel=1e-4)  # the middle leads nowhere: it spreads evenly
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize("level", ["easy", "pagerank"])
def test_options_have_one_degree_and_the_best_is_right(level: str) -> None:
    places = []
    for _, example in makes(Centrality(), level, [[THREE[i]] for i in range(120)]):
        shown = serialise.read(graph_text(example), "edge_list")
        graph = nx.Graph(shown.edges)
        offered = example.meta["offered"]
        assert len({graph.degree[node] for node in offered}) == 1
        measure = nx.pagerank(graph) if level == "pagerank" else nx.betweenness_centrality(graph)
        best = max(offered, key=lambda node: measure[node])
        at = "ABCD".index(str(example.answer))
        assert offered[at] == best
        places.append(at)
    options = Centrality.levels[level]["options"]
    assert len(places) >= 80
    assert all(at_chance([at == one for at in places], 1 / options) for one in range(options))


def test_no_option_stands_out_by_less_than_the_margin() -> None:
    central, alike = [0.2, 0.25, 0.1, 0.1], [(2, 2)] * 4
    for seed in range(50):
        nodes = draw_alike(central, alike, 2, 1.3, keyed_rng(seed))
        assert set(nodes) != {0, 1}  # .25 is 1.25 times .2
    with pytest.raises(Unusable, match="no node stands out"):
        draw_alike([0.2] * 4, alike, 2, 1.3, keyed_rng(0))
    with pytest.raises(Unusable, match="no 3 nodes have the same degree"):
        draw_alike(central, [(1, 1), (1, 1), (2, 2), (2, 2)], 3, 1.3, keyed_rng(0))


@pytest.mark.parametrize("level", ["easy", "medium", "ring"])
def test_a_context_is_around_one_node_alone(level: str) -> None:
    rows = skeleton(TEXTS)
    node_of = {TEXTS.value("text", node): node for node in range(TEXTS.num_nodes)}
    ring = Context.levels[level]["ring"]
    answers = []
    items = [[Rooted(TEXTS, (7 * i + 101 * k) % TEXTS.num_nodes) for k in range(4)] for i in range(200)]
    for _, example in makes(Context(), f"{level},neighbours=2", items):
        far = distances(rows, node_of[example.meta["text"]])
        for letter, texts in zip("ABCD", example.meta["option_texts"], strict=False):
            away = [far[node_of[text]] for text in texts.split("; ")]
            assert (away == [ring, ring]) == (letter == example.answer)
        answers.append(example.answer)
    options = Context.levels[level]["options"]
    assert len(answers) >= 20
    assert all(at_chance([answer == one for answer in answers], 1 / options) for one in "ABCD"[:options])


def test_a_context_without_texts_says_what_nodes_carry() -> None:
    level = {**Context.levels["easy"], "text": "title"}
    with pytest.raises(Unusable, match="nodes carry no 'title', but 'text', 'section'; name the column"):
        Context().make([Rooted(TEXTS, node) for node in (0, 30, 60, 90)], level, keyed_rng(0))


@pytest.mark.parametrize(
    ("task", "level", "error"),
    [
        (Community(), "easy,match=degree", "graph/community: match is degree; allowed: edge, distance"),
        (Community(), "easy,clear=1.5", r"graph/community: clear is 1\.5; allowed: 0\.0 to 0\.9"),
        (Centrality(), "easy,ask=closeness", "graph/centrality: ask is closeness; allowed: betweenness, pagerank"),
        (Centrality(), "easy,margin=1.0", r"graph/centrality: margin is 1\.0; allowed: 1\.01 to 10\.0"),
        (Context(), "easy,ring=3", "graph/context: ring is 3; allowed: 1 to 2"),
        (Context(), "easy,options=5", "graph/context: options is 5; allowed: 2 to 4"),
    ],
)
def test_levels_that_cannot_be(task: Task[Rooted], level: str, error: str) -> None:
    with pytest.raises(Ssl4rlError, match=error):
        task.level(level)


@pytest.mark.parametrize("task", [Community(), Centrality(), Context()])
def test_graphs_that_give_no_question(task: Task[Rooted]) -> None:
    empty, edgeless = Graph.from_edges(0, [], []), Graph.from_edges(20, [], [])
    for graph in (empty, edgeless):
        assert not list(makes(task, None, [[Rooted(graph)] * 4]))


def test_directed_graphs_keep_in_and_out_degrees_apart() -> None:
    made = nx.gnp_random_graph(16, 0.2, seed=4, directed=True)
    graph = Graph.from_edges(16, *zip(*made.edges, strict=True), directed=True)
    for seed in range(20):
        try:
            nodes = draw_alike(betweenness(graph), degrees(graph), 2, 1.1, keyed_rng(seed))
        except Unusable:
            continue
        assert made.in_degree[nodes[0]] == made.in_degree[nodes[1]]
        assert made.out_degree[nodes[0]] == made.out_degree[nodes[1]]
    examples = [e for _, e in makes(Community(), "easy,clear=0.0,runs=1", [[Rooted(graph)]] * 10)]
    assert examples
