"""Where in a picture a piece of it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Box, Choice, Integer, Verifier
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo

Array = pixels.Array

QUARTERS = ("top left", "top right", "bottom left", "bottom right")

SIDES = (0.8, 1.1)
"""With `ask=box` the piece's side is drawn between these shares of its usual one."""
BANDS = 4
"""With `ask=box` a picture must have a distinct place in each of BANDS x BANDS parts."""

CELL_PX = 8
"""Pixels of a cell's side in the small copy of the picture in which pieces are compared."""
DISTINCT_RMS = 6.0
DISTINCT_SHARE = 0.3
"""Two places match when they differ by less than this many grey levels, or this share of the piece's own contrast."""


class Position(Task[Photo]):
    """Position: where in the picture does the piece lie?

    Sees: a square picture and a piece of it, changed a little in colour and scale.
    Answers: the cell of a grid: in a 2 x 2 grid "top left" and so on, in larger ones the cell's number, counted from 1
    row by row from the top left. `ask=box`: the piece's box, in per cent of the picture.
    Reward: exact; `ask=box`: 1 from an intersection over union of 0.7 on, below that what it is above 0.5, doubled.
    Chance: 1 / cells; `ask=box`: what squares of the usual side earn that are laid anywhere but at the border (see
    `Box`), 0.02; with partial credit 0.03.

    Levels: 2x2, 3x3, 4x4, box. Parameters: `grid`, cells a side; `ask`; `share`, the piece's side as a share of a
    cell's; `jitter`, the strength of the change of colours; `image_px`, `piece_px`, the sides of both pictures.

    Shortcuts and guards: an exact copy of pixels (the piece is resampled at another scale and place of the pixel grid,
    its colours are changed); a piece that lies in the picture twice, as in sky or brickwork (a piece must differ from
    all other places; a picture is used only if every cell has such a piece, so that no cell is the answer more often
    than another, and which one was drawn does not matter); the piece's size (the same for every cell); with `ask=box`
    a box in the middle (it overlaps most others a little, which pays nothing; places are drawn such that each is the
    answer as often, from 4 x 4 parts of the picture that must all hold such a piece).
    Exchangeable: the cell is drawn first, and whether a question can be made depends on the picture alone, so each cell
    is the answer with probability 1 / cells whatever is seen. With `ask=box` that holds for the 16 parts; within one,
    places without a like elsewhere are the answer as often as each other.

    Source: SSL4RL (arXiv 2510.16416), 2 x 2 only, with pieces of 20 to 80 % of a quarter's side; larger grids and the
    box are ours.
    Versions: 1, the first; 2, boxes lie everywhere as often: in version 1, `20,20,70,70` earned .24 where .09 was
    expected, and one box was right in .03 of the questions.
    """

    name = "vision/position"
    version = 2
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "2x2": {"grid": 2, "ask": "cell", "share": 0.8, "jitter": 0.1, "image_px": 224, "piece_px": 112},
        "3x3": {"grid": 3, "ask": "cell", "share": 0.8, "jitter": 0.2, "image_px": 224, "piece_px": 112},
        "4x4": {"grid": 4, "ask": "cell", "share": 0.9, "jitter": 0.3, "image_px": 224, "piece_px": 112},
        "box": {"grid": 2, "ask": "box", "share": 0.8, "jitter": 0.1, "image_px": 224, "piece_px": 112},
    }
    draws = 1
    data = "sample:"
    verifier = Choice(QUARTERS)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        if level["ask"] == "box":
            share = level["share"] / level["grid"]
            return Box(sides=(round(100 * SIDES[0] * share), round(100 * SIDES[1] * share)))
        return Choice(QUARTERS) if level["grid"] == 2 else Integer(1, level["grid"] ** 2)

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "grid", 2, 6)
        pixels.check_among(self.name, params, "ask", ("cell", "box"))
        pixels.check_between(self.name, params, "share", 0.4, 0.9)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        pixels.check_between(self.name, params, "image_px", 16, 2048)
        pixels.check_between(self.name, params, "piece_px", 8, 1024)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        grid, px, piece_px = level["grid"], level["image_px"], level["piece_px"]
        whole = level["ask"] == "box"
        cell = int(rng.integers(grid * grid))
        side = level["share"] / grid
        image = items[0].decode(math.ceil(max(px, min(piece_px / side, 2 * px))))
        window = pixels.square_window(image, rng, px / 2)
        if whole:
            side = round(100 * side * float(rng.uniform(*SIDES))) / 100
        thumb = pixels.thumbnail(image, window.box, (CELL_PX * grid,) * 2)
        places = distinct_places(thumb, grid, side * grid, whole)
        if not all(len(free) for free in places):
            raise Unusable("a part of the picture holds nothing that is found there only")
        starts = _starts(len(thumb), side * grid)
        found = places[_drawn_band(starts, rng) if whole else cell]
        place = found[int(rng.integers(len(found)))]
        answer: Any = QUARTERS[cell] if grid == 2 else cell + 1
        if whole:
            spread = (place + rng.random(2)) / starts
            top, left, percent = (round(100 * float(v)) for v in (*(spread * (1 - side)), side))
            y, x = top / 100, left / 100
            answer = [left, top, left + percent, top + percent]
        else:
            x, y = (_settle(v / len(thumb), side, grid, float(rng.random())) for v in place[::-1].tolist())
        scale = float(rng.uniform(0.93, 0.99))
        shift = rng.uniform(0, (1 - scale) * side, 2)
        seen = window.part(x + float(shift[0]), y + float(shift[1]), side * scale)
        piece = pixels.jitter_colours(pixels.cut(image, seen.box, (piece_px,) * 2), rng, level["jitter"])
        picture = pixels.media(pixels.cut(image, window.box, (px, px)))
        prompt = ("Picture: ", picture, "\nPiece: ", pixels.media(piece), "\n" + _question(grid, level["ask"]))
        return Example(prompt, answer)


def distinct_places(thumb: Array, grid: int, share: float, whole: bool) -> list[Array]:
    """For each part, the places (top, left in thumbnail pixels) of pieces that look like no other place of the picture.

    The parts are the grid's cells; of the `whole` picture BANDS x BANDS, see `_band`.

    Two places are compared by their pixels, each less half of its mean colour, since a piece's colours are changed.

    Args:
        thumb: the picture, shape (CELL_PX * grid, CELL_PX * grid, 3).
        share: the piece's side as a share of a cell's.
        whole: a piece may lie anywhere; else it must lie inside a cell.
    """
    n = _starts(len(thumb), share)
    k = len(thumb) - n + 1
    views = np.lib.stride_tricks.sliding_window_view(thumb, (k, k), axis=(0, 1)).reshape(n * n, 3, k * k)
    means = views.mean(axis=2, keepdims=True)
    views = (views - means / 2).reshape(n * n, -1)
    top, left = np.divmod(np.arange(n * n), n)
    if whole:
        parts = BANDS**2
        cells = _band(top, left, n)
        inside = np.ones(n * n, dtype=bool)
    else:
        parts = grid**2
        cells = top // CELL_PX * grid + left // CELL_PX
        inside = (top % CELL_PX + k <= CELL_PX) & (left % CELL_PX + k <= CELL_PX)
    tried = np.flatnonzero(inside)
    squares = (views**2).sum(axis=1)
    apart = (squares[tried, None] + squares - 2 * views[tried] @ views.T) / views.shape[1]
    near = (np.abs(top[tried, None] - top) < k / 2) & (np.abs(left[tried, None] - left) < k / 2)
    closest = np.where(near, np.inf, apart).min(axis=1)
    spread = views[tried].reshape(len(tried), 3, -1).var(axis=2).mean(axis=1)
    free = tried[closest > np.maximum(DISTINCT_RMS**2, DISTINCT_SHARE**2 * spread)]
    return [np.stack([top[free], left[free]], axis=1)[cells[free] == part] for part in range(parts)]


def _starts(pixels: int, share: float) -> int:
    """At how many pixels of a row of the thumbnail a piece can start that has this share of a cell's side."""
    return pixels - max(2, int(share * CELL_PX + 1e-6)) + 1


def _band(top: Array, left: Array, starts: int) -> Array:
    """In which of BANDS x BANDS parts a place lies, row by row."""
    parts: Array = top * BANDS // starts * BANDS + left * BANDS // starts
    return parts


def _drawn_band(starts: int, rng: np.random.Generator) -> int:
    """The part in which a place lies that is drawn uniformly."""
    top, left = rng.integers(starts, size=2)
    return int(_band(top, left, starts))


def _settle(place: float, side: float, grid: int, jitter: float) -> float:
    """A place (share of the picture) moved off the thumbnail's grid, but not out of its cell."""
    moved = place + (jitter - 0.5) / (CELL_PX * grid)
    low = math.floor(place * grid + 1e-6) / grid
    return min(max(moved, low), low + 1 / grid - side)


def _question(grid: int, ask: str) -> str:
    said = "The piece was cut out of the picture, then changed a little in colour and size."
    if ask == "box":
        return f"{said} Which box of the picture does it fill?"
    if grid == 2:
        return f"{said} In which quarter of the picture does it lie?"
    return (
        f"{said} Divide the picture into {grid} x {grid} equal cells, numbered 1 to {grid * grid} row by row from the "
        "top left. In which cell does the piece lie?"
    )
