"""Hostile picture files and folders of them."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, features

from tests.hostile.corpus import SECRET, Corpus, encode, lengthen, noise

GIB = 2**30
WIDE, HIGH = 13_350, 13_250
"""177 megapixels: just inside what is allowed by size."""


def kinds() -> Iterator[tuple[str, str, bytes]]:
    """(name, suffix, bytes) of a small good picture of every kind that may be opened."""
    rgb, grey = noise(0), noise(1, channels=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.random.Generator(np.random.PCG64(2)).integers(0, 4000, (36, 48), dtype=np.uint16))
    yield "jpeg", ".jpg", encode(rgb, "JPEG", exif=exif)
    yield "progressive", ".jpg", encode(rgb, "JPEG", progressive=True)
    yield "cmyk", ".jpg", encode(rgb.convert("CMYK"), "JPEG")
    yield "mpo", ".jpg", encode(rgb, "MPO", save_all=True, append_images=[noise(3)])
    yield "png", ".png", encode(rgb, "PNG", exif=exif)
    yield "png16", ".png", encode(deep, "PNG")
    yield "palette", ".png", encode(rgb.quantize(16), "PNG", transparency=3)
    yield "apng", ".png", encode(rgb, "PNG", save_all=True, append_images=[noise(4)])
    yield "gif", ".gif", encode(rgb, "GIF", save_all=True, append_images=[noise(5)])
    yield "bmp", ".bmp", encode(rgb, "BMP")
    yield "ppm", ".ppm", encode(rgb, "PPM")
    yield "pgm", ".pgm", encode(grey, "PPM")
    yield "plain", ".ppm", b"P3 48 36 255\n" + b" ".join(b"%d" % value for value in rgb.tobytes())
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield f"tiff_{compression or 'raw'}", ".tif", encode(rgb, "TIFF", compression=compression)
    yield "tiff_float", ".tif", encode(deep.convert("F"), "TIFF")
    if features.check("webp"):
        yield "webp", ".webp", encode(rgb, "WEBP", exif=exif)
        yield "webp_animated", ".webp", encode(rgb, "WEBP", lossless=True, save_all=True, append_images=[noise(6)])
    if features.check("avif"):
        yield "avif", ".avif", encode(rgb, "AVIF", exif=exif)
    if features.check("jpg_2000"):
        yield "jpeg2000", ".jp2", encode(rgb, "JPEG2000")


def make(corpus: Corpus, cuts: int = 11, flips: int = 8) -> None:
    """All picture cases: damage, wrong suffixes, odd names, what is no regular file, bombs."""
    every = list(kinds())
    for name, suffix, data in every:
        corpus.damaged("picture", name, "", f"x{suffix}", data, cuts, flips)
    for number, (name, suffix, data) in enumerate(every):
        wrong = every[(number + 3) % len(every)][1]
        corpus.file("suffix", f"{name}-as-{wrong[1:]}", "", f"x{wrong}", data)
        corpus.file("suffix", f"{name}-doubled", "", f"x{suffix}", data + data)
    for name, data in _no_pictures():
        corpus.file("nothing", name, "", f"{name}.jpg", data)
    _names(corpus, every[0][2])
    _special(corpus, every[0][2])
    _tails(corpus, every)
    _bombs(corpus, {name: data for name, _, data in every})


def _no_pictures() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "text", b"Dear diary"
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) run\n"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "html", b"<html><script>alert(1)</script></html>"
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096
    yield "zip", b"PK\x03\x04" + bytes(100)
    yield "elf", b"\x7fELF" + bytes(100)
    yield "psd", b"8BPS\x00\x01" + bytes(200)
    yield "fits", b"SIMPLE  =                    T" + b" " * 2850


def _names(corpus: Corpus, picture: bytes) -> None:
    names = [b"a\nb.jpg", b"a\rb.jpg", b"a\tb.jpg", b"-rf.jpg", b"*.jpg", b"a[1].jpg", b"{a,b}.jpg", b"?.jpg", b"#.jpg"]
    names += [b"%00.jpg", b"\xff\xfe.jpg", b"\xc3\xbc.jpg", b"\xe2\x80\xaegpj.exe.jpg", b"\xf0\x9f\x98\x80.jpg"]
    names += [b"a'b.jpg", b'a"b.jpg', b"$(id).jpg", b"`id`.jpg", b"a;b|c.jpg", b"\x1b[31m.jpg", b"n" * 250 + b".jpg"]
    for number, name in enumerate(names):
        for broken in (False, True):
            folder = corpus.folder("name", f"{number:02}{'-broken' if broken else ''}")
            Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(picture[: 200 if broken else None])
            corpus.add("name", folder.name[5:], str(folder))


def _special(corpus: Corpus, picture: bytes) -> None:
    """Pipes, sockets, devices and links, alone and beside a good picture."""
    secret = corpus.root / SECRET / "secret.png"
    for beside in (False, True):
        for name in ("pipe", "socket", "device", "link", "relative", "loop", "dangling", "linked_folder", "folder"):
            folder = corpus.folder("special", f"{name}{'-beside' if beside else ''}")
            at = folder / "x.jpg"
            if name == "pipe":
                os.mkfifo(at)
            elif name == "socket":
                _socket(at)
            elif name == "linked_folder":
                (folder / "sub").symlink_to(secret.parent)
            elif name == "folder":
                at.mkdir()
            else:
                target = {"device": "/dev/zero", "link": secret, "loop": "x.jpg", "dangling": "gone.jpg"}.get(name)
                at.symlink_to(target or f"../{SECRET}/secret.png")
            if beside:
                (folder / "good.jpg").write_bytes(picture)
            corpus.add("special", folder.name[8:], str(folder))


def _socket(path: Path) -> None:
    """A socket's name may have 107 bytes only, so it is bound from inside its folder."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def _tails(corpus: Corpus, every: list[tuple[str, str, bytes]]) -> None:
    """Good pictures with 3 GB of zeros behind them."""
    for name, suffix, data in every:
        lengthen(corpus.file("tail", name, "", f"x{suffix}", data, bomb=True), 3 * GIB)


def _bombs(corpus: Corpus, small: dict[str, bytes]) -> None:
    for name, suffix, data in [*_png_bombs(), *_tiff_bombs(), *_other_bombs(small)]:
        corpus.file("bomb", name, "", f"x{suffix}", data, bomb=True)
    raw = [("tiff_raw_float", ".tif", _tiff(WIDE, HIGH, 32, float_=True), 4)]
    raw += [("tiff_raw_rgba16", ".tif", _tiff(WIDE, HIGH, 16, samples=4), 8)]
    raw += [("bmp_raw", ".bmp", _bmp(WIDE, HIGH), 3), ("ppm_raw", ".ppm", b"P6 %d %d 255\n" % (WIDE, HIGH), 3)]
    raw += [("pgm_16", ".pgm", b"P5 %d %d 65535\n" % (WIDE, HIGH), 2)]
    for name, suffix, data, pixel in raw:
        lengthen(corpus.file("bomb", name, "", f"x{suffix}", data, bomb=True), len(data) + pixel * WIDE * HIGH)
    chunk = png_head(48, 36, 8, 2) + struct.pack(">I", 2**31 - 1) + b"juNk"
    lengthen(corpus.file("bomb", "png_chunk_of_2gb", "", "x.png", chunk, bomb=True), 2**31 + 100)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_head(width: int, height: int, bits: int, colour: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def png_of_zeros(width: int, height: int, bits: int, colour: int, before: bytes = b"") -> bytes:
    """A whole PNG of one value, `before` its data further chunks."""
    row_bytes = 1 + -(-width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] // 8)
    packer = zlib.compressobj(1)
    rows = bytes(row_bytes * 256)
    body = b"".join(packer.compress(rows) for _ in range(height // 256))
    body += packer.compress(bytes(row_bytes * (height % 256))) + packer.flush()
    return png_head(width, height, bits, colour) + before + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def _png_bombs() -> Iterator[tuple[str, str, bytes]]:
    for name, bits, colour in [
        ("rgba", 8, 6),
        ("rgb16", 16, 2),
        ("grey16", 16, 0),
        ("grey_alpha", 8, 4),
        ("bit", 1, 0),
    ]:
        yield f"png_{name}", ".png", png_of_zeros(WIDE, HIGH, bits, colour)
    palette = png_chunk(b"PLTE", bytes(range(48))) + png_chunk(b"tRNS", bytes(range(16)))
    yield "png_palette", ".png", png_of_zeros(WIDE, HIGH, 8, 3, palette)
    yield "png_rgba_turned", ".png", png_of_zeros(WIDE, HIGH, 8, 6, png_chunk(b"eXIf", _exif(1)))
    yield "png_2_gigapixels", ".png", png_of_zeros(46_000, 46_000, 1, 0)
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**28), 1))
    yield "png_texts", ".png", png_of_zeros(48, 36, 8, 2, text * 8)
    yield (
        "png_profile",
        ".png",
        png_of_zeros(48, 36, 8, 2, png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**30), 1))),
    )
    yield "png_exif", ".png", png_of_zeros(48, 36, 8, 2, png_chunk(b"eXIf", _exif(60_000, 4 * 2**20)))
    yield "png_crumbs", ".png", png_of_zeros(48, 36, 8, 2, png_chunk(b"juNk", b"") * 1_500_000)


def _exif(entries: int, shared_bytes: int = 0) -> bytes:
    """A TIFF directory with `entries` that all point to the same `shared_bytes`; the first one turns the picture."""
    start = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", entries) + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    at = 8 + 2 + 12 * entries + 4
    rest = b"".join(struct.pack(">HHII", 0x0200 + n, 7, shared_bytes, at) for n in range(entries - 1))
    return start + rest + bytes(4) + bytes(shared_bytes)


def _tiff(
    width: int,
    height: int,
    bits: int,
    samples: int = 1,
    float_: bool = False,
    strips: bytes = b"",
    rows: int = 0,
    more: tuple[tuple[int, int, int, int], ...] = (),
) -> bytes:
    """A little-endian TIFF's head with the data behind it: raw in one strip, or all strips the same `strips` (deflate).

    Args:
        more: further entries (tag, type, count, value).
    """
    count = -(-height // rows) if rows else 1
    kind, photometric = (3 if float_ else 1), (2 if samples > 2 else 1)
    entries = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 8 if strips else 1), (262, 3, 1, photometric)]
    entries += [(277, 3, 1, samples), (278, 4, 1, rows or height), *more]
    at = 8 + 2 + 12 * (len(entries) + 5) + 4
    tail = struct.pack(f"<{samples}H", *[bits] * samples) + struct.pack(f"<{samples}H", *[kind] * samples)
    entries += [
        (258, 3, samples, at if samples > 2 else bits),
        (339, 3, samples, at + 2 * samples if samples > 2 else kind),
    ]
    if samples == 4:
        entries += [(338, 3, 1, 2)]
    data_at = at + len(tail) + 8 * count
    size = len(strips) or width * height * bits // 8 * samples
    entries += [(273, 4, count, at + len(tail) if count > 1 else data_at)]
    entries += [(279, 4, count, at + len(tail) + 4 * count if count > 1 else size)]
    tail += struct.pack(f"<{2 * count}I", *[data_at] * count, *[size] * count)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries)) + bytes(4)
    return head.ljust(at, b"\0") + tail + strips


def _tiff_bombs() -> Iterator[tuple[str, str, bytes]]:
    strip = zlib.compress(bytes(WIDE * 50 * 4))
    yield "tiff_float", ".tif", _tiff(WIDE, HIGH, 32, float_=True, strips=strip, rows=50)
    yield "tiff_rgba", ".tif", _tiff(WIDE, HIGH, 8, samples=4, strips=strip, rows=50)
    whole = zlib.compressobj(1)
    body = b"".join(whole.compress(bytes(WIDE * 50 * 4)) for _ in range(HIGH // 50)) + whole.flush()
    yield "tiff_one_strip", ".tif", _tiff(WIDE, HIGH, 32, float_=True, strips=body, rows=HIGH)
    yield "tiff_grey16", ".tif", _tiff(WIDE, HIGH, 16, strips=zlib.compress(bytes(WIDE * 50 * 2)), rows=50)
    yield "tiff_strip_read_often", ".tif", _tiff(64, 20_000, 8, strips=zlib.compress(bytes(64)) + bytes(2**26), rows=1)
    overlap = tuple((40_000 + n, 7, 2**24, 8) for n in range(3000))
    yield "tiff_tags", ".tif", _tiff(64, 64, 8, more=overlap) + bytes(2**24)
    yield "tiff_ratios", ".tif", _tiff(64, 64, 8, more=((282, 5, 3_000_000, 8), (283, 5, 3_000_000, 8))) + bytes(2**25)


def _bmp(width: int, height: int, bits: int = 24, compression: int = 0, palette: bytes = b"") -> bytes:
    at = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", 2**31 - 1, 0, 0, at) + info + palette


def _other_bombs(small: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    wide = struct.pack(">HH", HIGH, WIDE)
    for name in ("jpeg", "progressive", "cmyk"):
        data = bytearray(small[name])
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[at + 5 : at + 9] = wide
        yield f"{name}_wide", ".jpg", bytes(data)
    slow = encode(Image.new("L", (6000, 6000), 90), "JPEG", progressive=True)
    last = slow.rfind(b"\xff\xda")
    yield "jpeg_scans", ".jpg", slow[:last] + slow[last:-2] * 3000 + slow[-2:]
    jpeg = small["progressive"]
    yield "jpeg_segments", ".jpg", jpeg[:2] + (b"\xff\xe1\xff\xfeExif\0\0" + bytes(65_526)) * 2000 + jpeg[2:]
    yield "jpeg_fill", ".jpg", jpeg[:2] + b"\xff" * 2**25 + jpeg[2:]
    gif = bytearray(encode(Image.new("P", (64, 64)), "GIF"))
    screen = struct.pack("<HH", WIDE, HIGH)
    at = gif.find(b",\0\0\0\0")
    gif[6:10], gif[at + 5 : at + 9] = screen, screen
    yield "gif_wide", ".gif", bytes(gif)
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * 80_000 + b"\0"
    yield "gif_comment", ".gif", bytes(gif[:at]) + comment + bytes(gif[at:])
    yield "bmp_runs", ".bmp", _bmp(WIDE, HIGH, 8, 1, bytes(1024)) + b"\xff\x01" * 700_000 + b"\0\1"
    yield "plain_text", ".ppm", b"P3 5000 4000 255\n" + b"1 " * 20_000_000
    yield "plain_bits", ".pbm", b"P1 13350 13250\n" + b"1 " * 20_000_000
    if "webp" in small:
        yield (
            "webp_wide",
            ".webp",
            encode(Image.new("RGBA", (13_300, 13_300)), "WEBP", lossless=True, method=0, quality=0),
        )
        head = b"VP8X" + struct.pack("<IB3x", 10, 0x10) + struct.pack("<I", 16_382)[:3] + struct.pack("<I", 10_900)[:3]
        body = b"WEBP" + head + small["webp"][12:]
        yield "webp_canvas", ".webp", b"RIFF" + struct.pack("<I", len(body)) + body
    if "avif" in small:
        data = bytearray(small["avif"])
        at = data.find(b"ispe")
        data[at + 8 : at + 16] = struct.pack(">II", WIDE, HIGH)
        yield "avif_wide", ".avif", bytes(data)
        yield "avif_large", ".avif", encode(Image.new("RGB", (8000, 8000)), "AVIF", speed=10)
    if "jpeg2000" in small:
        yield "jpeg2000_large", ".jp2", encode(Image.new("RGB", (5500, 5500)), "JPEG2000")
        data = bytearray(small["jpeg2000"])
        at = data.find(b"ihdr")
        data[at + 4 : at + 12] = struct.pack(">II", HIGH, WIDE)
        at = data.find(b"\xff\x51")
        data[at + 6 : at + 14] = struct.pack(">II", WIDE, HIGH)
        data[at + 22 : at + 30] = struct.pack(">II", WIDE, HIGH)
        yield "jpeg2000_wide", ".jp2", bytes(data)
