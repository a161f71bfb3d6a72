"""By how much a picture was turned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Angle, Verifier
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo

STEPS_DEG = (180, 120, 90, 60, 45, 30, 15, 10)
MAX_LIKENESS = 0.95


class Rotation(Task[Photo]):
    """Rotation: by how many degrees was the picture turned counter-clockwise?

    Sees: the picture and a turned copy of it (`original=true`), or the turned picture alone (`original=false`).
    Answers: degrees counter-clockwise, a multiple of `step_deg`.
    Reward: 1 when exact; where `partial_deg` is not 0 a miss by d degrees round the circle earns
    0.5 * (1 - d / partial_deg).
    Chance: step_deg / 360.

    Levels: 180deg (2 angles), 90deg (4), 45deg (8), 15deg (24). Parameters: `step_deg`; `partial_deg`; `original`;
    `image_px`, the side of every picture shown.

    Shortcuts and guards: the size of the turned picture (a square is cut first, and every picture shown has the same
    size); black corners and zoom (the shown square lies inside the cut one at every angle of the level, at a scale
    that does not depend on the angle); blur (all angles, 0 included, take one resampling path from twice the
    resolution); a copy that is the original to the pixel (original and copy are shifted and scaled a little, each
    for itself); flat pictures and those that a turn hardly changes (unusable, whatever angle was drawn).
    Not guarded: the coarse blocks of badly compressed JPEGs turn with the picture, as does what a camera leaves.

    Source: SSL4RL (arXiv 2510.16416), whose copies of pictures that are not square tell 90 and 270 from 0 and 180 by
    their size; the finer angles, the picture alone and the guards are ours.
    Versions: 1, the first.
    """

    name = "vision/rotation"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "180deg": {"step_deg": 180, "partial_deg": 0, "original": True, "image_px": 224},
        "90deg": {"step_deg": 90, "partial_deg": 0, "original": True, "image_px": 224},
        "45deg": {"step_deg": 45, "partial_deg": 90, "original": True, "image_px": 224},
        "15deg": {"step_deg": 15, "partial_deg": 45, "original": True, "image_px": 224},
    }
    draws = 1
    data = "sample:"
    verifier = Angle(90)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Angle(level["step_deg"], level["partial_deg"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_among(self.name, params, "step_deg", STEPS_DEG)
        pixels.check_between(self.name, params, "partial_deg", 0, 180)
        pixels.check_between(self.name, params, "image_px", 8, 2048)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        step_deg, px = level["step_deg"], level["image_px"]
        angle_deg = step_deg * int(rng.integers(360 // step_deg))
        oblique = step_deg % 90 != 0
        need_px = px * (math.sqrt(2) if oblique else 1.0)
        image = items[0].decode(math.ceil(2 * need_px))
        window = pixels.square_window(image, rng, need_px / 2)
        contrast, likeness = pixels.turn_likeness(image, window, step_deg)
        if contrast < pixels.FLAT_STD:
            raise Unusable("the picture is flat")
        if likeness > MAX_LIKENESS:
            raise Unusable("the picture looks nearly the same when turned")
        jitter = rng.random((2, 3)).tolist()
        table = pixels.Turntable(image, window, px, oblique)
        turned = pixels.media(table.copy(angle_deg, jitter[0]))
        if not level["original"]:
            question = "\nThis picture was turned. By how many degrees counter-clockwise (0: not turned)?"
            return Example((turned, question), angle_deg)
        original = pixels.media(table.copy(0, jitter[1]))
        question = (
            "\nThe second picture is the first one, turned. "
            "By how many degrees counter-clockwise was it turned (0: not turned)?"
        )
        return Example(("First picture: ", original, "\nSecond picture: ", turned, question), angle_deg)
