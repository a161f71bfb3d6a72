"""Real pictures that nobody here drew, for the runs of `queues/pictures.yaml`: fetched, never shipped.

    python benchmarks/clip_art.py OUT [--held-out 0.1] [--sizes 100 1000] [--px 96]

Takes Debian's openclipart-png (public domain) and tuxpaint-stamps-default (GPL-2+ and others, its copyright file says
which) by `apt-get download` and unpacks them under OUT. Then OUT/clip/test has about a tenth of the clip art's groups
of near-twins (`split_by: look`), OUT/clip/train the rest, OUT/clip/train_100 and train_1000 the first so many of it,
each part of the next. OUT/stamps are tuxpaint's pictures. All are shrunk to --px at their longer side: drawings of
several megapixels would take most of a run's time to decode. A file's first folder is its category.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from PIL import Image

from ssl4rl.core.source import is_held_out
from ssl4rl.vision.sources.folder import open_folder

PACKAGES = {"openclipart-png": "usr/share/openclipart/png", "tuxpaint-stamps-default": "usr/share/tuxpaint/stamps"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--px", type=int, default=96)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1000])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    clips, stamps = (_unpacked(package, folder, asked.out) for package, folder in PACKAGES.items())
    names = {part: _names(clips, part, asked.held_out) for part in ("train", "held_out")}
    _shrink(names["held_out"], clips, asked.out / "clip/test", asked.px)
    _shrink(names["train"], clips, asked.out / "clip/train", asked.px)
    for size in asked.sizes:
        _shrink(names["train"][:size], clips, asked.out / f"clip/train_{size}", asked.px)
    for part, told in names.items():
        print(f"{part}: {len(told)} pictures")
    pictures = sorted(p.relative_to(stamps).as_posix() for p in stamps.rglob("*.png"))
    _shrink(pictures, stamps, asked.out / "stamps", asked.px)
    print(f"stamps: {len(pictures)} pictures")


def _unpacked(package: str, folder: str, out: Path) -> Path:
    if not (out / folder).is_dir():
        subprocess.run(["apt-get", "download", "-qq", package], cwd=out, check=True)
        (archive,) = out.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive.name, "."], cwd=out, check=True)
        archive.unlink()
    return out / folder


def _names(folder: Path, part: str, held_out: float) -> list[str]:
    """Paths under the folder, one for each content, by content id: in no order that means anything."""
    source = open_folder(str(folder))
    groups = source.groups("look")
    first = {source.id(index): index for index in reversed(range(len(source)))}
    chosen = [
        first[name] for name in sorted(first) if is_held_out(groups[first[name]], held_out) == (part == "held_out")
    ]
    return [source[index].name.removeprefix(f"{folder}/") for index in chosen]


def _shrink(names: list[str], source: Path, target: Path, px: int) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source / name) as image:
            small = image.convert("RGBA")
        small.thumbnail((px, px))
        small.save(target / name)


if __name__ == "__main__":
    main()
