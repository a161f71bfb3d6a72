"""What the picture tasks share: square windows, the resampling paths, measures of likeness.

Everything that decides an answer's fairness lives here once: a task that cut, turned or scaled its pictures in its own
way would sooner or later tell the answer by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ssl4rl.core.types import Media, Ssl4rlError, Unusable

Array = np.ndarray[Any, np.dtype[Any]]

FLAT_STD = 5.0
"""Grey levels (of 255): a thumbnail that varies less shows nothing."""
NEAR_RMS = 6.0
"""Grey levels (of 255): two thumbnails that differ less show the same."""


class Window(NamedTuple):
    """A square of a picture, in pixels: left, top, side."""

    x: float
    y: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        return (self.x, self.y, self.x + self.side, self.y + self.side)

    def part(self, x: float, y: float, side: float) -> Window:
        """A square inside this one; arguments are shares of its side."""
        return Window(self.x + x * self.side, self.y + y * self.side, side * self.side)


def media(image: Image.Image) -> Media:
    """A picture as part of a prompt: RGB, and nothing of its file left on it."""
    image.info = {}
    return Media("image", image)


def check_between(task: str, params: Any, name: str, low: float, high: float) -> None:
    """Refuse a level's parameter that lies outside [low, high].

    Raises:
        Ssl4rlError: it does.
    """
    if not low <= params[name] <= high:
        raise Ssl4rlError(f"{task}: {name} is {params[name]}; allowed: {low} to {high}")


def check_among(task: str, params: Any, name: str, allowed: Sequence[Any]) -> None:
    """Refuse a level's parameter that is not one of `allowed`.

    Raises:
        Ssl4rlError: it is not.
    """
    if params[name] not in allowed:
        options = ", ".join(str(value) for value in allowed)
        raise Ssl4rlError(f"{task}: {name} is {params[name]}; allowed: {options}")


def square_window(image: Image.Image, rng: np.random.Generator, need_px: float) -> Window:
    """The largest square, at a random place along the longer side.

    Raises:
        Unusable: its side is below `need_px`.
    """
    width, height = image.size
    side = min(width, height)
    if side < need_px:
        raise Unusable(f"the picture's shorter side has {side} px, {math.ceil(need_px)} px are needed")
    place = float(rng.random())
    return Window(int(place * (width - side + 1)), int(place * (height - side + 1)), side)


def cut(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """The box of the picture at the given size, every pixel an average of what it covers. Upright pictures only."""
    return image.resize(size, Image.Resampling.BILINEAR, box=_inside(image, box), reducing_gap=3.0)


def cut_alike(image: Image.Image, window: Window, size: tuple[int, int], rows: int, cols: int) -> Image.Image:
    """The window at the given size, which rows x cols tiles divide, so that every tile is resampled alike.

    Where a tile begins between two pixels of the source, it is resampled at other offsets than its neighbours: with a
    source little larger than a multiple of the output they drift once over the whole picture, and the tile in the
    middle was blurred where those at the edges were sharp. So each tile is made of a whole number of the source's
    pixels; the window loses less than a tile's share of them at its edges.

    Args:
        size: (width, height), multiples of `cols` and `rows`.
    """
    x, y, side = int(window.x), int(window.y), int(window.side)
    factor = max(1, side // (3 * max(size)))
    width, height = side // (cols * factor) * cols * factor, side // (rows * factor) * rows * factor
    x, y = x + (side - width) // 2, y + (side - height) // 2
    box = (x, y, x + width, y + height)
    if factor > 1:
        image = image.reduce(factor, box=box)
        box = (0, 0, *image.size)
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


def _inside(image: Image.Image, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The box without the rounding errors that may carry it over the picture's edge."""
    width, height = image.size
    return (max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3]))


def thumbnail(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Array:
    """The box averaged down to `size` (width, height): float32 of shape (height, width, 3), values 0 to 255."""
    small = image.resize(size, Image.Resampling.BOX, box=_inside(image, box), reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)


class Turntable:
    """A square window prepared for copies at any angle, which differ in nothing but the angle.

    Every copy, 0 degrees included, takes the same way: one affine map at twice the output's side with bilinear
    samples, at oblique angles a smoothing that is even in all directions, then the mean of 2 x 2. Without the
    smoothing the output's grid treats upright and slanted lines differently (aliasing of what is too fine, steps in
    what was enlarged), which told 45 degrees from 0 by the spectrum; right angles map the grid onto itself.

    Args:
        image: the picture.
        window: the square that all copies stay within.
        px: side of the copies.
        oblique: angles may be no right angles. Then a copy's square lies inside the window's circle, else it may
            fill the window.
    """

    SCALES = (0.90, 0.98)
    """The side of a copy's square, as a share of the largest one that fits at every angle."""
    SMOOTHING = 1.15
    """Standard deviation at oblique angles, in pixels at twice the output's side."""

    def __init__(self, image: Image.Image, window: Window, px: int, oblique: bool) -> None:
        self.px = px
        self.shrink = math.sqrt(0.5) if oblique else 1.0
        factor = max(1, int(window.side * self.shrink / (2 * px)))
        self.x, self.y, self.side = window.x, window.y, window.side
        if factor > 1:
            x, y, side = int(window.x), int(window.y), int(window.side)
            image = image.reduce(factor, box=(x, y, x + side, y + side))
            self.x, self.y, self.side = 0.0, 0.0, side / factor
        self.image = image
        enlarged = px / (self.side * self.shrink)
        self.smoothing = max(self.SMOOTHING, 1.6 * enlarged) if oblique else 0.0

    def copy(self, angle_deg: int, jitter: Sequence[float]) -> Image.Image:
        """A copy turned counter-clockwise; `jitter` is three numbers in [0, 1) for scale and sub-pixel shift."""
        low, high = self.SCALES
        scale = low + (high - low) * jitter[0]
        slack = self.side * (1 - scale) / 2 * self.shrink
        x = self.x + self.side / 2 + slack * (2 * jitter[1] - 1)
        y = self.y + self.side / 2 + slack * (2 * jitter[2] - 1)
        n = 2 * self.px
        step = self.side * self.shrink * scale / n
        # Rounded, so that right angles are exact and no machine's cosine differs in the last bit.
        cos, sin = (round(f(math.radians(angle_deg)), 12) * step for f in (math.cos, math.sin))
        half = n / 2
        affine = (cos, -sin, x - (cos - sin) * half, sin, cos, y - (sin + cos) * half)
        turned = self.image.transform((n, n), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        if self.smoothing:
            turned = turned.filter(ImageFilter.GaussianBlur(self.smoothing))
        return turned.reduce(2)


_POLAR_ANGLES = 72
_POLAR_PX = 24


@lru_cache(maxsize=1)
def _polar_grid() -> tuple[Array, Array, Array]:
    """Bilinear samples on circles round a thumbnail's centre: indices and weights (4, rings * angles), ring weights."""
    radii = np.arange(1.5, _POLAR_PX / 2 - 0.5, 1.0)
    angles = np.arange(_POLAR_ANGLES) * (2 * np.pi / _POLAR_ANGLES)
    centre = (_POLAR_PX - 1) / 2
    x = (centre + radii[:, None] * np.cos(angles)).ravel()
    y = (centre - radii[:, None] * np.sin(angles)).ravel()
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - x0, y - y0
    corners = [(y0 + dy) * _POLAR_PX + x0 + dx for dy in (0, 1) for dx in (0, 1)]
    weights = [(fy if dy else 1 - fy) * (fx if dx else 1 - fx) for dy in (0, 1) for dx in (0, 1)]
    return np.array(corners), np.array(weights, dtype=np.float32), (radii / radii.sum()).astype(np.float32)


def turn_likeness(image: Image.Image, window: Window, step_deg: int) -> tuple[float, float]:
    """How far a window's picture can be told from its turned copies: (contrast, likeness).

    Contrast is the standard deviation of its thumbnail, 0 to 255. Likeness is the largest, over all multiples a of
    `step_deg`, of 1 - (1 - r(a)) / (1 - cos a), where r(a) is the correlation of the picture with itself turned by a:
    1 for a picture that turning does not change, 0 for an even slope from dark to bright, below 0 for much detail.
    """
    indices, weights, ring_weights = _polar_grid()
    thumb = thumbnail(image, window.box, (_POLAR_PX, _POLAR_PX)).reshape(-1, 3)
    polar = (thumb[indices] * weights[:, :, None]).sum(axis=0).reshape(len(ring_weights), _POLAR_ANGLES, 3)
    polar -= np.tensordot(ring_weights, polar.mean(axis=1), axes=(0, 0))
    spectrum = np.fft.rfft(polar, axis=1)
    power = np.tensordot(ring_weights, (np.abs(spectrum) ** 2).sum(axis=2), axes=(0, 0))
    covariance = np.fft.irfft(power, n=_POLAR_ANGLES) / (3 * _POLAR_ANGLES)
    variance = max(float(covariance[0]), 1e-6)
    shifts = np.arange(1, 360 // step_deg) * (step_deg * _POLAR_ANGLES // 360)
    cosines = np.cos(shifts * (2 * np.pi / _POLAR_ANGLES))
    likeness = 1 - (1 - covariance[shifts] / variance) / (1 - cosines)
    return math.sqrt(variance), float(likeness.max())


def contrast(thumbs: Array) -> Array:
    """Standard deviation of each thumbnail over place (mean of the channels' variances); shape (n,)."""
    variance: Array = thumbs.reshape(len(thumbs), -1, 3).var(axis=1).mean(axis=1)
    return np.sqrt(variance)


def alike(thumbs: Array) -> list[tuple[int, int]]:
    """The pairs of thumbnails, shape (n, height, width, 3), that differ by less than `NEAR_RMS`."""
    flat = thumbs.reshape(len(thumbs), -1)
    apart = ((flat[:, None] - flat[None]) ** 2).mean(axis=2) < NEAR_RMS**2
    first, second = np.nonzero(np.triu(apart, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


_LUMA = np.array([[0.299, 0.587, 0.114]] * 3)
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_YIQ_BACK = np.linalg.inv(_YIQ)


def mean_colour(image: Image.Image) -> Array:
    """The mean of each channel, summed in whole numbers so that every machine gets the same."""
    array = np.asarray(image)
    total: Array = array.sum(axis=(0, 1), dtype=np.int64) / (array.shape[0] * array.shape[1])
    return total


def jitter_colours(image: Image.Image, rng: np.random.Generator, strength: float, grey: bool = False) -> Image.Image:
    """Brightness, contrast and saturation up to 1 +- `strength`, hue up to `strength` / 10 of the circle; or grey.

    Always takes four numbers from `rng`.
    """
    brightness, contrast, saturation, hue = rng.uniform(-strength, strength, 4).tolist()
    if strength == 0 and not grey:
        return image
    cos, sin = math.cos(hue * 0.2 * math.pi), math.sin(hue * 0.2 * math.pi)
    turn = _YIQ_BACK @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
    keep = 0.0 if grey else 1 + saturation
    gain = (1 + brightness) * (1 + contrast)
    matrix = gain * (keep * turn + (1 - keep) * _LUMA)
    level = float(_LUMA[0] @ mean_colour(image)) * -contrast * (1 + brightness)
    rows = ([*np.round(row, 6).tolist(), round(level, 3)] for row in matrix)
    return image.convert("RGB", tuple(value for row in rows for value in row))


def match_colours(images: Sequence[Image.Image]) -> list[Image.Image]:
    """All pictures shifted to their common mean colour, each by one constant a channel."""
    means = np.array([mean_colour(image) for image in images])
    shifts = np.rint(means.mean(axis=0) - means).astype(np.int64)
    ramp = np.arange(256)
    return [
        image.point(np.clip(ramp + shift[:, None], 0, 255).ravel().tolist())
        for image, shift in zip(images, shifts, strict=True)
    ]
