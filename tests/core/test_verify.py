"""What each verifier reads, refuses and gives; expectations are literal."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from ssl4rl import Angle, Box, Choice, EdgeSet, Example, Integer, NodeSet, Path, Permutation, Text, Verifier
from ssl4rl.core.types import VERDICTS, Media
from ssl4rl.core.verify import STYLES, Several, guessing, tagged
from ssl4rl.core.verify.several import join
from ssl4rl.tools.check.nasty import nasty_texts, within

QUADRANTS = Choice(("top left", "top right", "bottom left", "bottom right"))
GRAPH = {"nodes": ["a", "b", "C", "12"], "edges": [["a", "b"], ["b", "C"], ["a", "12"], ["12", "C"]], "paths": 2}
# (verifier, an example, an answer that is wrong)
CASES: dict[str, tuple[Verifier, Example, Any]] = {
    "letter": (Choice("ABCD"), Example((), "B"), "C"),
    "word": (QUADRANTS, Example((), "top left"), "top right"),
    "letter with its text": (Choice("AB"), Example(("Where?\nA: top right\nB: top left",), "B"), "A"),
    "two right letters": (Choice("ABCD"), Example((), "B", meta={"accepted": ["D"]}), "C"),
    "integer": (Integer(-3, 12), Example((), 5), 6),
    "angle": (Angle(90), Example((), 90), 270),
    "fine angle": (Angle(15, partial_deg=90), Example((), 345), 60),
    "permutation": (Permutation(4), Example((), [3, 1, 2, 4]), [1, 2, 3, 4]),
    "two right orders": (Permutation(4), Example((), [3, 1, 2, 4], meta={"accepted": [[3, 1, 4, 2]]}), [1, 2, 3, 4]),
    "long permutation": (Permutation(16), Example((), list(range(1, 17))), list(range(16, 0, -1))),
    "box": (Box(0.5), Example((), [10, 10, 60, 60]), [70, 70, 90, 90]),
    "strict box": (Box(), Example((), [10, 10, 60, 60]), [70, 70, 90, 90]),
    "square": (Box(sides=(32, 44)), Example((), [20, 30, 58, 68]), [70, 70, 90, 90]),
    "text": (Text(), Example((), "Graph theory"), "Set theory"),
    "candidates": (Text(), Example((), "cat", meta={"candidates": ["cat", "dog", "cow"]}), "dog"),
    "nodes": (NodeSet(), Example((), ["C", "a"], meta=GRAPH), ["b"]),
    "edges": (EdgeSet(), Example((), [["a", "b"], ["C", "b"]], meta=GRAPH), [["a", "C"]]),
    "directed edges": (EdgeSet(directed=True), Example((), [["b", "a"]], meta=GRAPH), [["a", "b"]]),
    "path": (Path(), Example((), ["a", "b", "C"], meta=GRAPH), ["a", "C"]),
    "three angles": (Several(Angle(90), 3), join([Example((), angle) for angle in (270, 0, 90)]), [90, 0, 180]),
    "two lists": (
        Several(NodeSet(), 2),
        join([Example((), nodes, meta=GRAPH) for nodes in (["b", "C"], ["a"])]),
        [["a"], ["b"]],
    ),
}


def verdict(case: str, inside: str) -> str:
    verifier, example, _ = CASES[case]
    return verifier.score(f"<think>So.</think> <answer>{inside}</answer>", example).verdict


# replies that public reports show and that were unread once
REPORTED = {
    "letter": [
        r"$\boxed{B}$",
        r"\text{B}",
        r"\boxed{B}",
        "Option B",
        "“B”",
        "‘B’",
        "「B」",
        "The answer is B.",
        "**Answer:** B",
    ],
    "letter with its text": ["B. top left", "B: top left", "**B**. Top-left", "(B) top left", "Option B: top left"],
    "word": ["top left corner", "the top left corner", "Top-left corner."],
    "integer": ["5 hops", "5 triangles", r"\boxed{5}", "5。", "<b>5</b>", "```\n5\n```", "Answer: 5"],
    "angle": [
        *(
            r"\boxed{90}",
            r"90^\circ",
            r"$90^{\circ}$",
            "\u2212270",
            "90\u00ba",
            "90\u00a0degrees",
            "\u200b90",
            r"\(90\)",
        ),
        "90 degrees, counter-clockwise",
    ],
    "permutation": ["3\u30011\u30012\u30014", "[[3,1],[2,4]]", "- 3\n- 1\n- 2\n- 4"],
    "box": [
        *("10.0, 10.0, 60.0, 60.0", "[[10,10],[60,60]]", "(10, 10), (60, 60)", '{"bbox_2d": [10, 10, 60, 60]}'),
        '```json\n[{"bbox_2d": [10, 10, 60, 60], "label": "piece"}]\n```',
    ],
    "nodes": ["a and C", "**a**, **C**", "- a\n- C", "`a` and `C`", "1. a\n2. C"],
    "edges": ["a–b, b–C", "- a-b\n- b-C", "**a-b**, **b-C**", "a-b and b-C"],
    "directed edges": ["b-&gt;a", "a <- b", r"b \to a"],
    "path": ["a – b – C", "- a\n- b\n- C", "**a** → **b** → **C**", "a, b and C"],
    "three angles": ["90°\n0°\n\u221290°", "**90**; **0**; **270**", "- 90\n- 0\n- 270"],
}
TOLERANT = {
    "letter": ["B", "b", "(B)", "B.", " B\n", "[B]", "**B**", "Ｂ", '"B"', "B)"],
    "word": ["top left", "Top left", "Top-left", "TOP_LEFT", "top  left.", "'top left'", "top\nleft"],
    "two right letters": ["B", "d"],
    "integer": ["5", "+5", "05", "5.0", "5.", "(5)", "５", "٥", "**5**"],
    "angle": [
        *("90", "90°", "90 °", "90 degrees", "90 deg", "90deg.", "90.0", "９０", "-270", "450", "(90)", "**90°**"),
        "$90$",
    ],
    "fine angle": ["345", "-15", "15 clockwise", "15° cw", "345 degrees counter-clockwise", "345 counterclockwise"],
    "permutation": [
        *("3,1,2,4", "3, 1, 2, 4", "3 1 2 4", "[3, 1, 2, 4]", "(3,1,2,4).", "3124", "3->1->2->4"),
        "3 → 1 → 2 → 4",
    ],
    "two right orders": ["3,1,4,2", "3,1,2,4"],
    "long permutation": ["1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"],
    "box": ["10,10,60,60", "[10, 10, 60, 60]", "10%, 10%, 60%, 60%", "12,12,62,62"],
    "text": ["Graph theory", "graph  THEORY.", "graph-theory", '"Graph theory"'],
    "candidates": ["cat", "Cat."],
    "nodes": ["C, a", "a, c", "a,C,a", "[A; C]", "a\nC", '"a", "C"'],
    "edges": ["a-b, b-C", "(b, a), (C, b)", "A--B; b→c", "a - b\nC - b"],
    "directed edges": ["b->a", "(b, a)", "B → A"],
    "path": ["a, b, C", "a->b->c", "a → 12 → C", "[a, b, C]"],
    "three angles": ["90;0;270", "90°; 0; -90", "90\n0\n270 degrees", "90; 0; 270;"],
    "two lists": ["a; b, C", "A\nc, b"],
}
REFUSED = {
    "letter": ["", "E", "A B", "B or C", "not B", "BB", "it is B", "!B", "B?", "1", "-", "A" + " " * 5000 + "B"],
    "word": ["left", "top", "top left or top right", "topleft corner", "top left top right"],
    "letter with its text": [
        "B: top right",
        "A: top left",
        "top left",
        "B. top left or A",
        "A. top right, B. top left",
    ],
    "two right letters": ["B, D"],
    "integer": [
        "5^2",
        "5²",
        "5₂",
        "5 dozen",
        "5 or 6 hops",
        "4 to 5",
        "no 5",
        "~5",
        "5!",
        "",
        ".5",
        "5.5",
        "13",
        "-4",
        "five",
        "5 6",
        "5e0",
        "4-5",
        "9" * 5000,
    ],
    "angle": [
        "- 90",
        "9⁰",
        "9**0",
        "90°C",
        "90 (or 180)",
        "~~90~~",
        "clockwise 90 ccw",
        "",
        "45",
        "90 or 270",
        "about 90",
        "90 90",
        "ninety",
        "90%",
        "°",
        "90 clockwise counterclockwise",
    ],
    "fine angle": ["344", "1/2"],
    "permutation": [
        "1,1,1,1",
        "3,1,2",
        "3,1,2,4,4",
        "0,1,2,3",
        "3,1,2,5",
        "31,24",
        "3,1,2,4 or 1,2,3,4",
        "3,,1,2,4",
        "",
    ],
    "two right orders": ["3,1,4,2 3,1,2,4"],
    "long permutation": ["12345678910111213141516"],
    "box": [
        '{"bbox_2d": [0,0,9,9], "bbox_2d": [10,10,60,60]}',
        '[{"bbox_2d": [10,10,60,60]}, {"bbox_2d": [0,0,9,9]}]',
        ".5,10,60,60",
        "10,10,60",
        "60,10,10,60",
        "10,10,10,60",
        "0,0,101,100",
        "10,10,60,60,70",
        "a,b,c,d",
        "",
    ],
    "text": ["", "...", "  "],
    "candidates": ["bird", "cat, dog", "ca"],
    "nodes": ["a–C", "a to C", "not a", "all but b", "a, C or b", "", "x", "a, x", "a b", "all"],
    "edges": [
        "not (a, b), (b, C)",
        "(a, b), (b, C) or (a, 12)",
        "a, b",
        "a-b or b-C",
        "",
        "a",
        "a-x",
        "a-b-C",
        "(a)",
        "a b",
    ],
    "directed edges": ["a and b", "b<->a", "ba", "b->a->b", ""],
    "path": ["", "a, x, C", "abC"],
    "three angles": ["1. 90\n2. 0\n3. 270", "", "90", "90;0", "90;0;270;0", "90;0;45", "90,0,270", "90;;270", ";;"],
    "two lists": ["a", "a; x", "a; b; C"],
}


@pytest.mark.parametrize(
    ("case", "inside"),
    [(case, text) for told in (TOLERANT, REPORTED) for case, texts in told.items() for text in texts],
)
def test_plain_meaning_is_read(case: str, inside: str) -> None:
    assert verdict(case, inside) == "correct"


@pytest.mark.parametrize(("case", "inside"), [(case, text) for case, texts in REFUSED.items() for text in texts])
def test_what_has_no_plain_meaning_is_unparsed(case: str, inside: str) -> None:
    assert verdict(case, inside) == "unparsed"


@pytest.mark.parametrize("case", CASES)
def test_right_is_correct_and_wrong_is_less(case: str) -> None:
    verifier, example, wrong = CASES[case]
    for style in STYLES:
        for answer in example.accepted:
            score = verifier.score(verifier.complete(answer, style), example, style=style)
            assert (score.value, score.verdict, score.parts) == (1.0, "correct", {"accuracy": 1.0, "format": 1.0})
        score = verifier.score(verifier.complete(wrong, style), example, style=style)
        assert score.verdict in ("wrong", "partial")
        assert score.value < 1
        assert score.parts["format"] == 1


@pytest.mark.parametrize("case", CASES)
def test_the_instruction_is_one_sentence_that_the_prompt_ends_with(case: str) -> None:
    verifier, _, _ = CASES[case]
    assert (
        verifier.ask("answer") == f"{verifier.instruction} Reply with nothing but the answer inside <answer> </answer>."
    )
    assert verifier.instruction.endswith(".")
    assert "<" not in verifier.instruction.replace("->", "")


def test_instructions() -> None:
    assert Choice("ABC").instruction == "Answer with one letter: A, B or C."
    assert QUADRANTS.instruction == "Answer with one of these: top left, top right, bottom left or bottom right."
    assert Angle(180).instruction == "Answer in degrees: 0 or 180."
    assert Angle(15).instruction == "Answer in degrees: a multiple of 15 from 0 to 345."
    assert (
        Permutation(3).instruction
        == "Answer with the numbers 1 to 3, each once, separated by commas, for example 3,2,1."
    )


B = Choice("ABCD")
RIGHT = Example((), "B")


@pytest.mark.parametrize(
    ("reply", "style", "expected"),
    [
        ("<think>x</think><answer>B</answer>", "think", ("correct", 1.0)),
        ("<think>x</think>\n\n<answer>B</answer>\n", "think", ("correct", 1.0)),
        ("<answer>B</answer>", "think", ("correct", 0.0)),
        ("<think>x</think><answer>B</answer>", "answer", ("correct", 0.0)),
        ("<answer>B</answer>", "answer", ("correct", 1.0)),
        ("<answer>B</answer>", None, ("correct", 1.0)),
        ("<think>x</think><answer>B</answer>", None, ("correct", 1.0)),
        ("It is <answer>B</answer>", "answer", ("correct", 0.0)),
        ("<think>x</think><answer>B</answer> because", "think", ("correct", 0.0)),
        ("<think>x</think></think><answer>B</answer>", "think", ("correct", 0.0)),
        ("x</think><answer>B</answer>", "think", ("correct", 0.0)),
        ("<think>A? <answer>A</answer> no</think><answer>B</answer>", "think", ("correct", 1.0)),
        ("<answer>B</answer><answer>b.</answer>", "answer", ("correct", 0.0)),
        ("<answer>B</answer><answer>C</answer>", "answer", ("unparsed", 0.0)),
        ("<answer>B</answer><answer></answer>", "answer", ("unparsed", 0.0)),
        ("<answer>E</answer>", "answer", ("unparsed", 0.0)),
        ("<think><answer>B</answer></think>", "think", ("unparsed", 0.0)),
        ("<answer><answer>B</answer></answer>", "answer", ("unparsed", 0.0)),
        ("<answer>B", "answer", ("correct", 0.0)),
        ("<answer>B<|im_end|>", "answer", ("correct", 0.0)),
        ("<answer>B</answer><|im_end|>\n", "answer", ("correct", 1.0)),
        ("<think>if a &lt; b</think><answer>B</answer></s>", "think", ("correct", 1.0)),
        ("<think></think><answer>B</answer>", "answer", ("correct", 1.0)),
        ("<think>\n\n</think>\n\n<answer>B</answer>", "answer", ("correct", 1.0)),
        ("<answer>B</answer><think></think>", "think", ("correct", 0.0)),
        ("<answer>B</answer><think>\n</think>", "answer", ("correct", 0.0)),
        ("<ANSWER>B</ANSWER>", "answer", ("correct", 0.0)),
        ("< answer >B</ answer >", "answer", ("correct", 0.0)),
        ('<answer type="final">B</answer>', "answer", ("correct", 0.0)),
        ("&lt;answer&gt;B&lt;/answer&gt;", "answer", ("correct", 0.0)),
        ("<think>maybe <answer>B</answer>, but", "think", ("unparsed", 0.0)),
        ("<THINK >maybe <answer>B</answer>", "think", ("unparsed", 0.0)),
        ("<think>x</think><think>y <answer>B</answer>", "think", ("unparsed", 0.0)),
        ("<answer>B</answer> no</think>", "think", ("unparsed", 0.0)),
        ("<answer>B</answer>" * 16, "answer", ("correct", 0.0)),
        ("<answer>B</answer>" * 17, "answer", ("unparsed", 0.0)),
        ("B</answer>", "answer", ("unparsed", 0.0)),
        ("B", "answer", ("unparsed", 0.0)),
        ("", "answer", ("unparsed", 0.0)),
        ("<answer>C</answer>", "answer", ("wrong", 1.0)),
    ],
)
def test_tags(reply: str, style: Any, expected: tuple[str, float]) -> None:
    score = B.score(reply, RIGHT, style=style)
    assert (score.verdict, score.parts["format"]) == expected


def test_truncated_is_a_verdict_only_without_an_answer() -> None:
    assert B.score("<think>so", RIGHT, truncated=True).verdict == "truncated"
    assert B.score("<answer>B</answer> and", RIGHT, truncated=True).verdict == "correct"
    assert B.score("<answer>B", RIGHT, truncated=True).verdict == "truncated"
    assert B.score("<answer>B</answer><answer>", RIGHT, truncated=True).verdict == "truncated"
    assert B.score("<think>maybe <answer>B</answer>, but", RIGHT, truncated=True).verdict == "truncated"


def test_partial_credit() -> None:
    def value(case: str, inside: str) -> float:
        return CASES[case][0].score(tagged(inside), CASES[case][1]).value

    assert value("permutation", "3,1,4,2") == 0.5
    assert value("permutation", "1,3,4,2") == 0
    assert value("two right orders", "1,3,4,2") == 0.5
    assert value("fine angle", "0") == pytest.approx(0.5 * (1 - 15 / 90))
    assert value("fine angle", "75") == 0
    assert value("angle", "0") == 0
    assert value("box", "10,10,60,30") == 0  # IoU 0.4
    assert value("box", "10,10,60,40") == 1
    assert value("strict box", "10,10,60,30") == 0
    assert value("strict box", "10,10,60,40") == pytest.approx(0.2)  # IoU 0.6, of what lies above 0.5
    assert value("strict box", "10,10,60,50") == 1  # IoU 0.8
    assert value("nodes", "a, b") == 0  # F1 1/2, naming all has 2/3
    assert value("nodes", "a") == 0
    assert value("nodes", "a, b, C") == pytest.approx(0.4)  # (4/5 - 2/3) / (1 - 2/3)
    assert value("nodes", "a, b, C, 12") == 0
    assert value("edges", "a-b") == pytest.approx(1 / 3)  # (2/3 - 1/2) / (1 - 1/2)
    assert value("edges", "a-b, a-C, a-12, b-C, b-12, C-12") == 0
    assert value("path", "a, 12, C") == 1
    assert value("path", "C, b, a") == 0
    assert value("path", "a, a, C") == 0
    assert value("three angles", "90;0;180") == 0


@pytest.mark.parametrize(
    ("case", "chance", "expected"),
    [
        ("letter", 1 / 4, 1 / 4),
        ("two right letters", 1 / 2, 1 / 2),
        ("integer", 1 / 16, 1 / 16),
        ("angle", 1 / 4, 1 / 4),
        ("fine angle", 1 / 24, (1 + 2 * sum(0.5 * (1 - d / 90) for d in range(15, 90, 15))) / 24),
        ("permutation", 1 / 24, 1 / 4),
        ("two right orders", 1 / 12, None),
        ("text", 0.0, 0.0),
        ("candidates", 1 / 3, 1 / 3),
        ("nodes", 1 / 6, 1 / 5),  # three at random: both in half of them, 2/5 each
        ("edges", 1 / 15, 2 / 15),  # four of six: both in 6 of 15, 1/3 each
        ("directed edges", 1 / 12, 9 / 88),  # three of twelve: in a quarter, (1/2 - 2/13) / (11/13) each
        ("path", 1.0, 1.0),
        ("three angles", 1 / 64, 1 / 64),
        ("two lists", 1 / 4 / 6, 1 / 4 / 6),
    ],
)
def test_chance_in_closed_form(case: str, chance: float, expected: float | None) -> None:
    verifier, example, _ = CASES[case]
    assert verifier.chance(example) == pytest.approx(chance)
    if expected is not None:
        assert verifier.expected(example) == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_chance_agrees_with_a_random_answerer(case: str) -> None:
    verifier, example, _ = CASES[case]
    rng = np.random.default_rng(1)
    scores = [
        verifier.score(tagged(verifier.render(verifier.random_answer(example, rng))), example) for _ in range(2000)
    ]
    right = float(np.mean([score.verdict == "correct" for score in scores]))
    chance, expected = verifier.chance(example), verifier.expected(example)
    assert abs(right - chance) <= 4.5 * (2 * chance * (1 - chance) / 2000) ** 0.5 + 0.001
    values = np.array([score.value for score in scores])
    guesses = np.array([verifier.grade(verifier.best_guess(example, rng), example) for _ in range(2000)])
    assert abs(guesses.mean() - expected) <= 4.5 * (2 * guesses.var() / 2000) ** 0.5 + 0.001
    assert values.mean() - expected <= 4.5 * (2 * values.var() / 2000) ** 0.5 + 0.001


def test_no_number_of_names_said_at_random_earns_more_than_expected() -> None:
    for right, among in ((1, 2), (1, 9), (3, 9), (6, 9), (8, 9), (2, 15), (10, 15), (5, 200), (150, 200)):
        size, mean = guessing.best_size(right, among)
        means = {
            said: float(
                sum(
                    hypergeom.pmf(shared, among, right, said) * guessing.credit(shared, said, right, among, False)
                    for shared in range(right + 1)
                )
            )
            for said in range(1, among + 1)
        }
        assert means[among] == pytest.approx(0, abs=1e-9)
        assert means[size] == pytest.approx(mean)
        assert max(means.values()) == pytest.approx(mean)
    assert guessing.best_size(4, 4) == (4, 1.0)
    assert guessing.credit(4, 4, 4, 4, False) == 1
    assert guessing.credit(1, 2, 2, 4, True) == 0.5


def test_of_several_right_sets_a_guess_earns_the_best() -> None:
    example = Example((), ["a", "b"], meta={**GRAPH, "accepted": [["C", "12"]]})
    verifier, rng = NodeSet(), np.random.default_rng(0)
    guesses = [verifier.grade(verifier.best_guess(example, rng), example) for _ in range(2000)]
    assert verifier.expected(example) == pytest.approx(np.mean(guesses), abs=0.03)
    assert verifier.expected(example) == pytest.approx(0.4)  # three of four hold one of the two sets whole


def test_a_constant_square_earns_what_is_expected() -> None:
    """Over all squares of the sides asked for, wherever they lie: a box in the middle has nothing to gain."""
    verifier, rng = Box(sides=(32, 44)), np.random.default_rng(0)
    sides = rng.integers(32, 45, 1500)
    places = np.floor(rng.random((1500, 2)) * (101 - sides)[:, None]).astype(int)
    asked = [Example((), [x, y, x + s, y + s]) for (x, y), s in zip(places.tolist(), sides.tolist(), strict=True)]
    expected = np.mean([verifier.expected(example) for example in asked])
    chance = np.mean([verifier.chance(example) for example in asked])
    assert expected == pytest.approx(0.033, abs=0.003)
    assert chance == pytest.approx(0.022, abs=0.003)
    for box in ([30, 30, 70, 70], [31, 31, 69, 69], [25, 25, 75, 75], [20, 20, 70, 70], [0, 0, 100, 100]):
        earned = np.array([verifier.grade(box, example) for example in asked])
        assert earned.mean() <= expected + 3 * earned.std() / 1500**0.5
        assert (earned >= 1).mean() <= chance + 3 * (chance / 1500) ** 0.5


def test_questions_asked_together_keep_what_is_their_own() -> None:
    first = Example(
        ("Look: ", Media("image", [1]), "\nWhich?"), "A", meta={"accepted": ["B"], "drawing": {"nodes": []}}
    )
    second = Example(("Which?",), "C", meta={"options": 3, "drawing": [{"nodes": ["x"]}]})
    both = join([first, second])
    assert both.text() == "Question 1: Look: <image>\nWhich?\nQuestion 2: Which?"
    assert both.answer == ["C", "A"]  # the last question's first
    assert both.meta["drawing"] == [{"nodes": []}, {"nodes": ["x"]}]
    verifier = Several(Choice("ABCD"), 2)
    assert verifier.chance(both) == 2 / 4 / 3
    assert [verifier.score(tagged(text), both).verdict for text in ("C;A", "c; b", "D;A", "C;D", "A;C")] == [
        "correct", "correct", "unparsed", "wrong", "wrong",
    ]  # fmt: skip
    assert verifier.instruction == (
        "Answer with one letter: A, B, C or D. Give 2 such answers, from the last question's to the first's, "
        "separated by semicolons."
    )


def test_options_can_be_narrowed_for_one_example() -> None:
    example = Example((), "B", meta={"options": 2})
    assert B.chance(example) == 0.5
    assert B.score("<answer>C</answer>", example).verdict == "unparsed"


@pytest.mark.parametrize("case", CASES)
def test_every_text_gets_a_verdict(case: str) -> None:
    verifier, example, _ = CASES[case]
    for text in nasty_texts(verifier.complete(example.answer), np.random.default_rng(0)):
        with within(5):
            score = verifier.score(text, example, style="think")
        assert score.verdict in VERDICTS
        assert 0 <= score.value <= 1
        assert (score.parsed is None) == (score.verdict == "unparsed")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.text(max_size=60), case=st.sampled_from(sorted(CASES)), wrapped=st.booleans())
def test_no_text_raises(text: str, case: str, wrapped: bool) -> None:
    verifier, example, _ = CASES[case]
    score = verifier.score(tagged(text) if wrapped else text, example)
    assert score.verdict in VERDICTS


def test_a_list_of_doubly_spaced_numbers_is_refused_at_once() -> None:
    """It once took time exponential in the number of numbers."""
    with within(2):
        assert Permutation(3).score(tagged("1  " * 1000 + "x"), Example((), [1, 2, 3])).verdict == "unparsed"


def test_places_of_an_incomplete_order_may_count_less() -> None:
    verifier, example = Permutation(4, partial=0.2), Example((), [3, 1, 2, 4])
    orders = [[3, 1, 2, 4], [3, 1, 4, 2], [4, 3, 1, 2]]
    assert [verifier.grade(order, example) for order in orders] == pytest.approx([1.0, 0.1, 0.0])
    assert verifier.expected(example) == pytest.approx(0.2 / 4 + 0.8 / 24)
    assert Permutation(4).expected(example) == pytest.approx(1 / 4)
    every = [list(order) for order in itertools.permutations(range(1, 5))]
    assert np.mean([verifier.grade(order, example) for order in every]) == pytest.approx(verifier.expected(example))
