"""Pictures as they were decoded, kept in the user's cache folder pixel for pixel.

Decoding a large JPEG, at any scale, takes the entropy decoding of its whole file; a second visit reads the pixels in
place of that. One file a picture and scale in `$XDG_CACHE_HOME/ssl4rl/pixels/` (by default ~/.cache): a header, then
RGB as bytes. Nothing is compressed: at a quarter of 12 megapixels PNG at its quickest takes 22 ms to read, bytes with
their checksum 0.8. What is not whole, or anything else than its name says, is as good as not there.

Up to `pixel_cache_mib` are kept, then those go that were not used for longest. Files are written beside themselves and
then put in their place, so any number of processes may read and write; where that fails it is said once by each, and
they go on without. Which example is made does not depend on any of this.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import struct
import time
import warnings
import zlib
from functools import lru_cache
from pathlib import Path

import PIL
from PIL import Image, features

from ssl4rl.core.limits import limit, open_regular, variable
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.vision.cache.index import cache_folder

VERSION = 1
"""Raised whenever other pixels come out of `vision.decoding`, so that none from before are taken for them."""

MIN_PIXELS = 2_000_000
"""Smaller pictures are decoded in less than 10 ms and are not kept; nor are any at more than half their sides."""

MIB = 1 << 20
_HEADER = struct.Struct("<8s16sIII")  # magic, name, width, height, checksum
_MAGIC = b"ssl4rlP\n"
_SPARE = 1024 * MIB
"""What is left free on the disk."""
_TRIMS = 64
"""How often the folder is gone through while as much as the limit is written."""
_USED_S = 600
"""Times of use are noted as exactly as this."""
_FRESH_S = 2
"""A file that changed so recently may change again within one tick of its clock."""

_said = False


def pixels_folder() -> Path:
    """Where this user's pixels are kept; it may be deleted at any time."""
    return cache_folder() / "pixels"


def worth_keeping(kind: str | None, full: tuple[int, int], scaled: tuple[int, int]) -> bool:
    """Whether a picture is kept: a large JPEG (or MPO) that is decoded to at most half of its sides.

    Args:
        kind: its format, as Pillow calls it.
        full: its width and height.
        scaled: those at which it is decoded.
    """
    large = full[0] * full[1] >= MIN_PIXELS and 4 * scaled[0] * scaled[1] <= 1.01 * full[0] * full[1]
    return large and kind in ("JPEG", "MPO") and limit("pixel_cache_mib") > 0


def file_stamp(path: str, found: os.stat_result, part: str = "") -> bytes | None:
    """What tells that a file is the one that was decoded before: path, size, time of the last change.

    Args:
        path: absolute.
        found: what the opened file tells of itself.
        part: which part of it is meant.

    Returns:
        None where it changed just now, so that its time would not tell one more change.
    """
    if abs(time.time() - found.st_mtime) < _FRESH_S:
        return None
    return f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0{part}".encode("utf-8", "surrogateescape")


def name_of(stamp: bytes, scaled: tuple[int, int]) -> bytes:
    """The name, 16 bytes, of a picture's pixels: by its stamp, its scale, and who decodes it."""
    width, height = scaled
    return hashlib.blake2b(b"%b\0%d\0%d\0%b" % (stamp, width, height, _decoder()), digest_size=16).digest()


@lru_cache(maxsize=1)
def _decoder() -> bytes:
    """The libraries that pixels depend on to the last bit."""
    return f"{VERSION} {PIL.__version__} {features.version('jpg')} {features.version('libjpeg_turbo')}".encode()


def recall(name: bytes, scaled: tuple[int, int]) -> Image.Image | None:
    """The picture kept under this name, RGB and upright; None where there is none that is whole.

    Args:
        name: as `name_of` tells.
        scaled: its width and height, either of which may be the other where it was turned upright.
    """
    path = pixels_folder() / name.hex()
    try:
        with open_regular("", path) as file:
            found = os.fstat(file.fileno())
            body_bytes = 3 * scaled[0] * scaled[1]
            if found.st_size != _HEADER.size + body_bytes:
                return None
            magic, named, width, height, checksum = _HEADER.unpack(file.read(_HEADER.size))
            pixels = file.read(body_bytes)
    except (OSError, Ssl4rlError, struct.error):
        return None
    expected = magic == _MAGIC and named == name and (width, height) in (scaled, scaled[::-1])
    if not expected or len(pixels) != body_bytes or zlib.crc32(pixels) != checksum:
        return None
    if time.time() - found.st_mtime > _USED_S:
        with contextlib.suppress(OSError):  # others' caches may be read only
            os.utime(path)
    return Image.frombytes("RGB", (width, height), pixels)


def keep(name: bytes, picture: Image.Image) -> None:
    """Keeps an RGB picture under this name, and sees to it that not more is kept than may be."""
    allowed = limit("pixel_cache_mib") * MIB
    pixels = picture.tobytes()
    size = _HEADER.size + len(pixels)
    if _said or size > allowed:
        return
    folder = pixels_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # pictures may be private
        if shutil.disk_usage(folder).free < _SPARE + size:
            raise OSError(errno.ENOSPC, f"less than {_SPARE // MIB} MiB are free")
        draft = folder / f".{name.hex()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        try:
            with open(draft, "xb") as file:
                file.write(_HEADER.pack(_MAGIC, name, *picture.size, zlib.crc32(pixels)))
                file.write(pixels)
            os.replace(draft, folder / name.hex())
        finally:
            draft.unlink(missing_ok=True)
        if secrets.randbelow(max(1, allowed // _TRIMS)) < size:  # needs no count that processes would have to share
            _trim(folder, allowed)
    except FileNotFoundError:  # somebody deletes the folder meanwhile, who may
        return
    except OSError as error:
        _say(folder, error.strerror or str(error))


def _trim(folder: Path, allowed: int) -> None:
    """Deletes what was not used for longest, where there is more than allowed, to a sixteenth below it.

    Drafts of processes that were killed are files like the others.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                found.append((about.st_mtime, about.st_size, entry.path))
    excess = sum(size for _, size, _ in found) - allowed
    if excess <= 0:
        return
    excess += allowed // 16
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        excess -= size


def _say(folder: Path, why: str) -> None:
    global _said
    _said = True
    warnings.warn(
        f"decoded pictures cannot be kept in {folder} ({why[:1].lower()}{why[1:]}), so each visit decodes them again; "
        f"{variable('pixel_cache_mib')}=0 keeps none",
        RuntimeWarning,
        2,
    )
