"""The item of every picture source: a handle that is decoded when, and as small as, a task needs it."""

from __future__ import annotations

import hashlib
import io
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, cast

import numpy as np
from PIL.Image import Image

from ssl4rl.core.limits import MIB, limit
from ssl4rl.core.source import content_id
from ssl4rl.core.types import Unusable
from ssl4rl.vision import raster
from ssl4rl.vision.cache.decoded import file_stamp
from ssl4rl.vision.decoding import BROKEN, decode, opened, quiet, upright_size, why
from ssl4rl.vision.look.thumb import DECODED_PX, look_of
from ssl4rl.vision.streams import Metered, Part, open_below, regular

Depth = np.ndarray[Any, np.dtype[np.float32]]

MIN_SIDE_PX = 8
"""Sources leave out pictures with a shorter side than this: no task can ask anything about them."""

THOROUGH_PIXELS = 4_000_000
"""A thorough check decodes JPEGs of any size (at a reduced scale) and other formats up to this many pixels."""


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

    def depth(self) -> Depth:
        """How far away what the picture shows is, where its source knows: larger is farther, NaN is not known.

        Returns:
            float32 of shape (height, width), of the whole upright picture, at any resolution.

        Raises:
            Unusable: nothing is known about it, or its file is broken.
        """
        raise Unusable("no depth is known of the picture")


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a picture's file told.

    `identity`: its content id; `deep`: whether it is a raster of more than 8 bits; `thumb`: how it looks
    (`ssl4rl.vision.look`), None where it was not decoded.
    """

    identity: str
    deep: bool
    thumb: bytes | None = None


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

    def stamp(self, file: BinaryIO) -> bytes | None:
        """What tells that the opened file is the one that was decoded before: here, all of its bytes.

        None keeps nothing of it (`vision.cache.decoded`).
        """
        if file.seek(0, io.SEEK_END) > limit("picture_file_mib") * MIB:
            return None
        file.seek(0)
        digest = hashlib.sha256()
        while piece := file.read(MIB):
            digest.update(piece)
        return digest.digest()

    def decode(self, min_side_px: int) -> Image:
        return self._decoded(min_side_px, keep=True)

    def _decoded(self, min_side_px: int, keep: bool) -> Image:
        try:
            with self.open() as file, quiet:
                return decode(Metered(file), min_side_px, partial(self.stamp, file) if keep else None)
        except (Unusable, *BROKEN) as error:
            raise self._unusable(error) from error

    def size_px(self) -> tuple[int, int]:
        """Width and height of the whole picture, upright, by its header.

        Raises:
            Unusable: as `decode`.
        """
        try:
            with self.open() as file, quiet:
                return upright_size(Metered(file))
        except (Unusable, *BROKEN) as error:
            raise self._unusable(error) from error

    def check(self, thorough: bool) -> str:
        """The content id that `look` tells."""
        return self.look(thorough).identity

    def look(self, thorough: bool) -> Look:
        """The picture's content id and kind, once its header says that it can be used.

        Args:
            thorough: decode it too (see THOROUGH_PIXELS), which also finds truncated files.

        Raises:
            Unusable: no picture, broken, more than MAX_PIXELS, or a side shorter than MIN_SIDE_PX.
        """
        try:
            with self.open() as file, quiet:
                identity = photo_id(file)
                with opened(Metered(file)) as image:
                    (width, height), deep = image.size, raster.is_deep(image.mode)
                    cheap = image.format in ("JPEG", "MPO") or width * height <= THOROUGH_PIXELS
                if min(width, height) < MIN_SIDE_PX:
                    raise Unusable(f"{width}x{height} px; needs at least {MIN_SIDE_PX}")
                thumb = look_of(decode(Metered(file), DECODED_PX)) if thorough and cheap else None
                return Look(identity, deep, thumb)
        except (Unusable, *BROKEN) as error:
            raise self._unusable(error) from error

    def thumb(self) -> bytes:
        """How the picture looks (`ssl4rl.vision.look`), decoded for it.

        Raises:
            Unusable: as `decode`.
        """
        return look_of(self._decoded(DECODED_PX, keep=False))

    def _unusable(self, error: BaseException) -> Unusable:
        """The reason with the picture's name before it, once."""
        if isinstance(error, Unusable):
            return error if str(error).startswith(f"{self.label}: ") else Unusable(f"{self.label}: {error}")
        return Unusable(f"{self.label}: {why(error)}")

    @property
    def label(self) -> str:
        """`name` on one line."""
        return self.name if self.name.isprintable() else ascii(self.name)


@dataclass(frozen=True, slots=True)
class FilePhoto(EncodedPhoto):
    """A picture file: `name` relative to the folder `root`. `keep`: its pixels may be kept in the user's cache."""

    root: str
    name: str
    keep: bool = field(default=True, kw_only=True)

    def open(self) -> BinaryIO:
        return open_below(self.root, self.name)

    def stamp(self, file: BinaryIO) -> bytes | None:
        return file_stamp(os.path.join(self.root, self.name), os.fstat(file.fileno())) if self.keep else None


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
        return cast("BinaryIO", Part(regular(self.archive), self.offset, self.size))

    def stamp(self, file: BinaryIO) -> bytes | None:
        return file_stamp(os.path.abspath(self.archive), cast("Part", file).state(), f"{self.offset}:{self.size}")


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
