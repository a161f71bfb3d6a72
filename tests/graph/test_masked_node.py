from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.graph import values
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.tasks.masked_node import MaskedNode
from tests.graph.helpers import makes, options

TASK = MaskedNode()
# b is the middle of a star; c carries b's own text.
STAR = Graph.from_edges(
    4,
    [1, 1, 1],
    [0, 2, 3],
    names=["a", "b", "c", "d"],
    columns={"text": ["a web server", "a Net tool", "a Net tool", "fonts"], "section": ["net", "net", "libs", "libs"]},
)

LONELY = Graph.from_edges(2, [], [], columns={"text": ["x", "y"], "label": ["x", "y"]})


def lines(level: str, node: int) -> list[str]:
    example = next(example for _, example in makes(TASK, level, [[Rooted(STAR, node)]] * 60))
    return example.text().split("\n")


def test_the_short_form_by_lines() -> None:
    node, neighbours, *rest = lines("text,options=2", 1)
    assert node == "Node: a ___ tool"
    assert neighbours in ("Neighbours: a web server; fonts", "Neighbours: fonts; a web server")  # no twin of b
    assert rest[0] == "Which section?"
    assert sorted(line[3:] for line in rest[1:]) == ["libs", "net"]


def test_neighbours_only_and_with_values() -> None:
    assert lines("neighbours,options=2", 0)[0] == "Neighbours: a ___ tool"
    assert lines("labels,options=2", 0)[0] == "Neighbours: [net] a ___ tool"
    assert lines("text,options=2,neighbours=0", 1)[:2] == ["Node: a ___ tool", "Which section?"]
    assert lines("text,options=2,mask=false,text_chars=8", 1)[0] == "Node: a Net"


def test_the_answer_is_the_nodes_value_and_meta_holds_the_neighbours() -> None:
    for node in range(4):
        for _, example in makes(TASK, "text,options=2,neighbours=1", [[Rooted(STAR, node)]] * 10):
            assert options(example)[example.answer] == (STAR.columns["section"][node],)
            expected = {0: ["net"], 1: ["net", "libs", "libs"], 2: ["net"], 3: ["net"]}[node]
            assert example.meta["neighbour_values"] == expected


def test_the_value_itself_can_be_the_answer() -> None:
    level = "text,options=2,values=net|libs,answer=value"
    example = next(example for _, example in makes(TASK, level, [[Rooted(STAR, 3)]] * 10))
    assert example.answer == "libs"
    verifier = TASK.verifier_for(TASK.level(level).params)
    assert verifier.score("<answer>libs</answer>", example).value == 1
    assert verifier.chance(example) == 1 / 2


def test_the_structure_shows_every_value_but_the_roots() -> None:
    for _, example in makes(TASK, "structure,names=own", [[Rooted(STAR, 1)]] * 10):
        text = example.text()
        assert 'b: "?"' in text
        assert 'a: "net"' in text
        assert 'd: "libs"' in text
        assert "The section of b is hidden.\nWhich section?" in text


@pytest.mark.parametrize(
    ("text", "offered", "expected"),
    [
        ("Internet tools for the NET", ["net"], "Internet tools for the ___"),
        ("net-tools, python3-net", ["net", "python"], "___-tools, ___3-___"),
        ("gnu-r and r", ["gnu-r", "r"], "___ and ___"),
        ("a+b (c++)", ["c++"], "a+b (___)"),
    ],
)
def test_masked_words(text: str, offered: list[str], expected: str) -> None:
    assert values.masked(text, offered) == expected


@pytest.mark.parametrize(
    ("shares", "options", "expected"),
    [
        ({"a": 0.5, "b": 0.5}, 2, {"a": 0.5, "b": 0.5}),
        ({"a": 0.9, "b": 0.1}, 2, {"a": 0.5, "b": 0.5}),
        ({"a": 0.5, "b": 0.2, "c": 0.2, "d": 0.1}, 2, {"a": 0.5, "b": 0.2, "c": 0.2, "d": 0.1}),
        ({"a": 0.6, "b": 0.2, "c": 0.1, "d": 0.1}, 2, {"a": 0.5, "b": 0.25, "c": 0.125, "d": 0.125}),
        (
            {"a": 0.5, "b": 0.2, "c": 0.2, "d": 0.05, "e": 0.05},
            4,
            {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.125, "e": 0.125},
        ),
    ],
)  # fmt: skip
def test_right_shares_by_hand(shares: dict[str, float], options: int, expected: dict[str, float]) -> None:
    found, raised = values.right_shares(shares, options)
    assert found == pytest.approx(expected)
    kept = {value: found[value] / (raised * share) for value, share in shares.items()}
    assert max(kept.values()) == pytest.approx(1)
    assert {value: share * kept[value] * raised for value, share in shares.items()} == pytest.approx(expected)


def test_shares_are_of_the_nodes_that_can_be_asked() -> None:
    graph = Graph.from_edges(
        5, [0, 1], [1, 2], columns={"label": ["x", "x", "y", None, float("nan")], "text": ["t", "", "t", "t", "t"]}
    )
    assert values.shares(graph, "label") == {"x": 2 / 3, "y": 1 / 3}
    assert values.shares(graph, "label", text="text") == {"x": 1 / 2, "y": 1 / 2}
    assert values.shares(graph, "label", "x|z") == {"x": 1.0}
    assert values.shares(graph, "label", neighbours=True) == {"x": 2 / 3, "y": 1 / 3}


def test_a_value_too_rare_to_be_counted_is_unusable() -> None:
    with pytest.raises(Unusable, match="'z' is too rare"):
        values.draw_options({"x": 0.5, "y": 0.5}, "z", 2, np.random.default_rng(0))


def without(column: str) -> Graph:
    return Graph(STAR.indptr, STAR.indices, columns={k: v for k, v in STAR.columns.items() if k != column})


def renamed(column: str, name: str) -> Graph:
    kept = without(column)
    return Graph(kept.indptr, kept.indices, columns={**kept.columns, name: STAR.columns[column]})


@pytest.mark.parametrize(
    ("graph", "node", "level", "why"),
    [
        (Graph.from_edges(0, [], []), None, "text", "empty"),
        (without("section"), 0, "text", "nodes carry none of label"),
        (STAR, 0, "text,column=colour", "no 'colour', but 'text', 'section'"),
        (without("text"), 0, "neighbours", "nodes carry no 'text', but 'section'; name the column, as in text=..."),
        (renamed("text", "txt"), 0, "neighbours", "no 'text', but 'section', 'txt'; did you mean text=txt"),
        (renamed("section", "lable"), 0, "text", "none of .*, but 'text', 'lable'; did you mean column=lable"),
        (STAR, 0, "text", "2 values where 4 options are asked for; options=2 asks for as many"),
        (STAR, 0, "text,options=2,values=libs|fonts", "not one of `values`"),
        (LONELY, 0, "neighbours,options=2", "no neighbours"),
        (STAR, 0, "describe", "too few nodes with other texts"),
    ],
)  # fmt: skip
def test_unusable(graph: Graph, node: int | None, level: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        TASK.make([Rooted(graph, node)], TASK.level(level).params, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("text,own_text=false,neighbours=0", "allowed: one of them at least"),
        ("text,ask=text", "allowed: own_text=false"),
        ("text,values=net", "values names 1 and options is 4"),
        ("text,answer=value", "values naming just the options"),
        ("text,encoding=jsn", "json"),
    ],
)
def test_bad_levels(level: str, message: str) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        TASK.level(level)


def test_a_prompt_in_full() -> None:
    params = TASK.level("labels,options=2,own_text=true,neighbours=1").params
    example = TASK.make([Rooted(STAR, 3)], params, keyed_rng(0))
    assert example.text() == "Node: fonts\nNeighbours: [net] a ___ tool\nWhich section?\nA: net\nB: libs"
    assert example.answer == "B"
