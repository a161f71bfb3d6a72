"""The recipes in examples/stages: each names its method and runs, shortened, through all its stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.recipe.recipe import load_recipe
from tests.core.grpo.runs import metrics, run

FOLDER = Path(__file__).parents[1] / "examples" / "stages"
KINDS = {
    "pebr_r1": ["grpo", "grpo"],
    "openvlthinker": ["rejection", "grpo"] * 2,
    "vlm_r1_boxes": ["supervised", "grpo"],
    "machine_vision_therapy": ["supervised", "rejection"],
    "reward_model": ["grpo", "rejection"],
}


def test_every_example_is_listed_and_says_what_it_shows() -> None:
    files = {file.stem: file.read_text() for file in FOLDER.glob("*.yaml")}
    assert files.keys() == KINDS.keys()
    for name, text in files.items():
        assert len(text.splitlines()) <= 60
        assert "arXiv" in text.splitlines()[0] + text.splitlines()[1]
        recipe = load_recipe(FOLDER / f"{name}.yaml")
        assert recipe.name == name
        assert [stage.kind for stage in recipe.stage_recipes()] == KINDS[name]


# what their stages do is done by the other two and by tests/core/grpo/test_stages.py
SLOW = ("pebr_r1", "openvlthinker", "vlm_r1_boxes")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in KINDS])
def test_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    small = ["warmup.steps=1", "warmup.prompts_per_step=2", "grpo.group_size=2", "grpo.prompts_per_step=2"]
    small += ["eval.n=2", "train.shared=on", f"out={tmp_path}", "model.device=cpu"]
    stages = load_recipe(FOLDER / f"{name}.yaml").stages
    recipe = load_recipe(FOLDER / f"{name}.yaml", [*small, *(f"stages.{i}.train.steps=1" for i in range(len(stages)))])
    run(recipe)
    summary = json.loads((recipe.folder / "summary.json").read_text())
    assert [stage["kind"] for stage in summary["stages"]] == KINDS[name]
    assert (recipe.folder / "final" / "model.safetensors").is_file()
    last = [line for line in metrics(recipe.folder / summary["stages"][-1]["folder"]) if line["phase"] == "train"]
    parts = {"machine_vision_therapy": {"agreement"}, "reward_model": {"./preference.py:preferred"}}.get(name, set())
    assert [set(line.get("parts", ())) for line in last] == [parts]
    assert all("kept" in line for line in last) == (KINDS[name][-1] == "rejection")


def test_three_labels_in_ten_are_wrong() -> None:
    data = create_dataset(
        f"{FOLDER / 'noisy.py'}:rotation", "scenes:", level="90deg,original=false,image_px=32", size=200
    )
    examples = [data[i] for i in range(200)]
    wrong = sum(example.answer != example.meta["true"] for example in examples)
    assert 40 <= wrong <= 80  # three standard deviations round 60
    assert {example.answer for example in examples} == {0, 90, 180, 270}
