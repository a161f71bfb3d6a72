"""A task in one file: was the picture mirrored? `ssl4rl preview ./my_task.py:TASKS --data photos/`."""

import numpy as np
from PIL import ImageOps

from ssl4rl import Choice, Example, Media, Task, Unusable


class Mirror(Task):
    """Mirror: was the second picture mirrored?

    Sees: two cuts of one picture, the second mirrored or not. Answers: same or mirrored. Reward: exact. Chance: 1/2.
    Shortcuts and guards: a copy that is equal to the pixel (both cuts are shifted, each for itself); pictures that
    look alike when mirrored (unusable). Source: written for this page. Versions: 1, the first.
    """

    name, version = "my_task/mirror", 1
    levels = {"easy": {"image_px": 224, "shift_px": 8}, "hard": {"image_px": 112, "shift_px": 24}}
    draws = 1  # source items an example takes
    data = "sample:"  # where none is named
    verifier = Choice(("same", "mirrored"))

    def make(self, items, level, rng):
        px, shift = level["image_px"], level["shift_px"]
        square = ImageOps.fit(items[0].decode(px + shift), (px + shift, px + shift))
        grey = np.asarray(square.convert("L"), dtype=float)
        if np.abs(grey - grey[:, ::-1]).mean() < 12:
            raise Unusable("looks alike when mirrored")
        first, second = (self.cut(square, px, rng.integers(shift + 1, size=2).tolist()) for _ in range(2))
        mirrored = bool(rng.integers(2))
        if mirrored:
            second = ImageOps.mirror(second)
        return Example(
            prompt=(
                "First picture:",
                Media("image", first),
                "Second picture:",
                Media("image", second),
                "Is the second picture mirrored, or the same way round?",
            ),
            answer="mirrored" if mirrored else "same",
        )

    def cut(self, picture, px, corner):
        x, y = corner
        return picture.crop((x, y, x + px, y + px))


TASKS = {"mirror": Mirror}
