from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.vision import marks, pixels
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.tasks.correspondence import COPY_PX, Correspondence, Lens, draw_points, offset
from tests.vision.helpers import Array, ArrayPhoto, assert_uniform, make_all, make_many, noise_photo, pictures

TASK = Correspondence()
ALL = dict(marks.COLOURS)


def coordinates(side: int = 256) -> ArrayPhoto:
    """Red says how far right, green how far down, blue holds texture."""
    ramp = np.linspace(0, 255, side)
    grain = np.random.default_rng(0).integers(0, 2, (side // 8, side // 8)) * 255
    planes = [np.tile(ramp, (side, 1)), np.tile(ramp, (side, 1)).T, grain.repeat(8, axis=0).repeat(8, axis=1)]
    return ArrayPhoto(np.stack(planes, axis=2))


def ring_at(picture: Array, colour: tuple[int, int, int]) -> tuple[float, float]:
    """The middle (x, y) of the pixels of exactly this colour."""
    y, x = np.nonzero((picture == colour).all(axis=2))
    assert len(x) > 4
    return (x.min() + x.max()) / 2, (y.min() + y.max()) / 2


def marked(example: Example) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """Where the white ring of the first picture is, and where those of the second are."""
    first, second = pictures(example)
    shown = {name: ring_at(second, c) for name, c in ALL.items() if (second == c).all(axis=2).sum() > 4}
    return ring_at(first, marks.WHITE), shown


def place_of(picture: Array, at: tuple[float, float]) -> Array:
    """What red and green say in the middle of a ring."""
    x, y = (round(v) for v in at)
    where: Array = picture[y - 1 : y + 2, x - 1 : x + 2, :2].mean(axis=(0, 1))
    return where


@pytest.mark.parametrize(("level", "options"), [("easy", 2), ("medium", 4), ("hard", 6)])
def test_the_rings_mark_one_place_of_the_picture(level: str, options: int) -> None:
    for example in make_all(TASK, f"{level},jitter=0", coordinates(), 25):
        first, second = pictures(example)
        white, shown = marked(example)
        assert list(shown) == list(marks.NAMES[:options])
        there = place_of(first, white)
        apart = {name: float(np.abs(place_of(second, at) - there).max()) for name, at in shown.items()}
        assert min(apart, key=apart.__getitem__) == example.answer
        assert apart[example.answer] < 5  # of 255: 2 % of the picture's side


def test_a_lens_sees_what_it_shows() -> None:
    lens = Lens((0.4, 0.6), 0.5, 0.1, (0.2, -0.15))
    for place in ((0.0, 0.0), (0.3, -0.2), (-0.4, 0.4)):
        dx, dy = offset(lens, place)
        assert np.allclose(lens.seen((0.4 + dx, 0.6 + dy)), place)


def nearest(example: Example) -> str:
    """The shortcut: the ring that lies where the white one does."""
    white, shown = marked(example)
    return min(shown, key=lambda name: np.hypot(shown[name][0] - white[0], shown[name][1] - white[1]))


def most_central(example: Example) -> str:
    _, shown = marked(example)
    side = pictures(example)[0].shape[0] / 2
    return min(shown, key=lambda name: np.hypot(shown[name][0] - side, shown[name][1] - side))


def test_where_rings_lie_tells_nothing() -> None:
    photos = [ArrayPhoto(noise_photo(seed, 160, 140)) for seed in range(4)]
    examples = make_many(TASK, "easy,image_px=64", photos, 200)
    assert len(examples) > 180
    for strategy in (nearest, most_central):
        right = float(np.mean([strategy(example) == example.answer for example in examples]))
        assert abs(right - 0.5) < 4 * 0.5 / len(examples) ** 0.5


class SameCrop(Correspondence):
    """A planted leak: both views are crops from the middle, so what lies left in one lies left in the other."""

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        image = items[0].decode(64)
        points = rng.uniform(0.25, 0.75, (2, 2))
        views = [image.crop((cut, cut, 140 - cut, 140 - cut)).resize((64, 64)) for cut in (14, 0)]
        true = int(rng.integers(2))
        marks.ring(views[0], (points[true] * 140 - 14) / 112, marks.WHITE)
        for point, name in zip(points, marks.NAMES, strict=False):
            marks.ring(views[1], point, marks.COLOURS[name])
        return Example(tuple(pixels.media(view) for view in views), marks.NAMES[true])


def test_the_same_strategy_finds_a_planted_leak() -> None:
    examples = make_all(SameCrop(), "easy", ArrayPhoto(noise_photo(1, 140, 140)), 60)
    clear = [example for example in examples if len(marked(example)[1]) == 2]
    assert np.mean([nearest(example) == example.answer for example in clear]) > 0.9


def test_points_in_step_with_a_pattern_are_alike() -> None:
    copy = np.tile(np.random.default_rng(0).integers(0, 256, (12, 12, 3)), (4, 4, 1)).astype(np.float32)
    allowed = np.zeros((COPY_PX, COPY_PX), dtype=bool)
    allowed[6::12, 6::12] = True
    with pytest.raises(Unusable, match="too few points"):
        draw_points(copy, allowed, 2, 0.1, keyed_rng("pattern"))


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.full((96, 96, 3), 90), "too few points"),
        (noise_photo(0, 30, 30), "shorter side"),
    ],
)
def test_unusable_whichever_point(picture: Array, why: str) -> None:
    params = TASK.level("medium,image_px=64").params
    for seed in range(6):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


def test_points_differ_and_lie_apart() -> None:
    copy = np.random.default_rng(0).integers(0, 256, (COPY_PX, COPY_PX, 3)).astype(np.float32)
    copy[:, : COPY_PX // 2] = 100  # nothing there
    points = draw_points(copy, np.ones((COPY_PX, COPY_PX), dtype=bool), 5, 0.2, keyed_rng("points"))
    assert min(x for x, _ in points) > 0.5 - 4 / COPY_PX
    gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(points) for b in points[:i]]
    assert min(gaps) >= 0.2


@pytest.mark.parametrize(("level", "options"), [("easy", 2), ("medium", 4), ("hard", 6)])
def test_answers_are_uniform(level: str, options: int) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 160, 140)) for seed in range(3)]
    examples = make_many(TASK, f"{level},image_px=48", photos, 120)
    assert len(examples) > 80
    assert_uniform([example.answer for example in examples], options)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="options is 7; allowed: 2 to 6"):
        TASK.level("easy,options=7")
