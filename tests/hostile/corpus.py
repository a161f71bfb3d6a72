"""What the makers of hostile files share: a folder for each case, its URI, and a secret that nothing may reach."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SECRET = "outside"
"""The folder beside the cases that holds what no case may read."""
SECRET_WORD = "TOPSECRET"


@dataclass(frozen=True)
class Case:
    """A thing to open: `uri` as a user would write it, of `plugin` "vision" or "graph"; `bomb`: goes for resources."""

    name: str
    family: str
    plugin: str
    uri: str
    bomb: bool = False


class Corpus:
    """Collects cases under a folder.

    Args:
        root: an empty or missing folder.
        seed: another seed, other damage.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed
        self.cases: list[Case] = []
        outside = root / SECRET
        outside.mkdir(parents=True)
        (outside / "secret.png").write_bytes(secret_picture())
        (outside / "secret.csv").write_text(f"id,text\n{SECRET_WORD}0,{SECRET_WORD}\n{SECRET_WORD}1,{SECRET_WORD}\n")

    def rng(self, *key: object) -> np.random.Generator:
        """A generator of its own for each piece of damage, so that adding a case changes no other."""
        words = f"{self.seed}:{key}".encode()
        return np.random.Generator(np.random.PCG64(int.from_bytes(words[-64:], "big")))

    def folder(self, family: str, name: str) -> Path:
        path = self.root / f"{family}-{name}"
        path.mkdir()
        return path

    def add(self, family: str, name: str, uri: str, plugin: str = "vision", bomb: bool = False) -> None:
        self.cases.append(Case(name, family, plugin, uri, bomb))

    def file(self, family: str, name: str, scheme: str, file: str, data: bytes, bomb: bool = False) -> Path:
        """A case of one file. `scheme` "" opens its folder, "edges" and the like belong to graphs."""
        folder = self.folder(family, name)
        path = folder / file
        path.write_bytes(data)
        plugin = "vision" if scheme in ("", "tar", "tsv", "parquet", "hf") else "graph"
        self.add(family, name, f"{scheme}:{path}" if scheme else str(folder), plugin, bomb)
        return path

    def damaged(self, family: str, name: str, scheme: str, file: str, whole: bytes, cuts: int, flips: int) -> None:
        """Truncations at `cuts` places, header and end included, and `flips` copies with a few wrong bytes."""
        places = sorted({1, 7, min(40, len(whole) - 1), len(whole) - 1, *np.linspace(2, len(whole), cuts, dtype=int)})
        for place in places[:-1]:
            self.file(family, f"{name}-cut{place:06}", scheme, file, whole[: int(place)])
        rng = self.rng(family, name)
        for number in range(flips):
            data = bytearray(whole)
            near = min(len(data), 64 if number % 2 else len(data))
            for place in rng.integers(0, near, size=int(rng.integers(1, 8))):
                data[place] = int(rng.integers(256))
            self.file(family, f"{name}-wrong{number:02}", scheme, file, bytes(data))

    def save(self) -> None:
        (self.root / "cases.json").write_text(json.dumps([asdict(case) for case in self.cases], indent=1))


def load(root: Path) -> Iterator[Case]:
    """The cases of a corpus made before."""
    for record in json.loads((root / "cases.json").read_text()):
        yield Case(**record)


def noise(seed: int, width: int = 48, height: int = 36, channels: int = 3) -> Image.Image:
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze())


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def secret_picture() -> bytes:
    return encode(noise(4242), "PNG")


def lengthen(path: Path, size: int) -> None:
    """Make a file `size` bytes long; what is added takes no room on the disk."""
    os.truncate(path, size)
