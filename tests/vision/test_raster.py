"""Rasters of more than 8 bits: what becomes black, what white, and what is no data."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ssl4rl.core.types import Unusable
from ssl4rl.vision.photo import BytesPhoto
from ssl4rl.vision.raster import NOTE
from ssl4rl.vision.sources import open_folder
from tests.hostile.pictures import png_chunk, png_head

RAMP = np.linspace(0, 900, 150 * 200, dtype="float32").reshape(150, 200)
"""As in the reported cases: 900 metres from left to right and down."""


def tiff(values: Any, no_data: str | None = None) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if no_data is not None:
        tags[42113] = no_data
        tags.tagtype[42113] = 2
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF", tiffinfo=tags)
    return stream.getvalue()


def grey(data: bytes) -> Any:
    return np.asarray(BytesPhoto(data, "x.tif").decode(4000))[:, :, 0]


def test_twelve_bits_fill_the_scale() -> None:
    levels = grey(tiff((RAMP * 4).astype("uint16")))
    assert len(np.unique(levels)) == 256  # 15 before: 3,600 of 65,535
    assert (levels[0, 0], levels[75, 0], levels[-1, -1]) == (0, 128, 255)


def test_floats_fill_the_scale() -> None:
    levels = grey(tiff(RAMP))
    assert len(np.unique(levels)) == 256  # 5 before
    assert (levels[0, 0], levels[75, 0], levels[-1, -1]) == (0, 128, 255)


@pytest.mark.parametrize("spoilt", [-3.4028235e38, 3.4028235e38, np.nan, np.inf, -np.inf, -9999.0, -32768.0])
def test_values_that_say_no_data_are_black_and_stretch_nothing(spoilt: float) -> None:
    values = RAMP.copy()
    values[:10] = spoilt
    levels = grey(tiff(values))
    assert len(np.unique(levels)) == 256  # 2 before
    assert levels[:10].max() == 0
    assert (levels[10, 0], levels[80, 0], levels[-1, -1]) == (0, 128, 255)


@pytest.mark.parametrize("declared", ["5000", " 5000 ", "5e3", "5000\0"])
def test_the_no_data_value_that_gdal_declares(declared: str) -> None:
    values = RAMP.copy()
    values[:10] = 5000
    assert grey(tiff(values))[80, 0] < 40  # nothing says that 5000 metres are none
    levels = grey(tiff(values, declared))
    assert levels[:10].max() == 0
    assert (levels[80, 0], levels[-1, -1]) == (128, 255)


def test_a_declared_value_is_compared_as_the_pixels_hold_it() -> None:
    values = RAMP.copy()
    values[:75] = np.float32(0.1)  # half of all: not beyond the percentiles
    assert grey(tiff(values, "0.1"))[75, 0] == 0
    assert grey(tiff(values))[75, 0] == 128  # (450 - 0.1) * 255 / (895.5 - 0.1)


@pytest.mark.parametrize("declared", ["", "nan", "none", "1e999", "-"])
def test_what_declares_nothing_changes_nothing(declared: str) -> None:
    assert grey(tiff(RAMP, declared)).tobytes() == grey(tiff(RAMP)).tobytes()


def test_a_minus_9999_among_its_like_is_data() -> None:
    values = np.linspace(-9999, -5000, 150 * 200, dtype="float32").reshape(150, 200)
    assert (grey(tiff(values))[75, 0], grey(tiff(values))[0, 199]) == (128, 0)


def test_outliers_beyond_the_percentiles_do_not_darken_the_rest() -> None:
    values = RAMP.copy()
    values[0, :100] = 1e6  # a third of a percent
    assert len(np.unique(grey(tiff(values)))) == 256


def test_a_few_bright_pixels_on_one_ground_are_seen() -> None:
    values = np.full((150, 200), 7, dtype="uint16")
    values[40, 50] = 900
    levels = grey(tiff(values))
    assert (levels[40, 50], levels[0, 0]) == (255, 0)


def test_nothing_but_no_data_is_unusable() -> None:
    with pytest.raises(Unusable, match=r"^x\.tif: no pixel of it holds data$"):
        grey(tiff(np.full((20, 20), np.nan, dtype="float32")))


def test_large_rasters_are_stretched_by_a_sample_like_small_ones() -> None:
    values = np.linspace(0, 900, 2100 * 1100, dtype="float32").reshape(2100, 1100)
    levels = grey(tiff(values))
    assert len(np.unique(levels)) == 256
    assert (levels[0, 0], levels[1050, 0], levels[-1, -1]) == (0, 128, 255)


def test_sixteen_bit_colours_of_which_few_bits_are_left_are_refused() -> None:
    """Pillow reads the upper 8 bits of colours: of 12-bit ones 16 levels are left, which no stretching brings back."""

    def png(high: int) -> bytes:
        rows = b"\0" + np.linspace(0, high, 40 * 3).astype(">u2").tobytes()
        return png_head(40, 20, 16, 2) + png_chunk(b"IDAT", zlib.compress(rows * 20)) + png_chunk(b"IEND", b"")

    with pytest.raises(Unusable, match=r"its colours of 16 bits use less than 13 of them; convert it to 8 bits$"):
        BytesPhoto(png(4095), "x.png").decode(20)
    assert BytesPhoto(png(65535), "x.png").decode(20).getpixel((39, 0))[2] == 255  # type: ignore[index]


def test_the_source_says_that_it_stretched(tmp_path: Path) -> None:
    (tmp_path / "heights.tif").write_bytes(tiff(RAMP))
    Image.new("RGB", (20, 20)).save(tmp_path / "plain.png")
    assert open_folder(str(tmp_path)).taken == f"1 of 2 pictures: {NOTE}"
    (tmp_path / "heights.tif").unlink()
    assert open_folder(str(tmp_path)).taken == ""
