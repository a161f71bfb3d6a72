"""Which frame is from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Integer, Verifier
from ssl4rl.video import clip
from ssl4rl.video.clip import Clip
from ssl4rl.vision import pixels

CLIP: Mapping[str, Any] = {"from": "clip", "frames": 4, "span": 0.5, "motion": 2.0, "frame_px": 168}


class Odd(Task[Clip]):
    """Odd one out: which frame is from another clip, or from elsewhere in this one?

    Sees: frames of one clip in the order filmed, at equal distances in time, one of which was replaced.
    Answers: that frame's number.
    Reward: exact. Chance: 1 / frames.

    Levels: clip (4 frames, one of another clip), time (5 frames, one of another time in the same clip). Parameters:
    `from`, clip or time; `frames`, 3 to 8; `span`, the share of the clip that the others come from at most; `motion`,
    how much every two frames differ at least (grey levels of thumbnails); `frame_px`, the side of each.

    Shortcuts and guards: which place is replaced (drawn uniformly, before anything is looked at); colours at
    `from=clip` (evidence, and little more is needed there); sizes (every frame is cut square and resampled to
    `frame_px`); at `from=time` the odd frame comes from outside the stretch shown, on the side that is drawn of those
    that have room.
    Not guarded: at the first and the last place a frame of another time may only be too far away.

    Source: ours, after odd-one-out networks (arXiv 1611.06646) and VideoSSR's frames (arXiv 2511.06281).
    Versions: 1, the first.
    """

    name = "video/odd"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clip": CLIP,
        "time": {**CLIP, "from": "time", "frames": 5, "span": 0.4},
    }
    draws = 2
    data = "moving:"
    verifier = Integer(1, 4)
    cues: ClassVar[Mapping[str, str]] = {
        "likeness": "a frame that is unlike those beside it is what is asked for",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Integer(1, level["frames"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_among(self.name, params, "from", ("clip", "time"))
        clip.check_level(self.name, params, frames=(3, 8))

    def make(self, items: Sequence[Clip], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        count, px = level["frames"], level["frame_px"]
        place = int(rng.integers(count))
        times = clip.spaced(len(items[0]), count, rng, level["span"])
        if level["from"] == "clip":
            frames = clip.draw_frames(items[0], times, rng, px)
            other = items[1]
            if len(other) < 3:
                raise Unusable("the other clip has too few frames")
            (frames[place],) = clip.draw_frames(other, [int(rng.integers(1, len(other) - 1))], rng, px)
        else:
            times[place] = _elsewhere(len(items[0]), times, rng)
            frames = clip.draw_frames(items[0], times, rng, px)
        clip.require_motion(frames, level["motion"])
        where = "another clip" if level["from"] == "clip" else "another time of the clip"
        return Example((*clip.numbered(frames), f"\nWhich of these frames is from {where}?"), place + 1)


def _elsewhere(frames: int, times: Sequence[int], rng: np.random.Generator) -> int:
    """A frame outside the stretch of `times`, at least two of its steps away from its ends.

    Raises:
        Unusable: there is no room on either side.
    """
    step = times[1] - times[0]
    low, high = range(1, times[0] - 2 * step + 1), range(times[-1] + 2 * step, frames - 1)
    sides = [side for side in (low, high) if len(side)]
    if not sides:
        raise Unusable("the clip has no room beside the stretch shown")
    side = sides[int(rng.integers(len(sides)))]
    return side[int(rng.integers(len(side)))]
