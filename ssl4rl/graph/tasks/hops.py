"""How far apart two nodes are, and a shortest way between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Integer, Path, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Rooted
from ssl4rl.graph.question import Edge, Rows

EASY: Mapping[str, Any] = {
    "ask": "distance", "farthest": 3, "ends": "apart", "encoding": "edge_list", "names": "letters", "nodes": 12,
    "hops": 3,
}  # fmt: skip


class Hops(Task[Rooted]):
    """Hops: how many edges lie between two nodes, or which way is a shortest one?

    Sees: a graph of a few nodes, and two of them.
    Answers: `ask=distance`: the number of edges on a shortest path from the one to the other (along their direction
    where directed). `ask=path`: the nodes of such a path.
    Reward: exact; a path is walked edge by edge, and every shortest one is right. Chance: 1 / farthest; `ask=path`:
    shortest paths / arrangements of as many other nodes as lie between.

    Levels: tiny (1 or 2 edges, 8 nodes), easy (1 to 3, 12 nodes), medium (1 to 4, 20 nodes, any encoding), path (2 to 4
    edges). Parameters: `ask`; `farthest`, the greatest distance asked for; `ends`, how the two are named: each on its
    own (apart), or as the edge between them would be (pair), which a small model can look up; `encoding`, `names`;
    `nodes`, `hops`, the ego network's size.

    Shortcuts and guards: short distances are more common (the distance is drawn first, uniformly, and only in graphs
    where every distance could be asked for); nodes of high degree are near (a graph is used only where, for one pair of
    degrees, there are two such nodes at every distance, so that degrees say nothing); several shortest paths (the path
    is checked, never its text); order (nodes, edges and names are shuffled, and which of the two comes first).
    Measured (n = 2,500): at path, going over the node of most edges is right in .081 of the questions, where a random
    way is in .032: hubs lie on many shortest paths, which is evidence. All else is at chance.

    Source: ours, after the connectivity questions of Talk Like a Graph (arXiv 2310.04560) and G1 (arXiv 2505.18499).
    Versions: 1, the first.
    """

    name = "graph/hops"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {**EASY, "farthest": 2, "ends": "pair", "encoding": "pairs", "nodes": 8},
        "easy": EASY,
        "medium": {**EASY, "farthest": 4, "nodes": 20, "hops": 4, "encoding": "any", "names": "any"},
        "path": {**EASY, "ask": "path", "farthest": 4, "nodes": 20, "hops": 4, "names": "any"},
    }
    draws = 1
    data = "sbm:"
    verifier = Integer(1, 3)
    cues: ClassVar[Mapping[str, str]] = {
        "mentions": "nodes of many edges lie on many paths, and all edges are shown",
        "mention order": "a node that no other has as many mentions as is given no order, which tells of its edges",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Path() if level["ask"] == "path" else Integer(1, level["farthest"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "ask", ("distance", "path"))
        question.check_between(self.name, params, "farthest", 2, 8)
        question.check_among(self.name, params, "ends", ("apart", "pair"))
        question.check_place(self.name, params, least=params["farthest"] + 1)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=level["farthest"] + 1)
        graph = place.graph
        nearest = 2 if level["ask"] == "path" else 1
        rows = [{*graph.neighbours(node).tolist()} for node in range(graph.num_nodes)]
        u, v = matched_pairs(rows, question.degrees(graph), nearest, level["farthest"], rng)
        distance = question.distances(rows, u)[v]
        first, last = place.names[u], place.names[v]
        meta: dict[str, Any] = {
            "drawing": question.drawing(place, graph, root=u),
            "encoding": place.encoding,
            "ends": [first, last],
            "distance": distance,
        }
        text = place.write(graph, rng)
        if level["ask"] == "distance":
            pair = f"the shortest path {place.pair_text((u, v))}"
            asked = pair if level["ends"] == "pair" else f"{last} away from {first}"
            return Example((f"{text}\nHow many edges is {asked}?",), distance, meta=meta)
        ways, path = shortest_paths(rows, u, v)
        meta |= {"nodes": list(place.names), "edges": meta["drawing"]["edges"], "directed": graph.directed}
        meta["paths"] = ways
        asked = f"{text}\nWhich is a shortest path from {first} to {last}?"
        return Example((asked,), [place.names[node] for node in path], meta=meta)


def matched_pairs(
    rows: Rows, degrees: Sequence[tuple[int, int]], nearest: int, farthest: int, rng: np.random.Generator
) -> Edge:
    """Two nodes, at a distance drawn uniformly from `nearest` to `farthest`.

    First their degrees are drawn, among those that some two nodes have at every one of these distances; so neither
    degree tells anything about the distance.

    Raises:
        Unusable: there are no such degrees.
    """
    by_key: dict[tuple[tuple[int, int], tuple[int, int]], dict[int, list[Edge]]] = {}
    for u in range(len(rows)):
        for v, distance in enumerate(question.distances(rows, u)):
            if nearest <= distance <= farthest:
                by_key.setdefault((degrees[u], degrees[v]), {}).setdefault(distance, []).append((u, v))
    full = [key for key in sorted(by_key) if len(by_key[key]) == farthest - nearest + 1]
    if not full:
        raise Unusable(f"no two degrees occur at every distance from {nearest} to {farthest}; more nodes= helps")
    pairs = by_key[full[int(rng.integers(len(full)))]][int(rng.integers(nearest, farthest + 1))]
    return pairs[int(rng.integers(len(pairs)))]


def shortest_paths(rows: Rows, start: int, end: int) -> tuple[int, list[int]]:
    """How many shortest paths there are, and one of them."""
    far = question.distances(rows, start)
    ways = [0] * len(rows)
    before: dict[int, int] = {}
    ways[start] = 1
    for node in sorted((n for n in range(len(rows)) if far[n] >= 0), key=lambda n: far[n]):
        for other in rows[node]:
            if far[other] == far[node] + 1:
                ways[other] += ways[node]
                before.setdefault(other, node)
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return ways[end], path[::-1]
