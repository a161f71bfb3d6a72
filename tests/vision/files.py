"""Small picture files of every kind, written where a test wants them."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.vision.sources import PhotoSource

Pictures = dict[str, bytes]


def encoded(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def problems(source: PhotoSource) -> dict[str, str]:
    return {problem.name: problem.why for problem in source.problems}


def error(opener: Callable[[str], object], text: str) -> str:
    with pytest.raises(Ssl4rlError) as caught:
        opener(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_tsv(path: Path, columns: list[str], *rows: list[str]) -> str:
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))
    return str(path)


def write_tar(path: Path, members: Pictures, mode: str = "w") -> str:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def write_parquet(path: Path, **columns: object) -> str:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), path, row_group_size=2)
    return str(path)
