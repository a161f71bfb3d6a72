"""Which patch of a picture was mirrored, turned or exchanged, or whether the whole picture was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.vision import cells, pixels
from ssl4rl.vision.photo import Photo

Array = pixels.Array

CHANGES = ("mirror", "flip", "turn", "swap")
_DONE = {
    "mirror": "mirrored (its left and right sides exchanged)",
    "flip": "flipped (its top and bottom exchanged)",
    "turn": "turned upside down (by 180 degrees)",
}
ANSWERS = ("yes", "no")
CHANGED_RMS = 10.0
"""Grey levels (of 255): a patch must differ so much from its changed self, and patches from each other."""


class Flipped(Task[Photo]):
    """Flipped: which patch of the picture was mirrored, turned or exchanged, or was the whole picture?

    Sees: `ask=patch`: a square picture as a grid of patches with grey gaps, of which one was changed, or two were
    exchanged (`change=swap`). `ask=whole`: a picture and a copy of it, changed or not (`original=false`: the copy
    alone).
    Answers: the patch: in a 2 x 2 grid "top left" and so on, in larger ones its number, counted from 1 row by row from
    the top left; either of two that were exchanged. `ask=whole`: yes or no.
    Reward: exact. Chance: 1 / patches, 2 / patches for `change=swap`; `ask=whole`: 1 / 2.

    Levels: whole, 2x2 (turned), swap (3 x 3), 3x3 (mirrored), 4x4 (mirrored). Parameters: `ask`; `change`: mirror,
    flip, turn or swap; `grid`, patches a side; `margin`, the share of a patch's side cut off at each edge; `original`;
    `image_px`, about the side of the pictures.

    Shortcuts and guards: seams, the phase of resampling and a JPEG file's blocks, which a mirrored patch would turn
    over (every patch is cut for itself at a place and scale of its own, less its margin, with gaps around it; both
    pictures of `ask=whole` likewise); patches that a change leaves nearly as they are, or that look like another
    (unusable, whichever patch was drawn: a picture is used only if every patch could be asked for). Which patch is
    changed is drawn first, from all alike, and the same is done to it wherever it lies, so patches are exchangeable.
    Not guarded: what a lens does to the corners of a photograph, and to the left of a point otherwise than to its
    right.

    Source: flipped patches after Spatial-SSRL (arXiv 2510.27606), whose patches have their seams; the exchange, the
    whole picture and the guards are ours.
    Versions: 1, the first.
    """

    name = "vision/flipped"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "whole": {"ask": "whole", "change": "mirror", "grid": 2, "margin": 0.0, "original": True, "image_px": 224},
        "2x2": {"ask": "patch", "change": "turn", "grid": 2, "margin": 0.04, "original": False, "image_px": 224},
        "swap": {"ask": "patch", "change": "swap", "grid": 3, "margin": 0.06, "original": False, "image_px": 224},
        "3x3": {"ask": "patch", "change": "mirror", "grid": 3, "margin": 0.06, "original": False, "image_px": 252},
        "4x4": {"ask": "patch", "change": "mirror", "grid": 4, "margin": 0.06, "original": False, "image_px": 336},
    }
    draws = 1
    data = "sample:"
    verifier = Choice(ANSWERS)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(ANSWERS) if level["ask"] == "whole" else cells.asked(level["grid"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        whole = params["ask"] == "whole"
        pixels.check_among(self.name, params, "ask", ("patch", "whole"))
        pixels.check_among(self.name, params, "change", CHANGES[:3] if whole else CHANGES)
        pixels.check_between(self.name, params, "grid", 2, 6)
        pixels.check_between(self.name, params, "margin", 0.0, 0.3)
        pixels.check_between(self.name, params, "image_px", 8 * params["grid"], 2048)
        pixels.check_among(self.name, params, "original", (True, False) if whole else (False,))

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        if level["ask"] == "whole":
            return self._whole(items[0], level, rng)
        grid, change = level["grid"], level["change"]
        cell, other = (int(i) for i in rng.permutation(grid * grid)[:2])
        image = items[0].decode(math.ceil(1.5 * level["image_px"]))
        window = usable_window(image, grid, change, level["image_px"] / 2, rng)
        px = cells.patch_px(level["image_px"], grid)
        patches = np.stack(
            [
                cells.cut_patch(image, cells.cell_window(window, i, grid), px, level["margin"], rng)
                for i in range(grid * grid)
            ]
        )
        if change == "swap":
            patches[[cell, other]] = patches[[other, cell]]
            done = "two patches were exchanged. Which patch is one of the two?"
        else:
            patches[cell] = changed(patches[cell], change)
            done = f"one patch was {_DONE[change]}. Which patch?"
        accepted = [cells.name_of(other, grid)] if change == "swap" else []
        question = f"\nThe picture was cut into {grid} x {grid} patches, and {done}{cells.told(grid)}"
        picture = pixels.media(cells.join(patches, grid))
        meta = {"accepted": accepted} if accepted else {}
        return Example(("Picture: ", picture, question), cells.name_of(cell, grid), meta=meta)

    def _whole(self, photo: Photo, level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        answer, px, change = ANSWERS[int(rng.integers(2))], level["image_px"], level["change"]
        image = photo.decode(math.ceil(1.5 * px))
        window = usable_window(image, 1, change, px / 2, rng)
        first, second = (cells.cut_patch(image, window, px, level["margin"], rng) for _ in range(2))
        copy = pixels.media(Image.fromarray(changed(second, change) if answer == "yes" else second))
        if not level["original"]:
            return Example((copy, f"\nWas this picture {_DONE[change]}?"), answer)
        original = pixels.media(Image.fromarray(first))
        question = f"\nThe second picture is a copy of the first. Was it {_DONE[change]}?"
        return Example(("First picture: ", original, "\nSecond picture: ", copy, question), answer)


def changed(patch: Array, change: str) -> Array:
    """A picture [height, width, ...] mirrored (left and right), flipped (top and bottom) or turned by 180 degrees."""
    down, across = (-1 if change in kinds else 1 for kinds in (("flip", "turn"), ("mirror", "turn")))
    return np.ascontiguousarray(patch[::down, ::across])


def usable_window(
    image: Image.Image, grid: int, change: str, need_px: float, rng: np.random.Generator
) -> pixels.Window:
    """A square of the picture in which every patch could be asked for; looked for among smaller ones, too.

    Raises:
        Unusable: there is none, of `need_px` a side at least; with the reason of the last.
    """
    square = pixels.square_window(image, rng, need_px)
    why = ""
    for share in cells.SHARES:
        window = cells.smaller(square, share, rng)
        if window.side < need_px:
            break
        why = _unfit(cells.thumbs(image, [cells.cell_window(window, i, grid) for i in range(grid * grid)]), change)
        if not why:
            return window
    raise Unusable(why)


def _unfit(thumbs: Array, change: str) -> str:
    """Why some patch cannot be asked for: it is flat, or its change would hardly be seen. "" where all can."""
    if pixels.contrast(thumbs).min() < pixels.FLAT_STD:
        return "a patch is flat"
    if change == "swap":
        one, other = np.triu_indices(len(thumbs), 1)
        return "two patches look nearly the same" if cells.apart(thumbs[one], thumbs[other]).min() < CHANGED_RMS else ""
    turned = np.stack([changed(thumb, change) for thumb in thumbs])
    return "a patch looks nearly the same when changed" if cells.apart(thumbs, turned).min() < CHANGED_RMS else ""
