"""Reward functions: how they are found, how they are asked, and what of theirs is refused."""

from pathlib import Path
from typing import Any

import pytest

from ssl4rl import Example, Key, Score, Ssl4rlError
from ssl4rl.core.reward import Reply, RewardFault, Rewards, load_reward
from ssl4rl.core.verify import Choice

KEY = Key("fakes/letter@1", "easy", 3, 7)
EXAMPLE = Example(("Which letter?",), "A", KEY)
REPLIES = [Reply("<answer>A</answer>", [1, 2, 3]), Reply("<answer>B</answer> or B or B", [1] * 9, truncated=True)]
SCORES = [
    Score(1.0, "correct", "A", {"accuracy": 1.0, "format": 1.0}),
    Score(0.0, "wrong", "B", {"accuracy": 0.0, "format": 0.0}),
]


def added(*names: str) -> list[Score]:
    rewards = Rewards.of(dict.fromkeys(["accuracy", "format", *names], 1.0), [Choice("AB")], max_new_tokens=10)
    return rewards.added(EXAMPLE, "Answer in a tag.", REPLIES, SCORES)


def own(folder: Path, code: str, name: str = "f") -> str:
    file = folder / f"{folder.name}_mine.py"
    file.write_text(code)
    return f"{file}:{name}"


def test_one_reply_at_a_time(tmp_path: Path) -> None:
    name = own(
        tmp_path,
        "def f(completion, tokens, score, example):\n    return tokens + 100 * (score.parsed == example.answer)",
    )
    assert [score.parts[name] for score in added(name)] == [103.0, 9.0]


def test_the_verifiers_parts_stay_and_all_are_weighed() -> None:
    first, second = added("length")
    assert first.parts == {"accuracy": 1.0, "format": 1.0, "length": 3.0}
    assert (first.value, first.verdict, first.parsed) == (1.0, "correct", "A")
    weights = {"accuracy": 1.0, "format": 0.1, "length": -0.01}
    assert [round(score.reward(weights), 6) for score in (first, second)] == [1.07, -0.09]


def test_the_replies_to_one_prompt_together(tmp_path: Path) -> None:
    name = own(tmp_path, "def f(replies, truncated):\n    return [len(replies) - cut for cut in truncated]")
    assert [score.parts[name] for score in added(name)] == [2.0, 1.0]


def test_as_trl_calls_it(tmp_path: Path) -> None:
    code = (
        "def f(prompts, completions, answer, **columns):\n"
        "    assert columns['task'] == ['fakes/letter@1'] * 2 and columns['completion_ids'][0] == [1, 2, 3]\n"
        "    assert prompts[0][0]['content'][0]['text'] == 'Which letter?\\nAnswer in a tag.'\n"
        "    return [None if a in c[0]['content'] else 0.5 for c, a in zip(completions, answer)]\n"
    )
    name = own(tmp_path, code)
    assert [score.parts[name] for score in added(name)] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("length", [3.0, 9.0]),
        ("overlong", [0.0, -1.0]),
        ("agreement", [1.0, 0.0]),  # a vote each: the first
        ("repetition", [0.0, 0.0]),
    ],
)
def test_shipped(name: str, values: list[float]) -> None:
    assert [score.parts[name] for score in added(name)] == values


@pytest.mark.parametrize(("tokens", "value"), [(80, 0.0), (90, -0.5), (95, -0.75), (100, -1.0), (120, -1.0)])
def test_overlong_falls_over_the_last_fifth(tokens: int, value: float) -> None:
    from ssl4rl.rewards.length import overlong

    assert overlong(tokens=tokens, max_new_tokens=100, truncated=False, completion="") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a b c d e", 0.0), ("a b c a b c a b c", -4 / 7), ("no no no no no", -2 / 3), ("a b c", 0.0), ("", 0.0)],
)
def test_repetition_counts_trigrams_said_before(text: str, value: float) -> None:
    from ssl4rl.rewards.repetition import repetition

    assert repetition(text) == pytest.approx(value)


def test_agreement_is_the_groups_vote() -> None:
    from ssl4rl.rewards.agreement import agreement

    said = [Score(0.0, "wrong", answer) for answer in ([1, 2], [2, 1], [2, 1], None)]
    assert agreement(["", "", "", ""], said) == [0.0, 1.0, 1.0, 0.0]
    assert agreement(["", ""], [Score(0.0, "unparsed"), Score(0.0, "unparsed")]) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def f(completion): raise KeyError('x')", "reward '{name}' raised KeyError on {key}: 'x'"),
        ("def f(completion): return float('nan')", "reward '{name}' returned nan on {key}; allowed: finite numbers"),
        ("def f(replies): return [1.0]", "reward '{name}' returned 1 values for 2 replies on {key}"),
        ("def f(replies): return 1.0", "reward '{name}' returned float for 2 replies on {key}"),
        (
            "def f(completion): return 'much'",
            "reward '{name}' raised ValueError on {key}: could not convert string to float: 'much'",
        ),
    ],
)
def test_a_fault_names_the_function_and_the_example(tmp_path: Path, code: str, line: str) -> None:
    name = own(tmp_path, code)
    with pytest.raises(RewardFault) as caught:
        added(name)
    assert str(caught.value) == line.format(name=name, key="fakes/letter@1[easy] seed=3 index=7 attempt=0")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "lenght",
            "reward: unknown part 'lenght'; did you mean 'length'?; allowed: accuracy, format, agreement, box_iou, "
            "length, likeness, overlong, repetition, or './my.py:function'",
        ),
        ("./nowhere.py:f", "plugin file './nowhere.py' does not exist"),
    ],
)
def test_an_unknown_function_is_one_line(name: str, line: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        load_reward(name)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("def g(completion): return 0", "has no 'f'; allowed: g"),
        ("f = 3", "is a int; allowed: a function"),
        (
            "def f(text): return 0",
            "takes text; it needs a parameter 'completion' (one reply), 'replies' (those to one prompt) or "
            "'completions' (as TRL's)",
        ),
        (
            "def f(completion, mood): return 0",
            "asks for mood; allowed: completion, example, max_new_tokens, score, tokens, truncated",
        ),
    ],
)
def test_a_function_that_cannot_be_asked_is_one_line(tmp_path: Path, code: str, end: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        load_reward(own(tmp_path, code))
    assert str(caught.value).endswith(end)


def test_values_outside_their_range_are_said_once(tmp_path: Path) -> None:
    name = own(tmp_path, "def f(completion): return 3\nf.range = (0, 1)")
    rewards = Rewards.of({name: 1.0}, [Choice("AB")], max_new_tokens=10)
    assert rewards.news() == []
    rewards.added(EXAMPLE, "", REPLIES, SCORES)
    assert rewards.news() == [f"reward '{name}': values outside its range 0 to 1"]
    rewards.added(EXAMPLE, "", REPLIES, SCORES)
    assert rewards.news() == []


def test_a_verifiers_own_part_needs_no_function() -> None:
    class Neat(Choice):
        parts: Any = ("accuracy", "format", "neat")

    assert Rewards.of({"accuracy": 1.0, "neat": 0.5}, [Neat("AB")], max_new_tokens=10).functions == []


def test_box_iou_grows_beyond_what_counts_as_right() -> None:
    from ssl4rl.core.verify import Box
    from ssl4rl.rewards.boxes import box_iou

    example = Example(("Where?",), [0, 0, 50, 40], KEY, {"accepted": [[60, 60, 80, 80]]})
    expected = {"0,0,50,40": 1.0, "0,0,50,32": 0.8, "25,0,75,40": 1 / 3, "60,60,80,70": 0.5, "90,90,99,99": 0.0}
    for text, value in expected.items():
        score = Box().score(f"<answer>{text}</answer>", example)
        assert box_iou(text, score, example) == pytest.approx(value)
    assert box_iou("?", Box().score("somewhere", example), example) == 0.0
    assert load_reward("ssl4rl.rewards.boxes:box_iou").range == (0.0, 1.0)
