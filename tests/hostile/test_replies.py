"""The whole corpus of replies (it takes a second), and Hypothesis on what is read as an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl import create_dataset
from ssl4rl.core.types import VERDICTS, Example
from ssl4rl.core.verify import STYLES, EdgeSet, NodeSet
from tests.hostile.replies import filled, main, right_replies, run, spoiled_replies
from tests.hostile.reply_cases import CASES, UNREAD
from tests.hostile.reply_wrappers import INSIDE, ROUND, SPOILED

GLUE = " ,;:/|-\n()[]{}*`\"'$_~<>=&"
PIECES = [
    *("<answer>", "</answer>", "<ANSWER >", "</ answer>", "<think>", "</think>", "&lt;answer&gt;", "<|im_end|>", "</s>",
    "**", "```", "\\boxed{", "}"),
    *("\\text{", "$", "(", ")", "[", "]", ",", ";", "\n", "- ", "1. ", "not ", " or ", " and ", "Answer: ", "->", "–",
    "。", "\u200b", "\u00a0", "º", "²"),
    *(case.text for case in CASES.values()), *(wrong for case in CASES.values() for wrong in case.wrong),
]  # fmt: skip
ONE_ANSWER = [name for name, case in CASES.items() if not isinstance(case.verifier, NodeSet | EdgeSet)]


def test_right_replies_are_read() -> None:
    found = run(right_replies())
    assert found.right >= 1000
    assert found.exceptions == []
    assert found.read_share >= 0.95
    assert {(reply.case, reply.kind) for reply, _ in found.unread} == {(c, f"spelled {t!r}") for c, t in UNREAD}


def test_nothing_is_paid_wrongly() -> None:
    found = run(spoiled_replies())
    assert found.spoiled >= 300
    assert found.exceptions == []
    assert found.paid == []


def test_the_counts_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", str(tmp_path / "counts.json")]) == 0
    counts = json.loads((tmp_path / "counts.json").read_text())["replies"]
    assert (counts["exceptions"], counts["paid_wrongly"]) == (0, 0)
    assert f"read_share             {counts['read_share']}" in capsys.readouterr().out


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    text=st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=14).map("".join),
    case=st.sampled_from(sorted(CASES)),
    style=st.sampled_from([None, *STYLES]),
    truncated=st.booleans(),
)
def test_any_text_gets_one_verdict(text: str, case: str, style: str | None, truncated: bool) -> None:
    for whole in (text, f"<answer>{text}</answer>"):
        scores = [
            CASES[case].verifier.score(whole, CASES[case].example, style=style, truncated=truncated)  # type: ignore[arg-type]
            for _ in range(2)
        ]
        assert scores[0] == scores[1]
        assert scores[0].verdict in VERDICTS
        assert 0 <= scores[0].value <= 1
        assert (scores[0].parsed is None) == (scores[0].verdict in ("unparsed", "truncated"))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(ONE_ANSWER),
    glue=st.text(GLUE, min_size=1, max_size=5)
    | st.sampled_from([" or ", " and ", " then ", " / ", "\nor\n", " not ", " to "]),
    inside=st.sampled_from(sorted(INSIDE)),
    first=st.booleans(),
    data=st.data(),
)
def test_two_answers_in_one_tag_never_pay(case: str, glue: str, inside: str, first: bool, data: st.DataObject) -> None:
    wrong = data.draw(st.sampled_from(CASES[case].wrong))
    row = (CASES[case].text, wrong) if first else (wrong, CASES[case].text)
    both = INSIDE[inside].replace("%", glue.join(row))
    score = CASES[case].verifier.score(f"<answer>{both}</answer>", CASES[case].example)
    assert score.value == 0


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(sorted(CASES)),
    rounds=st.tuples(st.sampled_from(sorted(ROUND)), st.sampled_from(sorted(ROUND))),
    insides=st.tuples(st.sampled_from(sorted(INSIDE)), st.sampled_from(sorted(INSIDE))),
    between=st.sampled_from(["", "\n", " no, ", " or ", "<|im_end|>", "<think>hm ", "</answer>", "<answer>"]),
    first=st.booleans(),
    data=st.data(),
)
def test_two_answers_in_two_tags_never_pay(
    case: str,
    rounds: tuple[str, str],
    insides: tuple[str, str],
    between: str,
    first: bool,
    data: st.DataObject,
) -> None:
    """Unless a thought closes between them: then the second alone is the answer, whatever it earns."""
    wrong = data.draw(st.sampled_from(CASES[case].wrong))
    row = (CASES[case].text, wrong) if first else (wrong, CASES[case].text)
    parts = [
        ROUND[around].replace("%", INSIDE[inside].replace("%", text))
        for around, inside, text in zip(rounds, insides, row, strict=True)
    ]
    reply = between.join(parts)
    score = CASES[case].verifier.score(reply, CASES[case].example)
    if re.search("/think", ROUND[rounds[1]].partition("%")[0], re.IGNORECASE):
        assert score.verdict != "correct" or not first
    else:
        assert score.value == 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(sorted(CASES)),
    kind=st.sampled_from(sorted(SPOILED)),
    inside=st.sampled_from(sorted(INSIDE)),
    around=st.sampled_from(sorted(ROUND)),
)
def test_a_spoiled_answer_in_any_wrapper_never_pays(case: str, kind: str, inside: str, around: str) -> None:
    found = CASES[case]
    spoiled = filled(SPOILED[kind], found.text, found.wrong[0])
    reply = ROUND[around].replace("%", INSIDE[inside].replace("%", spoiled))
    score = found.verifier.score(reply, found.example)
    assert score.verdict != "correct"
    assert score.value == 0 or kind.startswith("fence with the other")  # of sets, a larger set


@pytest.mark.parametrize(
    ("task", "level", "data"),
    [
        ("graph/masked_node", "text", "debian:"),
        ("graph/masked_node", "text,questions=2", "debian:"),
        ("graph/link_prediction", None, "debian:"),
        ("graph/masked_edge", None, "nx:karate_club"),
        ("graph/perturbed_edge", None, "nx:karate_club"),
        ("graph/motifs", None, "nx:karate_club"),
    ],
)
def test_a_letter_with_its_options_own_text_in_real_tasks(task: str, level: str | None, data: str) -> None:
    """Also without the prompt, as a row that left the house is scored."""
    dataset = create_dataset(task, data, size=4, seed=0, level=level)
    for example in dataset:
        asked = example.meta.get("questions", [example.meta])
        answers = example.answer if "questions" in example.meta else [example.answer]
        letters = dataset.component_of(example).verifier
        options = getattr(getattr(letters, "each", letters), "options", ())
        said = [f"{a}: {meta['option_texts'][list(options).index(a)]}" for a, meta in zip(answers, asked, strict=True)]
        others = [
            f"{a}: {meta['option_texts'][list(options).index(a) - 1]}" for a, meta in zip(answers, asked, strict=True)
        ]
        assert all(text.partition(": ")[2] in example.text() for text in said)
        bare = Example((), example.answer, meta=example.meta)
        for whole in (example, bare):
            assert letters.score(f"<answer>{'; '.join(said)}</answer>", whole).verdict == "correct"
            assert letters.score(f"<answer>{'; '.join(others)}</answer>", whole).verdict == "unparsed"
