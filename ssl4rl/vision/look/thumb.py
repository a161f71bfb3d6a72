"""What is kept of a picture's looks: 704 bytes, a grey thumbnail and its coarse colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageChops

Array = np.ndarray[Any, np.dtype[Any]]

VERSION = 2
"""Raised whenever looks or what they are compared by change, so that no cache holds older ones."""

SIDE = 24
COLOUR_SIDE = 8
LOOK_BYTES = SIDE * SIDE + 2 * COLOUR_SIDE * COLOUR_SIDE

_PLAIN = 10
"""Levels of a channel by which a margin may differ from one colour, in a small copy, where JPEG's ringing is
averaged."""
_CELLS = 48
_FEWEST_CELLS = 5

DECODED_PX = 96
"""The shorter side at which a picture is decoded for its look."""


def look_of(image: Image.Image) -> bytes:
    """A picture's look: `SIDE` x `SIDE` grey levels, then two colour differences (Cb, Cr) of `COLOUR_SIDE` x
    `COLOUR_SIDE`.

    The picture less its plain margins is squeezed into a square, whatever its shape, since copies may be cut to
    another.

    Args:
        image: RGB.
    """
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX, box=content_box(image))
    grey, *colours = small.convert("YCbCr").split()
    coarse = [band.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX) for band in colours]
    return grey.tobytes() + b"".join(band.tobytes() for band in coarse)


def content_box(image: Image.Image) -> tuple[float, float, float, float]:
    """Where an RGB picture has more than one plain colour at its edges: left, top, right, bottom in pixels.

    Drawings often fill a small part of a white page, and then page and size are all that a thumbnail would show. The
    plain colour is the one of the top left corner, if the opposite corner has it as well. It is looked for in a small
    copy, where thin lines weigh as much whatever the size the picture came in.
    """
    width, height = image.size
    whole = (0.0, 0.0, float(width), float(height))
    if min(width, height) < _CELLS:
        return whole
    small = image.resize((_CELLS, _CELLS), Image.Resampling.BOX)
    corner, opposite = small.getpixel((0, 0)), small.getpixel((_CELLS - 1, _CELLS - 1))
    assert isinstance(corner, tuple)
    assert isinstance(opposite, tuple)
    if max(abs(a - b) for a, b in zip(corner, opposite, strict=True)) > _PLAIN:
        return whole
    apart = ImageChops.difference(small, Image.new("RGB", small.size, corner))
    strongest = ImageChops.lighter(ImageChops.lighter(*apart.split()[:2]), apart.getchannel(2))
    box = strongest.point([0] * (_PLAIN + 1) + [255] * (255 - _PLAIN)).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _FEWEST_CELLS:
        return whole
    left, top, right, bottom = (edge / _CELLS for edge in box)
    return (left * width, top * height, right * width, bottom * height)


def grey_of(looks: Array) -> Array:
    """Grey thumbnails of looks, uint8 (n, LOOK_BYTES) -> float64 (n, SIDE, SIDE)."""
    return looks[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE).astype(np.float64)


def colours_of(looks: Array) -> Array:
    """Colour differences of looks from grey, float64 (n, 2 * COLOUR_SIDE**2)."""
    return looks[:, SIDE * SIDE :].astype(np.float64) - 128.0
