"""Folders, and what all kinds of source share: the same ids, named problems, one clear line for a bad path."""

from __future__ import annotations

import io
import os
import pickle
import threading
from pathlib import Path

import pytest
from PIL import Image

import ssl4rl.vision.sources.base as base
from ssl4rl.core import registry
from ssl4rl.core.source import Split, content_id
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.sources import open_folder, open_parquet, open_sample, open_tar, open_tsv
from tests.vision.files import Pictures, b64, encoded, error, problems, write_tar, write_tsv
from tests.vision.test_photo import png_header

# --- every kind gives the same pictures -------------------------------------------------------------------------------


def test_same_ids_and_pixels_from_every_source(tmp_path: Path, folder: Path, pictures: Pictures) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"id": [1, 2, 3], "image": [{"bytes": data, "path": name} for name, data in pictures.items()]})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    sources = {
        "folder": open_folder(str(folder)),
        "tsv": open_tsv(write_tsv(tmp_path / "x.tsv", ["index", "image"], *([n, b64(d)] for n, d in pictures.items()))),
        "tar": open_tar(write_tar(tmp_path / "x.tar", pictures)),
        "parquet": open_parquet(str(tmp_path / "x.parquet")),
    }
    for kind, source in sources.items():
        assert [source.id(i) for i in range(len(source))] == [content_id(data) for data in pictures.values()], kind
        assert problems(source) == {}
        again = pickle.loads(pickle.dumps(source))
        for index, data in enumerate(pictures.values()):
            expected = Image.open(io.BytesIO(data)).convert("RGB").tobytes()
            assert source[index].decode(16).tobytes() == expected, kind
            assert again[index].decode(16).tobytes() == expected, kind


def test_schemes_reach_their_openers(tmp_path: Path, folder: Path, pictures: Pictures) -> None:
    vision = registry.plugins()["vision"]
    write_tar(tmp_path / "x.tar", pictures)
    for uri in (str(folder), f"folder:{folder}", f"tar:{tmp_path / 'x.tar'}"):
        assert len(registry.open_source(uri, vision)) == 3
    assert registry.open_source("sample:", vision).uri == "sample:"


def test_nothing_decoded_is_kept(folder: Path) -> None:
    source = open_folder(str(folder))
    assert source[0].decode(16) is not source[0].decode(16)
    assert len(pickle.dumps(source)) < 2000


def test_duplicates_share_an_id_and_come_once_in_a_split(folder: Path, pictures: Pictures) -> None:
    (folder / "copy of a.png").write_bytes(pictures["a.png"])
    source = open_folder(str(folder))
    assert len(source) == 4
    assert len(Split(source, "all")) == 3


# --- folders ----------------------------------------------------------------------------------------------------------


def test_folder_is_recursive_sorted_and_skips_what_is_hidden(folder: Path, pictures: Pictures) -> None:
    for name in ("z/deep/d.PNG", ".hidden/e.png", ".f.png", "A/g.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pictures["a.png"])
    (folder / "readme.txt").write_text("no picture")
    source = open_folder(str(folder))
    assert [source[i].name for i in range(len(source))] == ["A/g.png", "a.png", "b.jpg", "c.webp", "z/deep/d.PNG"]
    assert source.uri == str(folder)
    assert problems(source) == {}


def test_folder_names_every_bad_picture_and_keeps_the_rest(folder: Path) -> None:
    (folder / "notes.jpg").write_text("Dear diary")
    whole = encoded(9, "JPEG", (64, 48))
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "dot.png").write_bytes(encoded(1, size=(1, 1)))
    (folder / "bomb.png").write_bytes(png_header(30_000, 30_000))
    (folder / "none.gif").touch()
    (folder / "phone.HEIC").write_bytes(b"....ftypheic")
    source = open_folder(str(folder))
    assert len(source) == 3
    found = problems(source)
    assert found.pop("torn.jpg").startswith("image file is truncated")
    assert found.pop("bomb.png").startswith("too large")
    assert found == {
        "notes.jpg": "no picture (or of an unknown format)",
        "dot.png": "1x1 px; needs at least 8",
        "none.gif": "empty file",
        "phone.HEIC": "HEIC is not read; convert it to JPEG",
    }


def test_large_folders_are_checked_by_header_and_break_late(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(9, "JPEG", (64, 48))
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.jpg").write_text("Dear diary")
    monkeypatch.setattr(base, "THOROUGH_ITEMS", 2)
    source = open_folder(str(folder))
    assert [source[i].name for i in range(len(source))] == ["a.png", "b.jpg", "c.webp", "torn.jpg"]
    assert list(problems(source)) == ["notes.jpg"]
    with pytest.raises(Unusable, match=r"^torn\.jpg: image file is truncated"):
        source[3].decode(8)


def test_symbolic_links_are_not_followed_outside(tmp_path: Path, folder: Path, pictures: Pictures) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s.png").write_bytes(pictures["a.png"])
    (folder / "out.png").symlink_to(secret / "s.png")
    (folder / "outdir").symlink_to(secret)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "within.png").symlink_to(folder / "a.png")
    source = open_folder(str(folder))
    assert [source[i].name for i in range(len(source))] == ["a.png", "b.jpg", "c.webp", "within.png"]
    outside = "a symbolic link that leads outside the folder"
    assert problems(source) == {"out.png": outside, "outdir": outside, "gone.png": "no regular file"}


def test_folder_may_itself_be_a_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert len(open_folder(str(tmp_path / "link"))) == 3


def test_named_pipe_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    assert problems(open_folder(str(folder))) == {"pipe.jpg": "no regular file"}


def test_folder_errors(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert error(open_folder, "photo") == "folder 'photo' does not exist; did you mean 'photos'?"
    assert error(open_folder, "fotos/2024") == (
        "folder 'fotos/2024' does not exist (there is no 'fotos'); did you mean 'photos'?"
    )
    assert error(open_folder, "q") == "folder 'q' does not exist"
    (tmp_path / "empty").mkdir()
    assert error(open_folder, "empty").startswith(
        "folder 'empty' holds no picture (0 other files); allowed: .jpg, .jpeg"
    )
    for number in range(4):
        (tmp_path / "empty" / f"{number}.jpg").write_text("text")
    assert error(open_folder, "empty") == (
        "empty: none of its 4 pictures can be used (0.jpg: no picture (or of an unknown format); "
        "1.jpg: no picture (or of an unknown format); 2.jpg: no picture (or of an unknown format); ...)"
    )
    for name in ("x.tsv", "x.tar", "x.parquet"):
        (tmp_path / name).touch()
        scheme = name[2:]
        assert error(open_folder, name) == f"'{name}' is a file, not a folder; did you mean '{scheme}:{name}'?"
    assert error(open_folder, "photos/a.png") == "'photos/a.png' is one picture; give the folder it lies in"
    assert "files are read by tsv: (.tsv), tar: (.tar)" in error(open_folder, __file__)
    assert "no folder of pictures is named" in error(open_folder, "")


def test_a_refusal_keeps_no_thread(tmp_path: Path) -> None:
    """What is held by an error's traceback is collected at any moment, also while another thread starts: a pool of
    threads that is closed there waits for itself for ever."""
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_text("text")
    before = set(threading.enumerate())
    with pytest.raises(Ssl4rlError) as held:
        open_folder(str(tmp_path))
    assert "none of its 4 pictures" in str(held.value)
    assert set(threading.enumerate()) == before


# --- the embedded photographs -----------------------------------------------------------------------------------------


def test_sample() -> None:
    source = open_sample()
    assert len(source) == len(Split(source, "all")) == 28
    assert problems(source) == {}
    assert all(min(source[i].decode(200).size) >= 200 for i in range(len(source)))
    assert "nothing may follow the colon" in error(open_sample, "photos")


def test_every_sample_has_its_licence() -> None:
    photos = Path(base.__file__).parents[2] / "embedded" / "photos"
    table = (photos / "LICENSES.md").read_text()
    files = sorted(photos.glob("*.jpg"))
    for file in files:
        assert f"| {file.name} |" in table
    assert sum(file.stat().st_size for file in files) < 2_000_000
