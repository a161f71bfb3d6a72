"""Pictures in a folder, and the embedded photographs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ssl4rl.core.limits import require_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import missing
from ssl4rl.vision.cache.index import Stamp
from ssl4rl.vision.photo import FilePhoto
from ssl4rl.vision.sources.base import SCHEME_OF, PhotoSource, examine, named, one_line

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx"),
)
"""Files that are taken for pictures, in either case of letters. Their content decides how they are read."""

_UNREADABLE = {".heic": "HEIC", ".heif": "HEIC", ".dng": "raw", ".cr2": "raw", ".nef": "raw", ".arw": "raw"}


def open_folder(path: str, keep: bool = True) -> PhotoSource:
    """All pictures under a folder, recursively, in the order of their names.

    Hidden files and folders are skipped. A symbolic link to a file inside the folder is followed; links that lead
    outside are problems, links to folders inside are not needed. Which files are pictures is told by EXTENSIONS.

    Args:
        path: the folder; "~" is the home folder.
        keep: whether to keep what is learned of the pictures, and decoded ones, in the user's cache (`vision.cache`).

    Raises:
        Ssl4rlError: no such folder, a file, an empty folder, or one without a usable picture.
    """
    if not path:
        raise Ssl4rlError("no folder of pictures is named; for example data=photos/ or data=sample:")
    root = named(path, path)
    if root.is_file():
        raise Ssl4rlError(_not_a_folder(path, root))
    if not root.is_dir():
        require_regular(path, root)  # says what it is where it is no folder
        raise missing(path, root, "folder ")
    top = os.path.realpath(root)
    files, problems, others = walk(top)
    if not files and not problems:
        raise Ssl4rlError(
            f"folder {path!r} holds no picture ({others} other files); allowed: {', '.join(EXTENSIONS[:12])}..."
        )
    return examine(
        one_line(path), [FilePhoto(top, name, keep=keep) for name, _, _ in files], problems, stamps=files, keep=keep
    )


def open_sample(rest: str = "") -> PhotoSource:
    """The embedded photographs: no download (`sample:`).

    Raises:
        Ssl4rlError: something follows the colon.
    """
    if rest:
        raise Ssl4rlError(f"'sample:{rest}': nothing may follow the colon; for a folder give its path alone")
    source = open_folder(str(Path(__file__).parents[2] / "embedded" / "photos"), keep=False)
    source.uri = "sample:"
    source.licence = "public domain, CC0 or CC BY, each as ssl4rl/embedded/photos/LICENSES.md says"
    return source


def _not_a_folder(path: str, file: Path) -> str:
    extension = file.suffix.lower()
    if extension in SCHEME_OF:
        return f"{path!r} is a file, not a folder; did you mean '{SCHEME_OF[extension]}:{path}'?"
    if extension in EXTENSIONS:
        return f"{path!r} is one picture; give the folder it lies in"
    schemes = ", ".join(f"{scheme}: ({suffix})" for suffix, scheme in SCHEME_OF.items())
    return f"{path!r} is a file, not a folder; files are read by {schemes}"


def walk(root: str) -> tuple[list[Stamp], list[Problem], int]:
    """Pictures, named relative to `root` (sorted), what cannot be read, and how many other files there are.

    The listing tells what an entry is; only pictures are asked for their size and time.
    """
    files: list[Stamp] = []
    problems: list[Problem] = []
    others = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            problems.append(Problem(folder.rstrip("/") or ".", (error.strerror or str(error)).lower()))
            continue
        for entry in entries:
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name + "/")
                continue
            extension = os.path.splitext(entry.name)[1].lower()
            linked = entry.is_symlink()
            if linked and (_is_folder(entry) or extension in EXTENSIONS) and _leads_outside(entry.path, root):
                problems.append(Problem(name, "a symbolic link that leads outside the folder"))
            elif _is_folder(entry):
                continue
            elif extension in _UNREADABLE:
                problems.append(Problem(name, f"{_UNREADABLE[extension]} is not read; convert it to JPEG"))
            elif extension not in EXTENSIONS:
                others += 1
            else:
                stamp = _stamp(entry, name)
                (files if isinstance(stamp, tuple) else problems).append(stamp)  # type: ignore[arg-type]
    return sorted(files), sorted(problems, key=lambda problem: problem.name), others


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _stamp(entry: os.DirEntry[str], name: str) -> Stamp | Problem:
    """A file as it is listed."""
    try:
        found = entry.stat()
    except OSError:
        return Problem(name, "no regular file")
    return (name, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else Problem(name, "no regular file")


def _leads_outside(link: str, root: str) -> bool:
    try:
        path = os.path.realpath(link, strict=True)
    except (OSError, RuntimeError):  # a loop of links, or to nothing
        path = os.path.realpath(link)
    return not f"{path}/".startswith(root.rstrip("/") + "/")
