"""Pictures shown as a grid of patches, each cut by itself and set apart from its neighbours.

A patch that was mirrored, moved or exchanged would be told by its seam, by the phase of its resampling or by the grid
of a JPEG file's blocks. So every patch, changed or not, is cut out of its cell at a place and scale of its own, loses a
margin, and is shown between grey gaps: nothing goes on from one patch to the next, and no phase is another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ssl4rl.core.verify import Choice, Integer, Verifier
from ssl4rl.vision import pixels

Array = pixels.Array

GREY = 128
GAP = 0.06
"""The gap between two patches, as a share of a patch's side."""
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
THUMB_PX = 8
SHARES = (1.0, 0.85, 0.7, 0.55)
"""A square in which some patch cannot be asked for is drawn anew, smaller: a photograph without its sky may do."""


def asked(grid: int) -> Verifier:
    """The verifier of a cell: of 2 x 2 a quarter's name, of more its number from 1, row by row."""
    return Choice(QUARTERS) if grid == 2 else Integer(1, grid * grid)


def name_of(cell: int, grid: int) -> Any:
    """The answer that names a cell, counted from 0."""
    return QUARTERS[cell] if grid == 2 else cell + 1


def told(grid: int) -> str:
    """How the cells are called, for the prompt."""
    if grid == 2:
        return ""
    return f" The patches are numbered 1 to {grid * grid}, row by row from the top left."


def patch_px(image_px: int, grid: int) -> int:
    """The side of a patch, so that patches and gaps together have about the picture's side."""
    return max(4, int(image_px / grid / (1 + GAP)))


def cell_window(window: pixels.Window, cell: int, grid: int) -> pixels.Window:
    row, col = divmod(cell, grid)
    return window.part(col / grid, row / grid, 1 / grid)


def smaller(window: pixels.Window, share: float, rng: np.random.Generator) -> pixels.Window:
    """A square of this share of the window's side at a random place inside it."""
    x, y = (rng.random(2) * (1 - share)).tolist()
    return window.part(x, y, share)


def cut_patch(image: Image.Image, cell: pixels.Window, px: int, margin: float, rng: np.random.Generator) -> Array:
    """A cell's picture without its margin, at a place and scale drawn for it alone: uint8 of shape (px, px, 3).

    Always takes three numbers from `rng`.
    """
    scale, x, y = rng.random(3).tolist()
    side = (1 - 2 * margin) * (0.94 + 0.06 * scale)
    slack = 1 - 2 * margin - side
    part = cell.part(margin + slack * x, margin + slack * y, side)
    return np.asarray(pixels.cut(image, part.box, (px, px)))


def fade(patches: Array, feather: float) -> Array:
    """Every patch faded to grey towards its edges, over `feather` of its side; the same blend for each."""
    px = patches.shape[1]
    depth = max(1, round(feather * px))
    ramp = np.minimum(np.minimum(np.arange(px), np.arange(px)[::-1]) + 0.5, depth) / depth
    weight = np.minimum(ramp[:, None], ramp[None])[None, :, :, None]
    faded: Array = np.rint(GREY + weight * (patches.astype(np.float64) - GREY)).astype(np.uint8)
    return faded


def join(patches: Array, grid: int) -> Image.Image:
    """One picture of the patches in reading order, grey between and around them."""
    px = patches.shape[1]
    gap = max(1, round(GAP * px))
    side = grid * px + (grid + 1) * gap
    whole = np.full((side, side, 3), GREY, dtype=np.uint8)
    for cell, patch in enumerate(patches):
        y, x = (gap + at * (px + gap) for at in divmod(cell, grid))
        whole[y : y + px, x : x + px] = patch
    return Image.fromarray(whole)


def thumbs(image: Image.Image, windows: Sequence[pixels.Window]) -> Array:
    """Small copies of some windows: float32 of shape (windows, THUMB_PX, THUMB_PX, 3)."""
    return np.stack([pixels.thumbnail(image, window.box, (THUMB_PX, THUMB_PX)) for window in windows])


def apart(one: Array, other: Array) -> Array:
    """How far small copies are apart, pair by pair: the root mean square of grey levels; shape (n,)."""
    difference: Array = np.sqrt(np.square(one - other).reshape(len(one), -1).mean(axis=1))
    return difference
