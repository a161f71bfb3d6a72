from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.vision import pixels
from ssl4rl.vision.tasks.jigsaw import Jigsaw, cut_tiles, join_tiles, same_orders, shuffle_tiles
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

TASK = Jigsaw()
RED, GREEN, BLUE, YELLOW = (200, 40, 40), (40, 180, 40), (40, 40, 200), (210, 200, 40)
QUARTERS = ((RED, GREEN), (BLUE, YELLOW))
GRAIN = ((RED, GREEN, BLUE), (YELLOW, (120, 120, 120), (200, 60, 200)), ((60, 200, 200), (230, 230, 230), (30, 30, 30)))


def shown_tiles(example: Example, rows: int, cols: int) -> list[Array]:
    """What the prompt calls tile 1, tile 2 and so on."""
    shown = pictures(example)
    return shown if len(shown) > 1 else list(cut_tiles(shown[0], rows, cols, (0, 0)))


def test_following_the_words_rebuilds_four_plain_colours() -> None:
    """ "List the tile numbers in the order of the original picture, row by row from the top left." """
    picture = np.array(QUARTERS, dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    tiles = cut_tiles(picture, 2, 2, (0, 0))
    assert [tuple(tile[0, 0].tolist()) for tile in tiles] == [RED, GREEN, BLUE, YELLOW]
    for order in itertools.permutations((1, 2, 3, 4)):
        shown = shuffle_tiles(tiles, order)
        laid = [shown[number - 1] for number in order]
        assert np.array_equal(np.vstack([np.hstack(laid[:2]), np.hstack(laid[2:])]), picture)


def test_one_order_that_is_not_its_own_inverse() -> None:
    tiles = np.array([RED, GREEN, BLUE]).reshape(3, 1, 1, 3)
    shown = shuffle_tiles(tiles, [3, 1, 2])
    assert [tuple(tile[0, 0].tolist()) for tile in shown] == [GREEN, BLUE, RED]  # the 3rd shown belongs first


@pytest.mark.parametrize("form", ["tiles", "picture"])
@pytest.mark.parametrize(("level", "colours"), [("2x2", QUARTERS), ("3x3", GRAIN)])
def test_following_the_words_of_whole_examples(
    level: str, colours: tuple[tuple[tuple[int, int, int], ...], ...], form: str
) -> None:
    rows, cols = len(colours), len(colours[0])
    text = f"{level},form={form},image_px=96"
    for example in make_all(TASK, text, ArrayPhoto(checkered(colours, 60)), 30):
        shown = shown_tiles(example, rows, cols)
        laid = [nearest_colour(shown[number - 1], colours) for number in example.answer]
        assert laid == list(range(rows * cols))
        said = ",".join(str(number) for number in example.answer)
        score = TASK.verifier_for(TASK.level(text).params).score(f"<answer>{said}</answer>", example)
        assert score.verdict == "correct"


@pytest.mark.parametrize(
    ("level", "colours", "words"),
    [("2x1", ((RED,), (GREEN,)), "from top to bottom"), ("1x2", ((RED, GREEN),), "from left to right")],
)
def test_two_tiles(level: str, colours: tuple[tuple[tuple[int, int, int], ...], ...], words: str) -> None:
    picture = checkered(colours, 60).repeat(len(colours[0]), axis=0).repeat(len(colours), axis=1)
    for example in make_all(TASK, f"{level},image_px=64", ArrayPhoto(picture), 12):
        laid = [nearest_colour(pictures(example)[number - 1], colours) for number in example.answer]
        assert laid == [0, 1]
        assert words in example.text()


@pytest.mark.parametrize("form", ["tiles", "picture"])
def test_pair_question(form: str) -> None:
    """Where was tile b, seen from tile a?"""
    for example in make_all(TASK, f"3x3,ask=pair,form={form},image_px=96", ArrayPhoto(checkered(GRAIN, 60)), 40):
        numbers = [int(n) for n in re.findall(r"Where was tile (\d), seen from tile (\d)", example.text())[0]]
        shown = shown_tiles(example, 3, 3)
        to, origin = (divmod(nearest_colour(shown[number - 1], GRAIN), 3) for number in numbers)
        step = (to[0] - origin[0], to[1] - origin[1])
        assert step == {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}[example.answer]


def test_tiles_keep_their_size_and_lose_their_margin() -> None:
    (example,) = make_all(TASK, "2x2", ArrayPhoto(noise_photo(0)), 1)
    assert [p.shape for p in pictures(example)] == [(112, 112, 3)] * 4
    picture = np.arange(12 * 8 * 3).reshape(12, 8, 3)
    tiles = cut_tiles(picture, 2, 2, (1, 0))
    assert tiles.shape == (4, 4, 4, 3)
    assert np.array_equal(tiles[3], picture[7:11, 4:8])
    assert np.array_equal(join_tiles(cut_tiles(picture, 3, 2, (0, 0)), 3, 2), picture)


def test_every_order_that_rebuilds_the_picture_is_right() -> None:
    picture = checkered(((RED, RED), (BLUE, YELLOW)), 40)
    text = "2x2,margin=0.1,image_px=64"  # 80 px with the margins: nothing is resampled, equal tiles stay equal
    verifier = TASK.verifier_for(TASK.level(text).params)
    for example in make_all(TASK, text, ArrayPhoto(picture), 10):
        first, second, *rest = example.answer
        assert list(example.accepted) == [[first, second, *rest], [second, first, *rest]]
        swapped = ",".join(str(n) for n in (second, first, *rest))
        assert verifier.score(f"<answer>{swapped}</answer>", example).verdict == "correct"
        assert verifier.chance(example) == pytest.approx(2 / 24)


def test_same_orders_of_three_twins() -> None:
    tiles = np.array([1, 2, 1, 1]).reshape(4, 1, 1, 1)
    orders = [[4, 2, 3, 1], *same_orders([4, 2, 3, 1], tiles)]
    assert sorted(orders) == sorted([a, 2, b, c] for a, b, c in itertools.permutations((1, 3, 4)))
    with pytest.raises(Unusable, match="too many"):
        same_orders([1, 2, 3, 4, 5], np.zeros((5, 1, 1, 1)))


@pytest.mark.parametrize(("side_px", "tile_px"), [(115, 38), (121, 40), (229, 76), (700, 232)])
def test_tiles_that_repeat_in_the_photo_are_resampled_alike(side_px: int, tile_px: int) -> None:
    """On a photo a little larger than the output, resampling drifts unless every tile is made of whole pixels."""
    tile = np.random.default_rng(0).integers(0, 256, (tile_px, tile_px, 3))
    photo = np.tile(tile, (4, 4, 1))[:side_px, :side_px].astype(np.uint8)
    cut = pixels.cut_alike(Image.fromarray(photo), pixels.Window(0, 0, side_px), (114, 114), 3, 3)
    tiles = cut_tiles(np.asarray(cut), 3, 3, (3, 3)).astype(int)
    assert int(np.abs(tiles - tiles[0]).max()) <= 1


def test_a_square_of_the_size_asked_for_is_not_resampled() -> None:
    photo = noise_photo(0, 144, 114)
    cut = pixels.cut_alike(Image.fromarray(photo), pixels.Window(17, 0, 114), (114, 114), 3, 3)
    assert np.array_equal(np.asarray(cut), photo[:, 17:131])


def nearly_twins() -> Array:
    picture = checkered(((RED, RED), (BLUE, YELLOW)), 64).astype(int)
    picture[:64, 64:] += 3
    return picture


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.array(QUARTERS).repeat(64, axis=0).repeat(64, axis=1), "flat"),
        (nearly_twins(), "nearly the same"),
        (noise_photo(0, 20, 20), "shorter side"),
    ],
)
def test_unusable_whatever_the_order(picture: Array, why: str) -> None:
    params = TASK.level("2x2,image_px=64,margin=0").params
    for seed in range(10):
        with pytest.raises(Unusable, match=why):
            TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


def test_answers_are_uniform() -> None:
    photos = [ArrayPhoto(noise_photo(seed, 80, 64)) for seed in range(3)]
    small = "image_px=32,form=picture"
    assert_uniform([e.answer for e in make_many(TASK, f"2x2,{small}", photos, 720)], 24)
    assert_uniform([e.answer for e in make_many(TASK, f"2x2,ask=pair,{small}", photos, 200)], 4)
    assert_uniform([e.answer for e in make_many(TASK, f"1x2,ask=pair,{small}", photos, 100)], 2)


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("2x2,form=heap", "form is heap; allowed: tiles, picture"),
        ("1x2,cols=1", "at least 2 tiles"),
        ("2x2,margin=0.5", "margin"),
    ],
)
def test_bad_parameters(level: str, said: str) -> None:
    with pytest.raises(Ssl4rlError, match=said):
        TASK.level(level)
