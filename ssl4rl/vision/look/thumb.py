"""What is kept of a picture's looks: 704 bytes, a grey thumbnail and its coarse colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageChops

Array = np.ndarray[Any, np.dtype[Any]]

VERSION = 1
"""Raised whenever looks or what they are compared by change, so that no cache holds older ones."""

SIDE = 24
COLOUR_SIDE = 8
LOOK_BYTES = SIDE * SIDE + 2 * COLOUR_SIDE * COLOUR_SIDE

_PLAIN = 24
"""Levels of a channel by which a margin may differ from one colour (JPEG's ringing)."""
_SMALLEST_PX = 8

DECODED_PX = 96
"""The shorter side at which a picture is decoded for its look."""


def look_of(image: Image.Image) -> bytes:
    """A picture's look: `SIDE` x `SIDE` grey levels, then two colour differences (Cb, Cr) of `COLOUR_SIDE` x `COLOUR_SIDE`.

    The picture less its plain margins is squeezed into a square, whatever its shape, since copies may be cut to another.

    Args:
        image: RGB.
    """
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX, box=content_box(image))
    grey, *colours = small.convert("YCbCr").split()
    coarse = [band.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX) for band in colours]
    return grey.tobytes() + b"".join(band.tobytes() for band in coarse)


def content_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Where an RGB picture has more than one plain colour at its edges: left, top, right, bottom in pixels.

    Drawings often fill a small part of a white page, and then page and size are all that a thumbnail would show. The plain
    colour is the one of the top left corner, if the opposite corner has it as well.
    """
    width, height = image.size
    corner, opposite = image.getpixel((0, 0)), image.getpixel((width - 1, height - 1))
    assert isinstance(corner, tuple)
    assert isinstance(opposite, tuple)
    whole = (0, 0, width, height)
    if max(abs(a - b) for a, b in zip(corner, opposite, strict=True)) > _PLAIN:
        return whole
    apart = ImageChops.difference(image, Image.new("RGB", image.size, corner))
    strongest = ImageChops.lighter(ImageChops.lighter(*apart.split()[:2]), apart.getchannel(2))
    box = strongest.point([0] * (_PLAIN + 1) + [255] * (255 - _PLAIN)).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _SMALLEST_PX:
        return whole
    return box


def grey_of(looks: Array) -> Array:
    """Grey thumbnails of looks, uint8 (n, LOOK_BYTES) -> float64 (n, SIDE, SIDE)."""
    return looks[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE).astype(np.float64)


def colours_of(looks: Array) -> Array:
    """Colour differences of looks from grey, float64 (n, 2 * COLOUR_SIDE**2)."""
    return looks[:, SIDE * SIDE :].astype(np.float64) - 128.0
