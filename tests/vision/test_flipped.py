from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.vision import cells
from ssl4rl.vision.tasks.flipped import Flipped, changed
from tests.vision.helpers import (
    Array,
    ArrayPhoto,
    assert_uniform,
    checkered,
    make_all,
    make_many,
    noise_photo,
    pictures,
)

TASK = Flipped()


def cornered(grid: int, cell_px: int = 48) -> Array:
    """Cells of different greys, each with a red block in its upper left and a green one in its upper right."""
    shades = 40 + 20 * np.random.default_rng(0).permutation(grid * grid).reshape(grid, grid) * 9 // (grid * grid)
    picture = np.repeat(shades.repeat(cell_px, axis=0).repeat(cell_px, axis=1)[:, :, None], 3, axis=2)
    third = cell_px // 3
    for row in range(0, grid * cell_px, cell_px):
        for col in range(0, grid * cell_px, cell_px):
            picture[row + 6 : row + third, col + 6 : col + third] = (250, 0, 0)
            picture[row + 6 : row + third, col + cell_px - third : col + cell_px - 6] = (0, 250, 0)
    return picture.astype(np.uint8)


def patches(example: Example, grid: int, image_px: int) -> Array:
    """The patches of the example's picture, int [grid * grid, px, px, 3]."""
    (whole,) = pictures(example)
    px = cells.patch_px(image_px, grid)
    gap = (len(whole) - grid * px) // (grid + 1)
    at = [gap + i * (px + gap) for i in range(grid)]
    return np.stack([whole[y : y + px, x : x + px] for y in at for x in at])


def red_at(patch: Array) -> tuple[bool, bool]:
    """Whether the patch's red lies in its lower half, in its right half."""
    red = (patch[:, :, 0] > 180) & (patch[:, :, 1] < 70)
    y, x = np.nonzero(red)
    return bool(y.mean() > len(patch) / 2), bool(x.mean() > len(patch) / 2)


def test_changed() -> None:
    patch = np.array([[1, 2], [3, 4]])
    assert changed(patch, "mirror").tolist() == [[2, 1], [4, 3]]
    assert changed(patch, "flip").tolist() == [[3, 4], [1, 2]]
    assert changed(patch, "turn").tolist() == [[4, 3], [2, 1]]


@pytest.mark.parametrize(
    ("level", "grid", "moved"),
    [
        ("2x2", 2, (True, True)),
        ("3x3", 3, (False, True)),
        ("4x4", 4, (False, True)),
        ("2x2,change=flip", 2, (True, False)),
    ],
)
def test_the_patch_that_is_named_was_changed(level: str, grid: int, moved: tuple[bool, bool]) -> None:
    names = [cells.name_of(cell, grid) for cell in range(grid * grid)]
    for example in make_all(TASK, f"{level},image_px=120", ArrayPhoto(cornered(grid)), 20):
        found = [red_at(patch) for patch in patches(example, grid, 120)]
        assert [name for name, where in zip(names, found, strict=True) if where == moved] == [example.answer]
        assert found.count((False, False)) == grid * grid - 1


def test_exchanged_patches_are_both_accepted() -> None:
    rng = np.random.default_rng(3)
    colours = rng.permutation(np.array([(r, g, b) for r in (40, 200) for g in (40, 200) for b in (60, 140, 220)]))[:9]
    picture = checkered([[tuple(colour) for colour in row] for row in colours.reshape(3, 3, 3).tolist()], 48)
    for example in make_all(TASK, "swap,image_px=120", ArrayPhoto(picture), 20):
        means = patches(example, 3, 120).mean(axis=(1, 2))
        seen = np.square(means[:, None] - colours[None]).sum(axis=2).argmin(axis=1).tolist()
        wrong = [cell + 1 for cell, colour in enumerate(seen) if cell != colour]
        assert sorted(example.accepted) == wrong
        assert len(wrong) == 2
        verifier = TASK.verifier_for(TASK.level("swap").params)
        assert [verifier.score(f"<answer>{cell}</answer>", example).value for cell in wrong] == [1.0, 1.0]
        assert verifier.chance(example) == pytest.approx(2 / 9)


def test_the_whole_picture() -> None:
    answers = []
    for example in make_all(TASK, "whole,image_px=64", ArrayPhoto(cornered(1, 96)), 20):
        first, second = pictures(example)
        assert red_at(first) == (False, False)
        assert red_at(second) == (False, example.answer == "yes")
        assert not np.array_equal(first, changed(second, "mirror"))
        answers.append(example.answer)
    assert set(answers) == {"yes", "no"}


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.full((96, 96, 3), 90), "flat"),
        (np.repeat(np.tile(np.linspace(0, 255, 96)[:, None], (1, 96))[:, :, None], 3, axis=2), "nearly the same"),
        (noise_photo(0, 40, 40), "shorter side"),
    ],
)
def test_unusable_whichever_patch(picture: Array, why: str) -> None:
    params = TASK.level("3x3,image_px=96").params
    for seed in range(8):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


@pytest.mark.parametrize(("level", "options"), [("whole", 2), ("2x2", 4), ("swap", 9), ("3x3", 9), ("4x4", 16)])
def test_answers_are_uniform(level: str, options: int) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 160, 140)) for seed in range(3)]
    examples = make_many(TASK, f"{level},image_px=48", photos, 300)
    assert len(examples) > 120
    assert_uniform([example.answer for example in examples], options)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="change is swap; allowed: mirror, flip, turn"):
        TASK.level("whole,change=swap")
    with pytest.raises(Ssl4rlError, match="change is spin; allowed: mirror, flip, turn, swap"):
        TASK.level("3x3,change=spin")
