"""How a picture's bytes are read: from a regular file below its root only, and counted before they are read.

A reader of pictures believes what a file says of itself: that a chunk is 2 GB long, that 60,000 tags share 16 MB, that
everything up to the end of the file belongs to the picture. `Metered` lets it, up to a number of bytes and of reads.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from ssl4rl.core.limits import LIMITS, limit, open_regular, variable
from ssl4rl.core.types import Ssl4rlError, Unusable

MIB = 1 << 20
HEADER_READS = 200_000
"""Reads (most of them of a few bytes) that a picture's headers may take; a photograph's take some hundred."""
BODY_READS = 2_000_000


class TooMuch(Unusable):
    """A picture asks for more than it may. The message has no file name."""


def too_much(asks: str, name: str) -> TooMuch:
    """The error for a picture past the limit `name` of `ssl4rl.core.limits`."""
    return TooMuch(f"{asks}; allowed: {limit(name)} {LIMITS[name][1]} ({variable(name)})")


def open_below(root: str, relative: str) -> BinaryIO:
    """The file `relative` (slashes, links and dots resolved) of the folder `root`, which must lie inside it.

    What was opened is asked where it lies, so a file that became a link, or whose folder did, since it was looked at,
    is refused as well.

    Raises:
        OSError: it cannot be opened.
        Unusable: it lies outside, is no path or no regular file.
    """
    top = os.path.realpath(root)
    try:
        path = os.path.realpath(os.path.join(top, relative), strict=True)
        if not _within(path, top):
            raise Unusable(f"{relative!r} leads outside its folder")
        file = regular(path)
    except ValueError:  # a NUL
        raise Unusable(f"{relative!r} is no path") from None
    try:
        lies_at = os.readlink(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # no /proc: what the path leads to now must still be what was opened
        again = os.path.realpath(path)
        lies_at = again if os.path.samestat(os.fstat(file.fileno()), os.lstat(again)) else ""
    if not _within(lies_at, top):
        file.close()
        raise Unusable(f"{relative!r} leads outside its folder")
    return file


def regular(path: str | Path) -> BinaryIO:
    """A regular file opened to read; opening a named pipe would wait for ever.

    Raises:
        OSError: it cannot be opened.
        Unusable: it is something else.
    """
    try:
        return open_regular("", Path(path))
    except Ssl4rlError:
        raise Unusable("no regular file") from None


def _within(path: str, top: str) -> bool:
    return path.startswith(top.rstrip("/") + "/")


class Part(io.RawIOBase):
    """`size` bytes from `start` of a seekable stream as a stream, which is closed with it.

    Args:
        file: what is read.
        start: byte 0 of what is seen here.
        size: how many bytes are; None: to the end. Never more than there are.
    """

    def __init__(self, file: BinaryIO, start: int = 0, size: int | None = None) -> None:
        super().__init__()
        self._file, self._start, self._at = file, start, 0
        there = max(0, file.seek(0, io.SEEK_END) - start)
        self.size = there if size is None else max(0, min(size, there))

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence] + offset
        if at < 0:
            raise ValueError(f"a place before the start ({at})")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def state(self) -> os.stat_result:
        """What the file below tells of itself, of which this may be a part."""
        return os.fstat(self._file.fileno())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class Metered(Part):
    """A stream that is read within a number of bytes and of reads. The stream below is not closed with it.

    Bytes read again count again. `lend_fd`: the reader may have the file itself, which is then not counted (libtiff,
    which else needs the file in memory).
    """

    lend_fd = False
    largest_bytes: int | None = None
    """The most that may be read at once."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.allow("picture_header_mib", limit("picture_header_mib") * MIB, HEADER_READS)

    def allow(self, name: str, size_bytes: int, reads: int) -> None:
        """From now on `size_bytes` and `reads`; `name` is the limit that is told when they are spent."""
        self._limit, self._bytes, self._reads = name, size_bytes, reads

    def clip(self, size: int) -> None:
        """Forget what lies behind `size` bytes."""
        self.size = min(self.size, size)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        self._bytes -= wanted
        self._reads -= 1
        if self.largest_bytes is not None and wanted > self.largest_bytes:
            raise TooMuch(f"{wanted} bytes of headers in one piece")
        if self._bytes < 0:
            raise too_much("too much is read of it", self._limit)
        if self._reads < 0:
            raise TooMuch("is made of too many pieces")
        return super().read(size)

    def fileno(self) -> int:
        return self._file.fileno() if self.lend_fd else super().fileno()

    def close(self) -> None:
        io.RawIOBase.close(self)
