"""In how many triangles a node lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Integer, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Rooted
from ssl4rl.graph.question import Rows

EASY: Mapping[str, Any] = {
    "ask": "most", "options": 3, "encoding": "edge_list", "names": "integers", "nodes": 12, "hops": 3,
}  # fmt: skip


class Motifs(Task[Rooted]):
    """Motifs: in how many triangles does a node lie, or which node lies in most?

    Sees: a graph of a few nodes. A triangle is three nodes joined to each other, whatever their edges' direction.
    Answers: `ask=most`: the letter of the node that lies in more triangles than the other lettered ones. `ask=count`:
    in how many triangles a node lies.
    Reward: exact. Chance: 1 / options.

    Why this one, of what graph self-supervision is known for: it needs no labels and has one exact answer in any graph
    (communities are a matter of opinion, and centralities of degree more than anything); closed triangles are the
    evidence that link prediction, `graph/masked_edge` among it, is made of, so what is learned here can be used there;
    and degrees can be held fixed, which leaves no shortcut.

    Levels: easy (which of three nodes, 12 nodes), medium (of four, 20 nodes, any encoding), count (0 to options - 1
    triangles, 20 nodes). Parameters: `ask`; `options`, 2 to 8; `encoding`, `names`; `nodes`, `hops`, the ego network's
    size.

    Shortcuts and guards: nodes of high degree lie in more triangles (the lettered nodes have one degree; a node to
    count for is drawn among those of a degree that occurs with each count asked for); few triangles are more common
    (the count is drawn first, uniformly); order (nodes, edges, names and options are shuffled).

    Source: ours, after motif prediction in graph self-supervision (arXiv 2007.02835) and the node questions of Talk
    Like a Graph (arXiv 2310.04560).
    Versions: 1, the first.
    """

    name = "graph/motifs"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "options": 4, "nodes": 20, "encoding": "any", "names": "any"},
        "count": {**EASY, "ask": "count", "nodes": 20},
    }
    draws = 1
    data = "sbm:"
    verifier = Choice(question.LETTERS[:3])

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        if level["ask"] == "count":
            return Integer(0, level["options"] - 1)
        return Choice(question.labels(level)[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_among(self.name, params, "ask", ("most", "count"))
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_place(self.name, params, least=4)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng, least=4)
        rows = question.skeleton(place.graph)
        by_degree: dict[int, list[tuple[int, int]]] = {}
        for node, count in enumerate(triangles(rows)):
            by_degree.setdefault(len(rows[node]), []).append((node, count))
        text = place.write(place.graph, rng)
        meta: dict[str, Any] = {"encoding": place.encoding}
        if level["ask"] == "count":
            node, count = _draw_count(by_degree, level["options"], rng)
            meta["drawing"] = question.drawing(place, place.graph, root=node)
            return Example((f"{text}\nIn how many triangles does {place.names[node]} lie?",), count, meta=meta)
        most, others = _draw_most(by_degree, level["options"], rng)
        nodes = question.shuffled([most, *others], rng)
        letters = question.labels(level)
        listed = question.lettered([place.names[node] for node in nodes], letters)
        meta |= {"drawing": question.drawing(place, place.graph), "lettered": [place.names[node] for node in nodes]}
        return Example(
            (f"{text}\nWhich node lies in most triangles?\n{listed}",), letters[nodes.index(most)], meta=meta
        )


def triangles(rows: Rows) -> list[int]:
    """In how many triangles every node lies."""
    return [sum(len(rows[u] & rows[v]) for v in rows[u]) // 2 for u in range(len(rows))]


def _draw_count(
    by_degree: Mapping[int, Sequence[tuple[int, int]]], options: int, rng: np.random.Generator
) -> tuple[int, int]:
    """A node and its count, drawn uniformly from 0 to `options` - 1, of a degree that occurs with each of these."""
    full = [d for d in sorted(by_degree) if {count for _, count in by_degree[d]} >= {*range(options)}]
    if not full:
        raise Unusable(f"no degree occurs with each of 0 to {options - 1} triangles")
    degree, wanted = full[int(rng.integers(len(full)))], int(rng.integers(options))
    nodes = [node for node, count in by_degree[degree] if count == wanted]
    return nodes[int(rng.integers(len(nodes)))], wanted


def _draw_most(
    by_degree: Mapping[int, Sequence[tuple[int, int]]], options: int, rng: np.random.Generator
) -> tuple[int, list[int]]:
    """A node, and `options` - 1 others of its degree that lie in fewer triangles."""
    for degree in question.shuffled(sorted(by_degree), rng):
        for node, count in question.shuffled(by_degree[degree], rng):
            fewer = [other for other, less in by_degree[degree] if less < count]
            if len(fewer) >= options - 1:
                return node, question.shuffled(fewer, rng)[: options - 1]
    raise Unusable(f"no {options} nodes of one degree of which one lies in most triangles")
