"""One run at a time in a folder. The lock is the system's (flock), so a process that is gone holds none."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ssl4rl.core.grpo.record.files import read_text, writing
from ssl4rl.core.types import Ssl4rlError

LOCK = ".lock"
_held: set[IO[str]] = set()


def _let_go() -> None:
    """In a forked child: it would hold its parent's locks beyond the parent's end."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within this nobody else trains in `folder`. It is made if need be, and removed again if nothing comes into it.

    On a file system without locks nothing is locked.

    Raises:
        Ssl4rlError: somebody trains there, or the folder cannot be made or written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with writing(folder):
        file = _taken(folder)
    _held.add(file)
    try:
        with suppress(OSError):
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
            for path in made:
                path.rmdir()
        _held.discard(file)
        with suppress(OSError):
            file.close()


def _taken(folder: Path) -> IO[str]:
    """The folder's lock file, open and locked; that it may be removed by whoever held it is seen to."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
        if not _lock(file):
            who = read_text(path).strip()
            file.close()
            raise Ssl4rlError(
                f"{folder} is being trained{f' by {who}' if who else ''}; wait for its end, or start another run with "
                "name=..."
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                return file
        file.close()


def _lock(file: IO[str]) -> bool:
    """Whether it is ours now; also where the system or the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
