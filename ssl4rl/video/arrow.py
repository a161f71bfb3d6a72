"""Whether a clip runs forwards or backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.core.verify import Choice
from ssl4rl.video import clip
from ssl4rl.video.clip import Clip

ANSWERS = ("forwards", "backwards")
EASY: Mapping[str, Any] = {"frames": 3, "span": 1.0, "motion": 4.0, "frame_px": 168, "shown": "frames"}


class Arrow(Task[Clip]):
    """Arrow of time: are these frames shown forwards or backwards?

    Sees: a few frames of one clip, at equal distances in time, as filmed or reversed.
    Answers: forwards or backwards.
    Reward: exact. Chance: 1 / 2.

    Levels: easy (3 frames), medium (3 of at most a third of the clip), hard (2 of at most a third). Parameters:
    `frames`, 2 to 8; `span`, the share of the clip that they come from at most; `motion`, how much every two frames
    differ at least (grey levels of thumbnails); `frame_px`, the side of each; `shown`, "frames", numbered pictures for
    any model that sees, or "video", one clip for a model whose processor takes clips.

    Shortcuts and guards: those of `video/order`; the same frames are drawn whatever the answer is, and then shown in
    the one order or the other.
    Not guarded: motion that is as probable backwards; what can be reached there is less than 1.

    Source: ours, after seeing the arrow of time (Pickup et al. 2014; Wei et al. 2018).
    Versions: 1, the first.
    """

    name = "video/arrow"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "span": 0.34, "motion": 2.0},
        "hard": {**EASY, "frames": 2, "span": 0.34, "motion": 2.0},
    }
    draws = 1
    data = "moving:"
    verifier = Choice(ANSWERS)

    def check_level(self, params: Mapping[str, Any]) -> None:
        clip.check_level(self.name, params, frames=(2, 8))

    def make(self, items: Sequence[Clip], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        frames = clip.moving_frames(items[0], level, rng)
        answer = ANSWERS[int(rng.integers(2))]
        shown = clip.shown(frames if answer == "forwards" else frames[::-1], level)
        what = "Is this clip" if level["shown"] == "video" else "Are these frames"
        return Example((*shown, f"\n{what} shown forwards or backwards?"), answer)
