"""A task with labels of which some are wrong: how far a picture was turned, as a careless annotator noted it.

Chance is .25 as in vision/rotation; who answers rightly agrees with 7 labels in 10. `meta["true"]` is what was turned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ssl4rl import Example
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.tasks.rotation import Rotation

WRONG = 0.3


class Noisy(Rotation):
    __doc__ = Rotation.__doc__
    name = "noisy/rotation"

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        example = super().make(items, level, rng)
        others = [angle for angle in range(0, 360, level["step_deg"]) if angle != example.answer]
        answer = int(rng.choice(others)) if rng.random() < WRONG else example.answer
        return replace(example, answer=answer, meta={**example.meta, "true": example.answer})


TASKS = {"rotation": Noisy}
