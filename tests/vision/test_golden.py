from __future__ import annotations

from ssl4rl.vision import TASKS
from tests import golden
from tests.vision.helpers import ArraySource, noise_photo

SIZES = ((320, 240), (240, 320), (256, 256), (400, 230), (300, 250), (230, 330))

MORE_LEVELS = {
    "vision/rotation": ["90deg,original=false,image_px=32"],
    "vision/jigsaw": ["2x2,form=picture,image_px=32", "2x2,ask=pair", "3x3,ask=pair,form=picture"],
}


def current() -> golden.Golden:
    source = ArraySource([noise_photo(seed, *size) for seed, size in enumerate(SIZES)])
    return golden.compute(TASKS, source, MORE_LEVELS)


def test_examples_are_what_they_were() -> None:
    """Where this fails on purpose: raise the task's `version`, then `python -m tests.golden`."""
    now, then = current(), golden.stored("vision")
    assert {name: entry["version"] for name, entry in now.items()} == {n: e["version"] for n, e in then.items()}
    changed = [
        f"{n} {at}" for n in then for at in then[n]["digests"] if now[n]["digests"].get(at) != then[n]["digests"][at]
    ]
    assert changed == []
