"""node_classification, link_prediction, and the baselines that stand beside them."""

from __future__ import annotations

import pytest

from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.graph import baselines
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks.link_prediction import LinkPrediction
from ssl4rl.graph.tasks.node_classification import NodeClassification
from tests.graph.helpers import makes, options, texts_graph

GRAPH = texts_graph(3)


def voted(neighbours: list[str], answer: str) -> Example:
    return Example((), answer, meta={"values": ["x", "y", "z"], "neighbour_values": neighbours})


def test_majority_vote_by_hand() -> None:
    """Right; wrong; undecided between x and y, so 1/2; no votes, so 1/3; votes for what is not offered, so 1/3."""
    examples = [
        voted(["x", "x", "y"], "A"),
        voted(["x", "x", "y"], "B"),
        voted(["x", "y"], "A"),
        voted([], "C"),
        voted(["w", "w"], "B"),
    ]
    found = baselines.majority_vote(examples)
    assert found.accuracy == pytest.approx((1 + 0 + 1 / 2 + 1 / 3 + 1 / 3) / 5)
    assert (found.n, found.chance) == (5, pytest.approx(1 / 3))
    assert found.ci95[0] < found.accuracy < found.ci95[1]
    assert baselines.majority_vote(examples, 1).accuracy == 1
    assert baselines.majority_vote([voted(["y"], "y")]).accuracy == 1  # answers that are values


def test_baselines_of_links_by_hand() -> None:
    example = Example(
        (),
        "B",
        meta={"text": "a red fox", "option_texts": ["the Fox", "red fox", "a cat"], "common_neighbours": [0, 2, 2]},
    )
    assert baselines.common_neighbours([example]).accuracy == 1 / 2
    assert baselines.alike_words([example]).accuracy == 1


def test_words_alone_learns_words() -> None:
    def asked(text: str, answer: str) -> Example:
        return Example((), answer, meta={"values": ["cat", "dog"], "neighbour_values": [], "text": text})

    train = [asked("it purrs", "A"), asked("it barks", "B"), asked("purrs softly", "A"), asked("barks loudly", "B")]
    found = baselines.words_alone(train, [asked("softly purrs", "A"), asked("barks", "B"), asked("nothing", "A")])
    assert found.accuracy == pytest.approx(2.5 / 3)


def test_a_baseline_says_what_it_misses() -> None:
    with pytest.raises(Ssl4rlError, match="reads 'neighbour_values', which examples of this task do not carry"):
        baselines.majority_vote([Example((), "A")])
    with pytest.raises(Ssl4rlError, match="at least one example"):
        baselines.common_neighbours([])


def test_node_classification_asks_in_its_own_words() -> None:
    for index, example in makes(NodeClassification(), "labels", [[Rooted(GRAPH, node)] for node in range(80)]):
        first, second, third, *_ = example.text().split("\n")
        assert first == f"Text: {GRAPH.value('text', index)}"
        assert second.startswith("Linked with: [") == bool(GRAPH.degree(index))
        assert third == "Of which section is it?"
        assert options(example)[example.answer] == (GRAPH.value("section", index),)


def test_the_vote_reads_the_graph_and_not_the_answer() -> None:
    made = [e for _, e in makes(NodeClassification(), "text", [[Rooted(GRAPH, node)] for node in range(300)])]
    found = baselines.majority_vote(made)
    assert found.accuracy > 0.6
    assert found.chance == 0.25


def test_link_prediction_hides_one_neighbour_and_offers_no_other() -> None:
    by_text = {text: node for node, text in enumerate(GRAPH.columns["text"])}
    near = 0
    for level in ("any", "near"):
        for root, example in makes(LinkPrediction(), level, [[Rooted(GRAPH, node)] for node in range(60)]):
            nodes = {letter: by_text[text] for letter, text in zip("ABCD", example.meta["option_texts"], strict=True)}
            assert [letter for letter, node in nodes.items() if GRAPH.has_edge(root, node)] == [example.answer]
            told = example.text().split("With which")[0]
            assert not any(f"{GRAPH.value('text', node)};" in told for node in nodes.values())
            expected = [
                len({*GRAPH.neighbours(root).tolist()} & {*GRAPH.neighbours(node).tolist()}) for node in nodes.values()
            ]
            assert example.meta["common_neighbours"] == expected
            near += level == "near"
            if level == "near":
                wrong = [common for letter, common in zip("ABCD", expected, strict=True) if letter != example.answer]
                assert min(wrong) >= 1
    assert near > 10


def test_directed_links_are_successors() -> None:
    graph = Graph.from_edges(
        40,
        list(range(40)) * 2,
        [(u + 1) % 40 for u in range(40)] + [(u + 7) % 40 for u in range(40)],
        directed=True,
        columns={"text": [f"node number {i}" for i in range(40)]},
    )
    for root, example in makes(LinkPrediction(), "any", [[Rooted(graph, node)] for node in range(20)]):
        linked = int(options(example)[example.answer][0].split()[-1])
        assert linked in ((root + 1) % 40, (root + 7) % 40)
