from __future__ import annotations

import numpy as np
import pytest

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.tasks.similarity import LETTERS, Similarity
from ssl4rl.vision.views import overlapping, shared
from tests.vision.helpers import ArrayPhoto, assert_uniform, make_many, nearest_colour, noise_photo, pictures

TASK = Similarity()
COLOURS = [[(200, 60, 60), (60, 60, 200), (60, 180, 60), (190, 190, 60)]]


def coloured() -> list[ArrayPhoto]:
    grain = np.random.default_rng(0).integers(-50, 50, (12, 12, 1)).repeat(10, axis=0).repeat(10, axis=1)
    return [ArrayPhoto(np.clip(np.array(colour) + grain, 0, 255)) for colour in COLOURS[0]]


@pytest.mark.parametrize(("level", "options"), [("easy", 2), ("medium,grey=0", 4)])
def test_the_view_of_the_same_colour(level: str, options: int) -> None:
    examples = make_many(TASK, f"{level},view_px=32", coloured(), 60)
    assert len(examples) == 60
    for example in examples:
        anchor, *views = (nearest_colour(picture, COLOURS) for picture in pictures(example))
        assert len(views) == options
        assert [letter for letter, view in zip(LETTERS, views, strict=False) if view == anchor] == [example.answer]
    assert_uniform([example.answer for example in examples], options)


def test_options_are_the_same_whichever_is_right() -> None:
    """The right letter is drawn first, and nothing of the options after it depends on it."""

    class Forced:
        """A generator whose first whole number is given."""

        def __init__(self, first: int) -> None:
            self.rng, self.first = keyed_rng("forced"), first

        def __getattr__(self, name: str) -> object:
            return getattr(self.rng, name)

        def integers(self, *args: int) -> int:
            drawn = int(self.rng.integers(*args))
            first, self.first = self.first, -1
            return drawn if first < 0 else first

    params = TASK.level("medium,view_px=32").params
    made = [TASK.make(coloured(), params, Forced(true)) for true in range(4)]  # type: ignore[arg-type]
    assert [example.answer for example in made] == list("ABCD")
    shown = [pictures(example) for example in made]
    for one in shown[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(shown[0][1:], one[1:], strict=True))
        assert not np.array_equal(shown[0][0], one[0])


def test_views_overlap() -> None:
    rng = np.random.default_rng(0)
    for anchor in ((0.0, 0.0, 0.5), (0.4, 0.3, 0.6)):
        for _ in range(50):
            assert shared(anchor, overlapping(anchor, 0.1, rng)) >= 0.25
    assert shared((0.0, 0.0, 0.5), (0.25, 0.0, 0.5)) == pytest.approx(0.5)
    assert shared((0.0, 0.0, 0.5), (0.5, 0.5, 0.5)) == 0.0


def test_near_twins_and_flat_pictures_are_unusable_whichever_is_right() -> None:
    params = TASK.level("easy,view_px=32").params
    twin = ArrayPhoto(np.clip(noise_photo(0).astype(int) + 2, 0, 255))
    flat = ArrayPhoto(np.full((120, 120, 3), 90))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        with pytest.raises(Unusable, match="nearly the same"):
            TASK.make([ArrayPhoto(noise_photo(0)), twin], params, rng)
        with pytest.raises(Unusable, match="flat"):
            TASK.make([ArrayPhoto(noise_photo(0)), flat], params, rng)


def test_bad_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="options is 5; allowed: 2 to 4"):
        TASK.level("medium,options=5")
