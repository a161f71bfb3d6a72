from __future__ import annotations

import numpy as np

from ssl4rl.vision import TASKS
from tests import golden
from tests.vision.helpers import Array, ArraySource, DeepPhoto, noise_photo

SIZES = ((320, 240), (240, 320), (256, 256), (400, 230), (300, 250), (230, 330))

MORE_LEVELS = {
    "vision/rotation": ["90deg,original=false,image_px=32"],
    "vision/flipped": ["whole,original=false,change=turn", "3x3,change=flip"],
    "vision/jigsaw": ["2x2,form=picture,image_px=32", "2x2,ask=pair", "3x3,ask=pair,form=picture"],
}


def depth_blocks(picture: Array) -> Array:
    """Blocks of 40 pixels at depths 1 to 4."""
    high, wide = picture.shape[:2]
    cells = np.random.Generator(np.random.PCG64(high * wide)).integers(1, 5, (high // 40 + 1, wide // 40 + 1))
    return cells.repeat(40, axis=0).repeat(40, axis=1)[:high, :wide]


def current() -> golden.Golden:
    source = ArraySource([noise_photo(seed, *size) for seed, size in enumerate(SIZES)])
    source.photos = [DeepPhoto(photo.array, depth_blocks(photo.array)) for photo in source.photos]
    return golden.compute(TASKS, source, MORE_LEVELS)


def test_examples_are_what_they_were() -> None:
    """Where this fails on purpose: raise the task's `version`, then `python -m tests.golden`."""
    now, then = current(), golden.stored("vision")
    assert {name: entry["version"] for name, entry in now.items()} == {n: e["version"] for n, e in then.items()}
    changed = [
        f"{n} {at}" for n in then for at in then[n]["digests"] if now[n]["digests"].get(at) != then[n]["digests"][at]
    ]
    assert changed == []
