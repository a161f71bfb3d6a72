"""Which edge of a graph does not belong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, EdgeSet, Verifier
from ssl4rl.graph import options, question
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import Edge, Place, Rows

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

    Shortcuts and guards: degrees (the edges to choose from have exactly the same degrees in the graph as shown; with
    `answer=edge` moved edges are thinned out such that, in graphs without a pattern, each edge is the one as probably,
    see `_thin`); what options have in common with each other, and which could have been put in at all (all of them, as
    probably: the pair is drawn uniformly, the options from those of the shown graph's edges that match it, in sets in
    which each shares as many ends with the others as any other; argument and limits in `ssl4rl.graph.options`); an
    edge without which the graph falls apart, or a node is farther from the middle than an ego network reaches, is
    certainly old (none is offered, and none can be answered); order (nodes, edges, names and options are shuffled);
    edges that no one could tell from each other, because the shown graph is symmetric (no two such edges are offered;
    with `answer=edge` every such edge is accepted). Not guarded:
    with `answer=edge`, where edges follow a pattern, one put in often joins nodes of few edges.
    Measured (n = 2,500): at hard the edge whose nodes have fewest edges is right in .185 of the questions, the one
    that shares fewest nodes with the others in .163, where .111 is chance. All else is at chance.
    The question makes sense where edges follow a pattern (communities, closed triangles), as in most graphs people
    have; in a purely random one nobody can do better than chance. Directed graphs are unusable.

    Source: ours, after the detection of corrupted edges and replaced tokens in self-supervised learning.
    Versions: 1, the first; 2, options are exchangeable: in version 1 the edge that shared fewest nodes with the others
    was the one put in in .36 of the questions at easy (chance .25).
    """

    name = "graph/perturbed_edge"
    version = 2
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "kind": "rewired", "match": "both", "nodes": 16, "encoding": "any", "names": "any"},
        "hard": {**EASY, "kind": "rewired", "answer": "edge", "nodes": 16, "encoding": "any", "names": "any"},
    }
    draws = 1
    data = "sbm:nodes=16-24&blocks=4&p_in=0.9&p_out=0.05"
    verifier = Choice(question.NUMBERS[:4])
    cues: ClassVar[Mapping[str, str]] = {
        "mentions[hard]": "where edges follow a pattern, one put in often joins nodes of few edges",
        "option overlap[hard]": "any edge can be the answer; one between nodes of few edges shares ends with few",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return EdgeSet() if level["answer"] == "edge" else Choice(question.labels(level)[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "kind", ("added", "rewired"))
        question.check_among(self.name, params, "answer", ("letter", "edge"))
        question.check_among(self.name, params, "match", ("degree", "both"))
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_place(self.name, params, least=4)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        def place() -> Place:
            found = question.find_place(items[0], level, rng, least=4)
            if found.graph.directed:
                raise Unusable(f"the graph is directed; {question.UNDIRECTED}")
            return found

        ask = _ask_letter if level["answer"] == "letter" else _ask_edge
        return options.first_of(place, lambda found: ask(found, level, rng))


def _ask_letter(place: Place, level: Mapping[str, Any], rng: np.random.Generator) -> Example:
    fake, gone, rows = perturb(place.graph, level["kind"], rng)
    fits = edges_like(place, rows, fake, level)
    if len(fits) < level["options"]:
        raise Unusable("too few edges match the one put in")
    shown = _shown(place.graph, fake, gone)
    pairs = question.shuffled(options.draw_set(shown, fits, fake, level["options"], rng), rng)
    meta: dict[str, Any] = {"drawing": question.drawing(place, shown, root=place.root), "encoding": place.encoding}
    meta |= {"perturbed": place.edge(fake), "pairs": [place.edge(pair) for pair in pairs]}
    letters = question.labels(level)
    listed = question.lettered([place.pair_text(pair) for pair in pairs], letters)
    return Example((f"{_told(place, shown, level, rng)}\n{listed}",), letters[pairs.index(fake)], meta=meta)


def _ask_edge(place: Place, level: Mapping[str, Any], rng: np.random.Generator) -> Example:
    fake, gone, rows = perturb(place.graph, level["kind"], rng)
    if level["kind"] == "rewired":
        _thin(rows, fake, rng)
    shown = _shown(place.graph, fake, gone)
    found = [edge for edge, _ in removable(place, rows, shown.edges(), level["hops"])]
    if fake not in found:
        raise Unusable("without the edge put in the graph would fall apart or reach too far")
    same = [[place.edge(other)] for other in found if other != fake and options.alike(shown, fake, other)]
    meta: dict[str, Any] = {"drawing": question.drawing(place, shown, root=place.root), "encoding": place.encoding}
    meta |= {"perturbed": place.edge(fake), "nodes": list(place.names)}
    meta["candidates"] = [place.edge(edge) for edge in found]
    if same:
        meta["accepted"] = same
    return Example((_told(place, shown, level, rng),), [place.edge(fake)], meta=meta)


def _told(place: Place, shown: Graph, level: Mapping[str, Any], rng: np.random.Generator) -> str:
    done = "moved" if level["kind"] == "rewired" else "added"
    return f"{place.write(shown, rng)}\nOne edge was {done}. Which?"


def _shown(graph: Graph, fake: Edge, gone: Edge | None) -> Graph:
    return (graph if gone is None else graph.without_edges([gone])).with_edges([fake])


def perturb(graph: Graph, kind: str, rng: np.random.Generator) -> tuple[Edge, Edge | None, Rows]:
    """A pair made an edge, of all without one each as probably; the edge that is gone; all nodes' neighbours then.

    With `kind="rewired"` an edge that shares an end with it is gone, of all these each as probably; else none.

    Raises:
        Unusable: there is no such pair or edge, or the graph falls apart.
    """
    rows = question.skeleton(graph)
    pairs = [(u, v) for u, v in itertools.combinations(range(len(rows)), 2) if v not in rows[u]]
    if not pairs:
        raise Unusable("all nodes are joined")
    fake = pairs[int(rng.integers(len(pairs)))]
    gone = None
    if kind == "rewired":
        ends = [(u, w) for u in fake for w in sorted(rows[u])]
        if not ends:
            raise Unusable("neither node of the pair drawn has an edge that could be moved")
        gone = ends[int(rng.integers(len(ends)))]
        rows[gone[0]].discard(gone[1])
        rows[gone[1]].discard(gone[0])
        if min(question.distances(rows, gone[0])) < 0:
            raise Unusable("without the edge moved the graph is not in one part")
    rows[fake[0]].add(fake[1])
    rows[fake[1]].add(fake[0])
    return fake, gone, rows


def removable(place: Place, rows: Rows, edges: Iterable[Edge], hops: int) -> Iterator[tuple[Edge, int]]:
    """Those of the edges any of which may have been put in, and how far apart their ends are without them.

    Without it its ends are still joined, and all nodes within `hops` of the middle of an ego network, as they were.
    `rows` are changed as the iteration goes on, and put back.
    """
    for u, v in edges:
        rows[u].discard(v)
        rows[v].discard(u)
        far = question.distances(rows, u)[v]
        if far > 0 and question.in_reach(rows, place.centre, hops):
            yield (u, v), far
        rows[u].add(v)
        rows[v].add(u)


def edges_like(place: Place, rows: Rows, fake: Edge, level: Mapping[str, Any]) -> list[Edge]:
    """The shown graph's edges that agree with the one put in as the level says, itself among them.

    None where it could not be told from certainly old ones. `rows` are all nodes' neighbours in the shown graph.
    """

    def degrees(u: int, v: int) -> tuple[int, int]:
        return min(len(rows[u]), len(rows[v])), max(len(rows[u]), len(rows[v]))

    edges = [(u, v) for u, row in enumerate(rows) for v in sorted(row) if u < v and degrees(u, v) == degrees(*fake)]
    if len(edges) < level["options"]:
        return []
    found = dict(removable(place, rows, edges, level["hops"]))
    if fake not in found:
        return []
    return [edge for edge, far in found.items() if level["match"] != "both" or far == found[fake]]


def _thin(rows: Rows, fake: Edge, rng: np.random.Generator) -> None:
    """Keeps a moved edge such that each edge of the shown graph is as probable, whatever its ends' degrees.

    Of degrees a and b of its ends and n nodes in sight, an edge can have come from 2 (n - 1) - a - b places, and from
    each was drawn with probability 1 / (a + b - 1): edges between nodes of few edges would be moved ones more often.

    Raises:
        Unusable: not kept.
    """

    def ways(u: int, v: int) -> float:
        ends = len(rows[u]) + len(rows[v])
        return (2 * len(rows) - 2 - ends) / (ends - 1)

    least = min(ways(u, v) for u, row in enumerate(rows) for v in row)
    if rng.random() * ways(*fake) >= least:
        raise Unusable("thinned out, so that degrees say nothing")
