"""Which nodes are the neighbours of a node whose own line is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.core.verify import NodeSet
from ssl4rl.graph import question, serialise
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.question import Place
from ssl4rl.graph.symmetry import same_role
from ssl4rl.graph.tasks import masked_node

COLLECTABLE = ("incident", "edge_list", "adjacency", "friendship", "coauthorship")
EASY: Mapping[str, Any] = {
    "show": 1.0, "text": "", "text_chars": 60, "encoding": "edge_list", "names": "integers", "nodes": 10, "hops": 2,
}  # fmt: skip


class Neighbours(Task[Rooted]):
    """Neighbours: which nodes are joined to a node whose own line is hidden?

    What each level leaves visible, of the asked node's edges:
    collect: all, in other nodes' lines or in a list of edges (`show=1`; an incident encoding's own line of the node is
    cut out). Reading, with an answer that has to be put together from several places.
    complete: about half (`show=0.5`), in both directions; the others are written nowhere. To be told from how close the
    candidates are to the neighbours shown.
    texts: none (`show=0`); nodes carry texts, and all other edges are there. To be told from what the texts say.
    Sees: a graph of a few nodes, one of them asked for; where edges are hidden, how many.
    Answers: the names of the hidden neighbours, or of all of them at `show=1`; in a directed graph, of successors.
    Reward: F1 with the true set; where the number is told, other numbers of names are no answer; where it is not
    (`show=1`), what F1 is above that of naming all, see `NodeSet`. Chance: 1 / sets of that size, which is close to 0;
    the value expected of a guess is the size over the candidates, at `show=1` that of the best number of names.

    Any node in sight is asked for, at `show=0` the item's own (in an ego network the middle has most neighbours).

    Levels: collect (edge list), collect_lines (the node's line is cut from an incident encoding), complete, texts.
    Parameters: `show`, the share of the node's edges that stays; `text`, the column shown with every node ("": none),
    cut to `text_chars`; `encoding`, `names`; `nodes`, `hops`, the ego network's size.

    Shortcuts and guards: another line lists the hidden edge (it is taken out of the graph before anything is written);
    naming every node for a sure share (the number is told and must be kept to where edges are hidden; at `show=1` such
    an answer earns nothing, and nodes joined to more than two thirds of the others are not asked for); nodes that no
    one could tell apart of which only some are hidden neighbours (such a choice of edges is not made); order (nodes,
    edges and names are shuffled).
    Not guarded: where all edges are hidden, the others lie around the asked node's place, so that nodes of the first
    ring can be told by being close to each other; that is evidence. Nor hubs: nodes of many edges are joined to most.
    Measured (n = 2,500): the two mentioned most earn .446 where .104 is expected at collect (and are right in .189),
    .403 (.076) at collect_lines; the one mentioned most .698 (.120) at complete, .667 (.359) at texts. That is the
    graph and not how it is written. At collect a node is mentioned once for each of its edges; there the two nodes that
    have most edges without the asked node's earn .38 to .43 of those mentioned most, at collect_lines, where the asked
    node's own line is cut out, exactly as much as they (n = 600). Hubs have more edges wherever edges are drawn, in
    random graphs too, so `cues` name it.

    Source: ours, after neighbourhood prediction and graph completion, as one of SSL4RL's kind (arXiv 2510.16416).
    Versions: 1, the first.
    """

    name = "graph/neighbours"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "collect": EASY,
        "collect_lines": {**EASY, "nodes": 16, "encoding": "incident", "names": "any"},
        "complete": {**EASY, "show": 0.5, "nodes": 16, "encoding": "any", "names": "any"},
        "texts": {**EASY, "show": 0.0, "text": "text", "nodes": 12},
    }
    draws = 1
    data = "debian:"
    verifier = NodeSet()
    cues: ClassVar[Mapping[str, str]] = {
        "mentions": "the edges that answer the question, or those around them, are in the prompt; most lead to hubs",
        "mention order": "the edges that answer the question, or those around them, are in the prompt",
    }

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_between(self.name, params, "show", 0.0, 1.0)
        question.check_between(self.name, params, "text_chars", 8, 2000)
        question.check_place(self.name, params)
        encodings = params["encoding"].split("|")
        if params["show"] == 1 and not {*encodings} <= {*COLLECTABLE}:
            raise Ssl4rlError(
                f"{self.name}: encoding is {params['encoding']} and show is 1; allowed: {', '.join(COLLECTABLE)}"
            )

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        place = question.find_place(items[0], level, rng)
        root = int(rng.integers(place.graph.num_nodes))
        if level["show"] == 0 and place.root is not None:
            root = place.root
        texts = _texts(place, level)
        if level["show"] == 1:
            return _collect(place, root, texts, rng)
        hidden, shown = _hide(place, root, level["show"], texts, rng)
        candidates = [node for node in range(shown.num_nodes) if node != root and not shown.has_edge(root, node)]
        if len(candidates) < 2 * len(hidden):
            raise Unusable("most nodes left are hidden neighbours")
        gone = [(root, node) for node in hidden]
        meta: dict[str, Any] = {
            "drawing": question.drawing(place, shown, hidden_edges=gone, root=root),
            "encoding": place.encoding,
            "nodes": [place.names[node] for node in candidates],
            "count": len(hidden),
        }
        number = "1 edge" if len(hidden) == 1 else f"{len(hidden)} edges"
        asked = f"Of node {place.names[root]}, {number} {'is' if len(hidden) == 1 else 'are'} hidden. "
        asked += "Which other node does it lead to?" if len(hidden) == 1 else f"Which {len(hidden)} do they lead to?"
        prompt = f"{place.write(shown, rng, texts=texts)}\n{asked}"
        return Example((prompt,), sorted(place.names[node] for node in hidden), meta=meta)


def _texts(place: Place, level: Mapping[str, Any]) -> list[str] | None:
    """What is shown of each node; None at levels without texts.

    Raises:
        Unusable: the nodes have none.
    """
    if not level["text"]:
        return None
    if level["text"] not in place.graph.columns:
        raise question.no_column(place.graph, level["text"], "text")
    return [masked_node.text_of(place.graph, node, level) for node in range(place.graph.num_nodes)]


def _collect(place: Place, root: int, texts: list[str] | None, rng: np.random.Generator) -> Example:
    """All the node's edges are there to be collected, its own line is not."""
    graph, name = place.graph, place.names[root]
    neighbours = graph.neighbours(root).tolist()
    if not neighbours:
        raise Unusable("the node has no neighbours")
    if 3 * len(neighbours) > 2 * (graph.num_nodes - 1):
        raise Unusable("the node is joined to most others")
    text = place.write(graph, rng, texts=texts)
    if place.encoding == "incident":
        if graph.directed:
            raise Unusable(f"in a directed graph only the node's own line names its successors; {question.UNDIRECTED}")
        start = f"{serialise.show(name)} is connected to "
        text = "\n".join(line for line in text.split("\n") if not line.startswith(start))
    meta = {
        "drawing": question.drawing(place, graph, root=root),
        "encoding": place.encoding,
        "nodes": [other for other in place.names if other != name],
    }
    asked = f"Which nodes does {name} point to?" if graph.directed else f"Which nodes are joined to {name}?"
    return Example((f"{text}\n{asked}",), sorted(place.names[node] for node in neighbours), meta=meta)


def _hide(
    place: Place, root: int, show: float, texts: list[str] | None, rng: np.random.Generator
) -> tuple[list[int], Graph]:
    """The neighbours that are hidden, and the graph without the edges to them.

    In the graph as shown, no candidate that is not hidden can be taken for one that is, so only one set is right.

    Raises:
        Unusable: that cannot be had in eight tries.
    """
    graph = place.graph
    neighbours = graph.neighbours(root).tolist()
    count = len(neighbours) - round(show * len(neighbours))
    if not count:
        raise Unusable("the node has too few neighbours")
    for _ in range(8):
        hidden = question.shuffled(neighbours, rng)[:count]
        shown = graph.without_edges([edge for node in hidden for edge in ((root, node), (node, root))])
        rows = question.skeleton(shown)
        others = [v for v in range(len(rows)) if v != root and v not in neighbours]
        lost = any(not rows[node] for node in hidden) and not texts
        if not lost and not any(same_role(shown, (root, u), (root, v), texts) for u in hidden for v in others):
            return hidden, shown
        if show == 0:
            break
    raise Unusable("a hidden neighbour could not be told from another node")
