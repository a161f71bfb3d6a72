"""Which column is which: guessed, said, named; what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.qa.tables.columns import choose
from tests.qa.helpers import answers, error, jsonl, pictures


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image"],
            "question=question, options=A,B,C,D, answer=answer, pictures=image, hint=hint",
        ),
        (["Query", "choices", "Label", "images"], "question=Query, options=choices, answer=Label, pictures=images"),
        (["problem", "solution"], "question=problem, answer=solution"),
        (["q", "option_a", "option_b", "answer_idx"], "question=q, options=option_a,option_b, answer=answer_idx"),
        (
            ["text", "choice1", "choice2", "choice3", "target"],
            "question=text, options=choice1,choice2,choice3, answer=target",
        ),
        (
            ["image_2", "image_1", "image_10", "question", "answer"],
            "question=question, answer=answer, pictures=image_1,image_2,image_10",
        ),
        (["image", "image_path", "question", "answer"], "question=question, answer=answer, pictures=image,image_path"),
        (["question", "answer", "unit"], "question=question, answer=answer, unit=unit"),
        (["question", "bbox", "image"], "question=question, answer=bbox, pictures=image"),
        (["question", "A", "C", "answer"], "question=question, answer=answer"),  # no B: A is an article's column
    ],
)
def test_columns_are_told_by_their_names(names: list[str], told: str) -> None:
    assert choose("x", names, {}).told() == told


def test_columns_that_are_named_come_first() -> None:
    names = ["question", "question_en", "answer", "gold", "x", "y", "img", "photo"]
    asked = {"question": "question_en", "answer": "gold", "options": "x,y", "image": "photo"}
    assert choose("x", names, asked).told() == "question=question_en, options=x,y, answer=gold, pictures=photo"


def test_the_same_question_of_all_rows() -> None:
    assert (
        choose("x", ["label", "image"], {"ask": "What is it?"}).told()
        == "ask='What is it?', answer=label, pictures=image"
    )


@pytest.mark.parametrize(
    ("names", "asked", "line"),
    [
        (["question", "answer"], {"answer": "anser"}, "'x' has no column 'anser' (answer); did you mean 'answer'?"),
        (
            ["question", "answer"],
            {"image": "picture"},
            "'x' has no column 'picture' (image); allowed: question, answer",
        ),
        (["question", "answer", "opts"], {"options": "opt"}, "'x' has no column 'opt' (options); did you mean 'opts'?"),
        (
            ["caption", "image"],
            {},
            "'x' has no column of answers (answer, answers, label, labels, gt, ...); it has: caption, image; name one: "
            "?answer=NAME",
        ),
        (
            ["id", "image", "conversations"],
            {},
            "'x' has no column of answers; its 'conversations' are turns of a conversation: write the question and the "
            "right answer in columns of their own",
        ),
        (
            ["label", "image"],
            {},
            "'x' has no column of questions (question, query, prompt, problem, instruction, ...); it has: label, "
            "image; name one: ?question=NAME, or ask the same of all: ?ask=TEXT",
        ),
    ],
)
def test_what_is_not_there_is_one_line(names: list[str], asked: dict[str, str], line: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        choose("x", names, asked)
    assert str(caught.value) == line


def test_other_columns_of_answers_are_named_where_the_one_taken_has_none(tmp_path: Path) -> None:
    """`label` is what the box is of."""
    pictures(tmp_path, "a.png", size=(200, 100))
    row = {"question": "Where?", "label": "cat", "bbox": [50, 50, 100, 100], "image": "a.png"}
    path = jsonl(tmp_path / "x.jsonl", row)
    assert error("box", f"{path}?coords=pixel") == (
        f"'jsonl:{path}' (question=question, answer=label, pictures=image): no row gives a qa/box question (x.jsonl "
        "row 1: its answer 'cat' is no box); other answers may be in bbox: ?answer=NAME"
    )
    assert answers("box", f"{path}?coords=pixel&answer=bbox") == [((0.25, 0.5, 0.5, 1.0),)]
