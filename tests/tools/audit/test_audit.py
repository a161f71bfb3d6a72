"""The audit finds what is planted, says which it is, and raises no alarm where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl4rl import cli
from ssl4rl.core import registry
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.tools.audit import audit as audits
from ssl4rl.tools.audit.guess import Guess
from ssl4rl.tools.audit.records import Record, records, reshuffled
from ssl4rl.tools.audit.strategies import dealt, measure

LEAKY = str(Path(__file__).with_name("leaky_tasks.py"))
N = 150

PLANTED = [
    ("turned", "expand", "size"),
    ("turned", "corners", "border"),
    ("turned", "blur", "spectrum"),
    ("recompressed", "leaky", "jpeg"),
    ("sorted", "leaky", "option order"),
    ("skewed", "leaky", "answer frequency"),
    ("long", "leaky", "length"),
    ("neighbour", "node order", "option order"),
    ("neighbour", "degree", "mentions"),
    ("neighbour", "listed first", "mention order"),
    ("members", "leaky", "mention order"),
    ("crowd", "leaky", "option overlap"),
    ("odd_picture", "leaky", "option likeness"),
    ("everything", "leaky", "farming"),
]

HONEST = [
    (f"{LEAKY}:recompressed", "honest"),
    (f"{LEAKY}:sorted", "honest"),
    (f"{LEAKY}:skewed", "honest"),
    (f"{LEAKY}:long", "honest"),
    (f"{LEAKY}:neighbour", "honest"),
    (f"{LEAKY}:members", "honest"),
    (f"{LEAKY}:crowd", "honest"),
    (f"{LEAKY}:odd_picture", "honest"),
    (f"{LEAKY}:everything", "honest"),
]

SMALL = {
    "vision/rotation": "image_px=64",
    "vision/position": "image_px=96,piece_px=48",
    "vision/jigsaw": "image_px=96",
    "vision/masked_patch": "image_px=96,patch_px=48",
    "vision/contrastive": "view_px=64",
}
"""Sides at which the sweep makes and reads pictures quickly."""


def cases(all_of_them: list[tuple[str, ...]], quick: Sequence[tuple[str, ...]]) -> list[Any]:
    """All cases, those that are not among the quick ones marked slow."""
    return [case if case in quick else pytest.param(*case, marks=pytest.mark.slow) for case in all_of_them]


@pytest.mark.parametrize(("task", "level", "family"), cases(PLANTED, [PLANTED[0], *PLANTED[4:7], *PLANTED[11:]]))
def test_a_planted_leak_is_found_and_named(task: str, level: str, family: str) -> None:
    (found,) = audits.audit(f"{LEAKY}:{task}", level=level, n=N, twin=family in audits.CONTENT).levels
    assert family in [row.family for row in found.leaks], str(audits.Audited((found,)))


@pytest.mark.parametrize(("task", "level"), cases(HONEST, HONEST[1:4]))
def test_an_honest_task_passes(task: str, level: str) -> None:
    (found,) = audits.audit(task, level=level, n=N).levels
    assert found.leaks == [], str(audits.Audited((found,)))


def every_level() -> list[tuple[str, ...]]:
    """All levels of all installed tasks, whichever there are."""
    found: list[tuple[str, ...]] = []
    for name in registry.task_names():
        task, _ = registry.resolve(name)
        found += [(name, level) for level in task.levels]
    return found


def assert_no_leak(name: str, level: str, data: str | None, n: int) -> None:
    text = f"{level},{SMALL[name]}" if name in SMALL else level
    (found,) = audits.audit(name, data, text, n=n).levels
    assert found.leaks == [], str(audits.Audited((found,)))


@pytest.mark.parametrize(("name", "level"), [("vision/rotation", "90deg")])
def test_shipped_tasks_have_no_leak(name: str, level: str) -> None:
    assert_no_leak(name, level, None, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "level"), every_level())
def test_no_level_of_a_shipped_task_has_a_leak(name: str, level: str) -> None:
    assert_no_leak(name, level, None, 400)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "level"), [case for case in every_level() if case[0].startswith("vision/")])
def test_no_vision_task_has_a_leak_on_noise_of_many_aspects_or_on_scenes(name: str, level: str, tmp_path: Path) -> None:
    from PIL import Image

    from tests.tools.audit.leaky_tasks import noise

    source = noise("36")
    for index in range(len(source)):
        width, height = source[index].decode(1).size
        Image.fromarray(source[index].array).resize((3 * width, 3 * height)).save(tmp_path / f"{index}.png")
    assert_no_leak(name, level, str(tmp_path), 300)
    assert_no_leak(name, level, "scenes:", 300)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["nx:karate_club", "nx:les_miserables", "sbm:"])
@pytest.mark.parametrize(("name", "level"), [case for case in every_level() if case[0].startswith("graph/")])
def test_no_graph_task_has_a_leak_on_other_graphs(name: str, level: str, data: str) -> None:
    try:
        assert_no_leak(name, level, data, 300)
    except Ssl4rlError as error:
        pytest.skip(str(error))  # a task that needs node text or labels has no use for these


@cache
def honest_records() -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Records of a graph task and of its twin; answers to be reshuffled."""
    data = create_dataset(f"{LEAKY}:neighbour", level="degree", size=200, split="all")
    twin = audits.twin_of(data)
    assert twin is not None
    of_data, of_twin = honest_examples()
    return tuple(records(data, of_data)), tuple(records(twin, of_twin))


@cache
def honest_examples() -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    data = create_dataset(f"{LEAKY}:neighbour", level="degree", size=200, split="all")
    twin = audits.twin_of(data)
    assert twin is not None
    return tuple(data), tuple(twin)


def false_alarms(keys: int) -> int:
    """With so many reshuffled answer keys, how often a leak is seen."""
    data = create_dataset(f"{LEAKY}:neighbour", level="degree", size=200, split="all")
    alarms = 0
    for key in range(keys):
        rng = np.random.default_rng(key)
        verifier = data.components[0].verifier
        tried = [[one.guess() for one in measure(verifier, dealt(verifier, side, rng))] for side in honest_examples()]
        found = audits.judge(data, *(reshuffled(side, rng) for side in honest_records()), tried=(tried[0], tried[1]))
        alarms += bool(found.leaks)
    return alarms


@pytest.mark.slow
def test_reshuffled_answer_keys_raise_hardly_any_alarm() -> None:
    assert false_alarms(50) <= 2


@pytest.mark.slow
def test_a_few_reshuffled_keys_raise_no_alarm() -> None:
    assert false_alarms(3) == 0


def test_a_reshuffled_key_hides_a_leak() -> None:
    data = create_dataset(f"{LEAKY}:long", level="leaky", size=N, split="all")
    made = records(data, list(data))
    assert [row.family for row in audits.judge(data, made, [], "").leaks] == ["length"]
    assert audits.judge(data, reshuffled(made, np.random.default_rng(0)), [], "").leaks == []


def guess(family: str, p: float) -> Guess:
    return Guess(family, "answer", "linear", 100, 0.5, 0.4, 0.6, 0.25, p, "width")


def test_many_guesses_need_more_to_be_significant() -> None:
    few = [guess("size", 0.004), guess("length", 0.5)]
    assert [g.family for g in audits.significant(few)] == ["size"]
    assert audits.significant([*few, guess("jpeg", 0.6)]) == []  # 0.004 > 0.01 / 3
    two = [guess("length", 0.009), guess("size", 0.004)]
    assert [g.family for g in audits.significant(two)] == ["size", "length"]  # 0.01 / 2, then 0.01 / 1


def test_content_is_a_leak_only_without_content() -> None:
    def verdicts(data: list[Guess], twin: list[Guess], allowed: dict[str, str]) -> list[tuple[str, str]]:
        found = audits.Audit("t@1", "l", "x:", 0, 100, 100, "", tuple(data), tuple(twin), allowed)
        return [(row.family, row.verdict) for row in found.rows]

    sure, no = 1e-9, 0.5
    assert verdicts([guess("colour", sure)], [guess("colour", no)], {}) == [("colour", "content cue")]
    assert verdicts([guess("colour", no)], [guess("colour", sure)], {}) == [("colour", "LEAK")]
    assert verdicts([guess("size", sure)], [guess("size", no)], {}) == [("size", "LEAK")]
    assert verdicts([guess("likeness", sure)], [guess("likeness", sure)], {}) == [("likeness", "content cue")]
    assert verdicts([guess("mentions", no)], [guess("mentions", sure)], {"mentions": "why"}) == [
        ("mentions", "allowed")
    ]


def test_the_command_exits_1_on_a_leak(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["audit", f"{LEAKY}:skewed", "--level", "leaky", "-n", "200"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("leaky/skewed@1[leaky]  word:60, 200 examples of 60 items, seed 0\n")
    assert "no content-free twin: items of this kind have none" in out
    assert "LEAK answer frequency (one answer is right more often than the declared chance): constant guesses" in out
    assert out.rstrip().endswith("most telling: 'A' is right most often")


def test_the_command_as_json_exits_3_without_a_leak_and_without_a_twin(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["audit", f"{LEAKY}:skewed", "--level", "honest", "-n", "200", "--json"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert record["alpha"] == 0.01
    (found,) = record["audits"]
    assert (found["task"], found["level"], found["leak"], found["n"]) == ("leaky/skewed@1", "honest", False, 200)
    assert [row["family"] for row in found["families"]] == ["answer frequency", "length", "words"]
    assert found["families"][0]["data"]["chance"] == 0.25


def test_all_tasks_of_a_file_are_audited_and_its_page_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    """One of them leaks, so the command exits 1."""
    file = Path(LEAKY).with_name("two_tasks.py")
    assert cli.run(["audit", f"{file}:TASKS", "--level", "leaky", "-n", "100"]) == 1
    tables = capsys.readouterr().out.split("\n\n")
    assert [table.split("  ")[0] for table in tables] == ["leaky/skewed@1[leaky]", "leaky/long_prompt@1[leaky]"]
    found = audits.audit(f"{file}:TASKS", level="honest", n=100)
    assert found.tasks == ["leaky/skewed@1", "leaky/long_prompt@1"]
    assert "<h1>leaky/skewed@1, leaky/long_prompt@1</h1>" in found.page()
    assert "<h2>leaky/long_prompt@1 honest</h2>" in found.page()


def test_scikit_learn_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audits, "find_spec", lambda name: None)
    assert cli.run(["audit", "vision/rotation"]) == 2
    assert capsys.readouterr().err == "ssl4rl: scikit-learn is not installed; pip install 'ssl4rl[audit]'\n"
