"""`scenes:` endless procedurally drawn pictures: sky, sun, hills, houses and trees, at any resolution.

Drawn from their index alone, so nothing is stored or downloaded. Three in ten have fully random colours, so that "the
blue side is up" does not carry far and the drawn things must be looked at. In `scenes:side_lit` the horizon is steeper
and the sun, never in the middle, lights what is near it, so that left and right differ in every part of the picture: an
order of tiles can then be told. In `scenes:tinted` each picture grows cooler to the right and darker downwards: of any
two parts it can be told which was further left and which higher. What learns here says nothing about photographs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from ssl4rl.core.source import Source
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.vision.photo import Photo

if TYPE_CHECKING:
    Colour = np.ndarray[Any, np.dtype[np.float64]]

VERSION = 1
SIDE_LIT, TINTED = "side_lit", "tinted"
VARIANTS = ("", SIDE_LIT, TINTED)
"""What may follow "scenes:"."""
MIN_SIDE_PX = 16
RANDOM_COLOURS_SHARE = 0.3

_SKIES = np.array([[120, 175, 235], [180, 215, 245], [245, 175, 120], [150, 160, 185], [60, 70, 120]], dtype=float)
_GROUNDS = np.array([[90, 150, 70], [130, 165, 80], [165, 130, 85], [225, 230, 235], [200, 180, 120]], dtype=float)
_LEAVES = np.array([[40, 100, 50], [70, 130, 50], [150, 110, 40]], dtype=float)
_WALLS = np.array([[220, 200, 170], [190, 90, 70], [240, 240, 235], [150, 130, 120]], dtype=float)
_ROOFS = np.array([[150, 60, 45], [90, 60, 50], [70, 75, 90]], dtype=float)


class Scene(Photo):
    """One drawn picture; `decode` draws it."""

    def __init__(self, index: int, variant: str) -> None:
        self.index, self.variant = index, variant

    def decode(self, min_side_px: int) -> Image.Image:
        side_px = max(min_side_px, MIN_SIDE_PX)
        drawn = _draw(keyed_rng("scenes", VERSION, self.index), side_px, self.variant == SIDE_LIT)
        return _tint(drawn) if self.variant == TINTED else drawn


class Scenes(Source[Scene]):
    """2^40 scenes; the item at an index is drawn from that index."""

    endless: ClassVar[bool] = True

    def __init__(self, variant: str = "") -> None:
        self.variant = variant
        self.uri = f"scenes:{variant}"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Scene:
        return Scene(index, self.variant)

    def id(self, index: int) -> str:
        return f"{self.uri}{VERSION}/{index}"


def open_scenes(rest: str) -> Scenes:
    """Opens "scenes:", "scenes:side_lit" or "scenes:tinted"."""
    if rest not in VARIANTS:
        raise Ssl4rlError(f"source 'scenes:{rest}'; allowed: {', '.join(repr(f'scenes:{v}') for v in VARIANTS)}")
    return Scenes(rest)


def _pick(rng: np.random.Generator, palette: Colour) -> Colour:
    colour: Colour = palette[rng.integers(len(palette))] + rng.normal(0, 14, 3)
    return colour


def _fill(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


def _draw(rng: np.random.Generator, side_px: int, side_lit: bool) -> Image.Image:
    """All lengths are shares of the side, so a scene looks the same at any resolution."""
    if rng.random() < RANDOM_COLOURS_SHARE:
        sky, ground, leaf, wall, roof, sun_colour = rng.uniform(0, 255, (6, 3))
    else:
        sky, ground = _pick(rng, _SKIES), _pick(rng, _GROUNDS)
        leaf, wall, roof = _pick(rng, _LEAVES), _pick(rng, _WALLS), _pick(rng, _ROOFS)
        sun_colour = np.array([255.0, 240.0, 180.0]) + rng.normal(0, 10, 3)

    slope = _away_from(rng, 0.0, 0.15, 0.45) if side_lit else rng.uniform(-0.45, 0.45)
    height = rng.uniform(0.45, 0.68)
    wave, phase, bumps = rng.uniform(0.01, 0.06), rng.uniform(0, 2 * np.pi), rng.uniform(1, 3)

    def horizon(x: Any) -> Any:
        return height + slope * (x - 0.5) + wave * np.sin(2 * np.pi * bumps * x + phase)

    sun_x = _away_from(rng, 0.5, 0.12, 0.42) if side_lit else rng.uniform(0.08, 0.92)
    sun_y, sun_r = rng.uniform(0.08, 0.28), rng.uniform(0.05, 0.09)
    image = _sky(sky, sun_colour, sun_x, sun_y, glow=rng.uniform(0.3, 0.8), side_px=side_px)
    draw = ImageDraw.Draw(image)
    draw.ellipse([s * side_px for s in (sun_x - sun_r, sun_y - sun_r, sun_x + sun_r, sun_y + sun_r)], _fill(sun_colour))

    x = np.linspace(0, 1, 17)
    if rng.random() < 0.7:  # a farther range of hills behind the horizon
        far = height - rng.uniform(0.04, 0.14) - slope * 0.5 * (x - 0.5) + 0.04 * np.sin(7 * x + phase)
        _below(draw, x, far, _fill(0.5 * ground + 0.5 * sky), side_px)
    _below(draw, x, horizon(x), _fill(ground), side_px)
    _below(draw, x, horizon(x) + rng.uniform(0.15, 0.25), _fill(0.8 * ground), side_px)

    things = sorted((rng.uniform(0.06, 0.94), rng.random() < 0.4) for _ in range(rng.integers(2, 6)))
    for thing_x, is_house in things:
        foot = float(horizon(thing_x)) + rng.uniform(0.02, 0.16)
        if is_house:
            _house(draw, rng, thing_x, foot, wall, roof, side_px)
        else:
            _tree(draw, rng, thing_x, foot, leaf, side_px)
    return _lit(image, sun_x) if side_lit else image


def _away_from(rng: np.random.Generator, centre: float, least: float, most: float) -> float:
    """A number at a distance between `least` and `most` from `centre`, on either side."""
    return centre + float(rng.uniform(least, most)) * (1 if rng.random() < 0.5 else -1)


def _lit(image: Image.Image, sun_x: float) -> Image.Image:
    """Everything is lighter near the sun and darker far from it, so each part tells on which side the sun is."""
    axis = (np.arange(image.width) + 0.5) / image.width
    light = (0.7 + 0.45 * np.exp(-((axis - sun_x) ** 2) / 0.2)).astype(np.float32)
    return Image.fromarray(np.minimum(np.asarray(image) * light[None, :, None], 255).astype(np.uint8))


def _tint(image: Image.Image) -> Image.Image:
    """Red falls and blue rises by half from left to right; all three fall by four tenths downwards."""
    across = (np.arange(image.width) + 0.5) / image.width - 0.5
    colours = 1 + across[:, None] * np.array([-0.5, 0.0, 0.5])  # (width, 3)
    light = 1.1 - 0.4 * (np.arange(image.height) + 0.5) / image.height
    tinted = np.asarray(image) * colours[None] * light[:, None, None]
    return Image.fromarray(np.clip(tinted, 0, 255).astype(np.uint8))


def _sky(sky: Colour, sun: Colour, sun_x: float, sun_y: float, glow: float, side_px: int) -> Image.Image:
    axis = (np.arange(side_px) + 0.5) / side_px
    near_x, near_y = np.exp(-((axis - sun_x) ** 2) / 0.12), np.exp(-((axis - sun_y) ** 2) / 0.12)
    light = glow * near_y[:, None] * near_x[None, :]
    lift = 25 * (axis - 0.3)[:, None, None]
    pixels = sky + light[:, :, None] * (sun - sky) + lift
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _below(draw: ImageDraw.ImageDraw, x: Colour, y: Colour, fill: tuple[int, int, int], side_px: int) -> None:
    outline = np.column_stack([x, y]) * side_px
    corners = [(float(side_px), float(side_px)), (0.0, float(side_px))]
    draw.polygon([(float(a), float(b)) for a, b in outline.tolist()] + corners, fill)


def _house(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    x: float,
    foot: float,
    wall: Colour,
    roof: Colour,
    side_px: int,
) -> None:
    width, height = rng.uniform(0.12, 0.2), rng.uniform(0.09, 0.15)
    left, right, top = x - width / 2, x + width / 2, foot - height

    def box(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        draw.rectangle([x0 * side_px, y0 * side_px, x1 * side_px, y1 * side_px], _fill(colour))

    box(left, top, right, foot, wall)
    peak = [(left - 0.02, top), (x, top - rng.uniform(0.07, 0.12)), (right + 0.02, top)]
    draw.polygon([(a * side_px, b * side_px) for a, b in peak], _fill(roof))
    box(x - 0.015, foot - 0.6 * height, x + 0.015, foot, 0.4 * wall)


def _tree(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, foot: float, leaf: Colour, side_px: int
) -> None:
    height, width = rng.uniform(0.14, 0.26), rng.uniform(0.08, 0.14)
    trunk = [x - 0.015, foot - 0.5 * height, x + 0.015, foot]
    draw.rectangle([s * side_px for s in trunk], _fill(0.45 * leaf + np.array([40.0, 20.0, 5.0])))
    top, bottom = foot - height, foot - 0.3 * height
    if rng.random() < 0.5:
        crown = [(x, top), (x - width / 2, bottom), (x + width / 2, bottom)]
        draw.polygon([(a * side_px, b * side_px) for a, b in crown], _fill(leaf))
    else:
        draw.ellipse(
            [(x - width / 2) * side_px, top * side_px, (x + width / 2) * side_px, bottom * side_px], _fill(leaf)
        )
