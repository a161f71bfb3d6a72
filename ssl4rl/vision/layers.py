"""`layers:` endless procedurally drawn pictures with their depth: things before each other, fading into a haze.

Drawn from their index alone, from the farthest thing to the nearest, so what covers what, how large a thing is and how
much of its colour the haze leaves all tell how near it is; where in the picture it lies does not. What learns here says
nothing about photographs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from ssl4rl.core.source import Source
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.vision.noise import NoiseWithDepth
from ssl4rl.vision.photo import Depth, Photo

Array = np.ndarray[Any, np.dtype[Any]]

VERSION = 1
MIN_SIDE_PX = 16
DEPTH_PX = 256
"""Side of the depth maps."""
NEAREST, FARTHEST = 1.0, 8.0
"""Depths of things; the background lies at `BACKGROUND`."""
BACKGROUND = 12.0
HAZE = 0.22
"""A thing at depth z keeps exp(-HAZE * (z - 1)) of its colour."""


class Layers(Photo):
    """One drawn picture; `decode` draws it, `depth` the same things in their depths."""

    def __init__(self, index: int) -> None:
        self.index = index

    def decode(self, min_side_px: int) -> Image.Image:
        return _draw(self.index, max(min_side_px, MIN_SIDE_PX))[0]

    def depth(self) -> Depth:
        return _draw(self.index, DEPTH_PX)[1]

    def content_free(self, rng: np.random.Generator) -> Photo:
        return NoiseWithDepth(rng)


class LayersSource(Source[Layers]):
    """2^40 pictures; the item at an index is drawn from that index."""

    endless: ClassVar[bool] = True
    uri = "layers:"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Layers:
        return Layers(index)

    def id(self, index: int) -> str:
        return f"{self.uri}{VERSION}/{index}"


def open_layers(rest: str) -> LayersSource:
    """Opens "layers:"."""
    if rest:
        raise Ssl4rlError(f"source 'layers:{rest}'; nothing may follow the colon")
    return LayersSource()


def _draw(index: int, side_px: int) -> tuple[Image.Image, Depth]:
    """The picture and its depth map; all lengths are shares of the side, so both agree at any resolution."""
    rng = keyed_rng("layers", VERSION, index)
    haze = rng.uniform(90, 230, 3)
    picture = Image.new("RGB", (side_px, side_px), _fill(haze))
    depth = Image.new("F", (side_px, side_px), BACKGROUND)
    count = int(rng.integers(14, 23))
    for z in np.sort(np.exp(rng.uniform(np.log(NEAREST), np.log(FARTHEST), count)))[::-1].tolist():
        size = 0.42 * float(rng.uniform(0.7, 1.3)) / z**0.8
        x, y = rng.uniform(0.0, 1.0, 2).tolist()
        outline = _outline(rng, x, y, size)
        keep = float(np.exp(-HAZE * (z - 1)))
        colour = keep * rng.uniform(0, 255, 3) + (1 - keep) * haze
        places = [(across * side_px, down * side_px) for across, down in outline]
        ImageDraw.Draw(picture).polygon(places, _fill(colour), _fill(0.7 * colour))
        ImageDraw.Draw(depth).polygon(places, z)
    return picture, np.asarray(depth, dtype=np.float32)


def _fill(colour: Array) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


def _outline(rng: np.random.Generator, x: float, y: float, size: float) -> list[tuple[float, float]]:
    """A triangle, a box, a hexagon or something round of this size, stretched and turned."""
    corners = int(rng.choice([3, 4, 6, 24]))
    stretch, turn = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0, 2 * np.pi))
    angles = turn + np.arange(corners) * (2 * np.pi / corners)
    return [(x + size / 2 * float(np.cos(a)), y + size / 2 * stretch * float(np.sin(a))) for a in angles]
