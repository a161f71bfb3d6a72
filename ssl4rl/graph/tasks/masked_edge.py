"""Which edge of a graph is hidden."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, EdgeSet, Text, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import Edge, Place, Rows
from ssl4rl.graph.symmetry import same_role

PAIRS: Mapping[str, Any] = {
    "ask": "pair", "options": 4, "answer": "letter", "match": "degree",
    "encoding": "edge_list", "names": "letters", "nodes": 8, "hops": 2,
}  # fmt: skip


_FEW = 4  # nodes below which there is nothing to ask
_LEAST = 8  # nodes from which three and more pairs do not tell by themselves which one is hidden


class MaskedEdge(Task[Rooted]):
    """Masked edge: which edge was taken out of the graph?

    Sees: a graph of a few nodes without one of its edges (a directed graph: without either direction), and with
    `ask=pair` lettered pairs of nodes, one of which is the hidden edge.
    Answers: `ask=pair`: the pair's letter, or with `answer=edge` the pair itself, "A-B". `ask=neighbour`: the node to
    which the hidden edge leads from a given node.
    Reward: exact. Chance: 1 / options; `ask=neighbour`: right nodes / nodes not seen next to the given one.

    Levels: tiny (8 nodes, pairs of equal degrees: closeness tells), easy (12 nodes), medium (16 nodes, pairs of equal
    degrees and equally far apart, any encoding), hard (16 nodes, name the missing neighbour). Parameters: `ask`;
    `options`, 2 to 8; `answer`; `match`, in what the pairs agree: degree, distance, both; `encoding`, `names`; `nodes`,
    `hops`, the ego network's size.

    Shortcuts and guards: the edge's other line (both directions are hidden, before anything is written); degrees (the
    wrong pairs have exactly the true one's degrees in the graph as shown); distance in the graph as shown
    (`match=both`); the one pair that joins two parts (an edge whose removal cuts the graph is never hidden, and no
    pair lies in two parts); a pair that is named nowhere else (every node of a pair has other edges); order (nodes,
    edges, names and options are shuffled); pairs or nodes that no one could tell from the true one, because the shown
    graph is symmetric (no such pair is offered; every such node is accepted); how few graphs there are of few nodes
    (more than two pairs are offered among 8 nodes or more: of four, a model that saw no edges found .55 at 6 nodes, .31
    at 7, .25 at 8). Not guarded: with `ask=neighbour`, degree and closeness are what is to be learned.

    The hidden edge is one of the item's node's where a fair question can be made of one, else any in sight.

    Source: ours, after link prediction and masked graph modelling, as one of SSL4RL's kind (arXiv 2510.16416);
    matched candidates after arXiv 2306.10453 (hard negatives in link prediction).
    Versions: 1, the first; 2, more than two pairs among 8 nodes or more only.
    """

    name = "graph/masked_edge"
    version = 2
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": PAIRS,
        "easy": {**PAIRS, "nodes": 12, "names": "integers"},
        "medium": {**PAIRS, "nodes": 16, "match": "both", "encoding": "any", "names": "any"},
        "hard": {**PAIRS, "ask": "neighbour", "nodes": 16, "encoding": "any", "names": "any"},
    }
    draws = 1
    data = "sbm:nodes=16-24&blocks=4&p_in=0.9&p_out=0.05"
    verifier = Choice(question.LETTERS[:4])

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        if level["ask"] == "neighbour":
            return Text("Answer with the name of the node.")
        return EdgeSet() if level["answer"] == "edge" else Choice(question.labels(level)[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "ask", ("pair", "neighbour"))
        question.check_among(self.name, params, "answer", ("letter", "edge"))
        question.check_among(self.name, params, "match", ("degree", "distance", "both"))
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_place(self.name, params, least=_least(params))

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=_least(level))
        if place.graph.directed and level["answer"] == "edge":
            raise Unusable("the graph is directed; answer=edge is for undirected ones")
        make = _ask_neighbour if level["ask"] == "neighbour" else _ask_pair
        return make(place, level, rng)


def _least(level: Mapping[str, Any]) -> int:
    return _FEW if level["ask"] == "neighbour" or level["options"] == 2 else _LEAST


def hideable(place: Place, rng: np.random.Generator) -> Iterator[tuple[Edge, Rows]]:
    """The edges that can be hidden, the root's first, else by chance; each with all nodes' neighbours without it.

    None of them is a bridge: with one gone, the one pair that joins both parts would be told by that alone. The rows
    (in either direction) are one list, changed as the iteration goes on.
    """
    edges = question.shuffled(place.graph.edges(), rng)
    edges.sort(key=lambda edge: place.root not in edge)
    rows = question.skeleton(place.graph)
    for u, v in edges:
        rows[u].discard(v)
        rows[v].discard(u)
        if question.distances(rows, u)[v] > 0:
            yield (u, v), rows
        rows[u].add(v)
        rows[v].add(u)


def without(graph: Graph, edge: Edge) -> Graph:
    """The graph without an edge, in either direction."""
    return graph.without_edges([edge, edge[::-1]])


def wrong_pairs(graph: Graph, rows: Rows, truth: Edge, match: str, most: int, rng: np.random.Generator) -> list[Edge]:
    """Up to `most` pairs without an edge in `graph` that without `truth` agree with the true pair as `match` says.

    `rows` are the nodes' neighbours without it. Pairs are (u, v) with u < v, where directed in either direction; none
    is the image of the true one under a symmetry of the shown graph, none lies in two parts.
    """
    nodes = range(graph.num_nodes)
    directed = graph.directed
    degrees = question.degrees(without(graph, truth)) if directed else [(len(row), 0) for row in rows]
    start = question.distances(rows, truth[0])
    far = [question.distances(rows, node) for node in nodes] if match != "degree" else []

    def key(u: int, v: int) -> Hashable:
        ends = (degrees[u], degrees[v])
        degree = ends if directed else (min(ends), max(ends))
        return (degree if match != "distance" else 0, far[u][v] if far else 0)

    wanted = key(*truth)
    fits = [
        (u, v)
        for u in nodes
        for v in nodes
        if (u != v if directed else u < v)
        and v not in rows[u]
        and {u, v} != {*truth}
        and (start[u] < 0) == (start[v] < 0)
        and key(u, v) == wanted
    ]
    if start.count(-1) and match == "degree":  # pairs beyond the true one's part may lie in two others
        fits = [(u, v) for u, v in fits if question.distances(rows, u)[v] > 0]
    if len(fits) < most:
        return []
    shown = without(graph, truth)
    kept: list[Edge] = []
    for pair in question.shuffled(fits, rng):
        if pair[::-1] not in kept and not alike(shown, truth, pair):
            kept.append(pair)
        if len(kept) == most:
            break
    return kept


def alike(shown: Graph, first: Edge, second: Edge) -> bool:
    """Whether a symmetry of the shown graph takes one pair to the other (in either direction where undirected)."""
    turned = (second[1], second[0])
    return same_role(shown, first, second) or (not shown.directed and same_role(shown, first, turned))


def _ask_pair(place: Place, level: Mapping[str, Any], rng: np.random.Generator) -> Example:
    wrong = level["options"] - 1
    for truth, rows in hideable(place, rng):
        others = wrong_pairs(place.graph, rows, truth, level["match"], wrong, rng)
        if len(others) == wrong:
            break
    else:
        raise Unusable("no edge has enough pairs that match it")
    shown = without(place.graph, truth)
    pairs = question.shuffled([truth, *others], rng)
    texts = [place.pair_text(pair) for pair in pairs]
    meta: dict[str, Any] = {"drawing": question.drawing(place, shown, hidden_edges=[truth], root=place.root)}
    meta |= {"encoding": place.encoding, "pairs": [place.edge(pair) for pair in pairs]}
    told = f"{place.write(shown, rng)}\nOne edge is hidden. Which?\n"
    if level["answer"] == "edge":
        meta |= {"nodes": list(place.names), "candidates": meta["pairs"]}
        return Example((told + ", ".join(texts),), [place.edge(truth)], meta=meta)
    letters = question.labels(level)
    return Example((told + question.lettered(texts, letters),), letters[pairs.index(truth)], meta=meta)


def _ask_neighbour(place: Place, level: Mapping[str, Any], rng: np.random.Generator) -> Example:
    for (u, v), rows in hideable(place, rng):
        turn = place.root == v or (place.root != u and rng.random() < 0.5)
        anchor, other = (v, u) if turn and not place.graph.directed else (u, v)
        far = question.distances(rows, anchor)
        valid = [node for node in range(len(rows)) if far[node] > 1]
        if len(valid) >= level["options"]:
            break
    else:
        raise Unusable("no edge can be hidden")
    shown = without(place.graph, (u, v))
    right = [other, *(node for node in valid if node != other and same_role(shown, (anchor, other), (anchor, node)))]
    if len(right) * 2 > len(valid):
        raise Unusable("the graph is so symmetric that most nodes are right")
    names = [place.names[node] for node in right]
    meta: dict[str, Any] = {"drawing": question.drawing(place, shown, hidden_edges=[(u, v)], root=anchor)}
    meta |= {"encoding": place.encoding, "candidates": [place.names[node] for node in valid]}
    if len(names) > 1:
        meta["accepted"] = names[1:]
    told = f"{place.write(shown, rng)}\nOne edge of node {place.names[anchor]} is hidden. Where does it lead?"
    return Example((told,), names[0], meta=meta)
