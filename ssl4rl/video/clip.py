"""The item of every clip source: frames in order, each decoded when a task asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ssl4rl.core.types import Media, Unusable
from ssl4rl.vision import pixels
from ssl4rl.vision.noise import Noise
from ssl4rl.vision.photo import Photo


class Clip(ABC):
    """A clip not yet decoded: `len` frames at even times."""

    @abstractmethod
    def __len__(self) -> int:
        """How many frames there are.

        Raises:
            Unusable: the file is broken.
        """

    @abstractmethod
    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        """The frames at ascending `indices`: RGB, all of one size, whose shorter side is `min_side_px` or more
        wherever the clip's own is.

        Raises:
            Unusable: a frame cannot be decoded, or has another size.
        """

    def content_free(self, rng: np.random.Generator) -> Clip:
        """As many frames of noise, each by itself, so that none tells when it was: the audit's twin."""
        return PhotoClip("noise", tuple(Noise(rng) for _ in range(len(self))))


@dataclass(frozen=True)
class PhotoClip(Clip):
    """Frames that are picture files of their own."""

    name: str
    photos: tuple[Photo, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        found = [self.photos[index].decode(min_side_px) for index in indices]
        if len({frame.size for frame in found}) > 1:
            raise Unusable(f"{self.name}: its frames have different sizes")
        return found


def spaced(frames: int, count: int, rng: np.random.Generator, most_apart: float = 1.0) -> list[int]:
    """`count` frame numbers at equal distances, never the clip's first or last frame: these fade, or hold a title.

    The distance is drawn first, uniformly, then the place.

    Args:
        frames: how many the clip has.
        most_apart: the share of the clip that the numbers may span.

    Raises:
        Unusable: the clip is too short.
    """
    span = int((frames - 2) * most_apart)
    widest = (span - 1) // (count - 1)
    if widest < 1:
        raise Unusable(f"the clip has {frames} frames, too few for {count} at equal distances")
    step = int(rng.integers(1, widest + 1))
    start = int(rng.integers(1, frames - 1 - step * (count - 1)))
    return [start + step * k for k in range(count)]


def draw_frames(
    clip: Clip, indices: Sequence[int], rng: np.random.Generator, px: int, *, window: pixels.Window | None = None
) -> list[Image.Image]:
    """The same square of the frames at `indices` (in any order), at `px` x `px`, each resampled alike.

    Args:
        window: the square; None draws one.

    Raises:
        Unusable: a frame cannot be decoded, or its shorter side is below half of `px`.
    """
    ascending = sorted({*indices})
    decoded = dict(zip(ascending, clip.frames(ascending, px), strict=True))
    window = window or pixels.square_window(decoded[ascending[0]], rng, px / 2)
    return [pixels.cut(decoded[index], window.box, (px, px)) for index in indices]


def require_motion(frames: Sequence[Image.Image], least_rms: float) -> None:
    """Refuse frames two of which show the same: of a clip that stands still nothing can be asked.

    Args:
        least_rms: of thumbnails of 16 x 16, in grey levels (of 255).

    Raises:
        Unusable: two frames differ by less.
    """
    thumbs = np.stack([pixels.thumbnail(frame, (0, 0, *frame.size), (16, 16)) for frame in frames])
    flat = thumbs.reshape(len(frames), -1)
    apart = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(axis=2)) + 1e9 * np.eye(len(frames))
    if apart.min() < least_rms:
        raise Unusable("two frames show the same")


def moving_frames(clip: Clip, level: Mapping[str, Any], rng: np.random.Generator) -> list[Image.Image]:
    """Frames at equal distances, in the order filmed, as a level's frames, span, motion and frame_px say.

    Raises:
        Unusable: the clip is too short, stands still, or cannot be decoded.
    """
    times = spaced(len(clip), level["frames"], rng, level["span"])
    frames = draw_frames(clip, times, rng, level["frame_px"])
    require_motion(frames, level["motion"])
    return frames


SHOWN = ("frames", "video")


def shown(frames: Sequence[Image.Image], level: Mapping[str, Any]) -> list[str | Media]:
    """Frames as a level's `shown` says: numbered pictures in order, or one clip for a model that takes clips."""
    return [Media("video", tuple(frames))] if level["shown"] == "video" else numbered(frames)


def strip(frames: Sequence[Image.Image]) -> Image.Image:
    """A clip on a page: its frames side by side, four pixels apart."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (len(frames) * (width + 4) - 4, height), "white")
    for at, frame in enumerate(frames):
        sheet.paste(frame, (at * (width + 4), 0))
    return sheet


def numbered(frames: Sequence[Image.Image], word: str = "Frame") -> list[str | Media]:
    """ "Frame 1: ", its picture, and so on."""
    parts: list[str | Media] = []
    for number, frame in enumerate(frames, start=1):
        parts += [f"{word} {number}: " if number == 1 else f"\n{word} {number}: ", pixels.media(frame)]
    return parts


def check_level(task: str, params: Mapping[str, Any], *, frames: tuple[int, int]) -> None:
    """Refuse a number of frames, a span, a size, a least motion or a way to show them that cannot be.

    Raises:
        Ssl4rlError: it cannot.
    """
    pixels.check_between(task, params, "frames", *frames)
    pixels.check_between(task, params, "span", 0.05, 1.0)
    pixels.check_between(task, params, "motion", 0.0, 64.0)
    pixels.check_between(task, params, "frame_px", 8, 1024)
    if "shown" in params:
        pixels.check_among(task, params, "shown", SHOWN)
