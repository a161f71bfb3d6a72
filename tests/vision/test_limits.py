"""No input hangs, none takes all memory, none leads outside: what is refused, when, and what is said."""

from __future__ import annotations

import contextlib
import io
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.vision.photo import BytesPhoto, FilePhoto
from ssl4rl.vision.sources import open_folder, open_hf, open_parquet, open_tar, open_tsv
from ssl4rl.vision.sources.base import expand_braces
from ssl4rl.vision.sources.parquet import _read_group, require_small_groups, written_out
from ssl4rl.vision.sources.tsv import parts_of, records
from tests.hostile.containers import _member
from tests.hostile.corpus import encode, noise
from tests.vision.files import Pictures, b64, encoded, error, problems, write_parquet, write_tsv


def test_pipes_are_refused_and_not_waited_for(tmp_path: Path, pictures: Pictures) -> None:
    for name in ("x.tar", "x.tsv", "x.parquet"):
        os.mkfifo(tmp_path / name)
    for opener, name in ((open_tar, "x.tar"), (open_tsv, "x.tsv"), (open_parquet, "x.parquet")):
        assert "is a named pipe; allowed: regular files" in error(opener, str(tmp_path / name))
    assert "is a named pipe" in error(open_folder, str(tmp_path / "x.tar"))
    pytest.importorskip("datasets")
    assert "is a named pipe" in error(open_hf, str(tmp_path))


def test_pipes_that_tables_name_are_problems(tmp_path: Path, pictures: Pictures) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "a.png").write_bytes(pictures["a.png"])
    table = write_tsv(tmp_path / "x.tsv", ["index", "image_path"], ["0", "pipe.png"], ["1", "a.png"])
    assert problems(open_tsv(table)) == {"pipe.png": "no regular file"}
    cells = [{"bytes": None, "path": "pipe.png"}, {"bytes": pictures["a.png"], "path": None}]
    assert problems(open_parquet(write_parquet(tmp_path / "x.parquet", image=cells))) == {
        "x.parquet row 1": "no regular file"
    }


def test_a_picture_that_becomes_a_link_to_the_outside_is_refused_then(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.png").write_bytes(encoded(9))
    (folder / "sub").mkdir()
    (folder / "sub" / "a.png").write_bytes(encoded(8))
    source = open_folder(str(folder))
    at = {source[i].name: source[i] for i in range(len(source))}
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(tmp_path / "secret" / "a.png")
    (folder / "sub" / "a.png").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(tmp_path / "secret")
    for name in ("a.png", "sub/a.png"):
        with pytest.raises(Unusable, match=rf"^{name}: '{name}' leads outside its folder$"):
            at[name].decode(8)
    (folder / "b.jpg").unlink()
    os.mkfifo(folder / "b.jpg")
    with pytest.raises(Unusable, match=r"^b\.jpg: no regular file$"):
        at["b.jpg"].decode(8)


def test_json_lists_of_paths(tmp_path: Path, pictures: Pictures) -> None:
    for name in ("photo, 2019.jpg", "Zürich.jpg", "plain.jpg"):
        (tmp_path / name).write_bytes(pictures["b.jpg"])
    rows = [["0", json.dumps(["photo, 2019.jpg", "plain.jpg"])], ["1", json.dumps(["Zürich.jpg"])]]
    rows += [["2", "['photo, 2019.jpg', \"Zürich.jpg\"]"], ["3", "[1, 2]"]]
    source = open_tsv(write_tsv(tmp_path / "x.tsv", ["index", "image_path"], *rows))
    names = ["photo, 2019.jpg", "plain.jpg", "Zürich.jpg", "photo, 2019.jpg", "Zürich.jpg"]
    assert [source[i].name for i in range(len(source))] == names
    assert problems(source) == {"x.tsv row 4": "its list holds something else than texts"}


def test_a_truncated_multi_picture_jpeg_is_named_at_opening(tmp_path: Path, folder: Path) -> None:
    whole = encode(noise(0, 2200, 2000), "MPO", save_all=True, append_images=[noise(1, 64, 48)])
    (folder / "phone.jpg").write_bytes(whole[: len(whole) // 3])
    assert problems(open_folder(str(folder)))["phone.jpg"].startswith("image file is truncated")


@pytest.mark.parametrize("size", [-1, -512, -1024, -(2**40)])
def test_tar_members_of_negative_size_end_the_reading(tmp_path: Path, pictures: Pictures, size: int) -> None:
    good, png = pictures["a.png"], pictures["a.png"]
    (tmp_path / "x.tar").write_bytes(_member("good.png", good) + _member("b.png", png, size=size) + bytes(1024))
    source = open_tar(str(tmp_path / "x.tar"))
    assert [source[i].name for i in range(len(source))] == ["x.tar/good.png"]


def test_rows_of_very_many_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = b64(encoded(0, size=(8, 8)))
    monkeypatch.setenv("SSL4RL_PICTURES_PER_ROW", "300")
    crowd = write_tsv(tmp_path / "x.tsv", ["index", "image"], ["0", json.dumps([tiny] * 301)], ["1", tiny])
    said = "301 pictures; allowed: 300 pictures in one row of a table (SSL4RL_PICTURES_PER_ROW)"
    assert problems(open_tsv(crowd)) == {"x.tsv row 1": said}
    table = write_parquet(tmp_path / "x.parquet", image=[[encoded(0, size=(8, 8))] * 301, [encoded(1)]])
    assert problems(open_parquet(table)) == {"x.parquet row 1": said}
    monkeypatch.setenv("SSL4RL_PICTURES_PER_ROW", "301")
    assert len(open_tsv(crowd)) == 302
    assert len(open_parquet(table)) == 302


def test_braces_are_counted_before_they_are_expanded() -> None:
    for text in ("{a,b}" * 40, "{0..99999}" * 4, "{" + "," * 200_000 + "}", "{0..9999999999}"):
        assert "more than allowed: 100000 file names that one URI stands for" in error(expand_braces, text)
    assert error(expand_braces, "{9..0}") == "'{9..0}' counts backwards; allowed: {first..last}"
    assert expand_braces("{" * 5000) == ["{" * 5000]


def test_limits_are_moved_by_their_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = BytesPhoto(encoded(0, size=(1500, 1000)), "x.png")
    assert photo.decode(8).size == (1500, 1000)
    monkeypatch.setenv("SSL4RL_PICTURE_MIB", "5")
    said = r"^x\.png: 1500x1000 RGB takes 11 MiB to decode; allowed: 5 MiB that .* \(SSL4RL_PICTURE_MIB\)$"
    with pytest.raises(Unusable, match=said):
        photo.decode(8)
    monkeypatch.setenv("SSL4RL_PICTURE_MIB", "many")
    with pytest.raises(Ssl4rlError, match="allowed: a whole number above 0"):
        photo.decode(8)


def test_a_tail_is_no_part_of_a_picture(tmp_path: Path) -> None:
    for name, kind in (("x.webp", "WEBP"), ("y.png", "PNG")):
        (tmp_path / name).write_bytes(encoded(0, kind))
        os.truncate(tmp_path / name, 3 << 30)
        assert FilePhoto(str(tmp_path), name).decode(8).size == (24, 16)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text("[]\"',\\ab\t\n0", max_size=60).map(str.encode))
def test_any_bytes_are_rows_that_cover_them(data: bytes) -> None:
    rows = list(records(io.BytesIO(data)))
    assert [row.number for row in rows] == list(range(len(rows)))
    assert all(a.offset + a.size <= b.offset for a, b in pairwise(rows))
    for row in rows:
        (again,) = records(io.BytesIO(data[row.offset : row.offset + row.size]))
        assert again.fields == row.fields
        for field in row.fields:
            with contextlib.suppress(Unusable):  # a JSON list of something else than texts
                assert all(isinstance(part, bytes) for part in parts_of(field))


_WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=5))
def test_lists_come_back_as_they_were_written(values: list[str]) -> None:
    expected = [value.encode() for value in values]
    assert parts_of(json.dumps(values).encode()) == expected
    assert parts_of(json.dumps(values, ensure_ascii=False).encode()) == expected
    assert parts_of(repr(values).encode()) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_WORDS, min_size=2, max_size=2), min_size=1, max_size=4))
def test_quoted_cells_come_back_as_they_were_written(table: list[list[str]]) -> None:
    quoted = "".join("\t".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in table)
    rows = list(records(io.BytesIO(quoted.encode())))
    assert [[cell.decode() for cell in row.fields] for row in rows] == table


@pytest.mark.parametrize("kind", ["bytes", "struct", "list"])
def test_dictionaries_are_counted_as_they_are_written_out(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred kilobytes that the datasets library would make 20 MB of; the same once with room for it."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    picture = encode(noise(0, 200, 170), "PNG")  # 100 kB
    cells = {"bytes": [picture], "struct": [{"bytes": picture, "path": "a"}], "list": [[picture] * 2]}[kind]
    file = tmp_path / "train.parquet"
    parquet.write_table(arrow.table({"image": cells * (100 if kind == "list" else 200)}), file)
    assert file.stat().st_size < 250_000
    inside = written_out(_read_group(str(file), 0, "image"))
    assert 200 * len(picture) <= inside < 201 * len(picture)
    monkeypatch.setenv("SSL4RL_ROW_GROUP_MIB", "18")
    said = "a row group of train.parquet asks for more than allowed: 18 MiB of pictures"
    assert said in error(open_hf, str(tmp_path))
    monkeypatch.setenv("SSL4RL_ROW_GROUP_MIB", "20")
    require_small_groups("hf:x", file)


def test_archives_are_not_unpacked(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "images.zip").write_bytes(b"PK")
    assert "images.zip is an archive, unpack it; allowed: parquet, pictures" in error(open_hf, str(tmp_path))


def test_tables_of_pictures_say_their_column(tmp_path: Path, pictures: Pictures) -> None:
    table = write_tsv(
        tmp_path / "x.tsv", ["index", "image", "text"], ["0", b64(pictures["a.png"]), "a"], ["1", "", "b"]
    )
    assert open_tsv(table).taken == "column 'image' of 3, header, 1 pictures, 1 not usable"
    write_parquet(tmp_path / "x.parquet", photo=[pictures["a.png"]], n=[1])
    assert open_parquet(str(tmp_path / "x.parquet")).taken == "column 'photo' of 2, 1 pictures, 0 not usable"
