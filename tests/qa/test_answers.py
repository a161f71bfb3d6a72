"""How a column of answers is read for each kind of task, and what is refused rather than guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.answers import agreed
from ssl4rl.qa.tables.boxes import read_boxes
from ssl4rl.qa.tables.options import best, depends, kept, leanings
from ssl4rl.qa.tables.said import several
from ssl4rl.vision.photo import FilePhoto
from tests.qa.helpers import answers, error, items, jsonl, opened, pictures, skipped


def options(tmp_path: Path, *pairs: tuple[list[str], Any]) -> str:
    rows = [{"question": f"Which, {n}?", "options": texts, "answer": a} for n, (texts, a) in enumerate(pairs)]
    return jsonl(tmp_path / "x.jsonl", *rows)


@pytest.mark.parametrize(
    ("said", "right", "how"),
    [
        (["A", "(B)", "c.", "D"], [0, 1, 2, 3], "letters"),
        (["cat", "Dog.", " COW", "hen"], [0, 1, 2, 3], "the options' texts"),
        ([0, 1, 2, 3], [0, 1, 2, 3], "numbers from 0"),
        (["0", 1, 2.0, "3.0"], [0, 1, 2, 3], "numbers from 0"),
        ([1, 2, 3, 4], [0, 1, 2, 3], "numbers from 1"),
    ],
)
def test_answers_are_letters_texts_or_numbers(tmp_path: Path, said: list[Any], right: list[int], how: str) -> None:
    path = options(tmp_path, *((["cat", "dog", "cow", "hen"], answer) for answer in said))
    assert answers("choice", path) == [(at,) for at in right]
    assert f"answer=answer ({how}); 4 rows" in opened("choice", path).taken


def test_options_that_are_numbers_are_answered_by_their_texts(tmp_path: Path) -> None:
    path = options(tmp_path, (["3", "2", "1"], 3), (["3", "2", "1"], 1), (["5", "1", "9"], 5))
    assert answers("choice", path) == [(0,), (2,), (0,)]
    assert "(the options' texts)" in opened("choice", path).taken
    stray = [(["13", "11", "12"], n) for n in [11, 12, 13] * 4] + [(["13", "11", "12"], 17)]
    assert answers("choice", options(tmp_path, *stray)) == [(1,), (2,), (0,)] * 4  # and not numbers of options


def test_numbers_that_are_texts_and_places_of_options_alike_are_asked_for(tmp_path: Path) -> None:
    """A row that is wrong must not decide: of ten "5" is none of its options by its text, and is by its place."""
    rows: list[tuple[list[str], Any]] = [(["3", "2", "1"], n) for n in (1, 2, 3)] * 4
    for path in (options(tmp_path, *rows), options(tmp_path, *rows, (["6", "7", "8", "9", "10"], 5))):
        assert error("choice", path) == (
            f"'jsonl:{path}': answers are numbers that may be options' texts or options' places; say ?first=text, "
            "?first=0 or ?first=1"
        )
        assert answers("choice", f"{path}?first=text")[:3] == [(2,), (1,), (0,)]
        assert answers("choice", f"{path}?first=1")[:3] == [(0,), (1,), (2,)]
    same = options(tmp_path, *((["1", "2", "3"], n) for n in (1, 2, 3)))  # read in either way they say the same
    assert answers("choice", same) == [(0,), (1,), (2,)]


@pytest.mark.parametrize(
    "said", ["B", "b)", "(B)", "Ｂ", "（B）", "B. dog", "(B) dog", "b: Dog.", "Option B", ["B"], "['B']", "[1]"]
)
def test_an_answer_may_say_letter_and_text(tmp_path: Path, said: Any) -> None:
    said = [1] if said == "[1]" else said
    path = options(tmp_path, (["cat", "dog", "cow"], said), (["cat", "dog", "cow"], "A" if said != [1] else 0))
    assert answers("choice", path) == [(1,), (0,)]


def test_answers_that_are_none_of_the_options_are_none(tmp_path: Path) -> None:
    path = options(
        tmp_path, (["cat", "dog"], "A"), (["cat", "dog"], "B. cat"), (["cat", "dog"], ["A", "B"]), (["cat, dog"], "A")
    )
    assert skipped(opened("choice", path)) == {
        "x.jsonl row 2": "its answer 'B. cat' is none of its 2 options",
        "x.jsonl row 3": "its answer ['A', 'B'] names 2 options; one can be right",
        "x.jsonl row 4": "it has 1 options ('cat, dog': write a list, or | between them); allowed: 2 to 26",
    }


def test_letters_and_texts_may_be_mixed(tmp_path: Path) -> None:
    path = options(tmp_path, (["cat", "dog"], "B"), (["cat", "dog"], "dog"), (["left", "right"], "A"))
    assert answers("choice", path) == [(1,), (1,), (0,)]
    assert "(letters and the options' texts)" in opened("choice", path).taken
    path = options(tmp_path, (["B", "A"], "B"), (["B", "A"], "A"), (["cat", "dog"], "dog"))  # letters are texts here
    assert answers("choice", path) == [(0,), (1,), (1,)]


@pytest.mark.parametrize(
    ("texts", "bare"),
    [
        (["A. cat", "B. dog", "C. cow"], ("cat", "dog", "cow")),
        (["(A) cat", "(B) dog"], ("cat", "dog")),
        (["a) cat", "b) dog"], ("cat", "dog")),
        (["1. cat", "2. dog"], ("cat", "dog")),
        ("A. cat\nB. dog\nC. cow", ("cat", "dog", "cow")),
        ({"A": "A: cat", "B": "B: dog"}, ("cat", "dog")),
        (["A. cat", "C. dog"], ("A. cat", "C. dog")),
        (["B. cat", "A. dog"], ("B. cat", "A. dog")),
        (["1.5", "2.5"], ("1.5", "2.5")),
        (["1:2", "2:3"], ("1:2", "2:3")),
        (["A cat", "B dog"], ("A cat", "B dog")),
        (["A.", "B."], ("A.", "B.")),
    ],
)
def test_labels_of_options_come_off(tmp_path: Path, texts: Any, bare: tuple[str, ...]) -> None:
    """They are shown in another order, with letters of their own: "A. C. cow" was what the model saw."""
    (item, _) = items(opened("choice", options(tmp_path, (texts, "B"), (["x", "y"], "A"))))
    assert (item.options, item.answers) == (bare, (1,))


def test_empty_options_between_others_are_left_out(tmp_path: Path) -> None:
    path = options(
        tmp_path,
        (["cat", "", "dog"], "C"),
        (["", "cat", "dog", None], "B"),
        (["cat", "", "dog"], "B"),
        (["cat", "", "dog", "both A and C"], "D"),
    )
    source = opened("choice", path)
    assert [(item.options, item.answers) for item in items(source)] == [(("cat", "dog"), (1,)), (("cat", "dog"), (0,))]
    assert skipped(source) == {
        "x.jsonl row 3": "its answer 'B' is none of its 2 options",
        "x.jsonl row 4": "an option names others by their letters, and one between them is empty",
    }


def test_answers_that_are_written_as_replies_or_solutions(tmp_path: Path) -> None:
    rows = [
        {"question": "1?", "solution": "<answer> 3 </answer>"},
        {"question": "2?", "solution": "<think>2 + 2</think>\n<answer>4</answer>"},
        {"question": "3?", "solution": "He has 3 * 4 = 12.\n#### 1,200"},
        {"question": "4?", "solution": "\\boxed{12}"},
        {"question": "5?", "solution": "$\\frac{3}{4}$"},
        {"question": "6?", "solution": "−5"},
        {"question": "7?", "solution": "<answer>3</answer> or <answer>4</answer>"},
    ]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    assert answers("number", path) == [(3.0,), (4.0,), (1200.0,), (12.0,), (0.75,), (-5.0,)]
    assert answers("text", path)[:3] == [("3",), ("4",), ("1,200",)]
    assert answers("choice", options(tmp_path, (["cat", "dog"], "<answer>B</answer>"))) == [(1,)]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([1, 2], "neither 0 nor the number of options is there"),
        ([0, 3], "0 and the number of options are both there"),
    ],
)
def test_where_numbers_begin_is_told_or_asked_for(tmp_path: Path, said: list[int], why: str) -> None:
    path = options(tmp_path, *((["cat", "dog", "cow"], answer) for answer in said))
    assert error("choice", path) == f"'jsonl:{path}': answers are numbers, and {why}; say ?first=0 or ?first=1"
    if 0 not in said:
        assert answers("choice", f"{path}?first=0") == [(1,), (2,)]
        assert answers("choice", f"{path}?first=1") == [(0,), (1,)]
    assert error("choice", f"{path}?first=2") == (
        f"'jsonl:{path}': first is '2'; allowed: 0, 1 (the number of the first option), text (of numbers that are "
        "options' texts)"
    )


def test_rows_of_which_none_can_be_chosen_are_skipped_and_named(tmp_path: Path) -> None:
    path = options(
        tmp_path,
        (["cat", "dog"], "A"),
        (["cat"], "A"),
        (["cat", "Cat "], "B"),
        (["cat", "dog"], "C"),
        (["", "", "dog"], "C"),
        (["cat", "dog", ""], "B"),
        (["cat", "dog"], ""),
    )
    source = opened("choice", path)
    assert [item.options for item in items(source)] == [("cat", "dog"), ("cat", "dog")]
    assert skipped(source) == {
        "x.jsonl row 2": "it has 1 options ('cat': write a list, or | between them); allowed: 2 to 26",
        "x.jsonl row 3": "two of its options say the same",
        "x.jsonl row 4": "its answer 'C' is none of its 2 options",
        "x.jsonl row 5": "it has 1 options ('dog': write a list, or | between them); allowed: 2 to 26",
        "x.jsonl row 7": "it has no answer",
    }
    assert source.taken == (
        "took question=question, options=options, answer=answer (letters); 2 rows, 5 skipped: x.jsonl row 7: it "
        "has no answer"
    )


@pytest.mark.parametrize(
    ("last", "stays"),
    [
        ("all of the above", "last"),
        ("None of the above.", "last"),
        ("Both of the above", "last"),
        ("Both A and B", "order"),
        ("A and C only", "order"),
        ("(A), (B)", "order"),
        ("Neither A nor B", "order"),
        ("option C", "order"),
        ("none of these", ""),
        ("above the table", ""),
        ("A major", ""),
        ("Vitamin A", ""),
        ("both", ""),
    ],
)
def test_options_that_speak_of_others_stay(last: str, stays: str) -> None:
    assert kept(["left", "right", last]) == stays
    assert kept([last, "left", "right"]) == ("order" if stays else "")
    assert depends(["left", "right", last]) == (bool(stays) or last in ("none of these", "both"))


def test_what_the_texts_of_options_tell_alone() -> None:
    """Of 60 yes-or-no questions 45 are yes: always saying so is right in .75."""
    rows = [["yes", "no"] if n % 2 else ["no", "yes"] for n in range(60)]
    right = [row.index("yes" if n % 4 else "no") for n, row in enumerate(rows)]
    found = leanings(rows, right)
    assert [best(rates) for rates in found] == [row.index("yes") for row in rows]
    assert found[1] == (pytest.approx(44 / 59), pytest.approx(15 / 59))
    even = leanings(rows, [n % 2 for n in range(60)])  # always "no" at odd rows, "yes" at even: alike in sum
    assert [best(rates) for rates in even][:1] != [None] or set(even) == {()}
    once = leanings([[f"a{n}", f"b{n}"] for n in range(60)], [0] * 60)
    assert set(once) == {()}


@pytest.mark.parametrize(
    ("said", "numbers", "unit"),
    [
        (4, (4.0,), ""),
        ("1,203.5", (1203.5,), ""),
        ("12 cm", (12.0,), "cm"),
        ("$5", (5.0,), "$"),
        ("five", (5.0,), ""),
        ([4, "4", "four", 5], (4.0, 5.0), ""),
        ("[3, 4]", (3.0, 4.0), ""),
    ],
)
def test_numbers(tmp_path: Path, said: Any, numbers: tuple[float, ...], unit: str) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"question": "How many?", "answer": said})
    (item,) = items(opened("number", path))
    assert (item.answers, item.unit) == (numbers, unit)


def test_no_numbers_are_skipped_and_units_may_have_a_column(tmp_path: Path) -> None:
    rows = [("4", "cm"), ("cat", ""), (True, ""), ("3 or 4", ""), ("3 4", "")]
    table = [{"question": f"How long, {n}?", "answer": a, "unit": unit} for n, (a, unit) in enumerate(rows)]
    source = opened("number", jsonl(tmp_path / "x.jsonl", *table))
    assert [(item.answers, item.unit) for item in items(source)] == [((4.0,), "cm")]
    assert skipped(source) == {
        "x.jsonl row 2": "its answer 'cat' is no number",
        "x.jsonl row 3": "its answer True is no number",
        "x.jsonl row 4": "its answer '3 or 4' is no number",
        "x.jsonl row 5": "its answer '3 4' is no number",
    }


def test_texts_with_aliases_votes_and_options(tmp_path: Path) -> None:
    votes = [{"answer": "red"}] * 5 + [
        {"answer": "Red."},
        {"answer": "pink"},
        {"answer": "pink"},
        {"answer": "crimson"},
    ]
    path = jsonl(
        tmp_path / "x.jsonl",
        {"question": "1?", "answer": "red"},
        {"question": "2?", "answer": ["grey", "gray"]},
        {"question": "3?", "answer": votes},
        {"question": "4?", "answer": "['a', 'b']"},
        {"question": "5?", "answer": 7},
        {"question": "6?", "answer": "B", "options": ["left", "right"]},
        {"question": "7?", "answer": "..."},
    )
    source = opened("text", path)
    assert [item.answers for item in items(source)] == [
        ("red",), ("grey", "gray"), ("red",), ("a", "b"), ("7",), ("right",),
    ]  # fmt: skip
    assert skipped(source) == {"x.jsonl row 7": "it has no answer"}
    assert agreed(["a", "b", "a"]) == ["a"]
    assert agreed(["a", "a", "a", "b", "b", "b", "c"]) == ["a", "b"]
    assert several("[1, 2]") == [1, 2]
    assert several({"text": ["cat", "a cat"], "answer_start": [0, 4]}) == ["cat", "a cat"]  # SQuAD's
    assert several("[broken") == ["[broken"]


def boxes(
    tmp_path: Path, asked: str, *values: Any, size: tuple[int, int] = (200, 100)
) -> list[list[tuple[float, ...]] | str]:
    """As shares of pictures of a size."""
    pictures(tmp_path, "a.png", size=size)
    rows = [Raw(f"row {n}", "?", value, photos=(FilePhoto(str(tmp_path), "a.png"),)) for n, value in enumerate(values)]
    options = dict(part.split("=") for part in asked.split("&")) if asked else {}
    found, _ = read_boxes("x", rows, options)
    return [[tuple(round(e, 4) for e in box) for box in one] if not isinstance(one, str) else one for one in found]


def test_boxes_in_every_measure(tmp_path: Path) -> None:
    half = [[(0.25, 0.5, 0.5, 1.0)]]
    assert boxes(tmp_path, "", [0.25, 0.5, 0.5, 1.0]) == half
    assert boxes(tmp_path, "", "0.25, 0.5, 0.5, 1.0") == half
    assert boxes(tmp_path, "coords=pixel", [50, 50, 100, 100]) == half
    assert boxes(tmp_path, "coords=pixel", "<box>[50, 50, 100, 100]</box>") == half
    assert boxes(tmp_path, "coords=percent", [25, 50, 50, 100]) == half
    for said in (
        "<|box_start|>(50,50),(100,100)<|box_end|>",
        '[{"bbox_2d": [50, 50, 100, 100], "label": "cat"}]',
        {"bbox_2d": [50, 50, 100, 100], "label": "cat"},
        {"x1": 50, "y1": 50, "x2": 100, "y2": 100},
        {"label": "cat", "top": 50, "left": 50, "bottom": 100, "right": 100},
        '{"x": 50, "y": 50, "width": 50, "height": 50}',
        "<answer>[50, 50, 100, 100]</answer>",
    ):
        assert boxes(tmp_path, "coords=pixel", said) == half
    two = [{"bbox_2d": [50, 50, 100, 100]}, {"bbox_2d": [0, 0, 20, 10]}]
    assert boxes(tmp_path, "coords=pixel", two) == [[(0.25, 0.5, 0.5, 1.0), (0.0, 0.0, 0.1, 0.1)]]
    none = boxes(tmp_path, "coords=pixel", {"x": 5}, {"bbox": [1, 2, 9, 9], "box": [0, 0, 9, 9]}, [{"bbox": [1, 2]}])
    assert [isinstance(why, str) for why in none] == [True] * 3
    assert boxes(tmp_path, "coords=thousand", [250, 500, 500, 1000]) == half
    assert boxes(tmp_path, "coords=pixel&corners=xywh", [50, 50, 50, 50]) == half
    assert boxes(tmp_path, "coords=pixel", [[50, 50, 100, 100], [0, 0, 20, 10]]) == [[*half[0], (0, 0, 0.1, 0.1)]]


def test_the_measure_is_told_by_the_boxes_that_do_not_fit(tmp_path: Path) -> None:
    """Of pictures of 200 x 100: 250 does not lie in one, so thousandths; the right edge 10 lies before 50, so sizes."""
    assert boxes(tmp_path, "", [250, 500, 500, 1000]) == [[(0.25, 0.5, 0.5, 1.0)]]
    assert boxes(tmp_path, "coords=pixel", [50, 50, 10, 10], [20, 20, 40, 40])[0] == [(0.25, 0.5, 0.3, 0.6)]
    assert boxes(tmp_path, "", [500, 500, 1000, 1000], [0, 0, 1500, 500], size=(2000, 1000)) == [
        [(0.25, 0.5, 0.5, 1.0)], [(0, 0, 0.75, 0.5)],
    ]  # fmt: skip
    assert boxes(tmp_path, "", [0, 0, 1500, 500], [0, 0, 1000, 3000], [0, 0, 900, 9], size=(2000, 1000))[1:] == [
        "its box 0,0,1000,3000 lies outside the picture", [(0, 0, 0.45, 0.009)],
    ]  # fmt: skip


def test_one_wrong_box_among_many_changes_nothing(tmp_path: Path) -> None:
    right = [[n, n, 100 + n, 50 + n // 2] for n in range(1, 61)]
    found = boxes(tmp_path, "coords=pixel", *right, [90, 50, 50, 70])
    assert found[0] == [(0.005, 0.01, 0.505, 0.5)]
    assert found[-1] == "its box 90,50,50,70 has no area"


def test_boxes_that_may_be_either_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", size=(200, 100))
    path = jsonl(tmp_path / "x.jsonl", {"question": "Where?", "bbox": [50, 50, 100, 100], "image": "a.png"})
    assert error("box", path) == (
        f"'jsonl:{path}': its boxes may be in pixels or in thousandths of the picture, both fit; say ?coords=pixel or "
        "?coords=thousand (or percent)"
    )
    assert "coords is 'pixels'; did you mean 'pixel'?" in error("box", f"{path}?coords=pixels")
    assert answers("box", f"{path}?coords=pixel") == [((0.25, 0.5, 0.5, 1.0),)]


def test_what_is_no_box_is_said(tmp_path: Path) -> None:
    assert boxes(
        tmp_path, "coords=pixel", "cat", [1, 2, 3], None, [9, 9, 99, 99], [60, 50, 50, 70], [0, 0, 9, 999]
    ) == [
        "its answer 'cat' is no box",
        "its answer '[1, 2, 3]' is no box",
        "its answer 'None' is no box",
        [(0.045, 0.09, 0.495, 0.99)],
        "its box 60,50,50,70 has no area",
        "its box 0,0,9,999 lies outside the picture",
    ]
    rows = [Raw("row 1", "?", [0.1, 0.1, 0.2, 0.2])]
    assert read_boxes("x", rows, {})[0] == ["it has 0 pictures; a box is in one"]
