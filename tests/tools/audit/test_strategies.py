"""What rules earn that understand nothing, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssl4rl import Box, Choice, EdgeSet, Example, Key, NodeSet
from ssl4rl.core.verify import Path
from ssl4rl.tools.audit import options
from ssl4rl.tools.audit.audit import cues_at
from ssl4rl.tools.audit.strategies import dealt, measure, surface

LETTERS = Choice("ABCD")
PAIRS = Example(("Edges: 1-2 1-3 4-5.\nWhich?\nA: 1-2\nB: 1-3\nC: 1-5\nD: 4-6",), "D")


def test_the_option_that_shares_least_with_the_others() -> None:
    found = surface(LETTERS, PAIRS, frozenset({"Edges", "Which"}))
    assert found["least overlap"] == ["D"]
    assert set(found["most overlap"]) == {"A", "B", "C"}
    assert (found["first option"], found["last option"]) == (["A"], ["D"])
    assert found["first by order"] == ["A"]
    assert found["last by order"] == ["D"]
    assert set(found["longest"]) == {*"ABCD"}


def test_mentions_of_options() -> None:
    text = "Edges: 1-2 1-3 1-4 2-3.\nWhich?\nA: 2\nB: 1\nC: 4\nD: 3"
    found = surface(LETTERS, Example((text,), "A"), frozenset({"Edges", "Which"}))
    assert found["most mentioned"] == ["B"]
    assert found["least mentioned"] == ["C"]
    assert found["first mentioned"] == ["B"]
    assert found["last mentioned"] == ["D"]


def test_naming_all_and_the_hub() -> None:
    meta = {"nodes": ["1", "2", "3", "4"]}
    found = surface(NodeSet(), Example(("1-2 1-3 1-4 2-3 Who?",), ["2"], meta=meta), frozenset())
    assert found["all"] == [["1", "2", "3", "4"]]
    assert found["most mentioned, 1"] == [["1"]]
    told = surface(NodeSet(), Example(("1-2 1-3 1-4 2-3 Who?",), ["2"], meta=meta | {"count": 1}), frozenset())
    assert "all" not in told
    assert told["most mentioned"] == [["1"]]
    way = Example(("1-2 1-3 1-4 2-3 From 2 to 4?",), ["2", "1", "4"], meta=meta | {"edges": [], "paths": 1})
    assert surface(Path(), way, frozenset())["hub, 1 between"] == [["2", "1", "4"]]


def test_naming_all_pairs() -> None:
    meta = {"nodes": ["2", "1", "3"]}
    found = surface(EdgeSet(), Example(("1-2",), [["1", "3"], ["2", "3"]], meta=meta), frozenset())
    assert found == {"all": [[["1", "2"], ["1", "3"], ["2", "3"]]]}


def asked(answers: str) -> list[Example]:
    return [Example(("Which?",), a, Key("t@1", "l", 0, i, 0, (str(i),))) for i, a in enumerate(answers)]


def test_the_constant_is_chosen_on_one_half_and_tried_on_the_other() -> None:
    (found,) = measure(LETTERS, asked("AABB" * 5 + "AAAA" * 15))
    assert (found.strategy, found.n, found.expected) == ("constant A", 80, 0.25)
    assert found.reward == pytest.approx(70 / 80)
    assert found.p < 1e-9
    assert found.guess().family == "answer frequency"


def test_a_box_in_the_middle_is_a_constant() -> None:
    boxes = [[30, 30, 70, 70]] * 10
    examples = [Example(("Where?",), b, Key("t@1", "l", 0, i, 0, (str(i),))) for i, b in enumerate(boxes)]
    (found,) = measure(Box(), examples)
    assert found.reward == 1


def test_dealt_answers_are_the_same_ones() -> None:
    examples = asked("ABCD" * 6)
    again = dealt(LETTERS, examples, np.random.default_rng(0))
    assert sorted(e.answer for e in again) == sorted(e.answer for e in examples)
    assert [e.answer for e in again] != [e.answer for e in examples]


def test_overlap_by_hand() -> None:
    one, two, three = options.overlap([frozenset("ab"), frozenset("bc"), frozenset("xy")])
    assert one["mean share"] == pytest.approx(1 / 6)  # of a, b, c they share b; with x, y nothing
    assert one == {**two}
    assert three == {
        "mean share": 0, "largest share": 0, "least share": 0, "words of its own": 1, "duplicates": 0,
    }  # fmt: skip


def test_pictures_among_themselves() -> None:
    pictures = [Image.new("RGB", (16, 16), (grey,) * 3) for grey in (100, 110, 110, 200)]
    apart = options.picture_distances(pictures)
    assert apart[0].tolist() == pytest.approx([0, 10, 10, 100])
    assert [row["duplicates"] for row in options.picture_likeness(pictures)] == [0, 1, 1, 0]


def test_cues_may_hold_at_one_level() -> None:
    cues = {"mentions[hard]": "degrees", "words": "all"}
    assert cues_at(cues, "hard,nodes=12") == {"words": "all", "mentions": "degrees"}
    assert cues_at(cues, "tiny") == {"words": "all"}
