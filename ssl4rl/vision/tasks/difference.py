"""Which patch of a picture was replaced by something from elsewhere in it."""

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

REPLACED_RMS = 14.0
"""Grey levels (of 255): what replaces a patch differs from it by so much, each less half of its mean colour."""


class Difference(Task[Photo]):
    """Difference: which patch of the picture was replaced?

    Sees: a square part of a picture, and a copy of it as a grid of patches that fade to grey at their edges, of which
    one shows another place of the same picture (`original=false`: the copy alone).
    Answers: the patch: in a 2 x 2 grid "top left" and so on, in larger ones its number, counted from 1 row by row from
    the top left.
    Reward: exact. Chance: 1 / patches.

    Levels: easy (2 x 2), medium (3 x 3), hard (4 x 4, replaced from the same height), alone (3 x 3, the copy alone).
    Parameters: `grid`, patches a side; `original`; `height`: same, what replaces a patch lay beside the square at the
    patch's height, or any; `feather`, over which share of its side a patch fades; `jitter`, the strength of the change
    of colours between original and copy; `image_px`, about the side of the pictures.

    Shortcuts and guards: the seam (every patch fades to grey, so the one that was replaced meets its neighbours as all
    do); the phase of resampling and a JPEG file's blocks (every patch is cut for itself at a place and scale of its
    own, by one path); the same thing seen twice (what replaces a patch comes from beside the square, which is not
    shown); a replacement that shows the same as before (every patch gets one, all must differ from what they would
    replace or the picture is unusable, and only then one of them is used: all patches are exchangeable).
    Not guarded: what a lens does to the sides of a photograph, where replacements come from.

    Source: ours, after pasted patches as a pretext (CutPaste, arXiv 2104.04015), whose seams are its signal, and
    spot-the-difference pictures.
    Versions: 1, the first.
    """

    name = "vision/difference"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {"grid": 2, "original": True, "height": "any", "feather": 0.1, "jitter": 0.1, "image_px": 224},
        "medium": {"grid": 3, "original": True, "height": "any", "feather": 0.1, "jitter": 0.2, "image_px": 252},
        "hard": {"grid": 4, "original": True, "height": "same", "feather": 0.1, "jitter": 0.3, "image_px": 336},
        "alone": {"grid": 3, "original": False, "height": "any", "feather": 0.1, "jitter": 0.0, "image_px": 252},
    }
    draws = 1
    data = "sample:"
    verifier = Choice(cells.QUARTERS)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return cells.asked(level["grid"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "grid", 2, 6)
        pixels.check_among(self.name, params, "height", ("any", "same"))
        pixels.check_between(self.name, params, "feather", 0.02, 0.4)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        pixels.check_between(self.name, params, "image_px", 8 * params["grid"], 2048)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        grid, px = level["grid"], level["image_px"]
        cell = int(rng.integers(grid * grid))
        image = items[0].decode(math.ceil(2 * px))
        window, others = usable_windows(image, grid, level["height"] == "same", px / 2, rng)
        own = [cells.cell_window(window, i, grid) for i in range(grid * grid)]
        shown = [other if i == cell else mine for i, (mine, other) in enumerate(zip(own, others, strict=True))]
        side = cells.patch_px(px, grid)
        patches = np.stack([cells.cut_patch(image, one, side, 0.0, rng) for one in shown])
        copy = cells.join(cells.fade(patches, level["feather"]), grid)
        done = f"of {grid} x {grid} patches, and one of them was replaced by something from elsewhere. Which patch?"
        if not level["original"]:
            question = f"\nThe picture consists {done}{cells.told(grid)}"
            return Example((pixels.media(copy), question), cells.name_of(cell, grid))
        original = Image.fromarray(cells.cut_patch(image, window, px, 0.0, rng))
        original = pixels.jitter_colours(original, rng, level["jitter"])
        question = f"\nThe second picture shows the first {done}{cells.told(grid)}"
        prompt = ("First picture: ", pixels.media(original), "\nSecond picture: ", pixels.media(copy), question)
        return Example(prompt, cells.name_of(cell, grid))


def usable_windows(
    image: Image.Image, grid: int, same_height: bool, need_px: float, rng: np.random.Generator
) -> tuple[pixels.Window, list[pixels.Window]]:
    """A square of the picture, and for each of its cells what would replace it, so that every cell could be asked for.

    Raises:
        Unusable: there is none, of `need_px` a side at least; with the reason of the last.
    """
    largest = min(image.size[1], image.size[0] / (1 + 1 / grid))
    why = f"a square of {int(largest)} px fits beside what would replace a cell, {math.ceil(need_px)} px are needed"
    for share in cells.SHARES:
        side = largest * share
        if side < need_px:
            break
        window, others = draw_windows(image.size, side, grid, same_height, rng)
        own = [cells.cell_window(window, i, grid) for i in range(grid * grid)]
        why = _unfit(cells.thumbs(image, own), cells.thumbs(image, others))
        if not why:
            return window, others
    raise Unusable(why)


def draw_windows(
    size: tuple[int, int], side: float, grid: int, same_height: bool, rng: np.random.Generator
) -> tuple[pixels.Window, list[pixels.Window]]:
    """A square of a picture, and for each of its cells a square of a cell's size that lies to the left or right of it.

    Args:
        size: width and height of the picture; the width is `side` + `side` / `grid` at least.
    """
    width, height = size
    cell = side / grid
    slack = width - side
    on_left = bool(rng.random() < 0.5)  # a cell fits there at least; it may on the other side, too
    x = float(rng.random()) * (slack - cell) + cell * on_left
    y = float(rng.random()) * (height - side)
    rooms = [max(0.0, room) for room in (x - cell, slack - x - cell)]
    others = []
    for number in range(grid * grid):
        along, up = rng.random(2).tolist()
        at = along * sum(rooms)
        before = at < rooms[0] or (on_left and rooms[1] == 0)
        beside = at if before else x + side + at - rooms[0]
        top = y + number // grid * cell if same_height else up * (height - cell)
        others.append(pixels.Window(min(beside, width - cell), top, cell))
    return pixels.Window(x, y, side), others


def _unfit(own: pixels.Array, others: pixels.Array) -> str:
    """Why some cell cannot be asked for: it or what would replace it is flat, or they look alike. "" where all can."""
    if pixels.contrast(np.concatenate([own, others])).min() < pixels.FLAT_STD:
        return "a patch is flat"
    one, other = (thumbs - thumbs.mean(axis=(1, 2), keepdims=True) / 2 for thumbs in (own, others))
    return "a patch would look nearly as before" if cells.apart(one, other).min() < REPLACED_RMS else ""
