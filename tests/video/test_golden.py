from __future__ import annotations

from PIL import Image

from ssl4rl.core.source import Source, content_id
from ssl4rl.video import TASKS
from ssl4rl.video.clip import Clip, PhotoClip
from ssl4rl.vision.photo import Photo
from tests import golden
from tests.vision.helpers import noise_photo

MORE_LEVELS = {"video/arrow": ["easy,frame_px=32"], "video/next": ["medium,frames=3,options=4,span=1.0"]}


class Noise(Photo):
    """A picture drawn when it is asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def decode(self, min_side_px: int) -> Image.Image:
        return Image.fromarray(noise_photo(self.seed, 100, 90))


class Noises(Source[Clip]):
    """Clips of 18 unlike frames."""

    uri = "noises:"

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Clip:
        return PhotoClip(f"clip{index}", tuple(Noise(20 * index + at) for at in range(18)))

    def id(self, index: int) -> str:
        return content_id(f"noises {index}".encode())


def current() -> golden.Golden:
    return golden.compute(TASKS, Noises(), MORE_LEVELS)


def test_examples_are_what_they_were() -> None:
    """Where this fails on purpose: raise the task's `version`, then `python -m tests.golden`."""
    now, then = current(), golden.stored("video")
    assert {name: entry["version"] for name, entry in now.items()} == {n: e["version"] for n, e in then.items()}
    changed = [
        f"{n} {at}" for n in then for at in then[n]["digests"] if now[n]["digests"].get(at) != then[n]["digests"][at]
    ]
    assert changed == []
