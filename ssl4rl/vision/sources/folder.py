"""Pictures in a folder, and the embedded photographs."""

from __future__ import annotations

import os
from pathlib import Path

from ssl4rl.core.limits import require_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import missing
from ssl4rl.vision.photo import FilePhoto
from ssl4rl.vision.sources.base import SCHEME_OF, PhotoSource, examine, named, one_line

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx"),
)
"""Files that are taken for pictures, in either case of letters. Their content decides how they are read."""

_UNREADABLE = {".heic": "HEIC", ".heif": "HEIC", ".dng": "raw", ".cr2": "raw", ".nef": "raw", ".arw": "raw"}


def open_folder(path: str) -> PhotoSource:
    """All pictures under a folder, recursively, in the order of their names.

    Hidden files and folders are skipped. A symbolic link to a file inside the folder is followed; links that lead
    outside are problems, links to folders inside are not needed. Which files are pictures is told by EXTENSIONS.

    Args:
        path: the folder; "~" is the home folder.

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
    names, problems, others = walk(root.resolve())
    if not names and not problems:
        raise Ssl4rlError(
            f"folder {path!r} holds no picture ({others} other files); allowed: {', '.join(EXTENSIONS[:12])}..."
        )
    return examine(one_line(path), [FilePhoto(str(root.resolve()), name) for name in names], problems)


def open_sample(rest: str = "") -> PhotoSource:
    """The embedded photographs: no download (`sample:`).

    Raises:
        Ssl4rlError: something follows the colon.
    """
    if rest:
        raise Ssl4rlError(f"'sample:{rest}': nothing may follow the colon; for a folder give its path alone")
    source = open_folder(str(Path(__file__).parents[2] / "embedded" / "photos"))
    source.uri = "sample:"
    return source


def _not_a_folder(path: str, file: Path) -> str:
    extension = file.suffix.lower()
    if extension in SCHEME_OF:
        return f"{path!r} is a file, not a folder; did you mean '{SCHEME_OF[extension]}:{path}'?"
    if extension in EXTENSIONS:
        return f"{path!r} is one picture; give the folder it lies in"
    schemes = ", ".join(f"{scheme}: ({suffix})" for suffix, scheme in SCHEME_OF.items())
    return f"{path!r} is a file, not a folder; files are read by {schemes}"


def walk(root: Path) -> tuple[list[str], list[Problem], int]:
    """Pictures relative to `root` (sorted), what cannot be read, and how many other files there are."""
    names: list[str] = []
    problems: list[Problem] = []
    others = 0
    for folder, folders, files in os.walk(root, onerror=lambda error: problems.append(_unreadable(root, error))):
        for name in folders:
            linked = Path(folder, name)
            if not name.startswith(".") and linked.is_symlink() and _leads_outside(linked, root):
                problems.append(Problem(str(linked.relative_to(root)), "a symbolic link that leads outside the folder"))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file, extension = Path(folder, name), os.path.splitext(name)[1].lower()
            relative = str(file.relative_to(root))
            if name.startswith("."):
                continue
            if extension in _UNREADABLE:
                problems.append(Problem(relative, f"{_UNREADABLE[extension]} is not read; convert it to JPEG"))
            elif extension not in EXTENSIONS:
                others += 1
            elif file.is_symlink() and _leads_outside(file, root):
                problems.append(Problem(relative, "a symbolic link that leads outside the folder"))
            elif not file.is_file():
                problems.append(Problem(relative, "no regular file"))
            else:
                names.append(relative)
    return sorted(names), sorted(problems, key=lambda problem: problem.name), others


def _leads_outside(link: Path, root: Path) -> bool:
    try:
        return not link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return True


def _unreadable(root: Path, error: OSError) -> Problem:
    return Problem(os.path.relpath(error.filename or root, root), (error.strerror or str(error)).lower())
