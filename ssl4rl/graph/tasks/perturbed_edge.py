"""Which edge of a graph does not belong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, EdgeSet, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import Edge, Rows
from ssl4rl.graph.tasks.masked_edge import alike

EASY: Mapping[str, Any] = {
    "kind": "added", "answer": "letter", "options": 4, "match": "degree",
    "encoding": "edge_list", "names": "letters", "nodes": 10, "hops": 2,
}  # fmt: skip


class PerturbedEdge(Task[Rooted]):
    """Perturbed edge: which edge was put into the graph, and was not there before?

    Sees: a graph of a few nodes with one edge that is none: added, or moved from one end to another node
    (`kind=rewired`); with `answer=letter` a few of the edges with letters, that one among them.
    Answers: the edge's letter, or with `answer=edge` the edge.
    Reward: exact. Chance: 1 / options; `answer=edge`: right edges / edges on a cycle.

    Levels: easy (10 nodes, added, edges of equal degrees), medium (16 nodes, rewired, edges of equal degrees whose
    ends are equally far apart without them, any encoding), hard (the same, but any edge can be the one). Parameters:
    `kind`; `answer`; `options`, 2 to 8; `match`, in what the edges agree: degree, both; `encoding`, `names`; `nodes`,
    `hops`, the ego network's size.

    Shortcuts and guards: degrees (the edges to choose from have exactly the same degrees in the graph as shown); an
    edge without which the graph falls apart is certainly old (none is offered, and none can be answered); order
    (nodes, edges, names and options are shuffled); an edge that no one could tell from the new one, because the shown
    graph is symmetric (none is offered; with `answer=edge` every such edge is accepted). Not guarded: with
    `answer=edge`, degrees say something.
    The question makes sense where edges follow a pattern (communities, closed triangles), as in most graphs people
    have; in a purely random one nobody can do better than chance. Directed graphs are unusable.

    Source: ours, after the detection of corrupted edges and replaced tokens in self-supervised learning.
    Versions: 1, the first.
    """

    name = "graph/perturbed_edge"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "kind": "rewired", "match": "both", "nodes": 16, "encoding": "any", "names": "any"},
        "hard": {**EASY, "kind": "rewired", "answer": "edge", "nodes": 16, "encoding": "any", "names": "any"},
    }
    draws = 1
    data = "sbm:nodes=16-24&blocks=4&p_in=0.9&p_out=0.05"
    verifier = Choice(question.NUMBERS[:4])

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return EdgeSet() if level["answer"] == "edge" else Choice(question.labels(level)[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "kind", ("added", "rewired"))
        question.check_among(self.name, params, "answer", ("letter", "edge"))
        question.check_among(self.name, params, "match", ("degree", "both"))
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_place(self.name, params, least=4)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=4)
        if place.graph.directed:
            raise Unusable("the graph is directed")
        count = level["options"] if level["answer"] == "letter" else 0
        fake, shown, others = perturbed(place.graph, level["kind"], level["match"], count, rng)
        meta: dict[str, Any] = {"drawing": question.drawing(place, shown, root=place.root)}
        meta |= {"encoding": place.encoding, "perturbed": place.edge(fake)}
        told = f"{place.write(shown, rng)}\nOne edge was {'moved' if level['kind'] == 'rewired' else 'added'}. Which?"
        if level["answer"] == "letter":
            pairs = question.shuffled([fake, *others], rng)
            meta["pairs"] = [place.edge(pair) for pair in pairs]
            letters = question.labels(level)
            listed = question.lettered([place.pair_text(pair) for pair in pairs], letters)
            return Example((f"{told}\n{listed}",), letters[pairs.index(fake)], meta=meta)
        same = [[place.edge(other)] for other in others if alike(shown, fake, other)]
        meta |= {"nodes": list(place.names), "candidates": [place.edge(edge) for edge in (fake, *others)]}
        if same:
            meta["accepted"] = same
        return Example((told,), [place.edge(fake)], meta=meta)


def perturbed(
    graph: Graph, kind: str, match: str, options: int, rng: np.random.Generator
) -> tuple[Edge, Graph, list[Edge]]:
    """A pair made an edge, the graph with it, and the other edges to choose from.

    `options` 0: these are all edges on a cycle; else as many as make so many options with it, which agree with it as
    `match` says and none of which is its image under a symmetry.

    Raises:
        Unusable: no pair is left, or too few edges agree with any.
    """
    n = graph.num_nodes
    pairs = [(u, v) for u in range(n) for v in range(u + 1, n) if not graph.has_edge(u, v)]
    for fake in question.shuffled(pairs, rng)[:40]:
        gone = _moved_from(graph, fake, rng) if kind == "rewired" else None
        if kind == "rewired" and gone is None:
            continue
        kept = [edge for edge in graph.edges() if edge != gone]
        rows: Rows = [set() for _ in range(n)]
        for u, v in (*kept, fake):
            rows[u].add(v)
            rows[v].add(u)
        others = _others(kept, rows, fake, match, bool(options))
        if len(others) < options - 1:
            continue
        shown = (graph if gone is None else graph.without_edges([gone])).with_edges([fake])
        if not options:
            return fake, shown, others
        chosen: list[Edge] = []
        for edge in question.shuffled(others, rng):
            if len(chosen) < options - 1 and not alike(shown, fake, edge):
                chosen.append(edge)
        if len(chosen) == options - 1:
            return fake, shown, chosen
    raise Unusable("no edge can be put in that enough others agree with")


def _moved_from(graph: Graph, fake: Edge, rng: np.random.Generator) -> Edge | None:
    """An edge that shares one end with the new one, and without which the graph holds together."""
    ends = [(u, w) for u in fake for w in graph.neighbours(u).tolist()]
    rows = question.skeleton(graph)
    for u, w in question.shuffled(ends, rng):
        rows[u].discard(w)
        rows[w].discard(u)
        joined = question.distances(rows, u)[w] > 0
        rows[u].add(w)
        rows[w].add(u)
        if joined:
            return min(u, w), max(u, w)
    return None


def _others(edges: Sequence[Edge], rows: Rows, fake: Edge, match: str, agree: bool) -> list[Edge]:
    """The edges on a cycle, where they are to agree with `fake` those that do. `rows` are changed and put back."""

    def detour(u: int, v: int) -> int:
        rows[u].discard(v)
        rows[v].discard(u)
        found = question.distances(rows, u)[v]
        rows[u].add(v)
        rows[v].add(u)
        return found

    def key(u: int, v: int) -> Hashable:
        return tuple(sorted((len(rows[u]), len(rows[v])))) if agree else 0

    wanted, way_round = key(*fake), detour(*fake)
    near = [(edge, detour(*edge)) for edge in edges if key(*edge) == wanted]
    if way_round < 0:
        return []
    return [edge for edge, way in near if way > 0 and (match != "both" or not agree or way == way_round)]
