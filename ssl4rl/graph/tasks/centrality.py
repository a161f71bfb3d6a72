"""Which node of a graph is the most central one of a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Graph, Rooted

EASY: Mapping[str, Any] = {
    "ask": "betweenness", "options": 3, "margin": 1.5,
    "encoding": "edge_list", "names": "integers", "nodes": 12, "hops": 3,
}  # fmt: skip
ASKED = {
    "betweenness": "Which of these nodes lies on most shortest paths between the others?",
    "pagerank": "Which of these nodes has the highest PageRank?",
}
_DRAWS = 64
"""So many sets of nodes are tried in a graph."""


class Centrality(Task[Rooted]):
    """Centrality: which of a few nodes lies on most shortest paths, or has the highest PageRank?

    Sees: a graph of a few nodes, and lettered nodes of it.
    Answers: the most central node's letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (betweenness, 3 options of 12 nodes), medium (4 of 20, any encoding), pagerank (4 of 16). Parameters:
    `ask`, betweenness or pagerank; `options`, 2 to 8; `margin`, how many times the second's centrality the first's has
    to be; `encoding`, `names`; `nodes`, `hops`, the ego network's size.

    The key is NetworkX's: betweenness centrality (a shortest path counts once for each pair, its part where there are
    several; along the edges' directions where directed), or PageRank with a damping of 0.85.

    Shortcuts and guards: degree is most of both (options have the same degrees, in and out, so each is also mentioned
    as often); the place of the right option (options are a uniform random set of nodes of one degree, kept or thrown
    away by a rule that does not know their order, and shuffled: P(option k is right) = 1 / options); order (nodes,
    edges and names are shuffled); ties (`margin`). The degree is drawn uniformly of those that occur often enough.
    Measured (n = 2,500, seeds 0 and 1): the option mentioned last .358 and .354 at easy, where .333 is chance. That is
    evidence, if little: an edge between two options mentions both, so who is joined to no other option is mentioned
    last more often (.351 against .314), and the right option is joined to another one in .350 of the questions, a wrong
    one in .527. medium .266 and .263, pagerank .253 (.250).

    Source: ours; betweenness after Freeman (1977), PageRank after Page et al. (1999).
    Versions: 1, the first.
    """

    name = "graph/centrality"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "options": 4, "nodes": 20, "hops": 4, "encoding": "any", "names": "any"},
        "pagerank": {**EASY, "ask": "pagerank", "options": 4, "margin": 1.05, "nodes": 16},
    }
    draws = 1
    data = "sbm:nodes=12-20&blocks=3&p_in=0.6&p_out=0.06"
    verifier = Choice(question.LETTERS[:3])
    cues: ClassVar[Mapping[str, str]] = {
        "mention order": "an option joined to no other one is mentioned last more often, and lies between groups",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(question.labels(level)[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "ask", ASKED)
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_between(self.name, params, "margin", 1.01, 10.0)
        question.check_place(self.name, params, least=params["options"] + 1)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=level["options"] + 1)
        graph = place.graph
        central = MEASURES[level["ask"]](graph)
        nodes = draw_alike(central, question.degrees(graph), level["options"], level["margin"], rng)
        best = max(range(len(nodes)), key=lambda at: central[nodes[at]])
        letters = question.labels(level)
        listed = question.lettered([place.names[node] for node in nodes], letters)
        prompt = f"{place.write(graph, rng)}\n{ASKED[level['ask']]}\n{listed}"
        meta = {
            "drawing": question.drawing(place, graph),
            "encoding": place.encoding,
            "offered": [place.names[node] for node in nodes],
            "centrality": [round(central[node], 6) for node in nodes],
        }
        return Example((prompt,), letters[best], meta=meta)


def draw_alike(
    central: Sequence[float],
    degrees: Sequence[tuple[int, int]],
    options: int,
    margin: float,
    rng: np.random.Generator,
) -> list[int]:
    """`options` random nodes of one degree, in random order, the most central of which is so by `margin`.

    Raises:
        Unusable: no degree occurs so often, or no set of `_DRAWS` has such a node.
    """
    by_degree: dict[tuple[int, int], list[int]] = {}
    for node, degree in enumerate(degrees):
        by_degree.setdefault(degree, []).append(node)
    often = [by_degree[degree] for degree in sorted(by_degree) if len(by_degree[degree]) >= options]
    if not often:
        raise Unusable(f"no {options} nodes have the same degree; more nodes= helps")
    for _ in range(_DRAWS):
        alike = often[int(rng.integers(len(often)))]
        nodes = question.shuffled(alike, rng)[:options]
        second, first = sorted(central[node] for node in nodes)[-2:]
        if first > max(second, 1e-9) * margin:
            return nodes
    raise Unusable("no node stands out among those of its degree; more nodes= helps")


def betweenness(graph: Graph) -> list[float]:
    """float [N]: the share of all pairs' shortest paths that go through each node, in [0, 1]."""
    found = nx.betweenness_centrality(graph.to_networkx())
    return [found[node] for node in range(graph.num_nodes)]


def pagerank(graph: Graph) -> list[float]:
    """float [N]: PageRank with a damping of 0.85, of sum 1."""
    found = nx.pagerank(graph.to_networkx(), alpha=0.85, weight=None)
    return [found[node] for node in range(graph.num_nodes)]


MEASURES: Mapping[str, Callable[[Graph], list[float]]] = {"betweenness": betweenness, "pagerank": pagerank}
