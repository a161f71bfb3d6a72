"""train, eval and report as a person runs them, on the smallest model there is."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl4rl import cli
from ssl4rl.core.grpo import run as grpo_run
from ssl4rl.core.grpo.record.console import Interrupted
from ssl4rl.tools import asked

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "model": {"path": "embedded:tiny_vlm"},
    "data": "scenes:",
    "tasks": [{"task": "vision/rotation", "level": "90deg,original=false,image_px=32"}],
    "prompt": {"style": "answer"},
    "sampling": {"max_new_tokens": 6},
    "warmup": {"steps": 1, "prompts_per_step": 2},
    "grpo": {"group_size": 2, "prompts_per_step": 2},
    "train": {"steps": 2},
    "eval": {"n": 8, "every": 1, "n_during": 4},
}
Trained = tuple[Path, str, str]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("train") / "tiny.yaml"
    file.write_text(yaml.safe_dump(RECIPE | {"out": str(file.parent / "runs")}))
    return file


@pytest.fixture(scope="module")
def trained(recipe: Path) -> Trained:
    """The run's folder, and what went to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.run(["train", str(recipe), "grpo.group_size=3"]) == 0
    return recipe.parent / "runs" / "tiny", out.getvalue(), err.getvalue()


def test_a_run_leaves_all_its_files(trained: Trained) -> None:
    folder, _, _ = trained
    names = ["checkpoints", "curve.png", "final", "metrics.jsonl", "recipe.yaml", "report.html", "rollouts.jsonl"]
    assert sorted(p.name for p in folder.iterdir()) == [*names, "summary.json"]
    assert (folder / "final" / "model.safetensors").is_file()
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["grpo"]["group_size"] == 3
    phases = [json.loads(line)["phase"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert phases == ["warmup", "eval", "train", "eval", "train", "eval"]


def test_the_summary_has_the_promised_names(trained: Trained) -> None:
    summary = json.loads((trained[0] / "summary.json").read_text())
    assert set(summary) >= {"task", "model", "engine", "seconds", "steps", "before", "after"}
    for part in ("before", "after"):
        assert set(summary[part]) >= {"accuracy", "ci95", "chance", "unparsed", "n"}
        assert (summary[part]["n"], summary[part]["chance"]) == (8, 0.25)
    assert (summary["model"], summary["engine"], summary["steps"]) == ("embedded:tiny_vlm", "native", 2)


def test_training_says_what_a_person_should_know(trained: Trained) -> None:
    folder, out, err = trained
    assert err == ""
    lines = out.splitlines()
    for start in ("first prompt:", "first completion:", "verdict:", "held out, before GRPO: accuracy", "before GRPO  "):
        assert any(line.startswith(start) for line in lines)
    assert any(line.endswith("- chance 0.25") for line in lines)
    assert lines[-3:] == [str(folder / name) for name in ("report.html", "curve.png", "final")]


def test_the_report_shows_the_pictures_of_the_rollouts(trained: Trained) -> None:
    page = (trained[0] / "report.html").read_text()
    assert "Pictures are left out" not in page
    assert page.count("<img src=") == page.count("<article>") == 4


def test_json_is_the_summary_alone(recipe: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", str(recipe), "grpo.group_size=3", "resume=true", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out == (trained[0] / "summary.json").read_text()
    assert "is finished; nothing to resume" in err


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "already holds a run; resume=true continues it"),
        (["grpo.gruop_size=3"], "unknown key 'grpo.gruop_size'; did you mean 'group_size'?"),
        (["name=other", "tasks.0.task=vision/rotatoin"], "unknown task 'vision/rotatoin'; did you mean"),
        (["name=other", "model.path=nowhere/at-all/really"], "'nowhere/at-all/really'"),
    ],
)
def test_what_a_person_can_mend_in_a_recipe(
    recipe: Path, overrides: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train", str(recipe), *overrides]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert line in err


def test_a_time_limit_ends_with_a_whole_evaluation(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["name=late", "train.max_seconds=0.001", "train.steps=1000", "--json"]
    assert cli.run(["train", str(recipe), *arguments]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["steps"] < 1000
    assert summary["after"]["n"] == 8


def test_an_interrupt_says_how_to_go_on(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Interrupted("stopped after step 3 of 9; resume=true goes on from here")

    monkeypatch.setattr(grpo_run, "train", stop)
    assert cli.run(["train", str(recipe)]) == 130
    assert capsys.readouterr().err.strip() == "ssl4rl: stopped after step 3 of 9; resume=true goes on from here"


@pytest.mark.parametrize("place", ["/proc/nope", "/sys/nope", "read_only"])
def test_a_place_that_cannot_be_written_to_is_one_line(
    place: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is loaded."""
    if place == "read_only":
        place = str(tmp_path / "read_only")
        Path(place).mkdir(mode=0o500)
        if os.access(place, os.W_OK):
            pytest.skip("root writes everywhere")
    assert cli.run(["train", str(recipe), f"out={place}", "model.path=/nowhere"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ssl4rl: cannot write '{place}/")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [["train", "{recipe}"], ["eval", "x", "--task", "vision/rotation"]])
def test_without_torch_there_is_one_line(
    command: list[str], recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[[str], Any] = asked.find_spec
    monkeypatch.setattr(asked, "find_spec", lambda name: None if name == "torch" else find(name))
    assert cli.run([part.format(recipe=recipe) for part in command]) == 2
    assert capsys.readouterr().err == "ssl4rl: torch is not installed; pip install 'ssl4rl[train]'\n"


def test_eval_asks_a_runs_model_as_the_run_did(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    level = ["--level", "90deg,original=false,image_px=32", "--data", "scenes:", "-n", "5"]
    for place in (trained[0], trained[0] / "final"):
        assert cli.run(["eval", str(place), "--task", "vision/rotation", *level, "--json"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        record = json.loads(out)
        assert list(record) == ["model", "taken", "results"]
        (result,) = record["results"]
        assert list(result) == [
            *("task", "level", "data", "split", "seed", "style", "accuracy", "ci95", "chance", "value", "unparsed"),
            *("truncated", "n", "answers", "seconds"),
        ]
        assert (result["style"], result["split"], result["n"], result["chance"]) == ("answer", "held_out", 5, 0.25)
        assert sum(result["answers"].values()) == 5


def test_eval_of_several_tasks_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = ["--task", "vision/rotation", "--task", "vision/jigsaw"]
    options = ["--data", "scenes:", "-n", "3", "--max-new-tokens", "3", "--temperature", "1", "--system", "Look."]
    assert cli.run(["eval", "embedded:tiny_vlm", *tasks, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("@")[0] for line in lines[::3]] == ["vision/rotation", "vision/jigsaw"]
    assert "reply style think" in lines[0]
    assert lines[1].startswith("  accuracy 0.000 (95 % 0.000-")
    assert "chance 0.5, unparsed" in lines[1]
    assert lines[2] == "  answers: no answer (3x)"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["embedded:tiny_vlm"], "ssl4rl eval: missing option '--task'"),
        (["embedded:tiny_vlm", "--task", "vision/rotatoin"], "unknown task 'vision/rotatoin'"),
        (["embedded:tiny_vlm", "--task", "vision/rotation", "--style", "x"], "unknown prompt style 'x'"),
        (["embedded:tiny_vlm", "--task", "vision/rotation", "--split", "x"], "unknown split 'x'"),
        (["embedded:tiny_vlm", "--task", "vision/rotation", "--held-out", "2"], "held_out is 2.0"),
        (["embedded:tiny", "--task", "vision/rotation", "--data", "scenes:"], "tiny"),
    ],
)
def test_what_a_person_can_mend_in_eval(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["eval", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert line in err


def test_report_of_runs(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(trained[0])
    assert cli.run(["report", folder, folder, "--out", str(tmp_path / "both.html")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "both.html"), str(tmp_path / "both.png")]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.run(["report", folder]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{folder}/report.html"]
    assert err == f"ssl4rl: no {folder}/curve.png: it needs matplotlib; pip install 'ssl4rl[report]'\n"
    assert cli.run(["report", str(tmp_path / "none")]) == 2
    assert cli.run(["report"]) == 2
    assert "missing argument 'RUN_DIR...'" in capsys.readouterr().err
