"""Pictures inside tar shards (webdataset), read at random from where they lie; nothing is unpacked."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ssl4rl.core.limits import open_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.vision.photo import MemberPhoto
from ssl4rl.vision.sources.base import PhotoSource, examine, find_files, one_line
from ssl4rl.vision.sources.folder import EXTENSIONS
from ssl4rl.vision.streams import MIB, Metered, TooMuch

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_LARGEST_HEADER = MIB
"""A long name or a list of attributes before a member; most have less than a kilobyte."""


def open_tar(text: str) -> PhotoSource:
    """The pictures in uncompressed tar files: `tar:FILE`, `tar:FOLDER`, `tar:shards/*.tar`, `tar:s-{0000..0009}.tar`.

    Members are told by their extension, as in a folder, and read by their offset. Links and devices inside an archive
    are ignored; a member whose path leads out of it ("../", "/") is a problem.

    Raises:
        Ssl4rlError: no such file, a compressed or broken archive, or no usable picture.
    """
    shards, problems = find_files("tar", text, ".tar")
    photos: list[MemberPhoto] = []
    for shard in shards:
        found, broken = _members(shard)
        photos += found
        problems += broken
    if not photos and not problems:
        raise Ssl4rlError(f"'tar:{text}' holds no picture; allowed: members named {', '.join(EXTENSIONS[:8])}...")
    return examine(f"tar:{one_line(text)}", photos, problems)


def _members(shard: Path) -> tuple[list[MemberPhoto], list[Problem]]:
    """The pictures of one shard, in its order, and what is wrong with it."""
    try:
        with open_regular(f"tar:{shard}", shard) as file:
            return _members_of(shard, file)
    except OSError as error:
        return [], [Problem(str(shard), (error.strerror or str(error)).lower())]


def _members_of(shard: Path, file: BinaryIO) -> tuple[list[MemberPhoto], list[Problem]]:
    start = file.read(6)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise Ssl4rlError(
                f"{str(shard)!r} is compressed ({kind}); only plain tar files can be read at random; unpack it"
            )
    photos: list[MemberPhoto] = []
    problems: list[Problem] = []
    headers = Metered(file)
    headers.allow("picture_file_mib", headers.size + MIB, sys.maxsize)
    headers.largest_bytes = _LARGEST_HEADER
    at = -1
    try:
        with tarfile.open(fileobj=headers, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                if member.size < 0 or member.offset <= at:
                    problems.append(Problem(f"{shard.name}/{member.name}", "a size below 0; what follows is not read"))
                    break
                at = member.offset
                name = f"{one_line(shard.name)}/{member.name}"
                path = PurePosixPath(member.name)
                if not member.isreg() or path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
                    continue
                if path.is_absolute() or ".." in path.parts:
                    problems.append(Problem(name, "its path leads outside the archive"))
                elif member.issparse():
                    problems.append(Problem(name, "a sparse member"))
                elif member.offset_data + member.size > headers.size:
                    problems.append(Problem(name, "the archive ends inside it"))
                    break
                else:
                    photos.append(MemberPhoto(str(shard), member.offset_data, member.size, name))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError, TooMuch) as error:
        reason = " ".join(str(error).split())[:200]
        problems.append(Problem(str(shard), f"no tar file, or broken after {len(photos)} pictures ({reason})"))
    return photos, problems
