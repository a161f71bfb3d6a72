"""Near-twins across the split, what the comparison of looks misses and joins, and the time to open a folder.

    python benchmarks/near_twins.py [--data FOLDER ...] [--json benchmarks/results/near_twins.json]

Missed: of the embedded photographs and copies of them, the share of copies that do not come out as twins of their
original. Joined: pairs of the embedded photographs, all distinct, that do. Of each FOLDER, and of a folder of the
photographs and these copies: held-out pictures that have a near-twin in training (the grey 24 x 24 thumbnails of the
whole pictures correlate above .95), split by content and by look; how many groups there are; and seconds to open it for
the first and for the second time (with an empty cache of its own).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image, ImageOps

from ssl4rl.core.source import Split
from ssl4rl.core.types import Unusable
from ssl4rl.vision.look.search import twins
from ssl4rl.vision.look.thumb import look_of
from ssl4rl.vision.sources import PhotoSource, open_folder, open_sample

NEAR = 0.95


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def crop(image: Image.Image, share: float, x: float, y: float) -> Image.Image:
    width, height = image.size
    left, top = x * width * (1 - share), y * height * (1 - share)
    return image.crop((round(left), round(top), round(left + share * width), round(top + share * height)))


def turn(image: Image.Image, angle_deg: float) -> Image.Image:
    """Turned, and cut to what shows no corners."""
    width, height = image.size
    slope = math.radians(abs(angle_deg))
    share = 1 / (math.cos(slope) + max(width / height, height / width) * math.sin(slope))
    return crop(image.rotate(angle_deg, Image.Resampling.BICUBIC), share, 0.5, 0.5)


def grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a fifth of the size": lambda image: image.resize((image.width // 5, image.height // 5)),
    "JPEG 30": lambda image: jpeg(image, 30),
    "grey": grey,
    "crop of 90 % of the sides, middle": lambda image: crop(image, 0.9, 0.5, 0.5),
    "crop of 90 % of the sides, corner": lambda image: crop(image, 0.9, 0.0, 0.0),
    "crop of 80 % of the sides, corner": lambda image: crop(image, 0.8, 1.0, 1.0),
    "turned by 2 degrees": lambda image: turn(image, 2),
    "turned by 5 degrees": lambda image: turn(image, 5),
    "grey, JPEG 30, crop of 92 %, turned by 2": lambda image: jpeg(turn(crop(grey(image), 0.92, 0.8, 0.3), 2), 30),
}


def looks(images: list[Image.Image]) -> np.ndarray[Any, np.dtype[Any]]:
    return np.stack([np.frombuffer(look_of(image), np.uint8) for image in images])


def missed() -> dict[str, Any]:
    source = open_sample()
    photos = [source[i].decode(300) for i in range(len(source))]
    n, originals = len(photos), looks(photos)
    found: dict[str, Any] = {"photographs": n, "joined": len(twins(originals)), "missed": {}}
    for name, change in COPIES.items():
        pairs = {
            tuple(sorted(p)) for p in twins(np.concatenate([originals, looks(list(map(change, photos)))])).tolist()
        }
        gone = [source[i].name for i in range(n) if (i, i + n) not in pairs]
        found["missed"][name] = {"share": round(len(gone) / n, 3), "which": gone}
        print(f"{name:45} missed {len(gone)} of {n} ({', '.join(gone)})")
    return found


def across(source: PhotoSource, thumbs: np.ndarray[Any, np.dtype[Any]], by: Any) -> dict[str, int]:
    """Held-out pictures with a near-twin in training; rows of `thumbs` of 0 are pictures that cannot be compared."""
    train, out = (Split(source, part, by=by)._indices for part in ("train", "held_out"))
    near = (thumbs[out] @ thumbs[train].T).max(axis=1, initial=0.0) > NEAR if len(out) else np.zeros(0, bool)
    return {"held_out": len(out), "train": len(train), "near_twins_across": int(near.sum())}


def unit_thumbs(source: PhotoSource) -> np.ndarray[Any, np.dtype[Any]]:
    rows = np.zeros((len(source), 24 * 24))
    for i in range(len(source)):
        try:
            small = source[i].decode(96).convert("L").resize((24, 24), Image.Resampling.BOX)
        except Unusable:
            continue
        row = np.asarray(small, dtype=np.float64).ravel()
        row -= row.mean()
        rows[i] = row / np.linalg.norm(row) if np.linalg.norm(row) > 24.0 else 0.0
    return rows


def folder(path: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            source = open_folder(path)
            groups = source.groups("look") or []
            seconds.append(round(time.perf_counter() - started, 2))
        sizes = Counter(dict(zip((source.id(i) for i in range(len(source))), groups, strict=True)).values())
        thumbs = unit_thumbs(source)
        found = {
            "pictures": len(source),
            "contents": sum(sizes.values()),
            "groups": len(sizes),
            "in_groups_of_several": sum(size for size in sizes.values() if size > 1),
            "largest_groups": sorted(sizes.values(), reverse=True)[:5],
            "seconds_to_open": seconds,
            **{by: across(source, thumbs, by) for by in ("content", "look")},
        }
        print(path, json.dumps(found))
        return found


def copies() -> dict[str, Any]:
    """`folder` of the embedded photographs, their shorter sides 300 pixels, and all copies of them."""
    source = open_sample()
    with tempfile.TemporaryDirectory() as made:
        for i in range(len(source)):
            photo, stem = source[i].decode(300), source[i].name.removesuffix(".jpg")
            photo.save(f"{made}/{stem}.png")
            for number, change in enumerate(COPIES.values()):
                change(photo).save(f"{made}/{stem}_{number}.png")
        return folder(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folders = {"photographs and ten copies of each": copies()}
    folders |= {Path(path).name: folder(path) for path in given.data}
    result = {"photographs": missed(), "folders": folders}
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
