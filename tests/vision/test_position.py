from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.pixels import thumbnail
from ssl4rl.vision.tasks.position import Position, distinct_places
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

TASK = Position()
SMALL = "image_px=64,piece_px=32"


def colour_grid(grid: int) -> list[list[tuple[int, int, int]]]:
    """Colours far apart from one another, one for each cell."""
    steps = (40, 90, 150, 210) if grid > 2 else (60, 190)
    return [[(steps[row], steps[col], steps[(row + col) % len(steps)]) for col in range(grid)] for row in range(grid)]


@pytest.mark.parametrize("grid", [2, 3, 4])
def test_the_piece_has_the_colour_of_its_cell(grid: int) -> None:
    colours = colour_grid(grid)
    names = ["top left", "top right", "bottom left", "bottom right"] if grid == 2 else list(range(1, grid * grid + 1))
    examples = make_all(TASK, f"{grid}x{grid},{SMALL},jitter=0", ArrayPhoto(checkered(colours, 48)), 60)
    for example in examples:
        picture, piece = pictures(example)
        assert (picture.shape, piece.shape) == ((64, 64, 3), (32, 32, 3))
        assert example.answer == names[nearest_colour(piece, colours)]
    assert len({example.answer for example in examples}) > grid


def test_the_box_holds_the_piece() -> None:
    fits = []
    for example in make_all(TASK, "box,jitter=0", ArrayPhoto(noise_photo(4)), 20):
        picture, piece = (medium.data for medium in example.media)
        x0, y0, x1, y1 = example.answer
        assert 0 <= x0 < x1 <= 100
        assert 0 <= y0 < y1 <= 100
        assert x1 - x0 == y1 - y0
        inside = thumbnail(picture, tuple(edge * 2.24 for edge in (x0, y0, x1, y1)), (8, 8))
        fits.append(np.corrcoef(inside.ravel(), thumbnail(piece, (0, 0, *piece.size), (8, 8)).ravel())[0, 1])
        verifier = TASK.verifier_for(TASK.level("box").params)
        assert verifier.score(f"<answer>{x0},{y0},{x1},{y1}</answer>", example).verdict == "correct"
    assert min(fits) > 0.9  # the piece is up to 7 % smaller than the box
    assert np.median(fits) > 0.98


def test_boxes_lie_everywhere_as_often() -> None:
    """Left and top edges, as shares of what room a box of that side leaves, are uniform."""
    photos = [ArrayPhoto(noise_photo(seed, 160, 128)) for seed in range(3)]
    boxes = np.array([example.answer for example in make_many(TASK, f"box,{SMALL}", photos, 400)])
    assert len(boxes) > 300
    sides = boxes[:, 2] - boxes[:, 0]
    assert set(sides) == set(range(32, 45))
    for edge in (0, 1):
        shares = (boxes[:, edge] + 0.5) / (101 - sides)
        assert_uniform([int(4 * share) for share in shares], 4)


def test_a_picture_with_a_part_that_is_nowhere_distinct_has_no_box() -> None:
    sky = noise_photo(0, 96, 96)
    sky[:70] = 120
    for seed in range(10):
        with pytest.raises(Unusable, match="found there only"):
            TASK.make([ArrayPhoto(sky)], TASK.level(f"box,{SMALL}").params, np.random.default_rng(seed))


def test_no_piece_is_an_exact_copy() -> None:
    for example in make_all(TASK, "2x2,jitter=0,image_px=64,piece_px=26", ArrayPhoto(noise_photo(4, 64, 64)), 5):
        picture, piece = pictures(example)
        views = np.lib.stride_tricks.sliding_window_view(picture, (26, 26, 3))
        assert np.abs(views - piece).max(axis=(3, 4, 5)).min() > 0


def test_colours_change_with_jitter() -> None:
    params = TASK.level(f"2x2,{SMALL}").params
    photo = ArrayPhoto(noise_photo(4))
    plain, changed = (
        pictures(TASK.make([photo], {**params, "jitter": jitter}, np.random.default_rng(1)))[1] for jitter in (0.0, 0.3)
    )
    assert np.abs(plain - changed).mean() > 2


def test_a_place_that_occurs_twice_is_not_distinct() -> None:
    once = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.float32)
    twice = np.concatenate([once[:, :16]] * 2, axis=1)
    assert [len(places) for places in distinct_places(twice, 4, 0.8, whole=False)] == [0] * 16
    assert [len(places) for places in distinct_places(once, 4, 0.8, whole=False)] == [9] * 16


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.full((96, 96, 3), 90), "found there only"),
        (checkered([[(90, 90, 200)] * 2] * 2, 48), "found there only"),
        (np.pad(noise_photo(0, 96, 48), ((0, 48), (0, 0), (0, 0))), "found there only"),
        (noise_photo(0, 30, 30), "shorter side"),
    ],
)
def test_unusable_whatever_the_cell(picture: Array, why: str) -> None:
    params = TASK.level(f"2x2,{SMALL}").params
    for seed in range(10):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


@pytest.mark.parametrize(("level", "options"), [("2x2", 4), ("3x3", 9), ("4x4", 16)])
def test_answers_are_uniform(level: str, options: int) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 160, 128)) for seed in range(3)]
    examples = make_many(TASK, f"{level},{SMALL}", photos, 200)
    assert len(examples) > 120
    assert_uniform([example.answer for example in examples], options)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="ask is where; allowed: cell, box"):
        TASK.level("2x2,ask=where")
