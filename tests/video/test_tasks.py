"""The clip tasks: right answers by frames that tell their time, and nothing that tells but the frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.export.rows import row
from ssl4rl.tools.preview.preview import preview
from ssl4rl.video.arrow import Arrow
from ssl4rl.video.clip import Clip, require_motion, spaced, strip
from ssl4rl.video.following import Next
from ssl4rl.video.moving import open_moving
from ssl4rl.video.odd import Odd
from ssl4rl.video.order import Order
from tests.graph.helpers import at_chance

TASKS: list[Task[Clip]] = [Order(), Arrow(), Odd(), Next()]


class Counted(Clip):
    """A clip whose frame k is grey 8 k, left of the middle; its right half says which clip it is."""

    def __init__(self, frames: int = 24, clip: int = 0) -> None:
        self.count, self.clip = frames, clip

    def __len__(self) -> int:
        return self.count

    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        assert list(indices) == sorted(indices)
        found = []
        for index in indices:
            array = np.full((64, 64, 3), 8 * index, dtype=np.uint8)
            array[:, 32:] = 40 * self.clip
            found.append(Image.fromarray(array))
        return found


def times_of(example: Example) -> list[int]:
    """Which frame each picture of the prompt is."""
    return [round(float(np.asarray(picture)[4, 4, 0]) / 8) for picture in example.pictures]


def make(task: Task[Clip], level: str, seed: int) -> Example:
    params = task.level(f"{level},frame_px=32").params
    return task.make([Counted(clip=0), Counted(clip=3)], params, keyed_rng("video", seed))


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_order_is_the_order_of_the_frames(level: str) -> None:
    for seed in range(20):
        example = make(Order(), level, seed)
        times = times_of(example)
        assert [times[number - 1] for number in example.answer] == sorted(times)
        steps = np.diff(sorted(times))
        assert len({*steps.tolist()}) == 1
        assert min(times) >= 1
        assert max(times) <= 22
        assert steps.sum() <= 22 * Order.levels[level]["span"]


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_arrow_shows_the_frames_or_turns_them_round(level: str) -> None:
    seen = Counter[str]()
    for seed in range(60):
        example = make(Arrow(), level, seed)
        times = times_of(example)
        assert times == sorted(times, reverse=example.answer == "backwards")
        seen[str(example.answer)] += 1
    assert at_chance([True] * seen["forwards"] + [False] * seen["backwards"], 0.5)


@pytest.mark.parametrize("task", [Arrow(), Next()], ids=["arrow", "next"])
def test_a_clip_in_place_of_its_frames(task: Task[Clip]) -> None:
    """The same frames and the same answer; where the options are pictures they stay pictures."""
    for seed in range(20):
        frames, clip = (make(task, f"easy,shown={shown}", seed) for shown in ("frames", "video"))
        assert [medium.kind for medium in frames.media] == ["image"] * len(frames.media)
        assert [medium.kind for medium in clip.media] == ["video", *["image"] * (len(frames.media) - 3)]
        assert len(clip.media[0].data) == 3
        assert times_of(clip) == times_of(frames)
        assert clip.answer == frames.answer


def test_other_ways_to_show_a_clip_are_refused() -> None:
    with pytest.raises(Ssl4rlError, match="video/arrow: shown is film; allowed: frames, video"):
        Arrow().level("easy,shown=film")


def test_a_clip_on_a_page_is_its_frames_side_by_side() -> None:
    sheet = strip([Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")])
    assert sheet.size == (20, 6)
    assert [sheet.getpixel((x, 3)) for x in (7, 9, 12)] == [(255, 0, 0), (255, 255, 255), (0, 0, 255)]
    looked = preview("video/next", level="easy,frame_px=32,shown=video", n=1)
    assert "<video 104x32>" in str(looked)
    assert looked.page().count("data:image/") == 3  # the clip and two options


def test_rows_say_that_they_hold_no_clip() -> None:
    dataset = create_dataset("video/arrow", level="easy,shown=video", size=1)
    with pytest.raises(Ssl4rlError, match="shows video; a row holds text and images"):
        row(dataset, dataset[0])


def test_odd_is_the_frame_of_the_other_clip() -> None:
    for seed in range(30):
        example = make(Odd(), "clip", seed)
        clips = [round(float(np.asarray(media.data)[4, 28, 0]) / 40) for media in example.media]
        assert [at + 1 for at, clip in enumerate(clips) if clip == 3] == [example.answer]


def test_odd_is_the_frame_from_outside_the_stretch() -> None:
    places = Counter[int]()
    for seed in range(200):
        try:
            example = make(Odd(), "time", seed)
        except Unusable:
            continue
        times = times_of(example)
        at = int(example.answer) - 1
        others = times[:at] + times[at + 1 :]
        step = int(np.diff(others).min())
        assert times[at] <= others[0] - step or times[at] >= others[-1] + step
        places[at] += 1
    assert places.total() > 100
    assert all(at_chance([place == one for place in places.elements()], 1 / 5) for one in range(5))


@pytest.mark.parametrize(("level", "frames", "options"), [("easy", 3, 2), ("medium", 2, 3), ("hard", 2, 4)])
def test_next_is_one_distance_after_the_last(level: str, frames: int, options: int) -> None:
    for seed in range(30):
        example = make(Next(), level, seed)
        times = times_of(example)
        shown, offered = times[:frames], times[frames:]
        step = shown[1] - shown[0]
        assert offered["ABCD".index(str(example.answer))] == shown[-1] + step
        assert len({*times}) == len(times) == frames + options
        assert shown[0] - step // (2 if level == "hard" else 1) in offered


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_clips_that_stand_still_or_are_too_short_give_no_question(task: Task[Clip]) -> None:
    class Still(Counted):
        def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
            return [Image.new("RGB", (64, 64), (9, 99, 9))] * len(indices)

    level = task.level(None).params
    with pytest.raises(Unusable, match="two frames show the same"):
        task.make([Still(), Still()], level | {"frame_px": 32}, keyed_rng(0))
    with pytest.raises(Unusable, match="the clip has 4 frames, too few for"):
        task.make([Counted(4), Counted(4)], level | {"frame_px": 32}, keyed_rng(0))


def test_spaced_frames_by_hand() -> None:
    assert {tuple(spaced(5, 3, keyed_rng(seed))) for seed in range(30)} == {(1, 2, 3)}
    assert {tuple(spaced(7, 2, keyed_rng(seed))) for seed in range(200)} == {
        (low, low + step) for step in (1, 2, 3, 4) for low in range(1, 6 - step)
    }
    with pytest.raises(Unusable, match="the clip has 4 frames, too few for 3"):
        spaced(4, 3, keyed_rng(0))


def test_motion_is_measured_between_all_frames() -> None:
    grey = [Image.new("RGB", (16, 16), (level,) * 3) for level in (10, 20, 10)]
    require_motion(grey[:2], 9.9)
    with pytest.raises(Unusable, match="two frames show the same"):
        require_motion(grey, 1.0)


def test_a_drawn_day_goes_from_left_to_right_and_is_the_same_at_any_size() -> None:
    source = open_moving()
    for index in range(5):
        small, large = (source[index].frames(range(24), side) for side in (32, 128))
        assert (small[0].size, large[0].size) == ((32, 32), (128, 128))
        apart = [np.abs(np.asarray(a, float) - np.asarray(b.resize((32, 32), Image.Resampling.BOX), float)).mean()
                 for a, b in zip(small, large, strict=True)]  # fmt: skip
        assert max(apart) < 12
        halves = [np.asarray(frame, float)[:64].mean(axis=(0, 2)) for frame in large]
        assert halves[1][:64].mean() > halves[1][64:].mean() + 5  # the sun and its light
        assert halves[-2][64:].mean() > halves[-2][:64].mean() + 5
    assert source.id(3) == "moving:1/3"
    assert source[7].frames([5], 32)[0].tobytes() == open_moving()[7].frames([5], 32)[0].tobytes()
    with pytest.raises(Ssl4rlError, match="'moving:day': nothing may follow the colon"):
        open_moving("day")


@pytest.mark.parametrize(
    ("task", "level", "error"),
    [
        (Order(), "easy,frames=9", "video/order: frames is 9; allowed: 2 to 8"),
        (Arrow(), "easy,span=2.0", r"video/arrow: span is 2\.0; allowed: 0\.05 to 1\.0"),
        (Odd(), "clip,from=film", "video/odd: from is film; allowed: clip, time"),
        (Next(), "easy,options=5", "video/next: options is 5; allowed: 2 to 4"),
    ],
)
def test_levels_that_cannot_be(task: Task[Clip], level: str, error: str) -> None:
    with pytest.raises(Ssl4rlError, match=error):
        task.level(level)
