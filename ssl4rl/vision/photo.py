"""The item of every picture source: a handle that is decoded when, and as small as, a task needs it."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, UnidentifiedImageError
from PIL.Image import Image, Transpose

from ssl4rl.core.source import content_id
from ssl4rl.core.types import Unusable

MAX_PIXELS = 178_956_970
"""Width x height above which a picture is refused unread; Pillow's own limit, held to where Pillow's was lifted too."""

MIN_SIDE_PX = 8
"""Sources leave out pictures with a shorter side than this: no task can ask anything about them."""

THOROUGH_PIXELS = 4_000_000
"""A thorough check decodes JPEGs of any size (at an eighth of their scale) and other formats up to this many pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")
"""What may be opened, told by content. Pillow's other readers stay shut: one of them (EPS) would run a program."""

_BROKEN = (
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


class Photo(ABC):
    """A picture not yet decoded."""

    @abstractmethod
    def decode(self, min_side_px: int) -> Image:
        """The picture: RGB, upright (EXIF orientation applied), transparent parts on white.

        Args:
            min_side_px: the shorter side the task needs; the picture comes at this size or larger (never enlarged:
                a smaller picture comes as it is). JPEGs are decoded at a reduced scale where that is enough.

        Raises:
            Unusable: the file is broken, too large or no picture.
        """


class EncodedPhoto(Photo):
    """A picture that lies somewhere as an encoded file. `name` says where, in messages."""

    name: str

    @abstractmethod
    def open(self) -> BinaryIO:
        """The encoded file as a seekable stream, for the caller to close.

        Raises:
            OSError: it cannot be read.
            Unusable: what should be a file is none (broken base64, a path that leads outside).
        """

    def decode(self, min_side_px: int) -> Image:
        try:
            with self.open() as stream, _quiet:
                return decode(stream, min_side_px)
        except _BROKEN as error:
            raise Unusable(f"{self.label}: {_why(error)}") from error

    def check(self, thorough: bool) -> str:
        """The picture's content id, once its header says that it can be used.

        Args:
            thorough: decode it too (see THOROUGH_PIXELS), which also finds truncated files.

        Raises:
            Unusable: no picture, broken, more than MAX_PIXELS, or a side shorter than MIN_SIDE_PX.
        """
        try:
            with self.open() as stream, _quiet:
                identity = photo_id(stream)
                with _open(stream) as image:
                    width, height = image.size
                    cheap = image.format == "JPEG" or width * height <= THOROUGH_PIXELS
                if min(width, height) < MIN_SIDE_PX:
                    raise Unusable(f"{self.label}: {width}x{height} px; needs at least {MIN_SIDE_PX}")
                if thorough and cheap:
                    decode(stream, 1)
                return identity
        except _BROKEN as error:
            raise Unusable(f"{self.label}: {_why(error)}") from error

    @property
    def label(self) -> str:
        """`name` on one line."""
        return self.name if self.name.isprintable() else ascii(self.name)


@dataclass(frozen=True, slots=True)
class FilePhoto(EncodedPhoto):
    """A picture file: `name` relative to the folder `root`."""

    root: str
    name: str

    def open(self) -> BinaryIO:
        return (Path(self.root) / self.name).open("rb")


@dataclass(frozen=True, slots=True)
class BytesPhoto(EncodedPhoto):
    """An encoded picture in memory."""

    data: bytes
    name: str = "picture"

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


@dataclass(frozen=True, slots=True)
class MemberPhoto(EncodedPhoto):
    """A picture inside an uncompressed archive: `size` bytes at byte `offset` of the file `archive`."""

    archive: str
    offset: int
    size: int
    name: str

    def open(self) -> BinaryIO:
        with Path(self.archive).open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def photo_id(stream: BinaryIO) -> str:
    """Content id of an encoded picture, the same wherever its bytes lie.

    Files up to 256 KiB are hashed whole, larger ones by their size and the first, middle and last 64 KiB.

    Raises:
        EOFError: the stream is empty.
    """
    piece = 64 * 1024
    size = stream.seek(0, io.SEEK_END)
    if size == 0:
        raise EOFError("empty file")
    stream.seek(0)
    if size <= 4 * piece:
        return content_id(stream.read())
    pieces = [f"{size}:".encode()]
    for offset in (0, (size - piece) // 2, size - piece):
        stream.seek(offset)
        pieces.append(stream.read(piece))
    return content_id(b"".join(pieces))


def decode(stream: BinaryIO, min_side_px: int) -> Image:
    """What `Photo.decode` promises, from a seekable stream. Raises whatever Pillow raises on broken data."""
    with _open(stream) as image:
        side = max(1, min_side_px)
        image.draft(
            image.mode, (side, side)
        )  # does nothing for other formats than JPEG; a square, so turning is no matter
        image.load()
        rgb = _to_rgb(_upright(image))
        rgb.info = {}  # a file's comments, profiles and densities are no part of its picture
        return rgb


def _open(stream: BinaryIO) -> Image:
    """The picture behind its header, checked for size before anything is decoded."""
    image = Pillow.open(stream, formats=_formats())
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise Pillow.DecompressionBombError(f"{width}x{height}")
    return image


def _formats() -> tuple[str, ...]:
    """Of `FORMATS` those this Pillow can read."""
    if "WEBP" not in Pillow.OPEN:
        Pillow.init()
    return tuple(name for name in FORMATS if name in Pillow.OPEN)


def _upright(image: Image) -> Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _BROKEN:  # a photo is not lost for its broken EXIF block
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image) -> Image:
    """Any mode to RGB. 16 bits are scaled to 8, transparency is laid on white, CMYK and LAB are converted."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Pillow.fromarray(_to_8bit(np.asarray(image))).convert("RGB")
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
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _to_8bit(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Grey values of more than 8 bits as 0..255.

    16-bit integers keep their scale (65535 is white). Wider ones and floats tell no scale: it is read off the largest
    value, as the smallest of 1 (floats), 255 and 65535 that holds it; beyond those, and below 0, the range is
    stretched.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize == 2 and values.min() >= 0:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    grey = np.nan_to_num(values.astype(np.float64))
    low, high = min(0.0, float(grey.min())), max(0.0, float(grey.max()))
    if low == 0.0 and high <= 65535.0:
        scales = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
        high = next(scale for scale in scales if high <= scale)
    return np.rint((grey - low) * (255.0 / (high - low))).astype(np.uint8)


def _why(error: BaseException) -> str:
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


_quiet = _Quiet()
