"""What belongs to the node whose label or text is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.graph import question, values
from ssl4rl.graph.graph import Graph, Rooted

MOST_VALUES = 64
"""Neighbours whose values go into `meta`, where a hub has more."""

SHORT: Mapping[str, Any] = {
    "ask": "value", "column": "", "values": "", "options": 4, "own_text": True, "neighbours": 6,
    "neighbour_labels": False, "text": "text", "text_chars": 80, "mask": True, "distractors": "any",
    "encoding": "short", "names": "integers", "nodes": 12, "hops": 2, "answer": "letter",
}  # fmt: skip
"""Every parameter of the task, as at its easiest level."""


class MaskedNode(Task[Rooted]):
    """Masked node: which label, or which text, belongs to the node where it is hidden?

    Sees: in a few lines (`encoding=short`), the text of a node and of some of its neighbours; or (any other encoding)
    an ego network with a text or label at its nodes. `ask=value`: the node's value of `column` is hidden (the first of
    label, section, block, community, club, class, category, type, group that there is, unless named), and so are its
    neighbours' unless `neighbour_labels`. `ask=text`: its text is hidden. `own_text=false`: so is its text too when
    the value is asked for ("neighbours only").
    Answers: an option's letter; with `answer=value`, where `values` names just the options, the value itself.
    Reward: exact. Chance: 1 / options.

    Levels: text (the node's text and its neighbours'), neighbours (the neighbours' texts alone), labels (the
    neighbours' texts with their values), structure (an ego network as an edge list, every value but the root's told;
    for graphs without texts), describe (which text belongs to a node with these neighbours), describe_hard (all
    options' nodes have one label). Other parameters: `values`, "a|b|c": the values that are asked for and offered;
    `options`, 2 to 8; `neighbours`, how many are shown at most, 0 for a question without a graph; `text`, the column
    that holds the text, cut to `text_chars`; `mask`; `distractors` (of `ask=text`: any node's text, or one of the
    same label); `encoding`, `names`, `nodes`, `hops` of an ego network. Training on some encodings and testing on
    others is a matter of two level texts, "structure,encoding=incident" and "structure,encoding=json".

    Shortcuts and guards: common values are right more often (which values are offered, and which questions are asked,
    is drawn such that every value is right in 1 / options of the questions in which it is offered, see
    `values.draw_options`; shares are those of the whole graph, so in a small part they hold but nearly); the value
    stands in a text (`mask`: every offered value that stands there as a word becomes "___", in all texts alike); a
    twin with the same text (a neighbour whose text is the node's own is not shown, texts are shown once; of options
    with equal text there is one); the place of the right option (shuffled). In a directed graph neighbours are
    successors. Not guarded: words that name a value in another form ("fonts" and "font") are evidence.
    Exchangeable: with `ask=value` each value is right in 1 / options of the questions in which it is offered, and
    which set is offered with it depends on no more than that (`values.draw_options`). With `ask=text` the true node and
    the others are drawn alike, uniformly; none is the asked node's neighbour or joined to all that are shown, so only
    who fits those shown differs. Not guarded there: a node without neighbours can be offered, but is never asked for.
    Measured (n = 2,500), the option that shares most words with what is shown, where .25 is chance (structure .5):
    text .289, neighbours .288, labels .716, structure .881, describe .553, describe_hard .432. That is the evidence.
    All else is at chance.

    Source: ours, after masked attribute prediction on graphs (arXiv 1905.12265) and the kind of question
    SSL4RL asks (arXiv 2510.16416).
    Versions: 1, the first.
    """

    name = "graph/masked_node"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": SHORT,
        "neighbours": {**SHORT, "own_text": False},
        "labels": {**SHORT, "own_text": False, "neighbour_labels": True},
        "structure": {**SHORT, "own_text": False, "neighbour_labels": True, "text": "", "options": 2,
                      "encoding": "edge_list"},
        "describe": {**SHORT, "ask": "text", "own_text": False},
        "describe_hard": {**SHORT, "ask": "text", "own_text": False, "distractors": "same"},
    }  # fmt: skip
    draws = 1
    data = "debian:"
    verifier = Choice(question.LETTERS[:4])
    cues: ClassVar[Mapping[str, str]] = {
        "shared words": "the evidence is what neighbours' texts and labels say, in words the right option shares",
        "mentions": "the neighbours' labels are told, and the right one is often theirs",
        "mention order": "the neighbours' labels are told, and the right one is often theirs",
    }
    words: ClassVar[tuple[str, str, str]] = ("Node", "Neighbours", "Which {}?")
    """What the node's line and its neighbours' begin with, and the question."""

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        if level["answer"] == "value":
            return Choice(tuple(values.split_values(level["values"])))
        return Choice(question.LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        question.check_between(self.name, params, "options", 2, len(question.LETTERS))
        question.check_between(self.name, params, "neighbours", 0, 32)
        question.check_between(self.name, params, "text_chars", 8, 2000)
        question.check_among(self.name, params, "ask", ("value", "text"))
        question.check_among(self.name, params, "distractors", ("any", "same"))
        if params["encoding"] != "short":
            question.check_place(self.name, params)
        chosen = values.split_values(params["values"])
        if chosen and len(set(chosen)) < params["options"]:
            raise Ssl4rlError(
                f"{self.name}: values names {len(set(chosen))} and options is {params['options']}; "
                "allowed: at least as many values as options"
            )
        question.check_among(self.name, params, "answer", ("letter", "value"))
        if params["answer"] == "value" and (params["ask"] != "value" or len(chosen) != params["options"]):
            raise Ssl4rlError(
                f"{self.name}: answer is value, ask is {params['ask']} and values names {len(chosen)} of "
                f"{params['options']} options; allowed: ask=value, and values naming just the options"
            )
        if not (params["own_text"] or params["neighbours"] or params["encoding"] != "short"):
            raise Ssl4rlError(f"{self.name}: neighbours is 0 and own_text is false; allowed: one of them at least")
        if params["ask"] == "text" and (params["own_text"] or params["encoding"] != "short" or not params["text"]):
            raise Ssl4rlError(f"{self.name}: ask is text; allowed: own_text=false, encoding=short and a text column")

    def make(self, items: Sequence[Rooted], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        graph, root = items[0].graph, items[0].root
        if graph.num_nodes == 0:
            raise Unusable("the graph is empty")
        root = int(rng.integers(graph.num_nodes)) if root is None else root
        if level["ask"] == "text":
            return _ask_text(graph, root, level, self.words[1], rng)
        column = question.label_column(graph, level["column"])
        right = values.known(graph.value(column, root))
        chosen = values.split_values(level["values"])
        if right is None or (chosen and right not in chosen):
            raise Unusable(f"the node has no {column}" if right is None else f"its {column} is not one of `values`")
        needs_text, needs_others = _check_evidence(graph, root, level)
        found = values.shares(graph, column, level["values"], text=needs_text, neighbours=needs_others)
        offered = values.draw_options(found, right, level["options"], rng)
        meta: dict[str, Any] = {
            "column": column,
            "values": offered,
            "neighbour_values": _values_of(graph, column, graph.neighbours(root)[:MOST_VALUES].tolist()),
            "text": text_of(graph, root, level, offered),
        }
        if level["encoding"] == "short":
            told, shown = _told(graph, root, column, offered, level, self.words, rng)
            meta["drawing"] = star(graph, root, shown)
        else:
            told, meta["drawing"] = _network(Rooted(graph, root), column, offered, level, rng)
        asked = f"{told}\n{self.words[2].format(question.plain(column, 40))}"
        if level["answer"] == "value":  # the sentence on the answer's form names the options
            return Example((asked + "\n",), right, meta=meta)
        options = question.lettered([question.plain(value, 60) for value in offered])
        return Example((f"{asked}\n{options}",), question.LETTERS[offered.index(right)], meta=meta)


def text_of(graph: Graph, node: int, level: Mapping[str, Any], hidden: Sequence[str] = ()) -> str:
    """A node's text as it is shown, the `hidden` values masked; "" where it has none."""
    if level["text"] not in graph.columns:
        return ""
    text = values.known(graph.value(level["text"], node))
    if text is None:
        return ""
    shown = question.plain(text, level["text_chars"])
    return values.masked(shown, hidden) if hidden and level["mask"] else shown


def _check_evidence(graph: Graph, root: int, level: Mapping[str, Any]) -> tuple[str, bool]:
    """What a node needs to be asked about: something in this column ("": no), and neighbours.

    Nothing else may make a question unusable, else the values would not be as common as `values.shares` counts them.

    Raises:
        Unusable: this one has it not.
    """
    told = level["neighbour_labels"] and not (level["own_text"] and level["encoding"] == "short")
    if level["text"] not in graph.columns and not told:
        raise question.no_column(graph, level["text"], "text")
    needs_text = level["text"] if level["own_text"] and level["text"] in graph.columns else ""
    if needs_text and values.known(graph.value(needs_text, root)) is None:
        raise Unusable(f"the node has no {needs_text}")
    if not level["own_text"] and graph.degree(root) == 0:
        raise Unusable("the node has no neighbours")
    return needs_text, not level["own_text"]


def _told(
    graph: Graph,
    root: int,
    column: str,
    offered: Sequence[str],
    level: Mapping[str, Any],
    words: tuple[str, str, str],
    rng: np.random.Generator,
) -> tuple[str, list[int]]:
    """The evidence in a few lines, and the neighbours shown."""
    own = text_of(graph, root, level, offered)
    with_values = column if level["neighbour_labels"] else ""
    notes = neighbour_notes(graph, root, level, rng, hidden=offered, column=with_values)
    lines = [f"{words[0]}: {own}"] if level["own_text"] else []
    if level["neighbours"]:
        lines.append(f"{words[1]}: {'; '.join(note for _, note in notes) or 'none'}")
    return "\n".join(lines), [node for node, _ in notes]


def neighbour_notes(
    graph: Graph,
    root: int,
    level: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    hidden: Sequence[str] = (),
    column: str = "",
    without: Sequence[int] = (),
) -> list[tuple[int, str]]:
    """Some neighbours and what is shown of each: its text, and its value of `column` where one is named.

    In random order; none with the root's own text, no text twice unless values are shown.
    """
    row = graph.neighbours(root)
    own = text_of(graph, root, level, hidden)
    found: list[tuple[int, str]] = []
    for at in rng.permutation(len(row)).tolist() if len(row) <= 4096 else rng.integers(len(row), size=256).tolist():
        if len(found) >= level["neighbours"]:
            break
        node = int(row[at])
        text = text_of(graph, node, level, hidden)
        value = values.known(graph.value(column, node)) if column else None
        note = " ".join(part for part in (f"[{question.plain(value, 60)}]" if value else "", text) if part)
        twin = bool(text) and (text == own or (not column and any(note == other for _, other in found)))
        if note and not twin and node not in without and all(node != other for other, _ in found):
            found.append((node, note))
    return found


def _network(
    item: Rooted, column: str, offered: Sequence[str], level: Mapping[str, Any], rng: np.random.Generator
) -> tuple[str, dict[str, Any]]:
    """The evidence as an ego network with a note at every node, and its drawing."""
    place = question.find_place(item, level, rng, least=2)
    assert place.root is not None
    notes = []
    for node in range(place.graph.num_nodes):
        value = values.known(place.graph.value(column, node)) if level["neighbour_labels"] else None
        told = "?" if node == place.root else question.plain(value, 60) if value else ""
        text = text_of(place.graph, node, level, offered) if node != place.root or level["own_text"] else ""
        notes.append(" ".join(part for part in (told, text) if part))
    text = place.write(place.graph, rng, texts=notes)
    asked = f"{text}\nThe {question.plain(column, 40)} of {place.names[place.root]} is hidden."
    return asked, question.drawing(place, place.graph, hidden_nodes=[place.root], root=place.root)


def _values_of(graph: Graph, column: str, nodes: Sequence[int]) -> list[str]:
    return [value for node in nodes if (value := values.known(graph.value(column, node))) is not None]


def star(graph: Graph, root: int, shown: Sequence[int], hidden: int | None = None) -> dict[str, Any]:
    """The drawing of a node and the neighbours shown; `hidden` is one more, by a hidden edge."""
    nodes = [root, *shown, *([] if hidden is None else [hidden])]
    names = [question.plain(graph.name(node), 40) for node in nodes]
    if len(set(names)) < len(names):
        names = [str(node) for node in nodes]
    return {
        "nodes": names,
        "edges": [[names[0], other] for other in names[1 : 1 + len(shown)]],
        "directed": graph.directed,
        "hidden_edges": [] if hidden is None else [[names[0], names[-1]]],
        "hidden_nodes": names[:1] if hidden is None else [],
        "root": names[0],
    }


def _ask_text(graph: Graph, root: int, level: Mapping[str, Any], word: str, rng: np.random.Generator) -> Example:
    """Which text belongs to the node. Options are nodes drawn alike, of different texts, none shown as a neighbour."""
    if level["text"] not in graph.columns:
        raise question.no_column(graph, level["text"], "text")
    right = text_of(graph, root, level)
    if not right:
        raise Unusable(f"the node has no {level['text']}")
    column = question.label_column(graph, level["column"]) if level["distractors"] == "same" else ""
    label = graph.value(column, root) if column else None
    notes = neighbour_notes(graph, root, level, rng)
    if not notes:
        raise Unusable("no neighbour has anything to show")
    near = {root, *graph.neighbours(root).tolist()}
    shown = [node for node, _ in notes]
    texts = [right]
    for node in rng.integers(graph.num_nodes, size=64 * level["options"]).tolist():
        if len(texts) == level["options"]:
            break
        text = text_of(graph, node, level)
        fits = node not in near and (not column or graph.value(column, node) == label)
        fits = fits and not all(graph.has_edge(node, other) for other in shown)  # its text would be as right
        if fits and text and text not in texts and all(text != note for _, note in notes):
            texts.append(text)
    if len(texts) < level["options"]:
        raise Unusable("too few nodes with other texts")
    texts = question.shuffled(texts, rng)
    told = f"{word}: {'; '.join(note for _, note in notes)}\nWhich text is the node's?"
    meta = {"drawing": star(graph, root, shown)}
    prompt = f"{told}\n{question.lettered(texts)}"
    return Example((prompt,), question.LETTERS[texts.index(right)], meta=meta)
