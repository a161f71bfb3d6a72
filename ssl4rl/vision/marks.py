"""Coloured rings that mark points of a picture: drawn last, alike for every point, whatever the answer is."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

COLOURS = {
    "red": (235, 20, 20), "green": (20, 190, 40), "blue": (30, 70, 255),
    "yellow": (250, 225, 20), "magenta": (235, 30, 220), "cyan": (20, 215, 235),
}  # fmt: skip
NAMES = tuple(COLOURS)
WHITE = (255, 255, 255)
RADIUS = 0.06
"""A ring's outer radius as a share of the picture's side, but `LEAST_PX` at least."""
LEAST_PX = 3


def radius_px(side_px: int) -> int:
    """The outer radius of the rings in a picture of this side."""
    return max(LEAST_PX, round(RADIUS * side_px))


def ring(picture: Image.Image, place: Sequence[float], colour: tuple[int, int, int]) -> None:
    """Draws a ring with a black rim into a square picture; what it marks, its middle, stays as it is.

    Args:
        place: (x, y) of its middle as shares of the picture's side.
    """
    side = picture.size[0]
    radius, width = radius_px(side), max(1, round(side / 75))
    x, y = (min(side - 1, max(0, int(at * side))) for at in place)
    draw = ImageDraw.Draw(picture)
    rim = width + 2 if radius > 2 * LEAST_PX else width
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(0, 0, 0), width=rim)
    inner = radius - (rim - width) // 2
    draw.ellipse((x - inner, y - inner, x + inner, y + inner), outline=colour, width=width)
