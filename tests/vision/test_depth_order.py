from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.vision import marks, pixels
from ssl4rl.vision.layers import BACKGROUND, Layers, open_layers
from ssl4rl.vision.sources import open_folder, open_rgbd
from ssl4rl.vision.tasks.depth_order import DepthOrder, draw_set, even_places
from tests.vision.helpers import Array, DeepPhoto, assert_uniform, make_many, noise_photo, pictures

TASK = DepthOrder()


def blocks(seed: int = 0, cells: int = 6, px: int = 40) -> DeepPhoto:
    """Blocks at depths 1 to 4, whose grey is 60 times their depth."""
    depths = np.random.default_rng(seed).integers(1, 5, (cells, cells)).repeat(px, axis=0).repeat(px, axis=1)
    return DeepPhoto(np.repeat(60 * depths[:, :, None], 3, axis=2), depths)


def rings(example: Example) -> dict[str, tuple[float, float, float]]:
    """Of each ring: x and y as shares of the picture's side, and the grey level in its middle."""
    (picture,) = pictures(example)
    found = {}
    for name, colour in marks.COLOURS.items():
        y, x = np.nonzero((picture == colour).all(axis=2))
        if len(x) > 4:
            across, down = (x.min() + x.max()) // 2, (y.min() + y.max()) // 2
            found[name] = (across / len(picture), down / len(picture), float(picture[down, across].mean()))
    return found


@pytest.mark.parametrize(("level", "points"), [("easy", 2), ("medium", 3), ("hard", 4), ("order", 3)])
def test_the_nearest_is_the_darkest_block(level: str, points: int) -> None:
    examples = make_many(TASK, f"{level},image_px=160", [blocks(seed) for seed in range(4)], 30)
    assert len(examples) > 20
    for example in examples:
        near_to_far = sorted(rings(example).items(), key=lambda item: item[1][2])
        names = [name for name, _ in near_to_far]
        assert sorted(names) == sorted(marks.NAMES[:points])
        if level == "order":
            assert example.answer == [marks.NAMES.index(name) + 1 for name in names]
        else:
            assert example.answer == names[0]


@pytest.mark.parametrize("level", ["easy", "medium"])
def test_neither_height_nor_the_middle_tells_the_nearest(level: str) -> None:
    """On a floor that comes nearer downwards with a near thing in its middle, where both would tell much."""
    y, x = np.mgrid[:160, :160]
    floor = np.where(np.hypot(x - 80, y - 60) < 40, 1.0, 1 + 7 * (1 - y // 20 / 8))
    floor[:20, :60] = 0.6  # a lamp
    photo = DeepPhoto(noise_photo(0, 160, 160), floor)
    examples = make_many(TASK, f"{level},image_px=96,ratio=1.2", [photo], 150)
    assert len(examples) > 100
    chance = 1 / TASK.level(level).params["points"]
    for pick in (lambda at: -at[1], lambda at: at[1], lambda at: np.hypot(at[0] - 0.5, at[1] - 0.5)):
        shown = [(rings(example), example.answer) for example in examples]
        right = [min(found, key=lambda name: pick(found[name])) == answer for found, answer in shown]
        assert abs(np.mean(right) - chance) < 4 * (chance * (1 - chance) / len(right)) ** 0.5


def test_a_set_of_each_kind_or_none() -> None:
    places = np.array([(x, y) for x in (0.2, 0.5, 0.8) for y in (0.2, 0.5, 0.8)])
    downwards = 4 - 3 * places[:, 1]  # all that is lower is nearer
    with pytest.raises(Unusable, match="in all ways"):
        draw_set(places, downwards, 2, 1.1, "nearest", 0.5, keyed_rng("one way"))
    mixed = np.array([1, 2, 4, 4, 2, 1, 2, 1, 4.0])
    for kind, lower in ((0.1, False), (0.9, True)):
        for order in ("nearest", "order"):
            near, far = draw_set(places, mixed, 2, 1.5, order, kind, keyed_rng("both ways"))
            assert mixed[far] >= 1.5 * mixed[near]
            assert (places[far, 1] < places[near, 1]) == lower or places[far, 1] == places[near, 1]


def test_edges_and_unknown_depths_are_left_out() -> None:
    depth = np.ones((100, 100), dtype=np.float32)
    depth[:, 50:] = 3
    depth[:30] = np.nan
    places, depths = even_places(depth, (200, 200), pixels.Window(0, 0, 200))
    assert set(depths.tolist()) == {1.0, 3.0}
    assert np.abs(places[:, 0] - 0.5).min() > 0.02
    assert places[:, 1].min() > 0.3
    with pytest.raises(Unusable, match="another aspect"):
        even_places(depth, (200, 150), pixels.Window(0, 0, 150))


def test_answers_are_uniform() -> None:
    for level, options in (("easy", 2), ("medium", 3), ("hard", 4)):
        examples = make_many(TASK, f"{level},image_px=48", [blocks(seed) for seed in range(4)], 100)
        assert_uniform([example.answer for example in examples], options)
    orders = [tuple(e.answer) for e in make_many(TASK, "order,image_px=96", [blocks(1)], 60)]
    assert set(orders) == set(itertools.permutations((1, 2, 3)))


def test_drawn_layers_know_their_depth() -> None:
    source = open_layers("")
    picture, depth = np.asarray(source[7].decode(256)), source[7].depth()
    assert picture.shape == (256, 256, 3)
    assert depth.shape == (256, 256)
    assert depth.max() == BACKGROUND
    haze = picture[depth == BACKGROUND]
    assert (haze == haze[0]).all(axis=1).mean() > 0.95  # but for the things' outlines
    assert len(np.unique(depth)) > 5
    assert np.array_equal(depth, Layers(7).depth())
    with pytest.raises(Ssl4rlError, match="nothing may follow"):
        open_layers("x")


def saved(folder: Path, name: str, depth: Array) -> None:
    Image.fromarray(noise_photo(0, 64, 48)).save(folder / f"{name}.jpg")
    Image.fromarray(depth).save(folder / f"{name}_depth.png")


def test_a_folder_of_pictures_with_maps(tmp_path: Path) -> None:
    millimetres = np.full((24, 32), 1500, dtype=np.uint16)
    millimetres[0, 0] = 0
    saved(tmp_path, "a", millimetres)
    saved(tmp_path, "b", np.full((24, 32), 7, dtype=np.uint8))
    Image.fromarray(noise_photo(1, 64, 48)).save(tmp_path / "alone.png")
    Image.fromarray(noise_photo(2, 64, 48)).save(tmp_path / "c.png")
    Image.fromarray(np.full((24, 32), 4, dtype=np.uint8)).save(tmp_path / "c.disparity.png")
    source = open_rgbd(str(tmp_path))
    assert len(source) == 3
    assert [problem.why for problem in source.problems] == ["no depth map lies beside them"]
    metres = [source[i].depth() for i in range(3)]
    assert np.isnan(metres[0][0, 0])
    assert [float(depth[1, 1]) for depth in metres] == [1500.0, 7.0, 0.25]
    assert source[0].decode(48).size == (64, 48)


def test_folders_without_maps_are_told(tmp_path: Path) -> None:
    Image.fromarray(noise_photo(1, 64, 48)).save(tmp_path / "alone.png")
    with pytest.raises(Ssl4rlError, match=r"none of its 1 pictures has a depth map.*photo_depth\.png"):
        open_rgbd(str(tmp_path))
    with pytest.raises(Ssl4rlError, match="names no folder"):
        open_rgbd("")
    saved(tmp_path, "a", np.zeros((24, 32), dtype=np.uint16))
    Image.fromarray(noise_photo(3, 32, 24)).save(tmp_path / "d_depth.png")  # three channels
    Image.fromarray(noise_photo(3, 64, 48)).save(tmp_path / "d.jpg")
    source = open_rgbd(str(tmp_path))
    with pytest.raises(Unusable, match=r"a_depth\.png: no pixel of it holds a depth"):
        source[0].depth()
    with pytest.raises(Unusable, match="mode RGB; allowed: one channel"):
        source[1].depth()
    with pytest.raises(Unusable, match="no depth is known"):
        open_folder(str(tmp_path))[0].depth()


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="ask is order and points is 4; allowed: 2 or 3"):
        TASK.level("hard,ask=order")
