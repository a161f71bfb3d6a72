"""In which order frames were filmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.core.verify import Permutation, Verifier
from ssl4rl.video import clip
from ssl4rl.video.clip import Clip

EASY: Mapping[str, Any] = {"frames": 3, "span": 1.0, "motion": 4.0, "frame_px": 168}


class Order(Task[Clip]):
    """Order: in which order were these frames filmed?

    Sees: a few frames of one clip, at equal distances in time, numbered in random order.
    Answers: the frames' numbers, from the first to the last.
    Reward: the share of places that are right, 1 only when all are. Chance: 1 / frames!.

    Levels: easy (3 frames), medium (4), hard (5, of at most a third of the clip). Parameters: `frames`, 2 to 8; `span`,
    the share of the clip that they come from at most; `motion`, how much every two frames differ at least (grey levels
    of thumbnails); `frame_px`, the side of each.

    Shortcuts and guards: a clip's first and last frame (never taken: they fade, or hold a title); clips that stand
    still (unusable); crops (one square for all frames); the numbers (drawn uniformly). Frames of films differ in how
    sharply they were coded (every first of a group is a whole picture); averaged down to `frame_px` little is left.
    Not guarded: motion that is as probable backwards; what can be reached there is less than 1. That frames near in
    time look alike is the evidence; which is most like all others is found without telling forwards from backwards.

    Source: ours, after shuffle and learn (arXiv 1603.08561) and Visual Jigsaw's clips (arXiv 2509.25190).
    Versions: 1, the first.
    """

    name = "video/order"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "frames": 4},
        "hard": {**EASY, "frames": 5, "span": 0.34, "motion": 2.0},
    }
    draws = 1
    data = "moving:"
    verifier = Permutation(3)
    cues: ClassVar[Mapping[str, str]] = {
        "option likeness": "frames near in time look alike, so those in the middle are most like all others",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Permutation(level["frames"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        clip.check_level(self.name, params, frames=(2, 8))

    def make(self, items: Sequence[Clip], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        frames = clip.moving_frames(items[0], level, rng)
        shown = rng.permutation(len(frames)).tolist()
        parts = clip.numbered([frames[at] for at in shown])
        answer = [shown.index(at) + 1 for at in range(len(frames))]
        return Example((*parts, "\nIn which order were these frames filmed?"), answer)
