"""What decoding a picture will take, told by its headers before anything is decoded.

Bytes are those of the whole way, from the file to RGB: the decoder's own buffers, the pixels as the file has them and
as RGB. They were measured (tests/hostile) and are what `picture_mib` allows. Work is counted in pixels times passes
over them: what a progressive JPEG of 3,000 scans takes its hours by.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL.Image import Image

from ssl4rl.core.limits import limit
from ssl4rl.vision.raster import is_deep
from ssl4rl.vision.streams import MIB, Metered, too_much

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes a pixel as Pillow keeps it; 4 for all other modes."""

_DECODER = {"WEBP": 20, "AVIF": 16, "JPEG2000": 20, "GIF": 6, "BMP": 3, "PPM": 3}
"""Bytes a pixel that a format's reader holds beside the finished picture."""

_PASSES = {"WEBP": 4, "AVIF": 6, "JPEG2000": 15, "GIF": 2}
"""How many times as long as a pass of JPEG's a pixel takes; 1 for all other formats."""

_PLAIN_PASSES = 400
"""PPM as text is read by Python."""

_MULTIPLE_SCANS = 2
"""Bytes that a JPEG of several scans keeps of each sample."""


def whole_size(stream: Metered) -> int:
    """How many bytes belong to the picture, for the formats that Pillow reads whole: WebP and AVIF; else 0.

    Both say so themselves, and what lies behind (it may be gigabytes) is no part of it.
    """
    stream.seek(0)
    head = stream.read(16)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return min(stream.size, int.from_bytes(head[4:8], "little") + 8)
    if head[4:8] == b"ftyp":
        return _boxes_end(stream)
    return 0


def _boxes_end(stream: Metered) -> int:
    """Where the chain of ISO boxes ends, or stops being one."""
    at = 0
    while at + 8 <= stream.size:
        stream.seek(at)
        head = stream.read(16)
        size = int.from_bytes(head[:4], "big")
        if not head[4:8].isascii() or not head[4:8].decode("ascii").isprintable():
            break
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size == 0:
            return stream.size
        if size < 8:
            break
        at += size
    return min(at, stream.size)


def require_light(image: Image, stream: Metered, full: tuple[int, int]) -> int:
    """The bytes that decoding takes, once they and the work are known to be allowed.

    Args:
        image: as its headers say it is, at the scale at which it will be decoded.
        stream: its file. Where it is read for counting, its place is kept.
        full: the picture's own width and height.

    Raises:
        TooMuch: they are not.
    """
    pixels, whole = image.width * image.height, full[0] * full[1]
    stored = _STORED.get(image.mode, 4)
    needed = pixels * (stored + _DECODER.get(image.format or "", 0)) + _converting(image, pixels)
    passes = _PASSES.get(image.format or "", 1)
    if image.format in ("JPEG", "MPO"):
        scans, kept = _jpeg(image, stream)
        needed, passes = needed + int(kept * whole), max(1, scans)
    elif image.format == "TIFF":
        needed += _tiff(image, stream)
    elif image.format == "PPM" and _is_plain(image):
        passes = _PLAIN_PASSES
    if needed > limit("picture_mib") * MIB:
        raise too_much(f"{full[0]}x{full[1]} {image.mode} takes {needed // MIB} MiB to decode", "picture_mib")
    if passes * whole > limit("picture_work") * 1_000_000:
        raise too_much(f"{full[0]}x{full[1]} takes {passes * whole // 1_000_000} million steps", "picture_work")
    return needed


def _converting(image: Image, pixels: int) -> int:
    """What the finished RGB picture takes beside the pixels as they are stored."""
    return pixels * (5 if is_deep(image.mode) else 4)


def _is_plain(image: Image) -> bool:
    return bool(image.tile) and str(image.tile[0][0]).endswith("plain")  # type: ignore[attr-defined]


def _jpeg(image: Any, stream: Metered) -> tuple[int, float]:
    """How many scans a JPEG has, and the bytes a pixel of its own size that decoding all of them together keeps.

    One scan of all channels is decoded as it is read. Of several (progressive JPEGs) all coefficients are kept.
    """
    at = stream.tell()
    single, data_at = _first_scan(stream)
    scans = 1 if single else _count_scans(stream, data_at)
    stream.seek(at)
    layers = [(layer[1], layer[2]) for layer in image.layer]
    if single or not layers:
        return 1, 0.0
    most = max(h for h, _ in layers) * max(v for _, v in layers)
    return scans, _MULTIPLE_SCANS * sum(h * v for h, v in layers) / max(1, most)


def _first_scan(stream: Metered) -> tuple[bool, int]:
    """Whether the first scan holds all channels at full precision, and where its header starts."""
    at, channels, progressive = 2, 0, False
    while at + 4 <= stream.size:
        stream.seek(at)
        head = stream.read(10)
        if head[0] != 0xFF or head[1] == 0xFF:
            at += 1  # Pillow skips what is no marker, and so does libjpeg
            continue
        kind = head[1]
        if kind == 0xDA:
            return not progressive and head[4] >= channels, at
        if kind in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) and len(head) == 10:
            progressive, channels = kind in (0xC2, 0xCA), head[9]
        at += 2 if kind == 0 or 0xD0 <= kind <= 0xD8 else 2 + struct.unpack(">H", head[2:4])[0]
    return True, at


def _count_scans(stream: Metered, at: int) -> int:
    """Scan headers from byte `at` to the end; what follows the picture counts too, pieces of 1 MiB at a time."""
    count, carry = 0, b""
    stream.seek(at)
    while piece := stream.read(MIB):
        count += (carry + piece).count(b"\xff\xda")
        carry = piece[-1:]
    return count


def _tiff(image: Any, stream: Metered) -> int:
    """The decoder's buffer for one strip or tile of a compressed TIFF."""
    tags = image.tag_v2
    counts = tags.get(279) or tags.get(325) or ()
    asked = sum(counts) if isinstance(counts, tuple) else int(counts)
    if asked > 2 * stream.size + MIB:
        raise too_much(f"its strips ask for {asked // MIB} MiB, its file has {stream.size // MIB}", "picture_file_mib")
    if tags.get(259, 1) == 1:
        return 0
    bits = tags.get(258, 1)
    depth = sum(bits) if isinstance(bits, tuple) else int(bits)
    if 322 in tags and 323 in tags:
        pixels = int(tags[322]) * int(tags[323])
    else:
        pixels = image.width * min(image.height, int(tags.get(278, image.height)))
    return int(pixels * max(depth, 32 if tags.get(262) == 6 else 0) // 8)
