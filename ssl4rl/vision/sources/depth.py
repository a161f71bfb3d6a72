"""`rgbd:FOLDER`: pictures that have a depth map beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.uri import missing
from ssl4rl.vision.decoding import BROKEN, decode_values, quiet
from ssl4rl.vision.noise import NoiseWithDepth
from ssl4rl.vision.photo import Depth, FilePhoto, Photo
from ssl4rl.vision.sources.base import PhotoSource, examine, named, one_line
from ssl4rl.vision.sources.folder import walk
from ssl4rl.vision.streams import Metered, open_below

MAPS = {"depth": False, "disparity": True}
"""What a map's file is called after the picture's name and ".", "-" or "_"; whether large values are near."""
MAP_EXTENSIONS = (".png", ".tif", ".tiff", ".pgm")
_ASPECT = 0.03


@dataclass(frozen=True, slots=True)
class RgbdPhoto(FilePhoto):
    """A picture file with a map beside it, of one channel, where 0 and what is no finite number say "not known".

    `inverse`: large values are near (a disparity map).
    """

    map_name: str
    inverse: bool

    def depth(self) -> Depth:
        try:
            with open_below(self.root, self.map_name) as file, quiet:
                values = decode_values(Metered(file)).astype(np.float64)
        except (Unusable, *BROKEN) as error:
            raise Unusable(f"{self.map_name}: {error}") from error
        known = np.isfinite(values) & (values > 0)
        if not known.any():
            raise Unusable(f"{self.map_name}: no pixel of it holds a depth")
        values = np.where(known, values, np.nan)
        return (1 / values if self.inverse else values).astype(np.float32)

    def content_free(self, rng: np.random.Generator) -> Photo:
        return NoiseWithDepth(rng)


def open_rgbd(path: str) -> PhotoSource:
    """The pictures under a folder that have a depth map beside them.

    Beside a.jpg lies a_depth.png, a.depth.png or a-depth.png (larger is farther), or one that is called disparity
    (larger is nearer): one channel of 8, 16 or 32 bits in PNG, TIFF or PGM, in any unit, 0 where nothing is known.

    Raises:
        Ssl4rlError: no such folder, or no picture in it that has a map.
    """
    if not path:
        raise Ssl4rlError("'rgbd:' names no folder; for example data=rgbd:photos/")
    root = named(path, path)
    if not root.is_dir():
        raise missing(path, root, "folder ")
    top = os.path.realpath(root)
    files, problems, _ = walk(top)
    names = [name for name, _, _ in files]
    maps = {picture: (name, inverse) for name in names if (picture := _described(name)) for inverse in [_inverse(name)]}
    photos = [
        RgbdPhoto(top, name, *maps[stem])
        for name in names
        if not _described(name) and (stem := os.path.splitext(name)[0]) in maps
    ]
    without = sum(not _described(name) for name in names) - len(photos)
    if without:
        problems.append(Problem(f"{without} pictures", "no depth map lies beside them"))
    if not photos:
        raise Ssl4rlError(
            f"rgbd:{one_line(path)}: none of its {without} pictures has a depth map beside it; allowed: "
            "photo_depth.png beside photo.jpg (larger is farther), or photo_disparity.png (larger is nearer)"
        )
    return examine(f"rgbd:{one_line(path)}", photos, problems)


def _described(name: str) -> str:
    """Whose map this file is: "a/b" of "a/b_depth.png"; "" where it is none."""
    stem, extension = os.path.splitext(name)
    kind = next((kind for kind in MAPS if stem.casefold().endswith(kind)), "")
    before = stem[: len(stem) - len(kind)]
    if not kind or extension.casefold() not in MAP_EXTENSIONS or before[-1:] not in ("_", ".", "-"):
        return ""
    return before[:-1] if Path(before[:-1]).name else ""


def _inverse(name: str) -> bool:
    return MAPS[next(kind for kind in MAPS if os.path.splitext(name)[0].casefold().endswith(kind))]
