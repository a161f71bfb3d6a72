"""Views of a picture: crops that share some of what they show, changed in colour, mirrored, blurred."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from ssl4rl.vision import pixels

MIN_OVERLAP = 0.25
"""Of the smaller view's area, shared by two views of one picture."""

Share = tuple[float, float, float]
"""A square as shares of a picture's square: left, top, side."""


def draw_views(area: float, rng: np.random.Generator) -> tuple[Share, Share]:
    """Two squares of at least `area` of the whole, which share `MIN_OVERLAP` of the smaller one's area."""
    while True:
        sides = np.sqrt(rng.uniform(area, 1.0, 2))
        places = rng.random((2, 2)) * (1 - sides)[:, None]
        (x0, y0), (x1, y1) = places.tolist()
        first, second = (x0, y0, float(sides[0])), (x1, y1, float(sides[1]))
        if shared(first, second) >= MIN_OVERLAP:
            return first, second


def overlapping(share: Share, area: float, rng: np.random.Generator) -> Share:
    """A square of at least `area` of the whole, which shares `MIN_OVERLAP` of the smaller one's area with `share`."""
    while True:
        side = math.sqrt(float(rng.uniform(area, 1.0)))
        x, y = (rng.random(2) * (1 - side)).tolist()
        if shared(share, (x, y, side)) >= MIN_OVERLAP:
            return (x, y, side)


def shared(one: Share, other: Share) -> float:
    """The area that two squares have in common, as a share of the smaller one's."""
    wide, high = (max(0.0, min(a + one[2], b + other[2]) - max(a, b)) for a, b in zip(one[:2], other[:2], strict=True))
    return wide * high / min(one[2], other[2]) ** 2


def augmented(
    image: Image.Image, window: pixels.Window, share: Share, level: Mapping[str, Any], rng: np.random.Generator
) -> Image.Image:
    """One view, `view_px` a side, changed as `flip`, `grey`, `blur` and `jitter` of the level say.

    Takes the same number of draws from `rng` whatever comes out.
    """
    px = level["view_px"]
    flip, grey, blur, strength = rng.random(4).tolist()
    view = pixels.cut(image, window.part(*share).box, (px, px))
    if flip < level["flip"]:
        view = ImageOps.mirror(view)
    view = pixels.jitter_colours(view, rng, level["jitter"], grey=grey < level["grey"])
    if blur < level["blur"]:
        view = view.filter(ImageFilter.GaussianBlur((0.002 + 0.006 * strength) * px))
    return view
