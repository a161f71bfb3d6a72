"""Downstream evaluation: of which class a node is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ssl4rl.graph.tasks.masked_node import SHORT, MaskedNode


class NodeClassification(MaskedNode):
    """Node classification: of which class is a node? For evaluation; train on `graph/masked_node` and its like.

    Sees: as `graph/masked_node` with `ask=value`, in other words: a node's text, the texts of nodes it is linked with,
    at the level labels with their classes.
    Answers: a class's letter.
    Reward: exact. Chance: 1 / options; classes are balanced as there, so that no class is right more often than it is
    offered. Beside a model's accuracy belong `baselines.majority_vote` (the neighbours' most common class) and
    `baselines.words_alone` (no graph); the level alone (`neighbours=0`) asks the model itself without the graph.

    Levels: labels (the neighbours' classes are told, as in transductive classification), text (they are not), alone (no
    neighbours), structure (an ego network as an edge list with the other nodes' classes, no texts). Parameters: those
    of `graph/masked_node`. The encoding-shuffle control is two runs of a level that differ in `encoding`, as
    "structure,encoding=edge_list|json" to train on and "structure,encoding=incident" to test.

    Shortcuts and guards: those of `graph/masked_node`.
    Measured (n = 2,500), the option that shares most words with what is shown, where .25 is chance (structure .5):
    labels .715, text .292, alone .298, structure .881. That is the evidence. All else is at chance.

    Source: node classification as in Planetoid (arXiv 1603.08861), asked as a question with options.
    Versions: 1, the first.
    """

    name = "graph/node_classification"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "labels": {**SHORT, "neighbour_labels": True},
        "text": SHORT,
        "alone": {**SHORT, "neighbours": 0},
        "structure": MaskedNode.levels["structure"],
    }
    words: ClassVar[tuple[str, str, str]] = ("Text", "Linked with", "Of which {} is it?")
