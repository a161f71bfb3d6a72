"""The probe: its rule on numbers written out, and the whole of it on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl4rl import Ssl4rlError, cli
from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.tools import asked
from ssl4rl.tools.probe import probe
from ssl4rl.tools.probe.advice import Row, advise, hints, recipe_lines
from ssl4rl.tools.probe.measure import clustered
from tests.core.grpo.runs import recipe, run
from tests.fakes import FAKES
from tests.pages import Page

LETTER, PAIR, PICTURE = (f"{FAKES}:{name}" for name in ("letter", "pair", "picture"))


def row(level: str = "easy", task: str = "a/task", **values: Any) -> Row:
    numbers = {"n": 24, "group": 8, "success": 0.4, "low": 0.35, "high": 0.45, "chance": 0.25, "read_success": 0.4}
    return Row(task, f"{task}@1", level, "many:60", **{**numbers, "signal": 0.2, "zero_variance": 0.2, **values})


@pytest.mark.parametrize(
    ("rates", "interval"),
    [
        ([0.0] * 24, (0, 0.138)),  # 0 of 24
        ([1.0] * 24, (0.862, 1)),
        ([0.0, 1.0] * 12, (0.314, 0.686)),  # completions of a prompt all alike: 12 of 24
        ([0.5] * 24, (0.430, 0.570)),  # alike in no way: 96 of 192
        ([0.25], (0.071, 0.591)),  # one prompt: 2 of 8
    ],
)
def test_intervals_are_over_prompts(rates: list[float], interval: tuple[float, float]) -> None:
    assert clustered(rates, 8) == pytest.approx(interval, abs=6e-4)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "learnable"),
        ({"unparsed": 0.3, "truncated": 0.25}, "format"),
        ({"unparsed": 0.2, "truncated": 0.4}, "truncated"),
        ({"success": 0.92, "signal": 0.05}, "solved"),
        ({"signal": 0.01}, "settled"),
        ({"success": 0.02, "low": 0.0, "signal": 0.01}, "too hard"),
        ({"why": "no items"}, "not served"),
    ],
)
def test_status(values: dict[str, Any], status: str) -> None:
    assert row(**values).status == status


def test_the_start_is_the_hardest_level_that_does_better_than_guessing() -> None:
    solved = row("1", success=0.95, low=0.9, signal=0.04)
    better, guess, hopeless = row("2"), row("3", low=0.2), row("4", success=0, low=0, signal=0)
    (advice,) = advise([solved, better, guess, hopeless, row("5", why="too few items")])
    assert advice.start == better
    assert advice.harder == ["3", "4"]
    easiest = row("2", signal=0.1, low=0.2)
    (advice,) = advise([easiest, guess, hopeless])
    assert advice.start == easiest
    assert advice.why == "it guesses at every level; this one is the easiest"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [row("1", unparsed=0.9, signal=0, read_success=0.31)],
            "the format is the obstacle: 90% had no readable answer; of the answers that could be read 0.31 were "
            "right, chance 0.25",
        ),
        (
            [row("1", truncated=1.0, signal=0, read_success=None)],
            "the format is the obstacle: 100% had no readable answer; no reply could be read",
        ),
        ([row("1", success=0.99, signal=0)], "its hardest level is solved"),
        ([row("1", signal=0)], "nearly all groups agree with themselves; a higher temperature may help"),
        ([row("1", success=0, low=0, signal=0)], "no level that it does not solve gives a signal; an easier level"),
        ([row("1", why="too few items")], "too few items"),
    ],
)
def test_why_there_is_nothing_to_learn_yet(rows: list[Row], why: str) -> None:
    (advice,) = advise(rows)
    assert advice.why.startswith(why)
    assert bool(advice.start) == why.startswith("the format")


def test_the_recipes_lines_can_be_pasted() -> None:
    rows = [row("1", "a/less", signal=0.1), row("2", "a/more", unusable=0.6), row("3", "a/more", low=0.1, too_long=2)]
    rows.append(row("4", "a/mute", unparsed=1.0, signal=0))
    advice = advise(rows)
    assert [one.task for one in advice] == ["a/more", "a/less", "a/mute"]
    text = recipe_lines(advice, "photos: 1/", "answer", 10**9)
    made = make_recipe({"name": "x", "model": {"path": "y"}, **yaml.safe_load(text)})
    assert [(task.task, task.level) for task in made.tasks] == [("a/more", "2"), ("a/less", "1")]
    assert (made.data, made.prompt.style, made.warmup.steps) == ("photos: 1/", "answer", 0)
    assert text.splitlines()[-2:] == ["#   a/more: levels: ['2', '3']", "# curriculum: {strategy: goldilocks}"]
    said = list(hints(rows, advice, "think"))
    assert said[0] == (
        "the format is an obstacle at a/mute@1[4]: a short format warm-up (warmup.steps=40, random answers, no task "
        "knowledge) or prompt.style=answer would fix it; probe again after it"
    )
    assert "prompt.style" not in next(hints(rows, advice, "answer"))
    assert said[1:3] == [
        "a/more@1[2]: 60% of the draws from this source could not be used",
        "a/more@1[3]: 2 prompts were too long and left out",
    ]
    assert said[3].startswith("a/more@1[2]: 1.2 prompts for one group with variance; making and sampling a step of 32")


@pytest.mark.parametrize(("parameters", "warmup"), [(10**6, {"steps": 40}), (10**9, {"steps": 40, "lr": 1e-05})])
def test_where_only_the_format_is_missing_the_recipe_warms_it_up(parameters: int, warmup: dict[str, Any]) -> None:
    advice = advise([row("1", unparsed=1.0, signal=0)])
    assert yaml.safe_load(recipe_lines(advice, None, "think", parameters))["warmup"] == warmup


def test_tasks_of_a_source() -> None:
    assert "vision/rotation" in probe.served_tasks("scenes:")
    assert not any(name.startswith("graph/") for name in probe.served_tasks("scenes:"))
    assert "vision/rotation" in probe.served_tasks(None)
    with pytest.raises(Ssl4rlError, match="unknown kind of source 'scnes:'"):
        probe.served_tasks("scnes:")
    with pytest.raises(Ssl4rlError, match="does not exist"):
        probe.served_tasks("no/such/folder")


SETTINGS: dict[str, Any] = {"n": 3, "group": 2, "style": "answer", "max_new_tokens": 4}


def test_what_a_source_or_a_model_cannot_serve_is_listed() -> None:
    found = probe.probe("embedded:tiny_vlm", [LETTER], data="words:broken,broken2,b,c,d,e,f", split="all", **SETTINGS)
    assert [row.status for row in found.rows] == ["truncated", "truncated"]
    assert found.rows[0].unusable < 0.5
    found = probe.probe("embedded:tiny_vlm", [LETTER, PAIR], data="words:broken,b", split="all", **SETTINGS)
    assert [row.status for row in found.rows][:2] == ["truncated", "truncated"]
    assert found.rows[2].why.startswith("fakes/pair found no usable example in 64 draws from words:broken,b (all)")
    found = probe.probe("embedded:tiny_vlm", [LETTER], level="hard", max_tokens=5, **SETTINGS)
    assert [row.level for row in found.rows] == ["hard"]
    assert found.rows[0].why.startswith("3 of 3 prompts are longer than 5 tokens (the longest: ")
    assert "not measured:\n  fakes/letter@1[hard]: 3 of 3 prompts" in str(found)
    assert found.recipe == ""


def test_levels_may_be_named_one_by_one() -> None:
    found = probe.probe("embedded:tiny_vlm", [LETTER], level=["easy,share=0.7", "hard"], **SETTINGS)
    assert [row.level for row in found.rows] == ["easy,share=0.7", "hard"]


def test_a_level_that_no_task_has_is_an_error() -> None:
    with pytest.raises(Ssl4rlError, match="unknown level 'hrad' of fakes/letter"):
        probe.probe("embedded:tiny_vlm", [LETTER], level="hrad", **SETTINGS)


def test_the_command_and_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a format warm-up the tiny model guesses, so there is a signal."""
    length = {"steps": 0, "checkpoint_every": 100}
    settings = recipe(tmp_path, text=True, warmup={"steps": 30, "prompts_per_step": 8}, train=length)
    run(settings)
    capsys.readouterr()
    arguments = ["probe", str(settings.folder), "--task", LETTER, "-n", "6", "--group", "4", "--json"]
    page = tmp_path / "probe.html"
    assert cli.run([*arguments, "--out", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == f"{page}\n"
    record = json.loads(out)
    easy, hard = record["rows"]
    assert (easy["level"], easy["n"], easy["group"], easy["chance"], hard["chance"]) == ("easy", 6, 4, 0.5, 0.25)
    assert easy["unparsed"] + easy["truncated"] < 0.5
    assert easy["signal"] > 0.04
    assert easy["ci95"][0] < easy["success"] < easy["ci95"][1]
    assert record["advice"][0]["level"] in ("easy", "hard")
    assert yaml.safe_load(record["recipe"])["tasks"][0]["task"] == LETTER
    shown = Page(page.read_text())
    assert shown.open == []
    assert "fakes/letter" in shown.text
    assert "else at the easiest learnable one" in shown.text
    assert "src=" not in page.read_text()
    again = probe.probe(str(settings.folder), [LETTER], n=6, group=4)
    assert [{**r.to_json(), "seconds_per_prompt": 0} for r in again.rows] == [
        {**r, "seconds_per_prompt": 0} for r in record["rows"]
    ]


def test_a_probe_that_measured_nothing_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["probe", "embedded:tiny_vlm", "--task", LETTER, "--level", "hard", "-n", "2", "--group", "2", "--json"]
    assert cli.run([*line, "--max-tokens", "5"]) == 2
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["why"].startswith("2 of 2 prompts are longer than 5 tokens")


def test_help_needs_no_torch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = asked.find_spec
    monkeypatch.setattr(asked, "find_spec", lambda name: None if name == "torch" else find(name))
    assert cli.run(["probe", "--help"]) == 0
    assert "Completions of each example" in capsys.readouterr().out
    assert cli.run(["probe", "x"]) == 2
    assert capsys.readouterr().err == "ssl4rl: torch is not installed; pip install 'ssl4rl[train]'\n"
