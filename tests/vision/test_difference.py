from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.vision import cells
from ssl4rl.vision.tasks.difference import Difference, draw_windows
from tests.vision.helpers import Array, ArrayPhoto, assert_uniform, make_all, make_many, noise_photo
from tests.vision.test_flipped import patches

TASK = Difference()


def coordinates(high: int = 240, wide: int = 360) -> ArrayPhoto:
    """Red says how far right, green how far down; blue holds texture."""
    y, x = np.mgrid[:high, :wide]
    grain = np.random.default_rng(0).integers(0, 256, (high // 6, wide // 6)).repeat(6, axis=0).repeat(6, axis=1)
    return ArrayPhoto(np.stack([x * 255 / wide, y * 255 / high, grain], axis=2))


def moved(picture: Array, grid: int) -> Array:
    """How far each patch's place (red, green) lies from where its row and column say, the others being right."""
    middle = picture[:, 8:-8, 8:-8, :2].mean(axis=(1, 2)).reshape(grid, grid, 2)
    expected = np.stack([np.tile(np.median(middle[:, :, 0], axis=0), (grid, 1)), np.zeros((grid, grid))], axis=2)
    expected[:, :, 1] = np.median(middle[:, :, 1], axis=1)[:, None]
    return np.abs(middle - expected).max(axis=2).ravel()


@pytest.mark.parametrize(("level", "grid"), [("medium", 3), ("hard", 4), ("alone", 3)])
def test_the_patch_that_is_named_comes_from_elsewhere(level: str, grid: int) -> None:
    for example in make_all(TASK, f"{level},image_px=120,jitter=0", coordinates(), 20):
        picture = patches(Example(example.prompt[-2:], example.answer), grid, 120)
        assert int(moved(picture, grid).argmax()) + 1 == example.answer


def test_what_replaces_lies_outside_and_inside_the_picture() -> None:
    rng = np.random.default_rng(0)
    for size, grid in (((300, 200), 2), ((150, 200), 3), ((100, 300), 4)):
        largest = min(size[1], size[0] / (1 + 1 / grid))
        for share in (1.0, 0.8, 0.5):
            for same in (True, False):
                window, others = draw_windows(size, largest * share, grid, same, rng)
                assert window.x >= -1e-6
                assert window.x + window.side <= size[0] + 1e-6
                for number, other in enumerate(others):
                    beside = other.x + other.side <= window.x + 1e-6 or other.x >= window.x + window.side - 1e-6
                    assert beside, (window, other)
                    assert -1e-6 <= other.x <= size[0] - other.side + 1e-6
                    assert -1e-6 <= other.y <= size[1] - other.side + 1e-6
                    if same:
                        assert other.y == pytest.approx(cells.cell_window(window, number, grid).y)


def test_every_patch_fades_alike() -> None:
    faded = cells.fade(np.stack([np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)]), 0.2)
    weight = (128 - faded[0, :, :, 0].astype(int)) / 128
    assert weight[10].round(2).tolist()[:5] == [0.12, 0.38, 0.62, 0.88, 1.0]
    assert np.allclose(weight, (faded[1, :, :, 0].astype(int) - 128) / 127, atol=0.01)
    assert np.array_equal(weight, weight[::-1])
    assert np.array_equal(weight, weight.T)


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.full((96, 160, 3), 90), "flat"),
        (np.tile(np.linspace(0, 255, 96)[:, None, None], (1, 160, 3)), "nearly as before"),
        (noise_photo(0, 40, 40), "fits beside"),
    ],
)
def test_unusable_whichever_patch(picture: Array, why: str) -> None:
    params = TASK.level("easy,image_px=64,height=same").params
    for seed in range(6):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


@pytest.mark.parametrize(("level", "options"), [("easy", 4), ("medium", 9), ("hard", 16), ("alone", 9)])
def test_answers_are_uniform(level: str, options: int) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 200, 140)) for seed in range(3)]
    examples = make_many(TASK, f"{level},image_px=48", photos, 240)
    assert len(examples) > 120
    assert_uniform([example.answer for example in examples], options)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="height is low; allowed: any, same"):
        TASK.level("easy,height=low")
