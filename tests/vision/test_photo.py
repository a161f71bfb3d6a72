"""Decoding: every file comes out RGB, upright and on white, or as Unusable with a reason; never as a warning."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.source import content_id
from ssl4rl.core.types import Unusable
from ssl4rl.vision.decoding import MAX_PIXELS
from ssl4rl.vision.photo import BytesPhoto, FilePhoto, MemberPhoto, photo_id

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decode(data: bytes, min_side_px: int = 4000) -> Image.Image:
    return BytesPhoto(data, "x.png").decode(min_side_px)


def plain(color: tuple[int, ...], size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)


def quarters(size: int = 64) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (size, size))
    half = size // 2
    for corner, color in zip([(0, 0), (half, 0), (0, half), (half, half)], [RED, GREEN, BLUE, WHITE], strict=True):
        image.paste(color, (*corner, corner[0] + half, corner[1] + half))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that says this size and holds a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def noise(width: int, height: int) -> Image.Image:
    values = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_formats(kind: str) -> None:
    image = decode(encode(plain(BLUE), kind))
    assert (image.mode, image.size) == ("RGB", (16, 12))
    assert np.abs(np.asarray(image, dtype=int)[6, 8] - BLUE).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "top_left", "top_right"),
    [
        (1, RED, GREEN),
        (2, GREEN, RED),
        (3, WHITE, BLUE),
        (4, BLUE, WHITE),
        (5, RED, BLUE),
        (6, BLUE, RED),
        (7, WHITE, GREEN),
        (8, GREEN, WHITE),
        (99, RED, GREEN),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int, top_left: tuple[int, ...], top_right: tuple[int, ...]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encode(quarters(), kind, exif=exif))
    for place, color in [((8, 8), top_left), ((56, 8), top_right)]:
        assert np.abs(np.array(image.getpixel(place)) - color).max() < 20, (kind, orientation, place)


def test_rotated_jpeg_is_reduced_by_its_shorter_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(plain(RED, (800, 400)), "JPEG", exif=exif)
    assert decode(data, 1).size == (50, 100)
    assert decode(data, 50).size == (50, 100)
    assert decode(data, 51).size == (100, 200)
    assert decode(data, 100).size == (100, 200)
    assert decode(data, 101).size == (200, 400)
    assert decode(data, 201).size == (400, 800)
    assert decode(data, 4000).size == (400, 800)  # never enlarged


@pytest.mark.parametrize("size", [(1001, 777), (777, 1001), (641, 9), (8, 8)])
@pytest.mark.parametrize("min_side_px", [1, 8, 97, 98, 224, 777, 5000])
def test_decoded_side_is_enough(size: tuple[int, int], min_side_px: int) -> None:
    image = decode(encode(plain(RED, size), "JPEG"), min_side_px)
    assert min(image.size) >= min(min_side_px, *size)


def test_progressive_and_grey_jpeg_are_reduced() -> None:
    assert decode(encode(plain(RED, (800, 640)), "JPEG", progressive=True), 80).size == (100, 80)
    grey = decode(encode(Image.new("L", (800, 640), 90), "JPEG"), 80)
    assert (grey.mode, grey.size, grey.getpixel((5, 5))) == ("RGB", (100, 80), (90, 90, 90))


def test_cmyk() -> None:
    image = decode(encode(Image.new("CMYK", (16, 12), (0, 255, 255, 0)), "JPEG"))
    assert image.mode == "RGB"
    assert np.abs(np.array(image.getpixel((8, 6))) - RED).max() < 10


def test_16_bit_is_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32768, 65535]] * 2, dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        grey = np.asarray(decode(encode(Image.fromarray(values), kind)))[0, :, 0]
        assert grey.tolist() == [0, 1, 128, 255], kind
    big_endian = Image.frombytes("I;16B", (4, 2), values.astype(">u2").tobytes())
    assert np.asarray(decode(encode(big_endian, "TIFF")))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_and_float() -> None:
    for values, expected in [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 32768, 65535], [0, 128, 255]),
        ([0, 500_000, 1_000_000], [0, 128, 255]),
    ]:
        assert (
            np.asarray(decode(encode(Image.fromarray(np.array([values], np.int32)), "TIFF")))[0, :, 0].tolist()
            == expected
        )
    for floats, expected in [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-1.0, -1.0], [0, 0]),
    ]:
        assert (
            np.asarray(decode(encode(Image.fromarray(np.array([floats], np.float32)), "TIFF")))[0, :, 0].tolist()
            == expected
        )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_lies_on_white(mode: str, kind: str) -> None:
    image = Image.new(mode, (4, 4), (0,) * len(mode))
    image.putpixel((1, 1), (0,) * (len(mode) - 1) + (255,))
    image.putpixel((2, 2), (0,) * (len(mode) - 1) + (128,))
    flat = decode(encode(image, kind))
    assert [flat.getpixel((i, i)) for i in (0, 1, 2)] == [WHITE, BLACK, (127, 127, 127)]


def test_transparent_palette_and_color_key() -> None:
    indexed = quarters(16).quantize(4)
    key = indexed.getpixel((2, 2))
    for transparency in (key, bytes(0 if index == key else 255 for index in range(4))):
        flat = decode(encode(indexed, transparency=transparency))
        assert [flat.getpixel(place) for place in [(2, 2), (12, 2), (2, 12)]] == [WHITE, GREEN, BLUE]
    assert decode(encode(indexed, "GIF", transparency=key)).getpixel((2, 2)) == WHITE
    assert decode(encode(plain(RED), transparency=RED)).getpixel((2, 2)) == WHITE
    assert decode(encode(Image.new("1", (9, 9), 1))).getpixel((2, 2)) == WHITE


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(plain(RED), kind, save_all=True, append_images=[plain(GREEN), plain(BLUE)], duration=50, **options)
    assert decode(data).getpixel((8, 6)) == RED


def test_multipage_tiff_gives_its_first_page() -> None:
    assert decode(encode(plain(RED), "TIFF", save_all=True, append_images=[plain(GREEN)])).getpixel((8, 6)) == RED


def test_lab_tiff() -> None:
    lab = Image.new("LAB", (8, 8), (255, 128, 128))  # L=100, a=b=0
    assert min(decode(encode(lab, "TIFF")).getpixel((4, 4))) >= 250  # type: ignore[type-var, arg-type]


def test_metadata_does_not_travel_with_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "who, when and where"
    assert decode(encode(plain(RED), "JPEG", exif=exif, comment=b"hello", dpi=(7, 7))).info == {}


def test_one_pixel_decodes_as_it_is() -> None:
    assert decode(encode(plain(RED, (1, 1)))).getpixel((0, 0)) == RED


def test_one_pixel_is_refused_by_the_check() -> None:
    with pytest.raises(Unusable, match=r"^x\.png: 1x1 px; needs at least 8$"):
        BytesPhoto(encode(plain(RED, (1, 1))), "x.png").check(thorough=True)


@pytest.mark.parametrize("call", [lambda photo: photo.decode(64), lambda photo: photo.check(False)])
def test_bomb_is_refused_before_it_is_decoded(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = BytesPhoto(png_header(30_000, 30_000), "big.png")
    for pillows_limit in (Image.MAX_IMAGE_PIXELS, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
        tracemalloc.start()
        with pytest.raises(Unusable, match=r"^big\.png: too large \(.*\); allowed: 178 megapixels$"):
            call(photo)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 2**20


def test_between_pillows_warning_and_our_limit_nothing_is_said() -> None:
    pixels = 10_000 * 10_000
    assert pixels < MAX_PIXELS
    BytesPhoto(png_header(10_000, 10_000)).check(thorough=True)


def test_truncated_files() -> None:
    for kind, options in [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ]:
        data = encode(noise(64, 48), kind, **options)
        with pytest.raises(Unusable, match=r"^holiday\.x: \w"):
            BytesPhoto(data[: len(data) * 6 // 10], "holiday.x").decode(8)
    data = encode(noise(64, 48), "JPEG")
    with pytest.raises(Unusable, match=r"^a\.jpg: image file is truncated \(\d+ bytes not processed\)$"):
        BytesPhoto(data[: len(data) // 2], "a.jpg").check(thorough=True)


def test_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("Dear diary")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n")
    for name, why in [
        ("notes.jpg", "no picture (or of an unknown format)"),
        ("empty.jpg", "empty file"),
        ("script.jpg", "no picture (or of an unknown format)"),
        ("gone.jpg", "no such file or directory"),
    ]:
        with pytest.raises(Unusable) as caught:
            FilePhoto(str(tmp_path), name).check(thorough=False)
        assert str(caught.value) == f"{name}: {why}"


def test_odd_names_stay_on_one_line() -> None:
    with pytest.raises(Unusable, match=r"^'a\\nb\\udcff.jpg': empty file$"):
        BytesPhoto(b"", "a\nb\udcff.jpg").check(thorough=False)


def test_broken_exif_does_not_lose_the_photo() -> None:
    data = bytearray(encode(plain(RED), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(40)))
    assert np.abs(np.array(decode(bytes(data)).getpixel((8, 6))) - RED).max() < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000"])
def test_damaged_bytes_are_unusable_or_a_picture(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encode(noise(24, 20), kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    rng = np.random.Generator(np.random.PCG64(1))
    for _ in range(80):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), int(rng.choice([60, 10_000]))), size=int(rng.integers(1, 6))):
            data[place] = int(rng.integers(256))
        try:
            outcome = decode(bytes(data), 8).mode
        except Unusable as unusable:
            outcome = str(unusable)
        assert outcome == "RGB" or (outcome.startswith("x.png: ") and "\n" not in outcome)


def test_handles_read_the_same_bytes(tmp_path: Path) -> None:
    data = encode(quarters())
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "archive").write_bytes(b"before" + data + b"after")
    photos = [
        FilePhoto(str(tmp_path), "a.png"),
        BytesPhoto(data),
        MemberPhoto(str(tmp_path / "archive"), 6, len(data), "archive/a.png"),
    ]
    assert {photo.check(thorough=True) for photo in photos} == {content_id(data)}
    for photo in photos:
        copy = pickle.loads(pickle.dumps(photo))
        assert copy == photo
        assert copy.decode(8).tobytes() == quarters().tobytes()


def test_content_id_of_large_files_depends_on_size_start_middle_and_end() -> None:
    size = 1_000_000
    base = bytes(size)
    ids = {photo_id(io.BytesIO(base)), photo_id(io.BytesIO(base + b"\x00"))}
    for place in (0, size // 2, size - 1):
        ids.add(photo_id(io.BytesIO(base[:place] + b"\x01" + base[place + 1 :])))
    assert len(ids) == 5
    small = bytes(range(256)) * 1024
    assert photo_id(io.BytesIO(small)) == content_id(small)
