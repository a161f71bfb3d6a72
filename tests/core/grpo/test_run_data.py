"""A run refuses to start on too few usable items, and says which could not be used."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.grpo.opening import open_data
from ssl4rl.core.recipe.recipe import Recipe, make_recipe
from ssl4rl.core.types import Ssl4rlError


def recipe(folder: Path, min_items: int) -> Recipe:
    return make_recipe(
        {
            "name": "few",
            "model": {"path": "embedded:tiny_vlm"},
            "data": str(folder),
            "tasks": [{"task": "vision/rotation"}],
            "min_items": min_items,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures and two text files named .jpg."""
    rng = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"p{i}.png")
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / name).write_text("no picture")
    return tmp_path


def test_too_few_items_are_refused_with_the_reason(folder: Path) -> None:
    with pytest.raises(Ssl4rlError) as error:
        open_data(recipe(folder, 11))
    line = str(error.value)
    assert "usable items, at least min_items=11 are needed (2 could not be used, first x.jpg: " in line
    assert "); give more data or another held_out share, or min_items=" in line
    assert "\n" not in line


def test_enough_items_start_and_name_the_broken_ones(folder: Path) -> None:
    data = open_data(recipe(folder, 1))
    parts = [len(dataset.components[0].split) for dataset in (data.train, data.held_out)]
    assert sum(parts) == 10
    assert [line.partition(":")[0] for line in data.unusable.to_json()["named"]] == ["x.jpg", "y.jpg"]
