"""What all picture sources share: the source itself, the check of every picture, and finding the files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ssl4rl.core.source import Problem, Source
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.photo import EncodedPhoto, Photo

THOROUGH_ITEMS = 500
"""Sources of up to so many pictures have each decoded once when they are opened, so that truncated files are named
before training starts; in larger ones a broken body shows when it is drawn, and core draws another."""

_BATCH = 4096

SCHEME_OF = {
    ".tsv": "tsv",
    ".tar": "tar",
    ".parquet": "parquet",
}
"""File extension -> URI scheme, for suggestions."""


class PhotoSource(Source[Photo]):
    """Pictures as handles, each with its content id. Nothing decoded is kept.

    Args:
        uri: what it was opened from.
        photos: the usable pictures.
        ids: the content id of each.
        problems: what was left out.
    """

    def __init__(
        self, uri: str, photos: Sequence[EncodedPhoto], ids: Sequence[str], problems: Sequence[Problem] = ()
    ) -> None:
        self.uri = uri
        self._photos, self._ids, self._problems = photos, ids, tuple(problems)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> EncodedPhoto:
        return self._photos[index]

    def id(self, index: int) -> str:
        return self._ids[index]

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems


def examine(uri: str, photos: Sequence[EncodedPhoto], problems: Sequence[Problem] = ()) -> PhotoSource:
    """The source of those `photos` that can be used, every one checked by its header (see THOROUGH_ITEMS).

    Args:
        uri: what was opened, for messages.
        photos: all pictures found.
        problems: what was found unusable before.

    Raises:
        Ssl4rlError: not one can be used; with the first reasons.
    """
    thorough = len(photos) <= THOROUGH_ITEMS
    usable: list[EncodedPhoto] = []
    ids: list[str] = []
    found = list(problems)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            for photo, verdict in zip(batch, pool.map(lambda photo: _check(photo, thorough), batch), strict=True):
                if isinstance(verdict, Problem):
                    found.append(verdict)
                else:
                    usable.append(photo)
                    ids.append(verdict)
    if not usable:
        reasons = "; ".join(f"{problem.name}: {problem.why}" for problem in found[:3])
        raise Ssl4rlError(
            f"{uri}: none of its {len(found)} pictures can be used ({reasons}{'; ...' if len(found) > 3 else ''})"
        )
    return PhotoSource(uri, usable, ids, found)


def _check(photo: EncodedPhoto, thorough: bool) -> str | Problem:
    try:
        return photo.check(thorough)
    except Unusable as unusable:
        return Problem(photo.label, str(unusable).removeprefix(f"{photo.label}: "))


def inside(root: Path, relative: str) -> Path:
    """The file that a data file names, with all symbolic links resolved.

    Raises:
        Unusable: it does not lie inside `root`.
    """
    try:
        path = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
        raise Unusable(f"{relative!r} is no path") from None
    if not path.is_relative_to(root.resolve()):
        raise Unusable(f"{relative!r} leads outside its folder")
    return path


def find_files(scheme: str, text: str, extension: str) -> tuple[list[Path], list[Problem]]:
    """The files that `text` names: a file, a folder (searched recursively), a glob, or braces like {0000..0009}.

    Returns:
        The files in the order named (sorted within a glob or folder), and a problem for each one missing.

    Raises:
        Ssl4rlError: there is none.
    """
    uri = f"{scheme}:{text}"
    if not text:
        raise Ssl4rlError(f"{uri!r} names no file; for example {scheme}:data{extension}")
    files: list[Path] = []
    problems: list[Problem] = []
    for name in [text] if os.path.exists(text) else expand_braces(text):
        path = Path(name).expanduser()
        if path.is_dir():
            files += sorted(file for file in path.rglob(f"*{extension}") if file.is_file())
        elif path.exists():
            files.append(path)
        elif glob.has_magic(name):
            files += sorted(Path(match) for match in glob.glob(str(path), recursive=True) if os.path.isfile(match))
        else:
            problems.append(Problem(name, "does not exist"))
    if not files and problems:
        raise missing(f"{scheme}:{problems[0].name}", Path(problems[0].name).expanduser())
    if not files:
        raise Ssl4rlError(f"{uri!r} matches no {extension} file")
    return files, problems


def expand_braces(text: str) -> list[str]:
    """ "s-{00..02}.{a,b}" -> six names, like a shell. At most 100,000 names.

    Raises:
        Ssl4rlError: more names than that.
    """
    names, limit = [text], 100_000
    pattern = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
    while any(pattern.search(name) for name in names[:1]):
        expanded = []
        for name in names:
            match = pattern.search(name)
            assert match is not None
            first, last, listed = match.groups()
            width = len(first) if first and first.startswith("0") else 0
            span = range(int(first), int(last) + 1) if first else range(0)
            if len(span) * len(names) > limit:
                raise Ssl4rlError(f"{text!r} stands for more than {limit} names")
            options = listed.split(",") if listed is not None else [f"{number:0{width}}" for number in span]
            expanded += [name[: match.start()] + option + name[match.end() :] for option in options]
        names = expanded
    return names
