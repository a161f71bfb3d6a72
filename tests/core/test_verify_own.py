"""Verifiers of answers that people bring: numbers with tolerance and units, free texts, boxes in other measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssl4rl.core.types import Example
from ssl4rl.core.verify import Box, Choice, FreeText, Number
from ssl4rl.core.verify.choice import words_of
from ssl4rl.core.verify.lists import BoxUnit
from ssl4rl.core.verify.quantity import quantity, unit_of


def example(answer: Any, **meta: Any) -> Example:
    return Example(("?",), answer, meta=meta)


def value(verifier: Any, text: str, asked: Example) -> float | str:
    """What a reply earns, or the verdict that it was not read."""
    score = verifier.score(f"<answer>{text}</answer>", asked)
    return score.verdict if score.parsed is None else score.value


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("7", 7, ""),
        ("-4", -4, ""),
        ("1,203.5 kg", 1203.5, "kg"),
        (".5", 0.5, ""),
        ("4.", 4, ""),
        ("2.5e3", 2500, ""),
        ("2 x 10^-3", 0.002, ""),
        ("0.00012345678901234567", 0.00012345678901234567, ""),  # all that a float may have
        ("3/4", 0.75, ""),
        ("seven", 7, ""),
        ("$4", 4, "$"),
        ("-$4", -4, "$"),
        ("€ 5", 5, "€"),
        ("25%", 25, "%"),
        ("12 centimetres", 12, "centimetre"),
        ("3 million", 3e6, ""),
        ("3 million dollars", 3e6, "dollar"),
        ("5 apples", 5, "apple"),
    ],
)
def test_a_quantity_and_its_unit(text: str, number: float, unit: str) -> None:
    assert quantity(text) == (pytest.approx(number), unit)


@pytest.mark.parametrize("text", ["", "many", "- 4", "1e999", "1/0", "--4", "+-4"])
def test_no_quantity(text: str) -> None:
    assert quantity(text) is None


def test_units_are_singular_lower_case_and_written_in_one_way() -> None:
    said = ("CM", "cms", "Metres", "m²", "m ^2", " kg. ", "feet", "bus", "apples", "°C")
    assert [unit_of(text) for text in said] == [
        "cm", "cm", "metre", "m^2", "m^2", "kg", "feet", "bus", "apple", "°c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "asked", "earned"),
    [
        ("12", example(12, unit="cm"), 1.0),
        ("12 cm", example(12, unit="cm"), 1.0),
        ("120 mm", example(12, unit="cm"), 1.0),
        ("0.12 metres", example(12, unit="cm"), 1.0),
        ("12 mm", example(12, unit="cm"), 0.0),
        ("12 kg", example(12, unit="cm"), "unparsed"),
        ("12 apples", example(12, unit="apples"), 1.0),
        ("12 pears", example(12, unit="apples"), "unparsed"),
        ("12 apples", example(12), 1.0),
        ("12 hundred", example(12), "unparsed"),
        ("12 not", example(12), "unparsed"),
        ("12 or 13", example(12), "unparsed"),
        ("12, 13", example(12), "unparsed"),
        ("12-13", example(12), "unparsed"),
        ("**12**", example(12), 1.0),
        ("The answer is 12.", example(12), 1.0),
        ("\\boxed{12}", example(12), 1.0),
        ("five", example(5), 1.0),
        ("0.3333333333333333", example(1 / 3), 1.0),
        ("1/3", example(1 / 3), 1.0),
        ("\\frac{1}{3}", example(1 / 3), 1.0),
        ("\\boxed{\\frac{1}{3}}", example(1 / 3), 1.0),
        ("$-\\dfrac{3}{4}$", example(-0.75), 1.0),
        ("\\tfrac34 cm", example(0.75, unit="cm"), 1.0),
        ("¾", example(0.75), 1.0),
        ("-½", example(-0.5), 1.0),
        ("- 1/2", example(0.5), "unparsed"),  # a bullet or a minus, as "- 90"
        ("1¾", example(13 / 4), "unparsed"),  # and never 13/4
        ("1\\frac{3}{4}", example(13 / 4), "unparsed"),
        ("\\frac{1}{2}{3}", example(0.5), "unparsed"),
        ("1.2 \\times 10^3", example(1200), 1.0),
        ("1{,}200", example(1200), 1.0),
        ("1\\,200", example(1200), 1.0),
        ("1\\,20", example(120), "unparsed"),
        ("0.33", example(1 / 3), 0.0),
        ("1200", example(1200), 1.0),
        ("1,200", example(1200), 1.0),
        ("1,20", example(120), "unparsed"),
        ("5", example(4, accepted=[5]), 1.0),
    ],
)
def test_number_exact(text: str, asked: Example, earned: float | str) -> None:
    assert value(Number(), text, asked) == earned


@pytest.mark.parametrize(
    ("absolute", "relative", "said", "earned"),
    [
        (0, 0.05, "105", 1.0),
        (0, 0.05, "95", 1.0),
        (0, 0.05, "105.1", 0.0),
        (0, 0.05, "94.9", 0.0),
        (2, 0, "102", 1.0),
        (2, 0, "102.1", 0.0),
        (2, 0.05, "107", 1.0),
        (2, 0.05, "108", 0.0),
    ],
)
def test_number_within_a_tolerance(absolute: float, relative: float, said: str, earned: float) -> None:
    assert value(Number(absolute, relative), said, example(100)) == earned


def test_guessing_a_number_is_the_guess_of_the_data_or_nothing() -> None:
    rng = np.random.default_rng(0)
    for asked, chance in ((example(4, guess=4), 1.0), (example(5, guess=4), 0.0), (example(5), 0.0)):
        assert Number().chance(asked) == Number().expected(asked) == chance
        assert Number().grade(Number().best_guess(asked, rng), asked) == chance
    assert Number(relative=0.5).chance(example(5, guess=4)) == 1.0


def test_words_by_which_free_texts_are_compared() -> None:
    assert words_of("The U.S. Navy's 1,200") == ("us", "navys", "1200")
    assert words_of("C++") != words_of("C") != words_of("C#")
    assert words_of("-5") != words_of("5")
    assert words_of("3.5") != words_of("35")
    assert words_of("the") == ("the",)
    assert words_of("ice-cream") == words_of("Ice cream.") == ("ice", "cream")
    assert words_of("**Blue**.") == ("blue",)
    assert words_of("東京") == ("東", "京")
    assert words_of("?!") == ()


@pytest.mark.parametrize(
    ("text", "partial", "earned"),
    [
        ("a red car", 0.0, 1.0),
        ("The RED car.", 0.0, 1.0),
        ("automobile", 0.0, 1.0),
        ("red", 0.0, 0.0),
        ("red", 0.5, 0.5 * 2 / 3),
        ("car red", 0.5, 0.5),
        ("blue", 0.5, 0.0),
        ("red car or blue car", 0.5, 0.5 * 2 * 2 / 7),
        ("...", 0.5, "unparsed"),
    ],
)
def test_free_text(text: str, partial: float, earned: float | str) -> None:
    asked = example("red car", accepted=["automobile"])
    assert value(FreeText(partial=partial), text, asked) == (pytest.approx(earned) if partial else earned)


def test_of_two_free_texts_none_counts() -> None:
    score = FreeText().score("<answer>red</answer><answer>blue</answer>", example("red"))
    assert (score.value, score.verdict) == (0.0, "unparsed")


def test_choice_by_example_has_as_many_options_as_the_example() -> None:
    verifier = Choice("ABCDEF", by_example=True)
    assert verifier.instruction == "Answer with the letter of one option."
    asked = example("B", options=3)
    assert verifier.chance(asked) == pytest.approx(1 / 3)
    assert [value(verifier, text, asked) for text in ("正确答案是B。", "最终答案：B", "错误答案是B")] == [
        1.0,
        1.0,
        "unparsed",
    ]
    assert [value(verifier, text, asked) for text in ("B", "(c)", "D", "A or B")] == [1.0, 0.0, "unparsed", "unparsed"]
    assert verifier.expected(example("B", options=3, guess="B")) == 1.0
    assert verifier.chance(example("B", options=3, guess="B")) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("unit", "right", "size", "replies"),
    [
        (
            "thousand",
            [100, 200, 500, 600],
            None,
            {
                "100,200,500,600": 1.0,
                "<box>[[100, 200, 500, 600]]</box>": 1.0,
                "<box>[[100, 200, 500, 600], [0, 0, 9, 9]]</box>": "unparsed",
                "10,20,50,60": 0.0,
                "0,0,1001,5": "unparsed",
            },
        ),
        ("share", [0.1, 0.2, 0.5, 0.6], None, {"0.1, 0.2, 0.5, 0.6": 1.0, "100,200,500,600": "unparsed"}),
        ("percent", [10, 20, 50, 60], None, {"10,20,50,60": 1.0, "100,200,500,600": "unparsed"}),
        ("pixel", [64, 96, 320, 288], [640, 480], {"[64, 96, 320, 288]": 1.0, "64,96,641,288": "unparsed"}),
    ],
)
def test_boxes_in_other_measures(
    unit: BoxUnit, right: list[float], size: list[int] | None, replies: dict[str, float | str]
) -> None:
    verifier = Box(0.5, 0.5, unit=unit)
    asked = example(right, **({"size": size} if size else {}))
    assert {text: value(verifier, text, asked) for text in replies} == replies
    assert verifier.chance(asked) == pytest.approx(Box(0.5, 0.5).chance(example([10, 20, 50, 60])))
    box = verifier.random_answer(asked, np.random.default_rng(1))
    assert verifier.parse(verifier.render(box), asked) == box


def test_the_expected_of_a_box_is_what_the_guess_earns() -> None:
    verifier = Box(0.7, 0.5)
    assert verifier.expected(example([10, 10, 50, 50], guess=[10, 10, 50, 50])) == 1.0
    assert verifier.expected(example([10, 10, 50, 50], guess=[60, 60, 90, 90])) == 0.0
    assert verifier.expected(example([0, 0, 10, 10], guess=[0, 0, 10, 6])) == pytest.approx(0.2)  # IoU 0.6
