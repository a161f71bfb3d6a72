from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.tasks.masked_patch import MaskedPatch
from tests.vision.helpers import (
    Array,
    ArrayPhoto,
    assert_uniform,
    checkered,
    make_all,
    make_many,
    nearest_colour,
    noise_photo,
    pictures,
)

TASK = MaskedPatch()
SMALL = "image_px=96,patch_px=32"
RED, GREEN, BLUE, YELLOW = (200, 40, 40), (40, 180, 40), (40, 40, 200), (210, 200, 40)


def colour_grid(grid: int) -> list[list[tuple[int, int, int]]]:
    steps = (40, 90, 150, 210)
    return [[(steps[row], steps[col], steps[(row + col) % 4]) for col in range(grid)] for row in range(grid)]


def framed_cell(picture: Array, grid: int) -> int:
    """The cell with the red frame, in reading order from 0."""
    red = np.argwhere((picture == (255, 0, 0)).all(axis=2)) * grid // picture.shape[0]
    cells = {row * grid + col for row, col in red.tolist()}
    assert len(cells) == 1
    return cells.pop()


def grey_cells(picture: Array, grid: int) -> set[int]:
    grey = np.argwhere((picture == (128, 128, 128)).all(axis=2)) * grid // picture.shape[0]
    return {row * grid + col for row, col in grey.tolist()}


@pytest.mark.parametrize("grid", [3, 4])
def test_same_picture_the_patch_has_the_colour_of_the_framed_cell(grid: int) -> None:
    colours = colour_grid(grid)
    for example in make_all(TASK, f"hard,grid={grid},{SMALL},jitter=0", ArrayPhoto(checkered(colours, 48)), 40):
        picture, *patches = pictures(example)
        cells = [nearest_colour(patch, colours) for patch in patches]
        assert cells["ABCD".index(example.answer)] == framed_cell(picture, grid)
        assert set(cells) == grey_cells(picture, grid)  # no distractor can still be seen in the picture
        assert [patch.shape for patch in patches] == [(32, 32, 3)] * 4


@pytest.mark.parametrize("level", ["easy", "medium"])
def test_other_pictures_the_patch_is_the_first_pictures(level: str) -> None:
    grid = TASK.levels[level]["grid"]
    tints = [RED, GREEN, BLUE, YELLOW]
    photos = [ArrayPhoto(checkered([[tint] * grid] * grid, 48)) for tint in tints]
    examples = make_many(TASK, f"{level},{SMALL},jitter=0,match=false", photos, 40)
    for index, example in enumerate(examples):
        picture, *patches = pictures(example)
        colours = [nearest_colour(patch, [tints]) for patch in patches]
        assert sorted(colours) == [0, 1, 2, 3]
        assert colours["ABCD".index(example.answer)] == index % 4
        assert grey_cells(picture, grid) == {framed_cell(picture, grid)}
    assert len(examples) == 40


def test_matched_patches_have_one_mean_colour() -> None:
    photos = [ArrayPhoto(noise_photo(seed)) for seed in range(4)]
    for example in make_many(TASK, "medium", photos, 5):
        means = np.array([patch.mean(axis=(0, 1)) for patch in pictures(example)[1:]])
        assert np.ptp(means, axis=0).max() < 8  # clipping at 0 and 255 moves them a little


class Sealed(Photo):
    def decode(self, min_side_px: int) -> None:  # type: ignore[override]
        raise AssertionError("decoded")


def test_the_hard_level_decodes_one_picture() -> None:
    items = [ArrayPhoto(noise_photo(2)), Sealed(), Sealed(), Sealed()]
    assert TASK.make(items, TASK.level("hard").params, np.random.default_rng(0)).answer in "ABCD"


def test_unusable_when_two_patches_look_alike_whichever_is_true() -> None:
    twins = [ArrayPhoto(noise_photo(seed, 240, 240)) for seed in (0, 1, 1, 2)]
    same = ArrayPhoto(checkered([[RED] * 4] * 4, 48))
    for seed in range(10):
        for level, items in (("easy", twins), ("hard", [same])):
            with pytest.raises(Unusable, match="nearly the same"):
                TASK.make(items, TASK.level(level).params, np.random.default_rng(seed))


@pytest.mark.parametrize("level", [*TASK.levels, "easy,options=2"])
def test_answers_are_uniform(level: str) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 128, 128)) for seed in range(5)]
    examples = make_many(TASK, f"{level},{SMALL}", photos, 160)
    assert len(examples) > 120
    assert_uniform([example.answer for example in examples], 2 if "options" in level else 4)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="at most half of the cells"):
        TASK.level("easy,distractors=same")
