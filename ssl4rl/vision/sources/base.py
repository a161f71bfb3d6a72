"""What all picture sources share: the source itself, the check of every picture, and finding the files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ssl4rl.core.limits import exceeded, limit, require_regular
from ssl4rl.core.source import Problem, Source, Way, content_id
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.cache.index import Index, Stamp, progress
from ssl4rl.vision.photo import EncodedPhoto, Look, Photo
from ssl4rl.vision.raster import NOTE
from ssl4rl.vision.sources.grouped import Grouped, grouped

THOROUGH_ITEMS = 500
"""Sources of up to so many pictures have each decoded once when they are opened, so that truncated files are named
before training starts; in larger ones a broken body shows when it is drawn, and core draws another."""

_BATCH = 4096
_NAMES_BYTES = 1 << 26

NO_PICTURE = "no picture"
"""Why a row of a table is left out that has none."""

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
        notes: what was done to pictures that a reader should know of.
        thumbs: content id -> how the picture looks, as far as it was told on the way.
        index: where looks and groups are kept.
    """

    ways: ClassVar[tuple[Way, ...]] = ("look", "content", "folder")

    def __init__(
        self,
        uri: str,
        photos: Sequence[EncodedPhoto],
        ids: Sequence[str],
        problems: Sequence[Problem] = (),
        notes: Sequence[str] = (),
        thumbs: Mapping[str, bytes] | None = None,
        index: Index | None = None,
    ) -> None:
        self.uri = uri
        self._photos, self._ids, self._problems, self._notes = photos, ids, tuple(problems), tuple(notes)
        self._thumbs, self._index = dict(thumbs or {}), index or Index(None)

    def __getstate__(self) -> dict[str, Any]:
        """Looks that were told on the way stay behind: a process that is sent the source has its groups, or finds
        them."""
        return {**self.__dict__, "_thumbs": {}}

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> EncodedPhoto:
        return self._photos[index]

    def id(self, index: int) -> str:
        return self._ids[index]

    def name(self, index: int) -> str:
        return self._photos[index].label

    def groups(self, way: Way) -> Sequence[str] | None:
        """As `Source.groups`. A folder is the first one under the root: of a name, or of a dataset's row as it is told.

        Groups by look are made when they are asked for first: every picture not yet known is decoded for it.
        """
        if way == "folder":
            return [folder_group(photo.name, identity) for photo, identity in zip(self._photos, self._ids, strict=True)]
        return [self._by_look.groups[identity] for identity in self._ids] if way == "look" else None

    def moved(self, way: Way) -> Mapping[str, tuple[str, str]]:
        return self._by_look.moved if way == "look" else {}

    @cached_property
    def _by_look(self) -> Grouped:
        photo_of = dict(zip(reversed(self._ids), reversed(self._photos), strict=True))
        return grouped(self.uri, photo_of, self._thumbs, self._index)

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        return "; ".join(self._notes)


def folder_group(name: str, identity: str) -> str:
    """The group of a picture by the first folder of its name; a picture in no folder is a group of its own."""
    folder, _, rest = name.partition("/")
    return content_id(f"folder:{folder}".encode("utf-8", "surrogateescape")) if rest else identity


def examine(
    uri: str,
    photos: Sequence[EncodedPhoto],
    problems: Sequence[Problem] = (),
    column: str = "",
    stamps: Sequence[Stamp] | None = None,
    keep: bool = True,
) -> PhotoSource:
    """The source of those `photos` that can be used, every one checked by its header (see THOROUGH_ITEMS).

    Args:
        uri: what was opened, for messages.
        photos: all pictures found.
        problems: what was found unusable before.
        column: of a table: which column they come from, "column 'image' of 3".
        stamps: what tells that a picture's file is the one that was looked at before; None where nothing does.
        keep: whether to keep what is learned in the user's cache.

    Raises:
        Ssl4rlError: not one can be used; with the first reasons.
    """
    if len(photos) > limit("pictures"):
        raise exceeded(uri, "pictures")
    root = getattr(photos[0], "root", None) if photos and stamps is not None else None
    index = Index((f"folder:{root}" if root else f"{os.getcwd()}:{uri}") if keep else None)
    if stamps is None:
        return _examined(uri, photos, problems, column, None, index)
    known = index.files()
    if not all(stamp in known for stamp in stamps):  # else nothing has to be looked at, and nobody waited for
        with index.turn():
            return _examined(uri, photos, problems, column, stamps, index)
    return _examined(uri, photos, problems, column, stamps, index, known)


def _examined(
    uri: str,
    photos: Sequence[EncodedPhoto],
    problems: Sequence[Problem],
    column: str,
    stamps: Sequence[Stamp] | None,
    index: Index,
    known: dict[Stamp, tuple[str, bool]] | None = None,
) -> PhotoSource:
    """`examine`, while no other process works at the same index."""
    known = index.files() if known is None and stamps is not None else known or {}
    before = [known.get(stamp) for stamp in stamps] if stamps is not None else [None] * len(photos)
    thorough = len(photos) <= THOROUGH_ITEMS
    found = list(problems)
    usable: list[EncodedPhoto] = []
    ids: list[str] = []
    deep = 0
    thumbs: dict[str, bytes] = {}
    rows: dict[Stamp, tuple[str, bool]] = {}
    fresh = iter(_looks([photo for photo, kept in zip(photos, before, strict=True) if kept is None], thorough))
    for number, (photo, kept) in enumerate(zip(photos, before, strict=True)):
        verdict = Look(*kept) if kept else next(fresh)
        if isinstance(verdict, Problem):
            found.append(verdict)
            continue
        usable.append(photo)
        ids.append(verdict.identity)
        deep += verdict.deep
        if verdict.thumb is not None:
            thumbs[verdict.identity] = verdict.thumb
        if stamps is not None:
            rows[stamps[number]] = (verdict.identity, verdict.deep)
    if not usable:
        reasons = "; ".join(f"{problem.name}: {problem.why}" for problem in found[:3])
        raise Ssl4rlError(
            f"{uri}: none of its {len(found)} pictures can be used ({reasons}{'; ...' if len(found) > 3 else ''})"
        )
    if stamps is not None and rows != known:
        index.keep_files(rows)
    notes = [f"{column}, {len(usable)} pictures, {len(found)} not usable"] if column else []
    notes += [f"{deep} of {len(usable)} pictures: {NOTE}"] if deep else []
    return PhotoSource(uri, usable, ids, found, notes, thumbs, index)


def _looks(photos: Sequence[EncodedPhoto], thorough: bool) -> list[Look | Problem]:
    """What every picture's file tells, in order. One that comes often (rows refer to it) is looked at once.

    Not a generator: one that is left before its end keeps its threads, and whoever collects it waits for them.
    """
    known: dict[int, Look | Problem] = {}
    with progress("reading pictures", len(photos)) as told, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            new = {id(photo): photo for photo in batch if id(photo) not in known}
            known.update(zip(new, pool.map(lambda photo: _look(photo, thorough), new.values()), strict=True))
            told(len(batch))
    return [known[id(photo)] for photo in photos]


def _look(photo: EncodedPhoto, thorough: bool) -> Look | Problem:
    try:
        return photo.look(thorough)
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
    uri = f"{scheme}:{one_line(text)}"
    if not text:
        raise Ssl4rlError(f"{uri!r} names no file; for example {scheme}:data{extension}")
    files: list[Path] = []
    problems: list[Problem] = []
    for name in [text] if exists(text) else expand_braces(text):
        path = named(uri, name)
        if path.is_dir():
            files += _below(path, extension, problems)
        elif path.exists():
            require_regular(uri, path)
            files.append(path)
        elif glob.has_magic(name):
            files += _matches(uri, path)
        else:
            problems.append(Problem(name, "does not exist"))
    if not files and problems:
        raise missing(f"{scheme}:{problems[0].name}", Path(problems[0].name).expanduser())
    if not files:
        raise Ssl4rlError(f"{uri!r} matches no {extension} file")
    return files, problems


def _below(folder: Path, extension: str, problems: list[Problem]) -> list[Path]:
    """The regular files of a folder, sorted; links that lead outside it are problems."""
    root, found = folder.resolve(), []
    for file in sorted(folder.rglob(f"*{extension}")):
        if not file.is_file():
            continue
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            problems.append(Problem(str(file), "a symbolic link that leads outside the folder"))
        else:
            found.append(file)
    return found


def exists(text: str) -> bool:
    """Whether this is a path to something; what can be no path (too long, a NUL) is none."""
    try:
        return os.path.exists(text)
    except ValueError:
        return False


def named(uri: str, text: str) -> Path:
    """The path that `text` is, "~" expanded.

    Raises:
        Ssl4rlError: it can be none: too long, a NUL, or somebody's home folder who is not known.
    """
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Ssl4rlError(f"{uri[:200]!r} is no path ({reason.lower()})") from None
    return path


def one_line(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


def _matches(uri: str, pattern: Path) -> list[Path]:
    """The regular files that a glob names, sorted. "**" once is enough for any depth; more multiply the work."""
    if pattern.parts.count("**") > 1:
        raise Ssl4rlError(f"{uri[:200]!r} has several '**'; allowed: one")
    try:
        return sorted(Path(match) for match in glob.iglob(str(pattern), recursive=True) if os.path.isfile(match))
    except (re.error, RecursionError):
        raise Ssl4rlError(f"{uri[:200]!r} is no pattern") from None


_BRACES = re.compile(r"\{([^{}]*)\}")
_SPAN = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


def expand_braces(text: str) -> list[str]:
    """ "s-{00..02}.{a,b}" -> six names, like a shell; how many is counted before they are made ("names").

    Raises:
        Ssl4rlError: more names than that, or a span that counts backwards.
    """
    names = [text]
    while inner := _first_braces(names[0]):
        count = _count(inner)
        if count * len(names) > limit("names") or count * len(names) * len(names[0]) > _NAMES_BYTES:
            raise exceeded(one_line(text[:200]), "names")
        if not count:
            raise Ssl4rlError(f"{text[:200]!r} counts backwards; allowed: {{first..last}}")
        options = _options(inner)
        names = [name.replace(f"{{{inner}}}", option, 1) for name in names for option in options]
    return names


def _first_braces(text: str) -> str | None:
    """What the first pair of braces holds that stands for several names."""
    inner = (match[1] for match in _BRACES.finditer(text))
    return next((part for part in inner if "," in part or _SPAN.fullmatch(part)), None)


def _count(inner: str) -> int:
    span = _SPAN.fullmatch(inner)
    return inner.count(",") + 1 if span is None else max(0, int(span[2]) + 1 - int(span[1]))


def _options(inner: str) -> list[str]:
    span = _SPAN.fullmatch(inner)
    if span is None:
        return inner.split(",")
    width = len(span[1]) if span[1].startswith("0") else 0
    return [f"{number:0{width}}" for number in range(int(span[1]), int(span[2]) + 1)]
