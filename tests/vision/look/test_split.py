"""Held out by how it looks: folders of copies, opened again, changed, shared."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssl4rl import Ssl4rlError, create_dataset, keyed_rng
from ssl4rl.core.source import Split, is_held_out
from ssl4rl.vision import photo as photo_module
from ssl4rl.vision.cache.index import cache_folder
from ssl4rl.vision.sources import PhotoSource, open_folder, open_sample

NAMES = ("cat", "wine", "palace", "coffee", "city", "stairs", "rocket", "friends")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight photographs, each in three sizes and qualities, in two folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = open_sample()
    for index in range(len(source)):
        name = source[index].name.removesuffix(".jpg")
        if name in NAMES:
            for number, side in enumerate((128, 200, 256)):
                save(source[index].decode(256), tmp_path / "photos" / "ab"[number % 2] / f"{name}{side}.jpg", side)
    return tmp_path / "photos"


def save(image: Image.Image, file: Path, side: int) -> None:
    small = image.copy()
    small.thumbnail((side, side))
    file.parent.mkdir(parents=True, exist_ok=True)
    small.save(file, quality=side // 3)


def names(split: Split[object]) -> set[str]:
    return {split.source[i].name for i in split._indices}  # type: ignore[attr-defined]


def subject(name: str) -> str:
    return name.partition("/")[2].rstrip("0123456789.jpg")


def test_copies_fall_on_one_side(copies: Path) -> None:
    source = open_folder(str(copies))
    train, out = names(Split(source, "train")), names(Split(source, "held_out"))
    assert len(train) + len(out) == 24
    assert not {subject(name) for name in train} & {subject(name) for name in out}
    groups = source.groups("look") or []
    assert len(set(groups)) == 8
    assert all(group == min(source.id(i) for i in range(24) if groups[i] == group) for group in groups)


def test_by_content_and_by_folder(copies: Path) -> None:
    source = open_folder(str(copies))
    by_content = Split(source, "held_out", by="content")
    assert names(by_content) == {source[i].name for i in range(24) if is_held_out(source.id(i), 0.2)}
    for part in ("train", "held_out"):
        folders = {name[0] for name in names(Split(source, part, by="folder"))}
        assert folders in ({"a"}, {"b"}, {"a", "b"}, set())
    (copies / "top.jpg").write_bytes((copies / "a" / "cat128.jpg").read_bytes() + b"x")
    again = open_folder(str(copies))
    groups = dict(zip((again[i].name for i in range(25)), again.groups("folder") or [], strict=True))
    assert groups["a/cat128.jpg"] == groups["a/wine256.jpg"] != groups["b/cat200.jpg"]
    assert len(set(groups.values())) == 3


def test_an_example_never_holds_two_near_twins(copies: Path) -> None:
    source = open_folder(str(copies))
    for by in source.ways:
        split = Split(source, "all", by=by)
        for index in range(40):
            for attempt in (0, 1):
                drawn = split.draw(4, 0, index, keyed_rng("t", index), attempt)
                assert len({subject(source[i].name) for i in drawn}) == 4
    with pytest.raises(Ssl4rlError, match=r"has 24 of 24 items \(8 without near-twins\), 9 are needed"):
        Split(source, "all").draw(9, 0, 0, keyed_rng("t"))


def test_the_embedded_photographs_are_split_as_before() -> None:
    source = open_sample()
    assert source.groups("look") == [source.id(i) for i in range(28)]
    assert Split(source, "held_out")._indices.tolist() == Split(source, "held_out", by="content")._indices.tolist()


def test_a_second_opening_reads_no_picture(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_folder(str(copies))
    groups = first.groups("look")
    monkeypatch.setattr(photo_module, "open_below", lambda root, name: pytest.fail(f"read {name}"))
    again = open_folder(str(copies))
    assert again.groups("look") == groups
    assert [again.id(i) for i in range(24)] == [first.id(i) for i in range(24)]


def test_changed_and_broken_files_are_looked_at_again(copies: Path) -> None:
    before = open_folder(str(copies))
    assert before.groups("look")
    shutil.copy(copies / "a" / "cat256.jpg", copies / "a" / "wine128.jpg")
    (copies / "b" / "cat200.jpg").write_bytes(b"no picture")
    after = open_folder(str(copies))
    groups = dict(zip((after[i].name for i in range(len(after))), after.groups("look") or [], strict=True))
    assert groups["a/wine128.jpg"] == groups["a/cat256.jpg"] != groups["b/wine200.jpg"]
    assert [problem.name for problem in after.problems] == ["b/cat200.jpg"]
    assert [problem.name for problem in open_folder(str(copies)).problems] == ["b/cat200.jpg"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY"])
def test_a_damaged_index_is_made_anew(copies: Path, damage: bytes) -> None:
    groups = open_folder(str(copies)).groups("look")
    tables = list((cache_folder() / "pictures").glob("*.npz"))
    assert len(tables) == 3
    for table in tables:
        table.write_bytes(damage)
    assert open_folder(str(copies)).groups("look") == groups
    assert all(table.read_bytes() != damage for table in tables)


def test_a_cut_off_index_is_made_anew(copies: Path) -> None:
    groups = open_folder(str(copies)).groups("look")
    for table in (cache_folder() / "pictures").glob("*.npz"):
        table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    assert open_folder(str(copies)).groups("look") == groups


def test_without_a_place_to_keep_it_everything_works(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copies.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(copies.parent / "file"))
    assert len(set(open_folder(str(copies)).groups("look") or [])) == 8


def _opened(folder: str) -> list[str]:
    return list(open_folder(folder).groups("look") or [])


def test_processes_that_open_it_together_agree(copies: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(_opened, [str(copies)] * 8, chunksize=1)
    assert all(groups == found[0] for groups in found)
    assert not list((cache_folder() / "pictures").glob(".*.tmp"))
    assert _opened(str(copies)) == found[0]


def test_what_changes_sides_is_said_once(copies: Path) -> None:
    """Copies of a picture are added until one has a smaller id on the other side."""
    source = open_folder(str(copies))
    group = dict(zip((source[i].name for i in range(24)), source.groups("look") or [], strict=True))["a/cat256.jpg"]
    assert Split(source).moved == ""
    data = (copies / "a" / "cat256.jpg").read_bytes()
    for number in range(4000):
        (copies / "a" / "cat999.jpg").write_bytes(data + number.to_bytes(4, "big"))
        new = photo_module.FilePhoto(str(copies), "a/cat999.jpg").check(thorough=False)
        if new < group and is_held_out(new, 0.2) != is_held_out(group, 0.2):
            break
    else:
        pytest.fail("no copy with such an id")
    moved = Split(open_folder(str(copies))).moved
    assert moved.startswith(f"3 items changed sides since {str(copies)!r} was last opened")
    assert Split(open_folder(str(copies))).moved == ""


def test_a_way_that_there_is_not_is_explained(copies: Path) -> None:
    with pytest.raises(Ssl4rlError, match="split_by is 'folder'; allowed for this data: content"):
        create_dataset("graph/hops", split_by="folder")
    with pytest.raises(Ssl4rlError, match="split_by is 'looks'; allowed for this data: look, content, folder"):
        create_dataset("vision/rotation", str(copies), split_by="looks")  # type: ignore[arg-type]


def test_links_that_lead_outside_and_folders_that_cannot_be_read(copies: Path) -> None:
    outside = copies.parent / "outside.jpg"
    shutil.copy(copies / "a" / "cat256.jpg", outside)
    (copies / "a" / "linked.jpg").symlink_to(outside)
    (copies / "a" / "inside.jpg").symlink_to(copies / "a" / "cat256.jpg")
    (copies / "nowhere.jpg").symlink_to(copies / "gone.jpg")
    os.mkfifo(copies / "pipe.jpg")
    source: PhotoSource = open_folder(str(copies))
    assert {p.name: p.why for p in source.problems} == {
        "a/linked.jpg": "a symbolic link that leads outside the folder",
        "nowhere.jpg": "no regular file",
        "pipe.jpg": "no regular file",
    }
    assert len(source) == 25
