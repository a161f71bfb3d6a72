"""Clips have a content-free twin, so the audit decides, and sees a leak that a task adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl4rl import Example, Task
from ssl4rl.core.source import Split
from ssl4rl.tools.audit.audit import Audit, audit_task
from ssl4rl.video.arrow import Arrow
from ssl4rl.video.clip import Clip
from ssl4rl.video.following import Next
from ssl4rl.video.moving import open_moving
from ssl4rl.video.odd import Odd
from ssl4rl.video.order import Order


def audited(task: Task[Clip], level: str) -> Audit:
    return audit_task(task, f"{level},frame_px=32", Split(open_moving(""), "all"), n=120)


@pytest.mark.parametrize(
    ("task", "level"),
    [
        (Order(), "easy"),
        pytest.param(Arrow(), "easy", marks=pytest.mark.slow),
        pytest.param(Arrow(), "easy,shown=video", marks=pytest.mark.slow),
        pytest.param(Odd(), "clip", marks=pytest.mark.slow),
        (Next(), "medium"),
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_clips_have_a_twin_on_which_nothing_tells(task: Task[Clip], level: str) -> None:
    found = audited(task, level)
    assert found.no_twin == ""
    assert found.on_twin
    assert not found.leaks
    assert not found.undecided


class Brighter(Order):
    """The frame that was filmed first is a little brighter than the others."""

    name = "test/brighter"

    def make(self, items: Sequence[Clip], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        made = super().make(items, level, rng)
        pictures = [part for part in made.prompt if not isinstance(part, str)]
        first = pictures[made.answer[0] - 1]
        lit = Image.fromarray((np.asarray(first.data).astype(int) + 24).clip(0, 255).astype(np.uint8))
        prompt = tuple(type(part)(part.kind, lit) if part is first else part for part in made.prompt)
        return Example(prompt, made.answer)


def test_a_frame_that_is_marked_is_a_leak() -> None:
    assert {row.family for row in audited(Brighter(), "easy").leaks} >= {"colour"}


def test_a_twin_is_as_long_and_comes_out_of_its_number_alone() -> None:
    item = open_moving("")[3]
    twins = [item.content_free(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert [len(twin) for twin in twins] == [len(item)] * 3
    first, again, other = (np.asarray(twin.frames([0, 1], 32)[1]) for twin in twins)
    assert (first == again).all()
    assert (first != other).any()
