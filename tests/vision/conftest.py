"""Three pictures of three formats, in memory and in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vision.files import Pictures, encoded


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return {
        name: encoded(seed, kind)
        for seed, (name, kind) in enumerate([("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.webp", "WEBP")])
    }


@pytest.fixture
def folder(tmp_path: Path, pictures: Pictures) -> Path:
    (tmp_path / "photos").mkdir()
    for name, data in pictures.items():
        (tmp_path / "photos" / name).write_bytes(data)
    return tmp_path / "photos"
