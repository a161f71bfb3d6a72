"""Downstream evaluation: with which node a node is linked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks import masked_node

EASY: Mapping[str, Any] = {
    "options": 4, "neighbours": 4, "wrong": "any", "own_text": True, "text": "text", "text_chars": 80,
}  # fmt: skip
_TRIES = 400
_ROW = 512
"""Of a hub's neighbours so many are compared at most."""


class LinkPrediction(Task[Rooted]):
    """Link prediction: with which of a few nodes is a node linked? For evaluation, not for training.

    Sees: the text of a node, the texts of some of its other neighbours, and the texts of a few nodes, one of which is a
    neighbour too.
    Answers: that node's letter.
    Reward: exact. Chance: 1 / options. Beside a model's accuracy belong `baselines.common_neighbours` (which option
    shares most neighbours with the node) and `baselines.alike_words` (whose words are most like the node's: no graph);
    the level alone (`neighbours=0`) asks the model itself without the graph.

    Levels: any (the wrong nodes lie anywhere), near (they are neighbours of neighbours), alone (no neighbours shown).
    Parameters: `options`, 2 to 8; `neighbours`, how many are shown at most; `wrong`, any or near; `own_text`, show the
    node's text; `text`, the column, cut to `text_chars`.

    Shortcuts and guards: nodes of high degree are linked more often (wrong nodes are drawn as ends of random edges, so
    by degree as the true one is, and have degrees of the same class, a quarter wide); the hidden neighbour is shown (it
    is left out of the neighbours); a text that stands twice (options have different texts, none is a shown neighbour's
    or the node's own); the place of the right option (shuffled). In a directed graph neighbours are successors.
    Exchangeable but for links: true and wrong nodes are ends of edges drawn at random, of one class of degrees, with
    texts under one condition. Not quite: the true one hangs on an edge of a node drawn uniformly, so neighbours of
    nodes with few edges are true a little oftener; edges are not shown, and no relation among options tells it.
    Measured (n = 2,500), the option that shares most words with what is shown, where .25 is chance: any .599, near
    .384, alone .447. That is the evidence. All else is at chance.

    Source: link prediction with hard negatives (arXiv 2306.10453), asked as a question with options.
    Versions: 1, the first.
    """

    name = "graph/link_prediction"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "any": EASY,
        "near": {**EASY, "wrong": "near"},
        "alone": {**EASY, "neighbours": 0},
    }
    draws = 1
    data = "debian:"
    verifier = Choice(question.LETTERS[:4])
    cues: ClassVar[Mapping[str, str]] = {
        "shared words": "linked nodes' texts are about the same, in words the right option shares with them",
        "mentions": "linked nodes' texts are about the same, in words that are then mentioned often",
        "mention order": "linked nodes' texts are about the same, in words that are then mentioned early or often",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(question.LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_between(self.name, params, "neighbours", 0, 32)
        question.check_between(self.name, params, "text_chars", 8, 2000)
        question.check_among(self.name, params, "wrong", ("any", "near"))
        if not params["own_text"] and not params["neighbours"]:
            raise Ssl4rlError(f"{self.name}: neighbours is 0 and own_text is false; allowed: one of them at least")

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        graph, root = items[0].graph, items[0].root
        if graph.num_nodes == 0:
            raise Unusable("the graph is empty")
        root = int(rng.integers(graph.num_nodes)) if root is None else root
        if level["text"] not in graph.columns:
            raise question.no_column(graph, level["text"], "text")
        own, row = masked_node.text_of(graph, root, level), graph.neighbours(root)
        if not own or not len(row):
            raise Unusable(f"the node has no neighbours or no {level['text']!r}")
        linked = int(row[int(rng.integers(len(row)))])
        right = masked_node.text_of(graph, linked, level)
        notes = masked_node.neighbour_notes(graph, root, level, rng, without=[linked])
        taken = {own, *(note for _, note in notes)}
        if not right or right in taken:
            raise Unusable("the neighbour's text stands elsewhere or is missing")
        others = _wrong_nodes(graph, root, linked, {*taken, right}, level, rng)
        nodes = question.shuffled([linked, *others], rng)
        lines = [f"Text: {own}"] if level["own_text"] else []
        if level["neighbours"]:
            lines.append(f"Linked with: {'; '.join(note for _, note in notes) or 'nothing else'}")
        options = question.lettered([masked_node.text_of(graph, node, level) for node in nodes])
        prompt = "\n".join([*lines, "With which of these is it linked too?", options])
        meta = {
            "text": own,
            "option_texts": [masked_node.text_of(graph, node, level) for node in nodes],
            "common_neighbours": [_common(graph, root, node) for node in nodes],
            "drawing": masked_node.star(graph, root, [node for node, _ in notes], hidden=linked),
        }
        return Example((prompt,), question.LETTERS[nodes.index(linked)], meta=meta)


def _wrong_nodes(
    graph: Graph, root: int, linked: int, taken: set[str], level: Mapping[str, Any], rng: np.random.Generator
) -> list[int]:
    """Nodes without a link to the root in either direction, with degrees like the linked one's and texts of their own.

    Raises:
        Unusable: too few are found.
    """
    size = _size(graph.degree(linked))
    found: list[int] = []
    row = graph.neighbours(root)
    for _ in range(_TRIES):
        if len(found) == level["options"] - 1:
            return found
        if level["wrong"] == "near":
            by = graph.neighbours(int(row[int(rng.integers(len(row)))]))
            if not len(by):
                continue
            node = int(by[int(rng.integers(len(by)))])
        else:
            node = int(graph.indices[int(rng.integers(len(graph.indices)))])
        if (
            _size(graph.degree(node)) != size
            or node == root
            or graph.has_edge(root, node)
            or graph.has_edge(node, root)
        ):
            continue
        text = masked_node.text_of(graph, node, level)
        if text and text not in taken:
            found.append(node)
            taken.add(text)
    raise Unusable("too few nodes that are not linked have such a degree")


def _size(degree: int) -> int:
    """Degrees in classes a quarter wide. They are fixed: around the true node's degree it would be the middle one."""
    return round(math.log(degree + 1, 1.25))


def _common(graph: Graph, u: int, v: int) -> int:
    """How many neighbours two nodes share, besides each other; of a hub's row the first `_ROW`."""
    few, many = sorted((u, v), key=graph.degree)
    return sum(graph.has_edge(many, node) for node in graph.neighbours(few)[:_ROW].tolist() if node not in (u, v))
