"""What earlier openings of a source learned of its pictures, kept in the user's cache folder.

Three tables for each source, in `$XDG_CACHE_HOME/ssl4rl/pictures/` (by default ~/.cache): its files (name, size, time
of the last change -> content id), looks by content id, and the groups they make. A table is believed row by row, as
long as name, size and time are the file's; one that is damaged, of another version or not there is made anew. It is
written beside itself and then put in its place, so that a reader sees the old one or the new one; where the folder
cannot be written, the tables are read and not kept. Of several processes that open a source for the first time one does
the work (`turn`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl4rl.vision.look.thumb import LOOK_BYTES, VERSION

Array = np.ndarray[Any, np.dtype[Any]]
Stamp = tuple[str, int, int]
"""A file as the folder lists it: name, size in bytes, time of the last change in nanoseconds."""

_TELL_FROM = 500
"""Pictures from which on looking at them shows a progress bar (in a terminal)."""


def cache_folder() -> Path:
    """Where this user's tables are: `$XDG_CACHE_HOME/ssl4rl`, or ~/.cache/ssl4rl."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()) / "ssl4rl"


class Index:
    """The tables of one source. `key`: what it is opened from; None keeps nothing."""

    def __init__(self, key: str | None) -> None:
        self._folder = None if key is None else cache_folder() / "pictures"
        self._name = hashlib.blake2b((key or "").encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()

    def files(self) -> dict[Stamp, tuple[str, bool]]:
        """Stamp -> (content id, whether it has more than 8 bits)."""
        columns = {"sizes": np.int64, "times": np.int64, "ids": np.uint64, "deep": np.bool_}
        table = self._read("files", names=np.uint8, **columns)
        if table is None or len({len(table[name]) for name in columns}) != 1:
            return {}
        names = table["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        if len(names) != len(table["ids"]):
            return {}
        stamps = zip(names, table["sizes"].tolist(), table["times"].tolist(), strict=True)
        return dict(zip(stamps, zip(_texts(table["ids"]), table["deep"].tolist(), strict=True), strict=True))

    def keep_files(self, rows: Mapping[Stamp, tuple[str, bool]]) -> None:
        blob = "\0".join(name for name, _, _ in rows).encode("utf-8", "surrogateescape")
        self._write(
            "files",
            names=np.frombuffer(blob, dtype=np.uint8),
            sizes=np.array([size for _, size, _ in rows], dtype=np.int64),
            times=np.array([time for _, _, time in rows], dtype=np.int64),
            ids=_numbers([identity for identity, _ in rows.values()]),
            deep=np.array([deep for _, deep in rows.values()], dtype=np.bool_),
        )

    def looks(self) -> dict[str, bytes]:
        """Content id -> look; an empty one of a picture that could not be decoded."""
        table = self._read("looks", ids=np.uint64, looks=np.uint8)
        if table is None or table["looks"].shape != (len(table["ids"]), LOOK_BYTES + 1):
            return {}
        blob, step = table["looks"].tobytes(), LOOK_BYTES + 1
        looks = (blob[i * step + 1 : (i + 1) * step] if blob[i * step] else b"" for i in range(len(table["ids"])))
        return dict(zip(_texts(table["ids"]), looks, strict=True))

    def keep_looks(self, looks: Mapping[str, bytes]) -> None:
        blob = b"".join(b"\1" + look if look else bytes(LOOK_BYTES + 1) for look in looks.values())
        rows = np.frombuffer(blob, dtype=np.uint8).reshape(-1, LOOK_BYTES + 1)
        self._write("looks", ids=_numbers(list(looks)), looks=rows)

    def groups(self) -> dict[str, str]:
        """Content id -> group, of all that the source held when they were made."""
        table = self._read("groups", ids=np.uint64, groups=np.uint64)
        if table is None or len(table["ids"]) != len(table["groups"]):
            return {}
        return dict(zip(_texts(table["ids"]), _texts(table["groups"]), strict=True))

    def keep_groups(self, groups: Mapping[str, str]) -> None:
        self._write("groups", ids=_numbers(list(groups)), groups=_numbers(list(groups.values())))

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits while another process works at this source's tables; at once where there is no place to say so."""
        lock = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._folder / f"{self._name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def _read(self, table: str, **columns: Any) -> dict[str, Array] | None:
        """A table's columns, if all are there and of their types."""
        if self._folder is None:
            return None
        try:
            with open(self._folder / f"{self._name}.{table}.npz", "rb") as file:
                found = np.load(file, allow_pickle=False)
                if int(found["version"]) != VERSION:
                    return None
                arrays = {name: found[name] for name in columns}
        except (OSError, ValueError, LookupError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, RuntimeError):
            return None
        return arrays if all(arrays[name].dtype == kind for name, kind in columns.items()) else None

    def _write(self, table: str, **columns: Any) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):  # a cache that cannot be written is one that is not kept
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{self._name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
            try:
                with open(draft, "xb") as file:
                    np.savez(file, version=np.int64(VERSION), **columns)
                os.replace(draft, self._folder / f"{self._name}.{table}.npz")
            finally:
                draft.unlink(missing_ok=True)


def _numbers(ids: Sequence[str]) -> Array:
    return np.array([int(identity, 16) for identity in ids], dtype=np.uint64)


def _texts(numbers: Array) -> list[str]:
    return [f"{number:016x}" for number in numbers.tolist()]


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for work that takes a while, in a terminal only. Gives what is called with each advance."""
    if length < _TELL_FROM or not sys.stderr.isatty():
        yield lambda _done: None
        return
    import click

    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update
