"""Whether two small graphs are views of one region of a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice
from ssl4rl.graph import question, sampling, serialise
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.symmetry import same_shape
from ssl4rl.graph.tasks import masked_node

ANSWERS = ("same", "different")
EASY: Mapping[str, Any] = {
    "drop": 0.1, "apart": False, "text": "", "text_chars": 60, "text_mask": 0.0,
    "encoding": "edge_list", "names": "integers", "nodes": 10, "hops": 2,
}  # fmt: skip
MASKINGS = 32
"""So many random choices of the texts to hide are tried for each view, until what is shown is alike in length."""

_NUMBER = re.compile(r"\d+")


class SubgraphContrast(Task[Rooted]):
    """Subgraph contrast: are two small graphs views of the same region, or of different ones?

    Sees: two graphs of equal numbers of nodes and edges, each a region of a larger graph (or one of a collection of
    graphs) with some nodes and edges dropped and everything renamed.
    Answers: same or different.
    Reward: exact. Chance: 1 / 2.

    Levels: easy (structure alone, one node in ten dropped), texts (nodes carry texts, a third of them masked: can be
    solved by the words that both views share, without a look at an edge), apart (the two views of one region share no
    node: their texts have to be alike in what they are about). Structure is needed where no text is shown, as at easy,
    and with harder `drop` and `nodes`. Parameters:
    `drop`, the share of nodes and then of edges that each view loses; `apart`; `text`, the column shown ("": none),
    cut to `text_chars`; `text_mask`, the share of texts that a view hides; `encoding`, `names`; `nodes`, `hops`, a
    region's size.

    Shortcuts and guards: numbers of nodes and edges (three views are made whatever the answer is, of one size, and two
    of them shown); lengths of texts (two views of one region hold equally long ones; so at levels with `text_mask` the
    texts to hide are chosen such that all three views show as many texts and numbers, and nearly as many characters,
    words, capitals and signs); shared names (every view has its own, in its own order); the same text in both views
    (`text_mask` at the texts level, where it is the evidence; `apart` rules it out, a text shared by both regions makes
    the question unusable whatever the answer); regions that overlap, or look the same up to renaming (unusable,
    whatever the answer); which view comes first (drawn).
    Exchangeable: the answer is drawn first, three views are made of both regions whatever it is, and everything that
    could make the question unusable looks at all three, so the second view is told by its likeness to the first alone.
    Measured (n = 2,500): always the same word is at chance. The audit's classifiers see more, see `cues`.
    Not guarded: regions of different densities stay recognisable by degrees; that is what structure there is.

    Source: ours, after graph contrastive learning with augmentations (arXiv 2010.13902), as SSL4RL's contrastive task
    is after that of images (arXiv 2510.16416).
    Versions: 1, the first; 2, texts of matched lengths, for which apart masks a third of them, too.
    """

    name = "graph/subgraph_contrast"
    version = 2
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "texts": {**EASY, "drop": 0.2, "text": "text", "text_mask": 0.34},
        "apart": {**EASY, "drop": 0.2, "text": "text", "text_mask": 0.34, "apart": True, "nodes": 16},
    }
    draws = 2
    data = "debian:"
    verifier = Choice(ANSWERS)
    cues: ClassVar[Mapping[str, str]] = {
        "mentions": "two views of one region have like degrees, and hold the same words, which are then counted twice",
        "words": "two views of one region hold the same words, which are then counted twice",
    }

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_between(self.name, params, "drop", 0.0, 0.5)
        question.check_between(self.name, params, "text_mask", 0.0, 0.9)
        question.check_between(self.name, params, "text_chars", 8, 2000)
        question.check_place(self.name, params, least=6)

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        answer = ANSWERS[int(rng.integers(2))]
        regions = [_region(item, level, rng) for item in items]
        views = _views(items, regions, level, rng)
        notes = _notes(views, level, rng)
        pair = [0, 1 if answer == "same" else 2]
        if rng.random() < 0.5:
            pair.reverse()
        encoding = serialise.draw_encoding(level["encoding"], rng)
        texts = [_write(views[i], notes[i], level, encoding, rng) for i in pair]
        prompt = f"First: {texts[0]}\nSecond: {texts[1]}\nAre both views of the same region, or of different ones?"
        return Example(
            (prompt,),
            answer,
            meta={"encoding": encoding, "sizes": [[views[i].num_nodes, views[i].num_edges] for i in pair]},
        )


def _region(item: Rooted, level: Mapping[str, Any], rng: np.random.Generator) -> list[int]:
    """The nodes of an ego network of exactly as many nodes as the level says; of a whole graph at least six.

    Raises:
        Unusable: there are fewer.
    """
    graph, root = item.graph, item.root
    if root is None and 6 <= graph.num_nodes <= level["nodes"]:
        return list(range(graph.num_nodes))
    if graph.num_nodes < 6:
        raise Unusable("the graph has fewer than 6 nodes")
    centre = int(rng.integers(graph.num_nodes)) if root is None else root
    nodes = sampling.ego(graph, centre, rng, hops=level["hops"], max_nodes=level["nodes"])
    if len(nodes) < level["nodes"]:
        raise Unusable(f"fewer than {level['nodes']} nodes within {level['hops']} hops")
    return nodes


def _views(
    items: Sequence[Rooted], regions: Sequence[list[int]], level: Mapping[str, Any], rng: np.random.Generator
) -> list[Graph]:
    """Two views of the first region and one of the second, all of as many nodes and edges.

    Raises:
        Unusable: the regions overlap, their views cannot be told apart, or a view would have no edge.
    """
    one_graph = items[0].graph is items[1].graph
    if one_graph and items[0].root is not None and 4 * len({*regions[0]} & {*regions[1]}) > min(map(len, regions)):
        raise Unusable("the regions overlap")
    size = round(min(map(len, regions)) * (1 - level["drop"]))
    if level["apart"]:
        order = question.shuffled(regions[0], rng)
        halves = [order[: len(order) // 2], order[len(order) // 2 :], question.shuffled(regions[1], rng)]
        size = min(size, *map(len, halves))
        chosen = [half[:size] for half in halves]
    else:
        chosen = [question.shuffled(region, rng)[:size] for region in (regions[0], regions[0], regions[1])]
    graphs = [items[i].graph.subgraph(nodes) for i, nodes in zip((0, 0, 1), chosen, strict=True)]
    edges = round(min(graph.num_edges for graph in graphs) * (1 - level["drop"]))
    if edges < 2:
        raise Unusable("a view has fewer than 2 edges")
    views = []
    for graph in graphs:
        gone = question.shuffled(graph.edges(), rng)[: graph.num_edges - edges]
        views.append(graph.without_edges(gone))
    _check(views, level)
    return views


def _check(views: Sequence[Graph], level: Mapping[str, Any]) -> None:
    """Raise Unusable where the two regions' views look the same or share a text; whatever the answer is."""
    if level["text"]:
        texts = [{masked_node.text_of(view, node, level) for node in range(view.num_nodes)} - {""} for view in views]
        if not all(texts):
            if level["text"] not in views[0].columns:
                raise question.no_column(views[0], level["text"], "text")
            raise Unusable(f"the nodes have no {level['text']}")
        if texts[2] & (texts[0] | texts[1]) or (level["apart"] and texts[0] & texts[1]):
            raise Unusable("both regions hold the same text")
    elif same_shape(views[2], views[0]) or same_shape(views[2], views[1]):
        raise Unusable("the regions look the same")


Notes = list[str | None]
"""For each node of a view the text shown with it; None: it has none, or it is masked."""


def _notes(views: Sequence[Graph], level: Mapping[str, Any], rng: np.random.Generator) -> Sequence[Notes | None]:
    """What each view shows of its texts, matched in length; whatever the answer is.

    Each view's masks are the nearest of `MASKINGS` random ones to what the two regions can show in the mean. Counts of
    texts and numbers have to be the same in all views: a few numbers, counted twice where both views hold them, told
    the answer by being even.

    Raises:
        Unusable: no masks give all views as many texts and numbers.
    """
    if not level["text"]:
        return [None] * len(views)
    shown = [[masked_node.text_of(view, node, level) or None for node in range(view.num_nodes)] for view in views]
    hidden = round(level["text_mask"] * views[0].num_nodes)
    if not hidden:
        return shown
    tried = [[_masked(notes, hidden, rng) for _ in range(MASKINGS)] for notes in shown]
    lengths = [np.array([_lengths(notes) for notes in choices]) for choices in tried]
    common = set.intersection(*({(int(row[0]), int(row[1])) for row in rows} for rows in lengths))
    if not common:
        raise Unusable("the views cannot show as many texts and numbers")
    fit = [np.array([(row[0], row[1]) in common for row in rows]) for rows in lengths]
    middle = [rows[kept].mean(axis=0) for rows, kept in zip(lengths, fit, strict=True)]
    target = (middle[0] + middle[1]) / 4 + middle[2] / 2
    best = min(common, key=lambda counts: (abs(counts[0] - target[0]) + abs(counts[1] - target[1]), counts))
    found = []
    for choices, rows in zip(tried, lengths, strict=True):
        away = np.abs(rows - target).sum(axis=1) + np.where((rows[:, :2] == best).all(axis=1), 0.0, np.inf)
        found.append(choices[int(away.argmin())])
    return found


def _masked(notes: Notes, hidden: int, rng: np.random.Generator) -> Notes:
    masks = rng.permutation(len(notes))[:hidden].tolist()
    return [None if node in masks else text for node, text in enumerate(notes)]


def _lengths(notes: Notes) -> list[float]:
    """Texts, numbers; characters (five count as one), words, capitals and signs."""
    texts = [text for text in notes if text]
    text = " ".join(texts)
    signs = sum(not c.isalnum() and not c.isspace() for c in text)
    numbers = len(_NUMBER.findall(text))
    return [len(texts), numbers, len(text) / 5, len(text.split()), sum(map(str.isupper, text)), signs]


def _write(graph: Graph, notes: Notes | None, level: Mapping[str, Any], encoding: str, rng: np.random.Generator) -> str:
    """One view, under names of its own."""
    place = question.named_place(graph, range(graph.num_nodes), None, {**level, "encoding": encoding}, rng)
    shown = None if notes is None else [notes[node] for node in place.origin]
    return place.write(place.graph, rng, texts=shown)
