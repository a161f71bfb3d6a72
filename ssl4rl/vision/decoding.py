"""From an encoded picture to RGB: upright, transparent parts on white, within the limits of `ssl4rl.core.limits`."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, cast

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, UnidentifiedImageError
from PIL.Image import Image, Transpose

from ssl4rl.core.limits import limit
from ssl4rl.core.types import Unusable
from ssl4rl.vision import raster
from ssl4rl.vision.cache import decoded
from ssl4rl.vision.streams import BODY_READS, HEADER_READS, MIB, Metered, too_much
from ssl4rl.vision.weight import require_light, whole_size

MAX_PIXELS = 178_956_970
"""Width x height above which a picture is refused unread; Pillow's own limit, held to where Pillow's was lifted too."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")
"""What may be opened, told by content. Pillow's other readers stay shut: one of them (EPS) would run a program."""

BROKEN = (
    OSError,  # includes UnidentifiedImageError and "image file is truncated"
    EOFError,
    SyntaxError,  # Pillow's word for a malformed header
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RuntimeError,  # includes NotImplementedError
    struct.error,
    zlib.error,
    Pillow.DecompressionBombError,
    ImageCms.PyCMSError,
)
"""All that Pillow's readers were seen to raise on damaged bytes."""

_WHOLE_COPIES = 3
"""How often a file that is read whole (WebP, AVIF) lies in memory while it is opened."""

_BAND_PIXELS = 1 << 21
"""Large pictures are converted so many pixels at a time, so that no third copy of them is made."""

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101

_LOST_BITS = 32
"""A picture of 16 bits a channel, of which 8 are read, is refused where none of its values reaches this (of 256)."""


def decode(stream: Metered, min_side_px: int, stamp: Callable[[], bytes | None] | None = None) -> Image:
    """What `Photo.decode` promises.

    Args:
        stream: the encoded file.
        min_side_px: as there.
        stamp: tells what the file is known by, None where nothing does; it is asked of what is worth keeping
            (`cache.decoded`). Left out, nothing is kept.

    Raises:
        Unusable: it asks for more than is allowed, or holds nothing.
        BROKEN: whatever Pillow raises on broken data.
    """
    with opened(stream) as image:
        full = image.size
        side = max(1, min_side_px)
        image.draft(
            image.mode, (side, side)
        )  # does nothing for other formats than JPEG; a square, so turning is no matter
        stream.allow("picture_file_mib", limit("picture_file_mib") * MIB, BODY_READS)
        needed = require_light(image, stream, full)
        name = None
        if stamp is not None and decoded.worth_keeping(image.format, full, image.size):
            name = decoded.name_of(known_by, image.size) if (known_by := stamp()) is not None else None
            kept = decoded.recall(name, image.size) if name else None
            if kept is not None:
                return kept
        with _room.taken(needed):
            stream.allow("picture_file_mib", limit("picture_file_mib") * MIB, BODY_READS)
            stream.lend_fd = image.format == "TIFF"
            deep_colours = _has_deep_colours(image)
            image.load()
            turned = _orientation(image)  # after loading, since TIFFs are turned by Pillow then
            if deep_colours and max(band.getextrema()[1] for band in image.split()[:3]) < _LOST_BITS:  # type: ignore[operator]
                raise Unusable("its colours of 16 bits use less than 13 of them; convert it to 8 bits")
            rgb = _to_rgb(image)
            image.close()  # its pixels, before a copy is turned
            rgb = rgb if turned is None else rgb.transpose(turned)
    rgb.info = {}  # a file's comments, profiles and densities are no part of its picture
    if name:
        decoded.keep(name, rgb)
    return rgb


def decode_values(stream: Metered) -> np.ndarray[Any, np.dtype[Any]]:
    """A picture of one channel as its file holds it, [height, width], neither scaled nor turned: measured values.

    Raises:
        Unusable: it asks for more than is allowed, or has several channels.
        BROKEN: whatever Pillow raises on broken data.
    """
    with opened(stream) as image:
        if image.mode != "L" and not raster.is_deep(image.mode):
            raise Unusable(f"its pixels are of mode {image.mode}; allowed: one channel of 8, 16 or 32 bits")
        stream.allow("picture_file_mib", limit("picture_file_mib") * MIB, BODY_READS)
        with _room.taken(require_light(image, stream, image.size)):
            stream.allow("picture_file_mib", limit("picture_file_mib") * MIB, BODY_READS)
            stream.lend_fd = image.format == "TIFF"
            return np.array(image)


def upright_size(stream: Metered) -> tuple[int, int]:
    """Width and height of the whole picture once it is turned upright, by its header.

    Raises:
        Unusable: it asks for more than is allowed.
        BROKEN: whatever Pillow raises on broken data.
    """
    with opened(stream) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow's size may be of the turned picture already
            tags = cast("Any", image).tag_v2
            width, height = int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
        turned = _orientation(image)
    across = (Transpose.TRANSPOSE, Transpose.TRANSVERSE, Transpose.ROTATE_90, Transpose.ROTATE_270)
    return (height, width) if turned in across else (width, height)


@contextmanager
def opened(stream: Metered) -> Iterator[Image]:
    """The picture behind its header, checked for size before anything is decoded."""
    stream.allow("picture_header_mib", limit("picture_header_mib") * MIB, HEADER_READS)
    whole = whole_size(stream)
    allowed = limit("picture_file_mib") * MIB // _WHOLE_COPIES
    if whole > allowed:
        raise too_much(f"{whole // MIB} MiB have to be read at once, {allowed // MIB} may", "picture_file_mib")
    if whole:
        stream.clip(whole)
        stream.allow("picture_file_mib", 2 * whole + MIB, BODY_READS)
    stream.seek(0)
    with _room.taken(_WHOLE_COPIES * whole):
        image = Pillow.open(cast("IO[bytes]", stream), formats=_formats())
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Pillow.DecompressionBombError(f"{width}x{height}")
        yield image


def _formats() -> tuple[str, ...]:
    """Of `FORMATS` those this Pillow can read."""
    if "WEBP" not in Pillow.OPEN:
        Pillow.init()
    return tuple(name for name in FORMATS if name in Pillow.OPEN)


def _orientation(image: Image) -> Transpose | None:
    """How the picture has to be turned to stand upright."""
    try:
        return _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except BROKEN:  # a photo is not lost for its broken EXIF block
        return None


def _has_deep_colours(image: Image) -> bool:
    """Whether the file has colours of 16 bits a channel. Pillow reads the upper 8 of them."""
    return ";16" in str(getattr(image, "tile", "")) and image.mode in ("RGB", "RGBA", "RGBX")


def _to_rgb(image: Image) -> Image:
    """Any mode to RGB. More than 8 bits are stretched, transparency is laid on white, CMYK and LAB are converted."""
    if raster.is_deep(image.mode):
        grey = raster.to_8bit(image, raster.declared_no_data(image))
        image.close()
        return grey.convert("RGB")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.copy()
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        return _flat(image)
    rgb = Pillow.new("RGB", image.size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        rgb.paste(_flat(band), (0, top))
    return rgb


def _flat(image: Image) -> Image:
    """A picture of at most 8 bits a channel, or a band of one, as RGB on white."""
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Pillow.new("RGBA", rgba.size, "white")
        return Pillow.alpha_composite(white, rgba).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        return converted
    return image.convert("RGB")


def why(error: BaseException) -> str:
    """Why a picture is unusable, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture (or of an unknown format)"
    if isinstance(error, Pillow.DecompressionBombError):
        return f"too large ({error}); allowed: {MAX_PIXELS // 1_000_000} megapixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split())
    return (
        text
        if isinstance(error, (OSError, EOFError, SyntaxError)) and text
        else f"broken ({type(error).__name__}: {text})"
    )


class _Room:
    """Memory that pictures may take together: the next one waits until enough of the others are done.

    One picture may always be decoded (`require_light` has looked at it).
    """

    SMALL_BYTES = 8 * MIB
    """Pictures that take less do not wait; there are no more of them at a time than threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = 0

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        if size_bytes < self.SMALL_BYTES:
            yield
            return
        allowed = limit("picture_mib") * MIB
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + size_bytes <= allowed)
            self._taken += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size_bytes
                self._changed.notify_all()


_room = _Room()


class _Quiet:
    """Silences Pillow's warnings as long as any thread is inside.

    `warnings.catch_warnings` belongs to the whole process: entered by the first thread in and left by the last one out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(kind, error, trace)


quiet = _Quiet()
