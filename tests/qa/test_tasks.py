"""What the four tasks ask of a row, and what guessing earns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssl4rl
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media, Ssl4rlError, Unusable
from ssl4rl.qa.asking import prompt
from ssl4rl.qa.constants import Facts, overlaps
from ssl4rl.qa.labelled import Labelled
from tests.graph.helpers import at_chance
from tests.qa.helpers import TASKS, jsonl, pictures
from tests.vision.helpers import ArrayPhoto, noise_photo

PICTURE = ArrayPhoto(noise_photo(0, 60, 80))


def row(answers: tuple[Any, ...], **more: Any) -> Labelled:
    facts = more.pop("facts", Facts())
    return Labelled("x.tsv row 1", more.pop("question", "What is it?"), answers, facts, **more)


def make(kind: str, item: Labelled, level: str | None = None, seed: int = 0) -> Example:
    task = TASKS[kind]
    return task.make([item], task.level(level).params, keyed_rng("qa", seed))


def lines(example: Example) -> list[str]:
    return example.text().rstrip().split("\n")


def test_choice_shows_all_options_shuffled_and_the_letter_follows() -> None:
    item = row((2,), options=("cat", "dog", "cow", "hen"), photos=(PICTURE,), hint="It has horns.")
    seen = Counter[str]()
    for seed in range(400):
        example = make("choice", item, seed=seed)
        hint, question, head, *texts = lines(example)
        assert (hint, question, head) == ("<image>Hint: It has horns.", "Question: What is it?", "Options:")
        assert sorted(text[3:] for text in texts) == ["cat", "cow", "dog", "hen"]
        assert texts["ABCD".index(str(example.answer))][3:] == "cow"
        assert example.meta == {"option_texts": [text[3:] for text in texts], "options": 4}
        seen[str(example.answer)] += 1
    assert all(at_chance([one == letter for one in seen.elements()], 0.25) for letter in "ABCD")


def test_choice_keeps_what_speaks_of_the_others() -> None:
    last = row((0,), options=("cat", "dog", "none of the above"), kept="last")
    order = row((0,), options=("cat", "dog", "A and B"), kept="order")
    free = {make("choice", last, seed=seed).meta["option_texts"][2] for seed in range(40)}
    assert free == {"none of the above"}
    assert {make("choice", last, seed=seed).answer for seed in range(40)} == {"A", "B"}
    assert {tuple(make("choice", order, seed=seed).meta["option_texts"]) for seed in range(40)} == {order.options}
    unshuffled = {tuple(make("choice", last, "given,shuffle=false", seed).meta["option_texts"]) for seed in range(40)}
    assert unshuffled == {last.options}


def test_choice_of_fewer_options_keeps_the_right_one() -> None:
    item = row((2,), options=("cat", "dog", "cow", "hen"))
    shown = Counter[str]()
    for seed in range(60):
        example = make("choice", item, "given,options=2", seed)
        texts = example.meta["option_texts"]
        assert len(texts) == example.meta["options"] == 2
        assert texts["AB".index(str(example.answer))] == "cow"
        shown.update(texts)
    assert {*shown} == {"cat", "dog", "cow", "hen"}
    with pytest.raises(Unusable, match="an option speaks of the others"):
        make("choice", row((0,), options=("cat", "dog", "none of these")), "given,options=2")


def test_choice_says_what_the_texts_alone_tell() -> None:
    """What is right most often elsewhere is the guess; its letter is that of its place after shuffling."""
    item = row((1,), options=("yes", "no"), leans=(0.7, 0.3))
    for seed in range(10):
        example = make("choice", item, seed=seed)
        assert example.meta["option_texts"]["AB".index(example.meta["guess"])] == "yes"
        verifier = TASKS["choice"].verifier
        assert (verifier.expected(example), verifier.chance(example)) == (0.0, 0.5)


def test_number_with_unit_tolerance_and_the_best_constant() -> None:
    facts = Facts([(4.0,), (4.0,), (4.1,), (4.2,), (9.0,), (9.0,), (9.0,)])
    item = row((4.5, 5.0), unit="cm", facts=facts)
    exact = make("number", item, "exact")
    assert lines(exact) == ["Question: What is it?", "The answer is asked for in cm."]
    assert exact.answer == 4.5
    assert exact.meta == {"accepted": [5], "unit": "cm", "guess": 9}
    relaxed = make("number", item, "relaxed")  # 4.0, 4.0, 4.1 and 4.2 lie within 5 % of one number
    guess = relaxed.meta["guess"]
    assert [abs(guess - right) <= 0.05 * right for right in (4.0, 4.1, 4.2, 9.0)] == [True, True, True, False]
    assert "guess" not in make("number", row((4.0,), facts=Facts([(4.0,), (7.0,)])), "exact").meta


def test_text_with_aliases_and_the_best_constant() -> None:
    facts = Facts([("red",), ("Red.", "crimson"), ("blue car",), ("green car",), ("old car",)])
    exact = make("text", row(("red", "crimson"), facts=facts))
    assert (exact.answer, exact.meta) == ("red", {"accepted": ["crimson"], "guess": "red"})
    partial = make("text", row(("red",), facts=facts), "exact,partial=0.9")
    assert partial.meta["guess"] == "car red"  # 0.9 (2 * 2/3 + 3 * 1/2) is more than "red" 2 and "car" 0.9 * 3 * 2/3
    more = Facts([*[(f"{n} car",) for n in ("big", "old", "blue", "green")], ("red",)])
    assert make("text", row(("red",), facts=more), "exact,partial=0.9").meta["guess"] == "car"
    assert "guess" not in make("text", row(("red",), facts=Facts([("a b",), ("c d",)]))).meta


def test_box_in_every_unit_and_the_best_constant() -> None:
    facts = Facts([((0.3, 0.3, 0.7, 0.7),), ((0.31, 0.3, 0.7, 0.7),), ((0.0, 0.0, 0.1, 0.1),)])
    item = row(((0.25, 0.5, 0.5, 1.0),), photos=(PICTURE,), facts=facts)
    answers = {unit: make("box", item, f"iou50,unit={unit}") for unit in ("thousand", "percent", "share", "pixel")}
    assert {unit: example.answer for unit, example in answers.items()} == {
        "thousand": [250, 500, 500, 1000],
        "percent": [25, 50, 50, 100],
        "share": [0.25, 0.5, 0.5, 1.0],
        "pixel": [15, 40, 30, 80],
    }
    assert lines(answers["pixel"]) == [
        "<image>Question: What is it?", "The picture is 60 pixels wide and 80 pixels high.",
    ]  # fmt: skip
    assert answers["pixel"].meta["size"] == [60, 80]
    guess = answers["thousand"].meta["guess"]
    assert overlaps(np.array([guess]) / 1000, np.array([0.3, 0.3, 0.7, 0.7]))[0] > 0.5
    tiny = row(((0.111, 0.2, 0.119, 0.3),), photos=(PICTURE,))
    assert make("box", tiny).answer == [111, 200, 119, 300]
    with pytest.raises(Unusable, match="too small to be said in the unit 'percent'"):
        make("box", tiny, "iou50,unit=percent")


def test_pictures_are_scaled_to_the_level(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", size=(300, 200))
    path = jsonl(tmp_path / "x.jsonl", *({"question": f"{n}?", "answer": "a", "image": "a.png"} for n in range(3)))
    for level, size in (("exact", (300, 200)), ("exact,image_px=150", (150, 100)), ("exact,image_px=8", (8, 5))):
        (example,) = create_dataset("qa/text", path, level=level, size=1, split="all")
        assert example.media[0].data.size == size


def named(*names: str) -> list[Media]:
    return [Media(name, None) for name in names]


@pytest.mark.parametrize(
    ("text", "media", "shown"),
    [
        ("What?", [], "What?"),
        ("What?", ["a"], "<a>What?"),
        ("What?", ["a", "b"], "Picture 1: <a>\nPicture 2: <b>\nWhat?"),
        ("Is <image> like <image>?", ["a", "b"], "Is <a> like <b>?"),
        ("<image>\nWhat?", ["a"], "<a>\nWhat?"),
        ("See <image 2>, then <image 1>; <image 2> again", ["a", "b"], "See <b>, then <a>; picture 2 again"),
        ("See <image 2>", ["a", "b"], "Picture 1: <a>\nSee <b>"),
        ("<image><image>", ["a"], "<a>"),
        ("Say <answer>B</answer> or <|im_end|> or <s>", [], "Say (answer)B(/answer) or (|im_end|) or (s)"),
        ("is 1 < 2 and 3 > 2? <b>bold</b>", [], "is 1 < 2 and 3 > 2? <b>bold</b>"),
    ],
)
def test_pictures_stand_where_the_question_has_them(text: str, media: list[str], shown: str) -> None:
    assert Example(prompt(text, named(*media)), "A").text() == shown


def test_an_answer_that_cannot_be_given_back_is_no_question() -> None:
    with pytest.raises(Unusable, match="cannot be given back"):
        make("text", row(("a </answer> b",)))
    with pytest.raises(Unusable, match="cannot be given back"):
        make("text", row(("[ ] one [ ] two",)))


@pytest.mark.parametrize(
    ("kind", "level", "line"),
    [
        ("choice", "given,options=1", "qa/choice: options is 1; allowed: 2 to 26"),
        ("number", "exact,relative=0.9", "qa/number: relative is 0.9; allowed: 0.0 to 0.5"),
        ("box", "iou50,unit=px", "qa/box: unit is px; allowed: percent, thousand, share, pixel"),
        ("box", "iou50,credit_from=0.6", "qa/box: credit_from is 0.6; allowed: 0.0 to 0.5"),
        ("text", "exact,partial=1", "qa/text: partial is 1.0; allowed: 0.0 to 0.9"),
        ("text", "exact,image_px=4", "qa/text: image_px is 4; allowed: 8 to 8192"),
    ],
)
def test_levels_that_cannot_be(kind: str, level: str, line: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        TASKS[kind].level(level)
    assert str(caught.value) == line


def test_what_guessing_earns_is_the_best_constants_reward(tmp_path: Path) -> None:
    """Of 200 counts 3 is right in 80: that is what `expected` says in the mean, and what always saying 3 earns."""
    counts = [3] * 80 + [n % 7 + 4 for n in range(120)]
    path = jsonl(tmp_path / "x.jsonl", *({"question": f"How many, {n}?", "answer": c} for n, c in enumerate(counts)))
    data = create_dataset("qa/number", path, level="exact", size=200, split="all")
    examples = list(data)
    assert np.mean([data.expected(example) for example in examples]) == pytest.approx(0.4)
    assert np.mean([data.score_answer("<answer>3</answer>", example).value for example in examples]) == pytest.approx(
        0.4
    )
    report = ssl4rl.check(["qa/number"], data=path, n=64)
    assert [str(failure) for failure in report.failures] == []


def test_yes_and_no_are_told_to_lean(tmp_path: Path) -> None:
    rows = [
        {"question": f"Is it {n}?", "options": ["no", "yes"], "answer": "no" if n % 10 < 3 else "yes"}
        for n in range(200)
    ]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    data = create_dataset("qa/choice", path, size=200, split="all")
    examples = list(data)
    assert data.components[0].split.source.taken.endswith(
        "the option that is right most often elsewhere is right in 0.70, whatever is asked"
    )
    assert np.mean([data.chance(example) for example in examples]) == 0.5
    assert np.mean([data.expected(example) for example in examples]) == pytest.approx(0.7)
    report = ssl4rl.check(["qa/choice"], data=path, n=64)
    assert [str(failure) for failure in report.failures] == []


@pytest.mark.parametrize("kind", TASKS)
def test_rows_leave_the_house_and_are_scored_without_their_source(kind: str) -> None:
    data = create_dataset(f"qa/{kind}", size=3)
    verifier = data.components[0].verifier
    for example, made in zip(data, ssl4rl.rows(data), strict=True):
        info = json.dumps(made["info"])
        replies = [verifier.complete(example.answer), "<think>?</think><answer>17</answer>", "B", ""]
        for reply in replies:
            assert ssl4rl.score(reply, info) == data.score_answer(reply, example)
        assert ssl4rl.score(replies[0], info).value == 1.0
        assert len(made["images"]) == 1


def test_drawn_answers_are_what_is_drawn() -> None:
    """The right colour is that of the shape's pixels; the box is round it; as many as are asked for are there."""
    from ssl4rl.qa.drawn import COLOURS, question

    counts = Counter[int]()
    for index in range(60):
        item = question("text", index)
        box, colour = item.photos[0].shapes[0].box, item.answers[0]  # type: ignore[attr-defined]
        picture = np.asarray(item.photos[0].decode(200))
        x, y = (int(200 * (box[i] + box[i + 2]) / 2) for i in (0, 1))
        assert tuple(picture[y, x]) == COLOURS[str(colour)]
        choice = question("choice", index)
        assert len({*choice.options}) == 4
        number = question("number", index)
        kind = number.question.split()[2].removesuffix("es" if "crosses" in number.question else "s")
        shapes = number.photos[0].shapes  # type: ignore[attr-defined]
        assert sum(shape.kind == kind for shape in shapes) == number.answers[0]
        counts[number.answers[0]] += 1
        placed = question("box", index)
        first = placed.photos[0].shapes[0]  # type: ignore[attr-defined]
        assert placed.question == f"Where is the {first.kind}?"
        assert placed.answers == (first.box,)
    assert {*counts} == {1, 2, 3, 4, 5}
