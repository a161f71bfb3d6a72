"""Which neighbourhood is around a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.graph import question
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks import masked_node

EASY: Mapping[str, Any] = {"options": 2, "neighbours": 3, "ring": 1, "text": "text", "text_chars": 60}
_DRAWS = 4
_ROW = 64
"""A node of more neighbours is near to everything: no ring is looked for behind it."""


class Context(Task[Rooted]):
    """Context: which of a few neighbourhoods is the one around a node?

    Sees: the text of a node, and lettered lists of as many nodes' texts; one list is of nodes around it, each of the
    others of nodes around another one.
    Answers: the list's letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (2 lists of 3 neighbours), medium (4 lists of 2), ring (2 lists of 3 nodes that are two edges away and
    no neighbours). Parameters: `options`, 2 to 4; `neighbours`, how many nodes a list has; `ring`, how many edges away
    they are, 1 or 2; `text`, the column, cut to `text_chars`.

    Shortcuts and guards: all that lists show by themselves (as many nodes as there are options are drawn alike, each
    with its list, and then one of them, uniformly, is the one asked about: P(option k is right | lists) = 1 / options,
    in every graph); a list is right for two nodes (nodes that are joined, or a node of a list that is as near to
    another of the nodes, make the question unusable); the same text twice (no text stands in two lists, nor is the
    node's own); the order (lists are shuffled). Behind a node of more than 64 neighbours no ring is looked for. In a
    directed graph neighbours are successors. Not guarded: words that neighbours share are evidence: the list that
    shares most with the node's text is right in .73 of the questions at easy, .52 at medium and .71 at ring (debian:,
    n 1,000).

    Source: context prediction (arXiv 1905.12265), asked of texts as a question with options.
    Versions: 1, the first.
    """

    name = "graph/context"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "options": 4, "neighbours": 2},
        "ring": {**EASY, "ring": 2},
    }
    draws = _DRAWS
    data = "debian:"
    verifier = Choice(question.LETTERS[:2])
    cues: ClassVar[Mapping[str, str]] = {
        "shared words": "texts of nodes near each other are about the same, in words they share",
        "mentions": "texts of nodes near each other are about the same, in words that are then mentioned often",
        "mention order": "texts of nodes near each other are about the same, in words mentioned first and again",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(question.LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_between(self.name, params, "options", 2, _DRAWS)
        question.check_between(self.name, params, "neighbours", 1, 16)
        question.check_between(self.name, params, "ring", 1, 2)
        question.check_between(self.name, params, "text_chars", 8, 2000)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        roots = [_rooted(item, rng) for item in items[: level["options"]]]
        owns = [masked_node.text_of(item.graph, node, level) for item, node in roots]
        if not all(owns):
            if level["text"] not in roots[0][0].graph.columns:
                raise question.no_column(roots[0][0].graph, level["text"], "text")
            raise Unusable(f"a node has no {level['text']!r}")
        near = [_near(item.graph, node, level["ring"]) for item, node in roots]
        lists = []
        for at, (item, node) in enumerate(roots):
            others = {
                number for other, (held, root) in enumerate(roots) if other != at and held.graph is item.graph
                for number in (root, *near[other])
            }  # fmt: skip
            if node in others:
                raise Unusable("two of the nodes are near each other")
            lists.append(_texts(item.graph, sorted(near[at] - others), level, rng))
        shown = [text for _, texts in lists for text in texts]
        if len({*shown, *owns}) < len(shown) + len(owns):
            raise Unusable("a text stands in two places")
        right = int(rng.integers(len(roots)))
        order = question.shuffled(range(len(roots)), rng)
        options = question.lettered(["; ".join(lists[at][1]) for at in order])
        where = "linked with" if level["ring"] == 1 else "two links away from"
        prompt = f"Text: {owns[right]}\nWhich of these are {where} it?\n{options}"
        meta = {
            "text": owns[right],
            "option_texts": ["; ".join(lists[at][1]) for at in order],
            "drawing": masked_node.star(roots[right][0].graph, roots[right][1], lists[right][0]),
        }
        return Example((prompt,), question.LETTERS[order.index(right)], meta=meta)


def _rooted(item: Rooted, rng: np.random.Generator) -> tuple[Rooted, int]:
    """The item and its node; of a whole graph a random one.

    Raises:
        Unusable: the graph is empty.
    """
    if not item.graph.num_nodes:
        raise Unusable("the graph is empty")
    return item, int(rng.integers(item.graph.num_nodes)) if item.root is None else item.root


def _near(graph: Graph, root: int, ring: int) -> set[int]:
    """The nodes that are `ring` edges away and no nearer; none behind a hub of more than `_ROW` neighbours."""
    first = {*graph.neighbours(root).tolist()}
    if ring == 1:
        return first
    through = [node for node in first if graph.degree(node) <= _ROW]
    return {far for node in through for far in graph.neighbours(node).tolist()} - first - {root}


def _texts(
    graph: Graph, nodes: Sequence[int], level: Mapping[str, Any], rng: np.random.Generator
) -> tuple[list[int], list[str]]:
    """As many of the nodes as the level says, in random order, and their texts, all different.

    Raises:
        Unusable: there are fewer.
    """
    found: dict[str, int] = {}
    for node in question.shuffled(nodes, rng):
        text = masked_node.text_of(graph, node, level)
        if text:
            found.setdefault(text, node)
        if len(found) == level["neighbours"]:
            return list(found.values()), list(found)
    raise Unusable(f"fewer than {level['neighbours']} nodes with texts of their own around a node")
