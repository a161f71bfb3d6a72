"""Clips on disk: folders of numbered frames, GIF, WebP and APNG files, and video files through PyAV."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ssl4rl.core.limits import require_regular
from ssl4rl.core.source import Problem, Source, content_id
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.video.clip import Clip, PhotoClip
from ssl4rl.video.files import AnimatedClip, EncodedClip, FilmClip
from ssl4rl.vision.photo import FilePhoto
from ssl4rl.vision.sources.folder import EXTENSIONS as PICTURES

ANIMATED = (".gif", ".webp", ".apng")
FILMS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".wmv", ".flv")
MIN_FRAMES = 4
"""Clips of fewer frames are left out: a task shows two at least, and never a clip's first or last."""

_NUMBER = re.compile(r"\d+")


class Clips(Source[Clip]):
    """Clips as handles, each with the content id of its file or of its frames' files."""

    def __init__(
        self, uri: str, clips: Sequence[PhotoClip | EncodedClip], ids: Sequence[str], problems: Sequence[Problem]
    ) -> None:
        self.uri, self._clips, self._ids, self._problems = uri, clips, ids, tuple(problems)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        return self._clips[index]

    def id(self, index: int) -> str:
        return self._ids[index]

    def name(self, index: int) -> str:
        return self._clips[index].name

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        kinds = [
            (sum(isinstance(clip, kind) for clip in self._clips), name)
            for kind, name in ((PhotoClip, "folders of frames"), (AnimatedClip, "animations"), (FilmClip, "films"))
        ]
        return f"{len(self)} clips: {', '.join(f'{count} {name}' for count, name in kinds if count)}"


def open_path(text: str) -> Clips:
    """`frames:FOLDER` or `frames:FILE`: every folder of numbered pictures is a clip, and every animation or video file.

    Frames are ordered by the last number in their names (frame2 before frame10), then by name. Hidden files are
    skipped; links that lead outside the folder are problems. Frames are decoded when they are asked for.

    Raises:
        Ssl4rlError: there is no such folder or file, or no clip in it.
    """
    uri = f"frames:{text}"
    if not text:
        raise Ssl4rlError(f"{uri}: no folder of clips is named; for example data=frames:clips/")
    path = Path(text).expanduser()
    if path.is_dir():
        return _examine(uri, path.resolve(), *_walk(path.resolve()))
    if path.exists():
        require_regular(uri, path)
        if path.suffix.lower() not in (*ANIMATED, *FILMS):
            raise Ssl4rlError(f"{uri}: {path.name} is no clip; allowed: a folder, {', '.join((*ANIMATED, *FILMS))}")
        return _examine(uri, path.resolve().parent, [path.name], {})
    raise missing(uri, path, "folder or file ")


def _walk(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The files that are clips, and for each folder its pictures; names relative to `root`."""
    files: list[str] = []
    folders: dict[str, list[str]] = {}
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            suffix, relative = Path(name).suffix.lower(), str(Path(folder, name).relative_to(root))
            if name.startswith("."):
                continue
            if suffix in (".gif", ".apng", *FILMS):
                files.append(relative)
            elif suffix in PICTURES:
                folders.setdefault(str(Path(folder).relative_to(root)), []).append(relative)
    for folder, pictures in list(folders.items()):
        webps = [name for name in pictures if name.lower().endswith(".webp")]
        if len(webps) < MIN_FRAMES:  # so few are animations, if anything, and no clip's frames
            files += webps
            folders[folder] = [name for name in pictures if name not in webps]
    return sorted(files), {folder: sorted(folders[folder], key=_in_order) for folder in sorted(folders)}


def _in_order(name: str) -> tuple[int, str]:
    numbers = _NUMBER.findall(Path(name).stem)
    return (int(numbers[-1]) if numbers else -1, name)


def _examine(uri: str, root: Path, files: Sequence[str], folders: dict[str, list[str]]) -> Clips:
    clips: list[PhotoClip | EncodedClip] = []
    ids: list[str] = []
    problems: list[Problem] = []
    for name, pictures in folders.items():
        photos = [FilePhoto(str(root), picture) for picture in pictures]
        if len(photos) < MIN_FRAMES:
            if photos:
                problems.append(Problem(name, f"{len(photos)} pictures; a clip has {MIN_FRAMES} frames at least"))
            continue
        try:
            identity = content_id("\n".join(photo.check(thorough=False) for photo in photos).encode())
        except Unusable as error:
            problems.append(Problem(name, str(error)))
            continue
        clips.append(PhotoClip(name, tuple(photos)))
        ids.append(identity)
    for name in files:
        clip: EncodedClip = (FilmClip if name.lower().endswith(FILMS) else AnimatedClip)(str(root), name)
        try:
            identity, frames = clip.look()
            if frames < MIN_FRAMES:
                raise Unusable(f"{frames} frames; a clip has {MIN_FRAMES} at least")
        except Unusable as error:
            problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
            continue
        clips.append(clip)
        ids.append(identity)
    if not clips:
        reasons = "; ".join(f"{problem.name}: {problem.why}" for problem in problems[:3])
        what = f"folders of {MIN_FRAMES} pictures or more, {', '.join((*ANIMATED, *FILMS))}"
        raise Ssl4rlError(f"{uri}: no clip was found{f' ({reasons})' if reasons else ''}; allowed: {what}")
    return Clips(uri, clips, ids, sorted(problems, key=lambda problem: problem.name))
