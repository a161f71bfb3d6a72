"""How much work and memory an input may ask for, and the opening of files that cannot hang.

What people bring is data, and data may ask for more than it looks: a megabyte of .gz for a gigabyte of text, a pipe
that nobody writes to. Readers count before they work: bytes as they are decoded, rows and elements as they are met.
Past a limit there is one line that names it. Every limit is a line of `LIMITS` and moved by its environment variable.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from ssl4rl.core.types import Ssl4rlError

MIB = 1 << 20

LIMITS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "decoded_mib": (512, "MiB that one input file may hold once it is decompressed or expanded"),
        "graph_mib": (1024, "MiB of memory that a graph read from files may take, as estimated while it is read"),
        "lines": (10_000_000, "lines that one text may have"),
        "text_steps": (40_000_000, "steps (about .3 microseconds each) that quotes and dicts in one text may take"),
        "line_mib": (64, "MiB that one line of a text, or one tag of an XML file, may hold"),
        "picture_mib": (1536, "MiB that decoding pictures may take at one time"),
        "picture_file_mib": (512, "MiB that are read of one picture's file"),
        "picture_header_mib": (16, "MiB that are read of one picture's headers"),
        "picture_work": (3000, "million steps (pixels times passes over them) that decoding one picture may take"),
        "pictures_per_row": (10_000, "pictures in one row of a table"),
        "pictures": (5_000_000, "pictures in one source, those referred to counted again"),
        "pixel_cache_mib": (4096, "MiB of decoded pictures that are kept in the user's cache folder; 0 keeps none"),
        "looks": (300_000, "pictures in one source that are compared with each other by how they look"),
        "problems": (200_000, "rows of one table or text that cannot be used"),
        "row_mib": (128, "MiB in one row of a TSV"),
        "row_group_mib": (256, "MiB of pictures in one row group of a parquet file"),
        "names": (100_000, "file names that one URI stands for"),
    }
)
"""Name -> (default, what it bounds). `SSL4RL_` and the name in capitals is the environment variable that moves it."""

MAY_BE_0 = frozenset({"pixel_cache_mib"})

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def variable(name: str) -> str:
    """ "decoded_mib" -> "SSL4RL_DECODED_MIB"."""
    return f"SSL4RL_{name.upper()}"


def limit(name: str) -> int:
    """A limit as it stands now: the environment's, else the default.

    Raises:
        Ssl4rlError: the environment's is no whole number above 0, or of `MAY_BE_0` from 0 on.
    """
    text = os.environ.get(variable(name))
    if text is None:
        return LIMITS[name][0]
    may_be_0 = name in MAY_BE_0
    if not (text.isascii() and text.isdigit() and len(text) < 19 and (may_be_0 or int(text))):
        allowed = "a whole number from 0 on" if may_be_0 else "a whole number above 0"
        raise Ssl4rlError(f"{variable(name)}={text[:40]!r}; allowed: {allowed} ({LIMITS[name][1]})")
    return int(text)


@dataclass
class Budget:
    """What an input may still ask for of one kind. Of a limit in MiB, bytes are spent.

    Args:
        uri: the input, for messages.
        name: which of `LIMITS`.
        spent: what was asked for so far.
    """

    uri: str
    name: str
    spent: int = 0

    def __post_init__(self) -> None:
        self.allowed = limit(self.name) * (MIB if self.name.endswith("_mib") else 1)

    def spend(self, amount: int, what: str = "") -> None:
        """Counts `amount` (bytes, rows, ...) before it is worked on; `what` asks for it, as "array 'x'".

        Raises:
            Ssl4rlError: it is more than is left.
        """
        self.spent += amount
        if self.spent > self.allowed:
            raise exceeded(self.uri, self.name, what)

    def afford(self, amount: int, what: str = "") -> None:
        """As `spend`, for what is given back at once: nothing is counted."""
        if self.spent + amount > self.allowed:
            raise exceeded(self.uri, self.name, what)


def exceeded(uri: str, name: str, what: str = "") -> Ssl4rlError:
    """The error for an input past a limit; `what` asks for too much, where it is not the whole input."""
    asks = f"{what} asks for" if what else "it asks for"
    return Ssl4rlError(
        f"{uri!r}: {asks} more than allowed: {limit(name)} {LIMITS[name][1]}; set {variable(name)} for more"
    )


def require_regular(uri: str, path: Path) -> None:
    """Refuses what is there and no regular file (links are followed), without opening it; nothing there passes.

    Raises:
        Ssl4rlError: a named pipe (opening one waits for ever), a socket, a device or a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the opener says what is wrong
        return
    if not stat.S_ISREG(mode):
        raise Ssl4rlError(f"{uri!r}: {path.name or path} is {_kind(mode)}; allowed: regular files")


def open_regular(uri: str, path: Path) -> BinaryIO:
    """A regular file opened to read its bytes; it never waits, even where the file is exchanged meanwhile.

    Raises:
        Ssl4rlError: it is no regular file.
        OSError: it cannot be opened.
    """
    require_regular(uri, path)
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise Ssl4rlError(f"{uri!r}: {path.name} is {_kind(mode)}; allowed: regular files")
    return os.fdopen(number, "rb")


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


class BoundedReader(io.RawIOBase):
    """A file's bytes, each counted against a budget as it is read; seeking back does not give them back.

    For streams that decompress (gzip, bz2, a zip's member): a bomb is stopped where the budget ends, whoever reads.
    Wrap it in io.BufferedReader for lines.
    """

    def __init__(self, file: Any, budget: Budget) -> None:
        super().__init__()
        self._file, self._budget = file, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(min(len(buffer), MIB))  # a reader that asks for gigabytes is counted on the way
        self._budget.spend(len(found))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
