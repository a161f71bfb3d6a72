"""The scripts in examples/vision and examples/extending, and the notebooks, as a user would run them."""

from __future__ import annotations

import runpy
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ssl4rl
from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import make_recipe
from tests.notebooks import run_notebook

ROOT = Path(__file__).parents[1]
VISION, EXTENDING, NOTEBOOKS = (ROOT / "examples" / name for name in ("vision", "extending", "notebooks"))
PHOTOS = ROOT / "ssl4rl" / "embedded" / "photos"


def call(name: str, *arguments: str) -> Any:
    return runpy.run_path(str(VISION / f"{name}.py"))["main"](list(arguments))


@pytest.mark.parametrize("file", sorted(VISION.glob("*.py")), ids=lambda file: file.stem)
def test_short_and_with_numbers(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 60
    assert "CPU core" in text
    assert "chance" in text


def test_score_in_own_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = call("score_in_own_trainer", "--out", str(tmp_path))
    assert means == {"right": 1.0, "constant": 0.35, "no answer": 0.0}
    assert capsys.readouterr().out == "right: 1.00\nconstant: 0.35\nno answer: 0.00\n"
    assert len(list(tmp_path.glob("*.png"))) == 40


def test_probe_then_choose(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "vision/rotation", "--level", "all,image_px=32", "-n", "2", "--tokens", "4"]
    found = call("probe_then_choose", "embedded:tiny_vlm", "sample:", *options)
    assert [row.status for row in found.rows] == ["truncated"] * 4
    assert [round(row.chance, 3) for row in found.rows] == [0.5, 0.25, 0.125, 0.042]
    assert "warmup:\n  steps: 40" in capsys.readouterr().out


def test_train_on_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = call("train_on_photos", str(PHOTOS), "--steps", "1", "--prompts", "2", "--out", str(tmp_path))
    assert (run.summary["steps"], run.after["chance"], run.after["n"]) == (1, 0.25, 16)
    assert (run.final / "config.json").is_file()
    assert "chance 0.25, n 16" in capsys.readouterr().out


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Path:
    """examples/extending, whose files import each other."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return EXTENDING


def test_a_task_in_ten_minutes_keeps_its_promises(beside: Path) -> None:
    found = ssl4rl.check([f"{beside / 'my_task.py'}:TASKS"], n=8)
    assert found.summary == "1 task at 2 levels: every promise is kept"


def test_a_source_in_ten_minutes(beside: Path, tmp_path: Path) -> None:
    names = ["cat.jpg", "coffee.jpg", "rocket.jpg", "clock.jpg"]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names:
            archive.write(PHOTOS / name, name)
        archive.writestr("readme.txt", "no picture")
    found = ssl4rl.preview(f"{beside / 'my_source.py'}:TASKS", data=f"zip:{tmp_path}/photos.zip", n=8, split="all")
    assert len({example.key.sources for example in found.examples if example.key}) == 4
    assert {example.answer for example in found.examples} == {"same", "mirrored"}
    with pytest.raises(ssl4rl.Ssl4rlError, match="cannot be read"):
        ssl4rl.preview(f"{beside / 'my_source.py'}:TASKS", data=f"zip:{tmp_path}/none.zip")


def test_a_reward_and_a_curriculum_in_ten_minutes(beside: Path, tmp_path: Path) -> None:
    rewards = runpy.run_path(str(beside / "my_reward.py"))
    assert rewards["brevity"]("", max_new_tokens=4, tokens=1) == 0.75
    assert rewards["variety"](["a", "a", "b"]) == [0.5, 0.5, 1.0]
    recipe = {
        "name": "run",
        "model": {"path": "embedded:tiny_vlm"},
        "tasks": [{"task": f"{beside / 'my_task.py'}:mirror", "levels": ["easy,image_px=32", "hard,image_px=32"]}],
        "curriculum": {"strategy": f"{beside / 'my_curriculum.py'}:NearHalf", "options": {"sharpness": 2}},
        "held_out": 0.4,
        "prompt": {"style": "answer"},
        "sampling": {"max_new_tokens": 4},
        "grpo": {"group_size": 2, "prompts_per_step": 2},
        "reward": {"accuracy": 1.0, **{f"{beside / 'my_reward.py'}:{name}": 0.1 for name in ("brevity", "variety")}},
        "train": {"steps": 1},
        "eval": {"n": 4},
        "out": str(tmp_path),
    }
    assert train(make_recipe(recipe), lambda line: None, bar=False)["steps"] == 1


def test_notebook_own_trainer() -> None:
    space = run_notebook(NOTEBOOKS / "own_trainer.ipynb", STEPS=200)
    assert round(space["before"], 2) == 0.5
    assert space["after"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chance"), [("vision", 0.25), ("graph", 0.25)])
def test_notebooks_that_train(
    name: str, chance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {
        "warmup.steps": 2,
        "warmup.prompts_per_step": 4,
        "grpo.prompts_per_step": 4,
        "eval.n": 16,
        "eval.n_during": 8,
    }
    space = run_notebook(NOTEBOOKS / f"{name}.ipynb", STEPS=2, CHANGES=small)
    assert (space["run"].summary["steps"], space["run"].after["chance"]) == (2, chance)
    assert "after" in capsys.readouterr().out
