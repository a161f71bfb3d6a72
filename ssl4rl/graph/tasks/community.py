"""Whether two nodes of a graph are of one community."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice
from ssl4rl.graph import question
from ssl4rl.graph.graph import Rooted
from ssl4rl.graph.question import Edge, Rows

ANSWERS = ("same", "different")
EASY: Mapping[str, Any] = {
    "match": "edge", "runs": 4, "clear": 0.25,
    "encoding": "edge_list", "names": "letters", "nodes": 14, "hops": 3,
}  # fmt: skip
_LEAST = 6
"""Nodes below which two communities are hardly more than two edges."""

Groups = list[set[int]]


class Community(Task[Rooted]):
    """Community: are two nodes in the same community of a graph, or in different ones?

    Sees: a graph of a few nodes, and two of them. A community is a group with many edges inside it and few to others.
    Answers: same or different.
    Reward: exact. Chance: 1 / 2.

    Levels: easy (14 nodes, an edge list), medium (20 nodes, any encoding, pairs also equally far apart). Parameters:
    `match`, in what the two kinds of pairs agree beside their nodes' degrees: whether an edge joins them (edge), or how
    far apart they are (distance, which includes that); `runs` of Louvain's method that have to find the same groups;
    `clear`, the least modularity of these; `encoding`, `names`; `nodes`, `hops`, the ego network's size.

    The key is computed: Louvain's method (arXiv 0803.0476, as in NetworkX) is run `runs` times on the graph as shown,
    directions left out, each from another order of the nodes. A graph where the runs disagree, or whose groups have a
    modularity below `clear`, is not asked about, so that the key is the graph's and not one run's.

    Shortcuts and guards: an edge mostly joins nodes of one community, nodes of high degree are near to all (degrees,
    and whether the two share an edge or how far apart they are, are drawn first, among those that pairs of both kinds
    have; of these the answer is drawn uniformly, then the pair: so P(same | degrees, edge) = 1/2 in every graph); order
    (nodes, edges and names are shuffled, and which of the two comes first). Not guarded: common neighbours, which are
    evidence.

    Source: ours, after community detection by modularity; asked as in Talk Like a Graph (arXiv 2310.04560).
    Versions: 1, the first.
    """

    name = "graph/community"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "match": "distance", "nodes": 20, "encoding": "any", "names": "any"},
    }
    draws = 1
    data = "sbm:nodes=12-20&blocks=2&p_in=0.6&p_out=0.12"
    verifier = Choice(ANSWERS)

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "match", ("edge", "distance"))
        question.check_between(self.name, params, "runs", 1, 32)
        question.check_between(self.name, params, "clear", 0.0, 0.9)
        question.check_place(self.name, params, least=_LEAST)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=_LEAST)
        graph = place.graph
        rows = question.skeleton(graph)
        groups = communities(rows, level["runs"], level["clear"], rng)
        group = {node: number for number, members in enumerate(groups) for node in members}
        far = [question.distances(rows, node) for node in range(graph.num_nodes)]
        degrees = question.degrees(graph)

        def key(u: int, v: int) -> Hashable:
            apart = min(far[u][v], 2) if level["match"] == "edge" else far[u][v]
            return min(degrees[u], degrees[v]), max(degrees[u], degrees[v]), apart if far[u][v] > 0 else 0

        (u, v), same = matched_pair(graph.num_nodes, key, lambda u, v: group[u] == group[v], rng)
        first, last = (place.names[node] for node in question.shuffled((u, v), rng))
        text = place.write(graph, rng)
        asked = f"{text}\nAre {first} and {last} in the same community, or in different ones?"
        meta = {
            "drawing": question.drawing(place, graph),
            "encoding": place.encoding,
            "pair": [first, last],
            "communities": [sorted(place.names[node] for node in members) for members in groups],
        }
        return Example((asked,), ANSWERS[0 if same else 1], meta=meta)


def communities(rows: Rows, runs: int, clear: float, rng: np.random.Generator) -> Groups:
    """The groups that each of `runs` runs of Louvain's method finds, from random orders of the nodes.

    Raises:
        Unusable: there is one group only, the groups' modularity is below `clear`, or the runs disagree.
    """
    first = _louvain(rows, rng)
    groups = sorted((set(part) for part in first), key=min)
    if len(groups) < 2:
        raise Unusable("the graph is one community")
    graph = nx.Graph((u, v) for u, row in enumerate(rows) for v in row)
    graph.add_nodes_from(range(len(rows)))
    modularity = nx.community.modularity(graph, groups) if graph.number_of_edges() else 0.0
    if modularity < clear:
        raise Unusable(f"the communities are not clear (modularity {modularity:.2f}, below {clear:g})")
    if any(_louvain(rows, rng) != first for _ in range(runs - 1)):
        raise Unusable("what the communities are depends on where one starts")
    return groups


def _louvain(rows: Rows, rng: np.random.Generator) -> set[frozenset[int]]:
    """The groups found from a random order of the nodes."""
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(rng.permutation(len(rows)).tolist())
    graph.add_edges_from((u, v) for u in range(len(rows)) for v in sorted(rows[u]) if u < v)
    return {frozenset(part) for part in nx.community.louvain_communities(graph, seed=int(rng.integers(2**31)))}


def matched_pair(nodes: int, key: Any, is_same: Any, rng: np.random.Generator) -> tuple[Edge, bool]:
    """Two nodes and whether `is_same` holds for them: a key that pairs of both kinds have, then the kind, then a pair.

    Raises:
        Unusable: no key occurs with both kinds.
    """
    pairs: dict[Hashable, tuple[list[Edge], list[Edge]]] = {}
    for u, v in itertools.combinations(range(nodes), 2):
        pairs.setdefault(key(u, v), ([], []))[bool(is_same(u, v))].append((u, v))
    both = sorted((found for found in pairs.values() if all(found)), key=lambda found: found[0][0])
    if not both:
        raise Unusable("no two nodes of one community are as alike as some two of different ones")
    same = bool(rng.integers(2))
    chosen = both[int(rng.integers(len(both)))][same]
    return chosen[int(rng.integers(len(chosen)))], same
