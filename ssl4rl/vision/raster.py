"""Rasters of more than 8 bits: stretched over the values that they hold.

A 12-bit scan in a 16-bit file, heights in metres, a satellite's radiances: none of them says which value is white.
Taken by the container's scale they come out as a few shades of black, which looks like a picture and teaches nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL.Image import Image

from ssl4rl.core.types import Unusable

Array = np.ndarray[Any, np.dtype[Any]]

PERCENTILES = (0.5, 99.5)
"""Black and white: these percentiles of the finite values that are not "no data"."""
NOTE = f"rasters of more than 8 bits, stretched from percentile {PERCENTILES[0]} (black) to {PERCENTILES[1]} (white)"

_NO_DATA_BEYOND = 1e30
"""Floats as far from 0 as this say "no data" (most often they are the least float there is)."""
_NO_DATA_WORDS = (-999.0, -9999.0, -99999.0, -32767.0, -32768.0)
"""Values that say so too where they are the least, by more than all others span; no file has to declare them."""
_GDAL_NODATA = 42113

_SAMPLE = 1_000_000
_BAND_PIXELS = 1 << 21


def is_deep(mode: str) -> bool:
    """Whether pictures of Pillow's `mode` have one channel of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def declared_no_data(image: Image) -> float | None:
    """The value that a GeoTIFF declares to mean "no data" (GDAL's tag 42113), or None."""
    text = getattr(image, "tag_v2", {}).get(_GDAL_NODATA)
    try:
        return float(str(text).strip(" \0"))
    except ValueError:
        return None


def to_8bit(image: Image, no_data: float | None = None) -> Image:
    """A deep picture (see `is_deep`) as grey values 0 to 255; what holds no data becomes black.

    Percentiles are those of at most a million values, evenly spaced over the picture.

    Args:
        no_data: a value that says "no data", beside NaN, infinities and `_NO_DATA_WORDS`.

    Raises:
        Unusable: all of it says "no data".
    """
    width, height = image.size
    step = math.ceil(math.sqrt(width * height / _SAMPLE))
    if no_data is not None and image.mode == "F":
        with np.errstate(over="ignore"):
            no_data = float(np.float32(no_data))  # as the pixels hold it
    rows = max(1, _BAND_PIXELS // width)
    bands = [(top, min(height, top + rows)) for top in range(0, height, rows)]
    sample = np.concatenate([_band(image, *band)[-band[0] % step :: step, ::step].ravel() for band in bands])
    low, high, floor = _range(sample, no_data)
    grey = Pillow.new("L", image.size)
    for band in bands:
        values = _band(image, *band).astype(np.float32 if image.mode == "F" else np.float64)
        seen = _holds_data(values, no_data) & np.greater(values, floor)
        with np.errstate(over="ignore"):  # what is far above white is white
            scaled = (np.where(seen, values, low) - low) * (255.0 / (high - low) if high > low else 0.0)
        grey.paste(Pillow.fromarray(np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)), (0, band[0]))
    return grey


def _band(image: Image, top: int, bottom: int) -> Array:
    return np.asarray(image.crop((0, top, image.width, bottom)))


def _holds_data(values: Array, no_data: float | None) -> Array:
    held: Array = np.isfinite(values) & (np.abs(values) < _NO_DATA_BEYOND)
    return held if no_data is None else held & (values != no_data)


def _range(sample: Array, no_data: float | None) -> tuple[float, float, float]:
    """The values that become black and white, and one that no value with data is as low as."""
    values = sample.astype(np.float64)
    values = np.sort(values[_holds_data(values, no_data)])
    if not len(values):
        raise Unusable("no pixel of it holds data")
    floor = -math.inf
    if values[0] in _NO_DATA_WORDS:
        others = values[values > values[0]]
        if len(others) and others[0] - values[0] > others[-1] - others[0]:
            floor, values = float(values[0]), others
    cut = int(len(values) * PERCENTILES[0] / 100)
    low, high = float(values[cut]), float(values[len(values) - 1 - cut])
    if low == high:  # nearly all the same value: a few stars in the sky
        low, high = float(values[0]), float(values[-1])
    return low, high, floor
