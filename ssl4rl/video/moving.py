"""`moving:` endless procedurally drawn clips: a day in a landscape, from its first light to its last.

Drawn from their index alone. The sun goes from the left to the right on an arc and the light with it; one or two cars
drive the way they face, each at its own speed; clouds drift with the wind, which blows either way. So the order of
frames can be told from the sun, and from a car that is seen in two frames; clouds alone do not tell it. Three in ten
clips have fully random colours. What learns here says nothing about films.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from ssl4rl.core.source import Source
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.video.clip import Clip

VERSION = 1
FRAMES = 24
MIN_SIDE_PX = 16
RANDOM_COLOURS_SHARE = 0.3

_DAWN, _NOON, _DUSK = (np.array(c, dtype=float) for c in ([235, 170, 140], [120, 175, 235], [95, 75, 130]))
_GROUNDS = np.array([[90, 150, 70], [130, 165, 80], [165, 130, 85], [200, 180, 120]], dtype=float)
_PAINTS = np.array([[200, 60, 50], [50, 90, 170], [230, 190, 60], [240, 240, 235]], dtype=float)

Colour = np.ndarray[Any, np.dtype[np.float64]]


class Day(Clip):
    """One drawn clip of `FRAMES` frames."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __len__(self) -> int:
        return FRAMES

    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        side = max(min_side_px, MIN_SIDE_PX)
        scene = _Scene(keyed_rng("moving", VERSION, self.index))
        return [scene.draw(index / (FRAMES - 1), side) for index in indices]


class Moving(Source[Clip]):
    """2^40 clips; the item at an index is drawn from that index."""

    endless: ClassVar[bool] = True
    uri = "moving:"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Clip:
        return Day(index)

    def id(self, index: int) -> str:
        return f"moving:{VERSION}/{index}"


def open_moving(rest: str = "") -> Moving:
    """Opens "moving:".

    Raises:
        Ssl4rlError: something follows the colon.
    """
    if rest:
        raise Ssl4rlError(f"'moving:{rest}': nothing may follow the colon; for a folder of clips: frames:{rest}")
    return Moving()


class _Scene:
    """What stays the same in a clip; all lengths are shares of the side, time is a share of the day."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.random_colours = rng.random() < RANDOM_COLOURS_SHARE
        random = rng.uniform(0, 255, (3, 3))
        self.sky = random[0] if self.random_colours else _NOON + rng.normal(0, 10, 3)
        self.ground = random[1] if self.random_colours else _GROUNDS[rng.integers(len(_GROUNDS))] + rng.normal(0, 12, 3)
        self.horizon = rng.uniform(0.5, 0.66)
        self.bumps, self.phase, self.wave = rng.uniform(1, 3), rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.05)
        self.sun_r, self.top = rng.uniform(0.06, 0.1), rng.uniform(0.06, 0.16)
        self.wind = rng.uniform(0.1, 0.5) * (1 if rng.random() < 0.5 else -1)
        self.clouds = rng.uniform([0, 0.05, 0.06], [1, 0.3, 0.12], (int(rng.integers(1, 4)), 3))
        self.cars = [self._car(rng) for _ in range(int(rng.integers(1, 3)))]

    def _car(self, rng: np.random.Generator) -> tuple[float, float, float, float, Colour]:
        """(where it starts, how far it drives in the day, its foot, its length, its paint); it faces where it goes."""
        facing = 1 if rng.random() < 0.5 else -1
        start, far = rng.uniform(0.05, 0.35), rng.uniform(0.35, 0.6)
        paint = rng.uniform(0, 255, 3) if self.random_colours else _PAINTS[rng.integers(len(_PAINTS))]
        return (
            float(start if facing > 0 else 1 - start),
            float(facing * far),
            float(rng.uniform(0.8, 0.95)),
            float(rng.uniform(0.16, 0.24)),
            paint + rng.normal(0, 8, 3),
        )

    def draw(self, time: float, side: int) -> Image.Image:
        """The frame at `time`, 0 to 1: uint8 RGB, side x side pixels."""
        sun_x, sun_y = 0.08 + 0.84 * time, self.horizon - (self.horizon - self.top) * math.sin(math.pi * time) * 0.95
        light = 0.55 + 0.45 * math.sin(math.pi * time)
        axis = (np.arange(side) + 0.5) / side
        glow = np.exp(-((axis[None, :] - sun_x) ** 2 + (axis[:, None] - sun_y) ** 2) / 0.15)
        tint = (_DAWN if time < 0.5 else _DUSK) * abs(2 * time - 1) + self.sky * (1 - abs(2 * time - 1))
        pixels = tint * light + 0.6 * glow[:, :, None] * (np.array([255.0, 240.0, 190.0]) - tint * light)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        _ellipse(pen, (sun_x, sun_y), (self.sun_r, self.sun_r), np.array([255.0, 235.0, 150.0]), side)
        for x, y, size in self.clouds.tolist():
            at = (x + self.wind * time + size) % (1 + 2 * size) - size
            _ellipse(pen, (at, y), (size, size / 2.5), np.full(3, 235.0) * light, side)
        self._ground(pen, light, side)
        for start, far, foot, length, paint in self.cars:
            _drive(pen, start + far * time, 1 if far > 0 else -1, foot, length, paint * light, side)
        return image

    def _ground(self, pen: ImageDraw.ImageDraw, light: float, side: int) -> None:
        x = np.linspace(0, 1, 17)
        y = self.horizon + self.wave * np.sin(2 * np.pi * self.bumps * x + self.phase)
        outline = [(a * side, b * side) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        pen.polygon([*outline, (side, side), (0, side)], _fill(self.ground * light))
        pen.rectangle([0, 0.78 * side, side, side], _fill(self.ground * light * 0.6))


def _drive(
    pen: ImageDraw.ImageDraw, x: float, facing: int, foot: float, length: float, paint: Colour, side: int
) -> None:
    """A car at `x`: its cabin sits towards its back, a lamp at its front."""
    height = 0.42 * length

    def box(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        left, right = sorted((x + facing * x0, x + facing * x1))
        pen.rectangle([left * side, y0 * side, right * side, y1 * side], _fill(colour))

    box(-length / 2, foot - 0.6 * height, length / 2, foot, paint)
    box(-0.4 * length, foot - height, 0.1 * length, foot - 0.6 * height, paint * 0.7 + 60)
    box(0.38 * length, foot - 0.5 * height, length / 2, foot - 0.25 * height, np.array([255.0, 245.0, 190.0]))
    for wheel in (-0.28, 0.28):
        at = (x + wheel * length, foot)
        _ellipse(pen, at, (0.11 * length, 0.11 * length), np.full(3, 30.0), side)


def _ellipse(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], radius: tuple[float, float], colour: Colour, side: int
) -> None:
    (x, y), (rx, ry) = at, radius
    pen.ellipse([(x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side], _fill(colour))


def _fill(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue
