"""What a task's example must hold for its verifier: one line that names the task, never a traceback later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import Any

import numpy as np
import pytest

from ssl4rl import cli
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.core.verify import (
    Angle,
    Box,
    Choice,
    EdgeSet,
    FreeText,
    Integer,
    NodeSet,
    Number,
    Path,
    Permutation,
    Several,
    Text,
    Verifier,
)

NODES = {"nodes": ["a", "b", "c", "d"]}
GOOD: list[tuple[Verifier, Any, Mapping[str, Any]]] = [
    (Choice("ABCD"), "B", {"options": 3, "option_texts": ["x", "y", "z"], "accepted": ["C"]}),
    (Choice("ABCD", by_example=True), "B", {"options": 3, "guess": "A"}),
    (Text(), "x", {"candidates": ["x", "y"], "accepted": ["y"]}),
    (FreeText(partial=0.5), "a red car", {"accepted": ["car"], "guess": "blue"}),
    (Integer(1, 9), 4, {"accepted": [5]}),
    (Number(0.1, 0.1), 4.5, {"accepted": [5], "unit": "cm", "guess": 4}),
    (Angle(90), 90, {"accepted": [180]}),
    (Permutation(3), [2, 1, 3], {"accepted": [[1, 2, 3]]}),
    (Box(), [10, 10, 40, 40], {"accepted": [[20, 20, 50, 50]], "guess": [0, 0, 50, 50]}),
    (Box(unit="pixel"), [10, 10, 40, 40], {"size": [64, 48]}),
    (NodeSet(), ["a", "b"], {**NODES, "count": 2, "accepted": [["a", "c"]]}),
    (EdgeSet(), [["a", "b"]], {**NODES, "candidates": [["a", "b"], ["c", "d"]]}),
    (Path(), ["a", "b", "c"], {**NODES, "edges": [["a", "b"], ["b", "c"]], "paths": 1, "directed": False}),
    (Several(Choice("AB"), 2), ["A", "B"], {"questions": [{"options": 2}, {}]}),
]
BAD = [
    None,
    0,
    -1,
    7,
    2.5,
    float("nan"),
    True,
    "",
    "abc",
    b"abc",
    [],
    ["x"],
    [["x"]],
    [None],
    [1, 2],
    {"x": 1},
    object(),
]


def used(verifier: Verifier, example: Example) -> None:
    """All that is asked of a verifier in a run."""
    rng = np.random.default_rng(0)
    verifier.notes(example)
    verifier.chance(example)
    verifier.expected(example)
    guesses = [verifier.random_answer(example, rng), verifier.best_guess(example, rng), *example.accepted]
    for reply in [*(verifier.complete(guess) for guess in guesses), "<answer>B: x</answer>", "<answer>1, 2</answer>"]:
        score = verifier.score(reply, example)
        assert 0 <= score.value <= 1


@pytest.mark.parametrize(("verifier", "answer", "meta"), GOOD, ids=lambda x: type(x).__name__)
def test_what_is_right_passes_and_all_else_is_one_line(
    verifier: Verifier, answer: Any, meta: Mapping[str, Any]
) -> None:
    verifier.require(Example(("?",), answer, meta=meta))
    used(verifier, Example(("?",), answer, meta=meta))
    lines: list[str] = []
    keys = {*meta, "accepted", "options", "option_texts", "candidates", "nodes", "count", "guess", "unit", "size"}
    examples = [Example(("?",), bad, meta=meta) for bad in BAD]
    examples += [Example(("?",), answer, meta={**meta, key: bad}) for key in sorted(keys) for bad in BAD]
    examples += [Example(("?",), answer, meta={k: v for k, v in meta.items() if k != gone}) for gone in meta]
    examples += [Example(("?",), answer, meta=bad) for bad in BAD]
    for example in examples:
        try:
            verifier.require(example)
        except Ssl4rlError as error:
            lines.append(str(error))
        else:
            used(verifier, example)
    assert len(lines) > len(BAD)
    assert [line for line in lines if "\n" in line or "; allowed: " not in line] == []


@pytest.mark.parametrize(
    ("verifier", "meta", "answer", "line"),
    [
        (
            Choice("ABCD"), {"options": ["x", "y"]}, "A",
            "meta['options'] is list ['x', 'y']; allowed: a whole number from 1 to 4 (how many of the options are "
            "open, from the first on)",
        ),
        (Choice("AB"), {"options": 0}, "A", "meta['options'] is int 0; allowed: a whole number from 1 to 2"),
        (Choice("AB"), {"accepted": "B"}, "A", "meta['accepted'] is str 'B'; allowed: a list of further right answers"),
        (Choice("AB"), {"option_texts": None}, "A", "meta['option_texts'] is None; allowed: a list of texts"),
        (Choice("AB"), [("options", 2)], "A", "meta is list [('options', 2)]; allowed: a mapping"),
        (Text(), {"candidates": []}, "x", "meta['candidates'] is list []; allowed: a list of 1 or more texts"),
        (NodeSet(), {}, ["a"], "meta['nodes'] is None; allowed: a list of 1 or more names that an answer may use"),
        (NodeSet(), {"nodes": ["a"]}, ["b"], "a node of the answer is str 'b'; allowed: names that are in meta"),
        (Permutation(3), {}, "321", "answer is str '321'; allowed: an order: a list of whole numbers, each once"),
        (Box(), {}, [1, 2, 3], "answer is list [1, 2, 3]; allowed: a box: four numbers x0, y0, x1, y1"),
        (Number(), {"guess": "four"}, 4, "meta['guess'] is str 'four'; allowed: a number"),
    ],
)  # fmt: skip
def test_the_line(verifier: Verifier, meta: Any, answer: Any, line: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        verifier.require(Example(("?",), answer, meta=meta))
    assert str(caught.value).startswith(line)


TASK = '''
from ssl4rl import Choice, Example, Source, Task

class Numbers(Source):
    uri = "numbers:"
    def __len__(self): return 40
    def __getitem__(self, index): return index
    def id(self, index): return str(index)

class Wrong(Task):
    """Wrong."""
    name, version, draws, levels, data = "wrong/one", 1, 1, {{"a": {{}}}}, "numbers:"
    verifier = Choice("ABCD")
    def make(self, items, level, rng):
        return {made}

TASKS = {{"one": Wrong}}
SOURCES = {{"numbers": lambda rest: Numbers()}}
'''


def written(tmp_path: File, name: str, made: str) -> str:
    file = tmp_path / f"{name}.py"
    file.write_text(TASK.format(made=made))
    return f"{file}:TASKS"


@pytest.mark.parametrize(
    ("name", "made", "line"),
    [
        (
            "a_list",
            'Example(("?",), "A", meta={"options": ["x", "y"]})',
            "meta['options'] is list ['x', 'y']; allowed: ",
        ),
        (
            "a_dict",
            'Example(("?",), "A", meta={"options": {"A": "x"}})',
            "meta['options'] is dict {'A': 'x'}; allowed: ",
        ),
        ("no_meta", 'Example(("?",), "A", meta=None)', "meta is None; allowed: a mapping"),
        ("no_example", '("?", "A")', "what make() returned is tuple ('?', 'A'); allowed: an Example"),
        ("a_text", 'Example("?", "A")', "prompt is str '?'; allowed: a tuple of texts and Media"),
        ("a_number", 'Example(("?", 7), "A")', "prompt is tuple ('?', 7); allowed: a tuple of texts and Media"),
    ],
)
def test_a_plugins_slip_names_its_task_and_exits_with_2(
    tmp_path: File, capsys: pytest.CaptureFixture[str], name: str, made: str, line: str
) -> None:
    task = written(tmp_path, name, made)
    with pytest.raises(Ssl4rlError) as caught:
        create_dataset(task, level="a,questions=2", size=1)[0]
    assert str(caught.value).startswith(f"wrong/one made an example that cannot be scored: {line}")
    assert cli.run(["preview", task]) == 2
    told: Sequence[str] = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert line in told[0]
