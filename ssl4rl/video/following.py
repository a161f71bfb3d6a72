"""Which frame comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.video import clip
from ssl4rl.video.clip import Clip
from ssl4rl.vision import pixels

LETTERS = "ABCD"
EASY: Mapping[str, Any] = {"frames": 3, "options": 2, "span": 1.0, "motion": 4.0, "frame_px": 168, "shown": "frames"}


class Next(Task[Clip]):
    """Next: which frame was filmed next?

    Sees: a few frames of one clip in the order filmed, at equal distances in time, and lettered frames of the same
    clip, one of which comes one distance after the last.
    Answers: its letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (3 frames; the other option is the one before the first), medium (2 frames, 3 options: also one two
    distances after the last), hard (2 frames of a third of the clip, 4 options: also one between the frames shown).
    Parameters: `frames`, 2 to 6; `options`, 2 to 4; `span`, the share of the clip that all come from at most;
    `motion`, how much every two frames differ at least (grey levels of thumbnails); `frame_px`, the side of each;
    `shown`, "frames", numbered pictures for any model that sees, or "video", one clip before the options, for a model
    whose processor takes both.

    Shortcuts and guards: those of `video/order`; options that are shown already (never); the place of the right option
    (shuffled); which frames there are (all frames, shown or offered, are drawn as one row of equal distances, whatever
    the answer is).
    Not guarded: what is most like the last frame shown is mostly right: so it is evidence, and less of it at hard.

    Source: ours, after VideoSSR (arXiv 2511.06281) and next frame prediction with options.
    Versions: 1, the first.
    """

    name = "video/next"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "frames": 2, "options": 3},
        "hard": {**EASY, "frames": 2, "options": 4, "span": 0.5, "motion": 2.0},
    }
    draws = 1
    data = "moving:"
    verifier = Choice(LETTERS[:2])
    cues: ClassVar[Mapping[str, str]] = {
        "likeness": "what comes next is most like the last frame shown",
        "option likeness": "frames near in time look alike, those offered among them",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        clip.check_level(self.name, params, frames=(2, 6))
        pixels.check_between(self.name, params, "options", 2, len(LETTERS))

    def make(self, items: Sequence[Clip], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        shown, options = level["frames"], level["options"]
        # one row: the frame before, those shown (with one between them where there are four options), the next, the
        # one after it
        stride = 2 if options == 4 else 1
        last = 1 + stride * (shown - 1)
        offered = [last + stride, 0, last + 2 * stride, last - 1][:options]
        times = clip.spaced(len(items[0]), max(last, *offered) + 1, rng, level["span"])
        rows = [*range(1, last + 1, stride), *offered]
        frames = clip.draw_frames(items[0], [times[row] for row in rows], rng, level["frame_px"])
        clip.require_motion(frames, level["motion"])
        order = rng.permutation(options).tolist()
        parts = clip.shown(frames[:shown], level)
        parts.append("\nWhich of these was filmed next?")
        for letter, at in zip(LETTERS, order, strict=False):
            parts += [f"\n{letter}: ", pixels.media(frames[shown + at])]
        return Example(tuple(parts), LETTERS[order.index(0)])
