from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.tasks.contrastive import Contrastive
from ssl4rl.vision.views import draw_views
from tests.vision.helpers import (
    Array,
    ArrayPhoto,
    assert_uniform,
    make_many,
    nearest_colour,
    noise_photo,
    pictures,
)

TASK = Contrastive()
RED, BLUE = (200, 60, 60), (60, 60, 200)


@pytest.mark.parametrize("level", ["easy", "medium,grey=0"])
def test_red_and_blue(level: str) -> None:
    grain = np.random.default_rng(0).integers(-50, 50, (12, 12, 1)).repeat(10, axis=0).repeat(10, axis=1)
    photos = [ArrayPhoto(np.array(colour) + grain) for colour in (RED, BLUE)]
    examples = make_many(TASK, f"{level},view_px=64", photos, 40)
    assert len(examples) == 40
    for example in examples:
        one, two = (nearest_colour(view, [[RED, BLUE]]) for view in pictures(example))
        assert example.answer == ("same" if one == two else "different")


def test_sizes_agree_and_no_view_is_the_other() -> None:
    photos = [ArrayPhoto(noise_photo(0)), ArrayPhoto(noise_photo(1, 200, 330))]
    for level in TASK.levels:
        for example in make_many(TASK, level, photos, 6):
            one, two = pictures(example)
            assert one.shape == two.shape == (224, 224, 3)
            assert not np.array_equal(one, two)


def test_matched_views_have_one_mean_colour_for_either_answer() -> None:
    photos = [ArrayPhoto(np.clip(noise_photo(seed).astype(int) // 2 + 20 * seed, 0, 255)) for seed in range(4)]
    apart: dict[str, list[float]] = {"same": [], "different": []}
    for example in make_many(TASK, "hard,view_px=64,jitter=0.1", photos, 40):
        one, two = (view.mean(axis=(0, 1)) for view in pictures(example))
        apart[example.answer].append(float(np.abs(one - two).max()))
    assert max(apart["same"] + apart["different"]) < 4


def test_views_overlap() -> None:
    rng = np.random.default_rng(0)
    for area in (0.05, 0.3, 1.0):
        for _ in range(50):
            (x0, y0, side0), (x1, y1, side1) = draw_views(area, rng)
            wide = min(x0 + side0, x1 + side1) - max(x0, x1)
            high = min(y0 + side0, y1 + side1) - max(y0, y1)
            assert min(wide, high) > 0
            assert wide * high >= 0.25 * min(side0, side1) ** 2 - 1e-9
            assert min(side0, side1) ** 2 >= area - 1e-9


def half_size(picture: Array) -> Array:
    return np.asarray(Image.fromarray(picture).resize((160, 120)))


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ((noise_photo(0), half_size(noise_photo(0))), "look nearly the same"),
        ((noise_photo(0), np.full((200, 200, 3), 77)), "flat"),
        ((np.full((200, 200, 3), 77), noise_photo(0)), "flat"),
        ((noise_photo(0, 20, 20), noise_photo(1)), "shorter side"),
    ],
)
def test_unusable_whatever_the_answer(pair: tuple[Array, Array], why: str) -> None:
    params = TASK.level("easy,view_px=64").params
    for seed in range(10):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture) for picture in pair], params, np.random.default_rng(seed))


@pytest.mark.parametrize("level", TASK.levels)
def test_answers_are_uniform(level: str) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 80, 64)) for seed in range(5)]
    examples = make_many(TASK, f"{level},view_px=16", photos, 200)
    assert len(examples) > 150
    assert_uniform([example.answer for example in examples], 2)
    flips = [np.array_equal(*pictures(example)) for example in examples]
    assert not any(flips)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match=r"grey is 1\.5; allowed: 0\.0 to 1\.0"):
        TASK.level("easy,grey=1.5")
