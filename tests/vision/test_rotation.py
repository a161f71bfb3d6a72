from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.pixels import Turntable, Window
from ssl4rl.vision.tasks.rotation import Rotation
from tests.vision.helpers import Array, ArrayPhoto, assert_uniform, make_all, make_many, noise_photo, pictures

TASK = Rotation()
SMALL = "image_px=32"


def red_on_top(height: int = 96, width: int = 128) -> Array:
    """Red above, blue below."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[: height // 4] = (255, 0, 0)
    picture[height // 4 :] = (0, 0, 255)
    return picture


def red_side(picture: Array) -> str:
    red = {
        "top": picture[:4, :, 0].mean(),
        "bottom": picture[-4:, :, 0].mean(),
        "left": picture[:, :4, 0].mean(),
        "right": picture[:, -4:, 0].mean(),
    }
    return max(red, key=lambda side: red[side])


@pytest.mark.parametrize("original", ["true", "false"])
def test_red_sky_turned_counter_clockwise(original: str) -> None:
    examples = make_all(TASK, f"90deg,original={original},{SMALL}", ArrayPhoto(red_on_top()), 40)
    seen = {example.answer: red_side(pictures(example)[-1]) for example in examples}
    assert seen == {0: "top", 90: "left", 180: "bottom", 270: "right"}
    if original == "true":
        assert {red_side(pictures(example)[0]) for example in examples} == {"top"}


@pytest.mark.parametrize("level", ["45deg", "15deg"])
def test_fine_angles_are_where_the_red_went(level: str) -> None:
    y, x = np.mgrid[:64, :64] - 31.5
    disc = np.hypot(x, y) < 32
    for example in make_all(TASK, f"{level},image_px=64", ArrayPhoto(red_on_top(128, 128)), 60):
        turned = pictures(example)[1]
        red = (turned[:, :, 0] > 128) & disc
        blue = (turned[:, :, 2] > 128) & disc
        towards_red_deg = np.degrees(np.arctan2(y[blue].mean() - y[red].mean(), x[red].mean() - x[blue].mean()))
        assert abs((towards_red_deg - 90 - example.answer + 180) % 360 - 180) < 3


@pytest.mark.parametrize("level", TASK.levels)
def test_every_answer_has_the_same_size_and_no_copy_is_exact(level: str) -> None:
    examples = make_many(TASK, level, [ArrayPhoto(noise_photo(0)), ArrayPhoto(noise_photo(1, 240, 330))], 12)
    assert len(examples) == 12
    for example in examples:
        assert [picture.shape for picture in pictures(example)] == [(224, 224, 3)] * 2
        assert not np.array_equal(*pictures(example))
        assert (
            TASK.verifier_for(TASK.level(level).params).score(f"<answer>{example.answer}°</answer>", example).value == 1
        )


def test_alone_there_is_one_picture() -> None:
    (example,) = make_all(TASK, f"90deg,original=false,{SMALL}", ArrayPhoto(noise_photo(0, 64, 64)), 1)
    assert len(example.media) == 1
    assert example.media[0].data.size == (32, 32)


def test_right_angles_are_exact_turns_of_one_another() -> None:
    image = ArrayPhoto(noise_photo(3)).decode(64)
    table = Turntable(image, Window(40, 0, 240), 48, oblique=False)
    upright = np.asarray(table.copy(0, (0.3, 0.5, 0.5))).astype(int)
    for quarter_turns in (1, 2, 3):
        turned = np.asarray(table.copy(90 * quarter_turns, (0.3, 0.5, 0.5))).astype(int)
        assert np.abs(np.rot90(upright, quarter_turns) - turned).max() <= 1


def test_nothing_from_outside_the_square_is_shown() -> None:
    picture = np.full((96, 192, 3), 0, dtype=np.uint8)
    picture[:, 48:144] = np.maximum(noise_photo(5, 96, 96), 60)
    for oblique, angles in ((False, (0, 90, 180, 270)), (True, range(0, 360, 15))):
        table = Turntable(ArrayPhoto(picture).decode(32), Window(48, 0, 96), 32, oblique)
        for angle in angles:
            for jitter in ((0.999, 0.999, 0.999), (0.0, 0.0, 0.999), (0.0, 0.999, 0.0)):
                assert np.asarray(table.copy(angle, jitter)).min() >= 50


def disc() -> Array:
    y, x = np.mgrid[:80, :80] - 39.5
    return np.where((np.hypot(x, y) < 25)[:, :, None], [250, 200, 40], [20, 60, 200]).astype(np.uint8)


def two_corners() -> Array:
    """The same after half a turn, different after a quarter."""
    picture = np.zeros((80, 80, 3), dtype=np.uint8)
    picture[:40, :40] = picture[40:, 40:] = (200, 220, 40)
    return picture


@pytest.mark.parametrize(
    ("picture", "levels", "why"),
    [
        (np.full((80, 80, 3), 130), ["180deg", "90deg", "45deg", "15deg"], "flat"),
        (disc(), ["180deg", "90deg", "45deg", "15deg"], "nearly the same"),
        (two_corners(), ["180deg", "90deg", "45deg", "15deg"], "nearly the same"),
        (noise_photo(0, 200, 15), ["90deg"], "shorter side"),
    ],
)
def test_unusable_whatever_the_angle(picture: Array, levels: list[str], why: str) -> None:
    for level in levels:
        params = TASK.level(f"{level},{SMALL}").params
        for seed in range(12):
            with pytest.raises(Unusable, match=why):
                TASK.make([ArrayPhoto(picture)], params, np.random.default_rng(seed))


def test_a_slope_from_dark_to_bright_is_usable_at_every_level() -> None:
    slope = np.linspace(0, 255, 96)[:, None, None].repeat(96, axis=1).repeat(3, axis=2)
    for level in TASK.levels:
        make_all(TASK, f"{level},{SMALL}", ArrayPhoto(slope), 5)


@pytest.mark.parametrize(("level", "options"), [("180deg", 2), ("90deg", 4), ("45deg", 8), ("15deg", 24)])
def test_answers_are_uniform(level: str, options: int) -> None:
    photos = [ArrayPhoto(noise_photo(seed, 80, 64)) for seed in range(3)]
    assert_uniform([e.answer for e in make_many(TASK, f"{level},image_px=16", photos, 480)], options)


@pytest.mark.parametrize(
    ("level", "said"), [("90deg,step_deg=7", "step_deg is 7"), ("90deg,image_px=0", "image_px is 0")]
)
def test_bad_parameters(level: str, said: str) -> None:
    with pytest.raises(Ssl4rlError, match=said):
        TASK.level(level)
