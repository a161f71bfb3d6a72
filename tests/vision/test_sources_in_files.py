"""TSV, tar, parquet and hf: what they read, what they refuse, and what they say."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from ssl4rl.core.source import content_id
from ssl4rl.core.uri import split_options
from ssl4rl.vision.sources import open_hf, open_parquet, open_tar, open_tsv
from ssl4rl.vision.sources.base import expand_braces
from ssl4rl.vision.sources.hub import parse
from tests.vision.files import Pictures, b64, error, problems, write_parquet, write_tar, write_tsv

# --- tsv --------------------------------------------------------------------------------------------------------------


def test_tsv_lists_references_and_quotes(tmp_path: Path, pictures: Pictures) -> None:
    a, b, c = (b64(data) for data in pictures.values())
    quoted = '"which\tone\nis ""left""?"'
    source = open_tsv(
        write_tsv(
            tmp_path / "bench.tsv",
            ["index", "question", "image", "answer"],
            ["0", "plain", a, "A"],
            ["1", quoted, json.dumps([b, c]).replace('"', '""').join('""'), "B"],
            ["2", "Python's list", f"['{c}']", "C"],
            ["1000000", "refers back", "0", "A"],
            ["1000001", "refers ahead", "3", "A"],
            ["3", "data URL", "data:image/png;base64," + a, "A"],
        )
    )
    assert problems(source) == {}
    ids = [content_id(data) for data in pictures.values()]
    assert [source.id(i) for i in range(len(source))] == [ids[k] for k in (0, 1, 2, 2, 0, 0, 0)]
    assert [source[i].name for i in (0, 1, 2, 3)] == [
        "bench.tsv row 1",
        "bench.tsv row 2",
        "bench.tsv row 2 picture 2",
        "bench.tsv row 3",
    ]


def test_tsv_counts_bad_rows_by_number(tmp_path: Path, pictures: Pictures) -> None:
    a = b64(pictures["a.png"])
    path = tmp_path / "bench.tsv"
    write_tsv(
        path,
        ["index", "image"],
        ["0", a],
        ["1", a[:-2] + "!!"],
        ["2", a[: len(a) // 8 * 4]],
        ["3", ""],
        ["4", "77"],
        ["5", b64(b"not a picture at all, however long this sentence is made to be")],
        ["6", a, "too", "many"],
        ["7", "1"],
    )
    source = open_tsv(str(path))
    assert len(source) == 1
    found = problems(source)
    assert found.pop("bench.tsv row 3")  # whole base64 of half a picture: Pillow says what it misses
    assert found.pop("bench.tsv row 2").startswith("broken base64")
    assert found == {
        "bench.tsv row 4": "no picture",
        "bench.tsv row 5": "refers to row '77', which has no picture",
        "bench.tsv row 6": "no picture (or of an unknown format)",
        "bench.tsv row 7": "has 4 columns, the header 2",
    }


def test_tsv_image_paths_stay_inside_its_folder(tmp_path: Path, folder: Path, pictures: Pictures) -> None:
    (tmp_path / "secret.png").write_bytes(pictures["a.png"])
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    path = folder / "bench.tsv"
    paths = [
        "a.png",
        "['b.jpg', 'c.webp']",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "gone.png",
        "\0",
    ]
    source = open_tsv(write_tsv(path, ["index", "image_path"], *([str(i), p] for i, p in enumerate(paths))))
    assert [source[i].name for i in range(len(source))] == ["a.png", "b.jpg", "c.webp"]
    assert problems(source) == {
        "bench.tsv row 3": "'../secret.png' leads outside its folder",
        "bench.tsv row 4": f"'{tmp_path / 'secret.png'}' leads outside its folder",
        "bench.tsv row 5": "'link.png' leads outside its folder",
        "bench.tsv row 7": "'\\x00' is no path",
        "gone.png": "no such file or directory",
    }


def test_tsv_with_byte_order_mark_and_windows_line_ends(tmp_path: Path, pictures: Pictures) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(f"\ufeffimage\tindex\r\n{b64(pictures['a.png'])}\t0\r\n\r\n".encode())
    assert [problems(open_tsv(str(path))), len(open_tsv(str(path)))] == [{}, 1]


def test_tsv_errors(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tsv(Path("bench.tsv"), ["index", "question"], ["0", "?"])
    write_tsv(Path("bare.tsv"), ["index", "image"])
    write_tsv(Path("open.tsv"), ["index", "image"], ["0", '"' + b64(pictures["a.png"])], ["1", b64(pictures["b.jpg"])])
    Path("zero.tsv").touch()
    assert (
        error(open_tsv, "bench.tsv") == "'tsv:bench.tsv' has no column 'image' or 'image_path'; it has: index, question"
    )
    assert error(open_tsv, "zero.tsv") == "'tsv:zero.tsv' has no column 'image' or 'image_path'; it has: nothing"
    assert error(open_tsv, "bare.tsv") == "'tsv:bare.tsv' has no rows"
    assert error(open_tsv, "bensh.tsv") == "'tsv:bensh.tsv' does not exist; did you mean 'bench.tsv'?"
    assert error(open_tsv, ".") == "'tsv:.' is no TSV file; allowed: tsv:FILE.tsv"
    assert "broken base64" in error(open_tsv, "open.tsv")


# --- tar --------------------------------------------------------------------------------------------------------------


def test_tar_shards_by_glob_braces_and_folder(tmp_path: Path, pictures: Pictures) -> None:
    for shard, name in enumerate(pictures):
        members = {f"{shard}/{name}": pictures[name], f"{shard}/{name}.json": b"{}", f"{shard}/.{name}": b"hidden"}
        write_tar(tmp_path / f"s-{shard:04}.tar", members)
    for text in ("s-*.tar", "s-{0000..0002}.tar", "s-000{0,1,2}.tar", ""):
        source = open_tar(f"{tmp_path}/{text}")
        assert [source.id(i) for i in range(len(source))] == [content_id(data) for data in pictures.values()], text
        assert source[1].name == "s-0001.tar/1/b.jpg"
    assert problems(open_tar(f"{tmp_path}/s-{{0002..0004}}.tar")) == {
        f"{tmp_path}/s-0003.tar": "does not exist",
        f"{tmp_path}/s-0004.tar": "does not exist",
    }


def test_tar_members_that_leave_it_links_and_broken_shards(tmp_path: Path, pictures: Pictures) -> None:
    path = tmp_path / "x.tar"
    a = pictures["a.png"]
    with tarfile.open(path, "w") as archive:
        for name in ("../evil.png", "/etc/evil.png", "in/../../evil.png", "good.png", "broken.png"):
            data = b"text" if name == "broken.png" else a
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    source = open_tar(str(path))
    assert [source[i].name for i in range(len(source))] == ["x.tar/good.png"]
    outside = "its path leads outside the archive"
    assert problems(source) == {
        "x.tar/../evil.png": outside,
        "x.tar//etc/evil.png": outside,
        "x.tar/in/../../evil.png": outside,
        "x.tar/broken.png": "no picture (or of an unknown format)",
    }
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked
    torn = tmp_path / "torn.tar"
    cut = 512 + -(-len(a) // 512) * 512 + 512 + 100  # a header, a padded member, a header, a bit of the second member
    torn.write_bytes(Path(write_tar(tmp_path / "y.tar", {"1.png": a, "2.png": a})).read_bytes()[:cut])
    source = open_tar(str(torn))
    assert [source[i].name for i in range(len(source))] == ["torn.tar/1.png"]
    assert problems(source) == {"torn.tar/2.png": "the archive ends inside it"}


def test_tar_errors(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tar(Path("x.tar.gz"), pictures, "w:gz")
    write_tar(Path("bare.tar"), {"readme.txt": b"hello"})
    Path("text.tar").write_text("hello")
    assert error(open_tar, "x.tar.gz") == (
        "'x.tar.gz' is compressed (gzip); only plain tar files can be read at random; unpack it"
    )
    assert error(open_tar, "bare.tar").startswith("'tar:bare.tar' holds no picture; allowed: members named .jpg")
    assert error(open_tar, "text.tar").startswith(
        "tar:text.tar: none of its 1 pictures can be used (text.tar: no tar file"
    )
    assert error(open_tar, "bear.tar") == "'tar:bear.tar' does not exist; did you mean 'bare.tar'?"
    assert error(open_tar, "s-*.tar") == "'tar:s-*.tar' matches no .tar file"
    assert error(open_tar, "") == "'tar:' names no file; for example tar:data.tar"


def test_braces() -> None:
    assert expand_braces("s-{08..10}.{a,b}") == ["s-08.a", "s-08.b", "s-09.a", "s-09.b", "s-10.a", "s-10.b"]
    assert expand_braces("s-{8..10}") == ["s-8", "s-9", "s-10"]
    assert expand_braces("{x}") == ["{x}"]
    assert error(expand_braces, "{0..9999999999}") == (
        "'{0..9999999999}': it asks for more than allowed: 100000 file names that one URI stands for; "
        "set SSL4RL_NAMES for more"
    )


# --- parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_bytes_lists_and_chosen_columns(tmp_path: Path, pictures: Pictures) -> None:
    a, b, c = pictures.values()
    path = write_parquet(tmp_path / "x.parquet", mask=[c, b, a], photo=[a, b, c], pages=[[a, b], [], [c]])
    assert [open_parquet(path).id(i) for i in range(3)] == [content_id(data) for data in (a, b, c)]
    assert open_parquet(f"{path}?column=mask").id(0) == content_id(c)
    pages = open_parquet(f"{tmp_path}?column=pages")
    assert [pages.id(i) for i in range(len(pages))] == [content_id(data) for data in (a, b, c)]
    assert problems(pages) == {"x.parquet row 2": "no picture"}


def test_parquet_bad_cells_and_paths(tmp_path: Path, folder: Path, pictures: Pictures) -> None:
    (tmp_path / "secret.png").write_bytes(pictures["a.png"])
    cells = [
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": "../secret.png"},
        None,
        {"bytes": b"text", "path": "a.png"},
        {"bytes": pictures["b.jpg"], "path": "/elsewhere/b.jpg"},
    ]
    source = open_parquet(write_parquet(folder / "x.parquet", image=cells))
    assert [source.id(i) for i in range(len(source))] == [content_id(pictures[name]) for name in ("a.png", "b.jpg")]
    assert problems(source) == {
        "x.parquet row 2": "'../secret.png' leads outside its folder",
        "x.parquet row 3": "no picture",
        "x.parquet row 4": "no picture (or of an unknown format)",
    }


def test_parquet_errors(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a = pictures["a.png"]
    write_parquet(Path("x.parquet"), left=[a], right=[a])
    write_parquet(Path("y.parquet"), question=["?"], answer=[1])
    Path("z.parquet").write_text("hello")
    assert error(open_parquet, "x.parquet") == (
        "'parquet:x.parquet' has several columns of pictures; add ?column=NAME, one of: left, right"
    )
    assert error(open_parquet, "x.parquet?column=rihgt").endswith("has no column 'rihgt'; did you mean 'right'?")
    assert error(open_parquet, "x.parquet?colum=left").endswith("unknown option 'colum'; did you mean 'column'?")
    assert error(open_parquet, "y.parquet") == (
        "'parquet:y.parquet' has no column of pictures (bytes or {bytes, path}); it has: question, answer"
    )
    assert error(open_parquet, "z.parquet").startswith("parquet:z.parquet: none of its 1 pictures can be used")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert error(open_parquet, "x.parquet") == "parquet: needs pyarrow, which is not installed; pip install pyarrow"


def test_question_marks_that_are_no_options() -> None:
    assert split_options("parquet", "part-?.parquet", ["column"]) == ("part-?.parquet", {})
    assert split_options("parquet", "x?column=b", ["column"]) == ("x", {"column": "b"})


# --- hf ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    library = pytest.importorskip("datasets")
    for name in ("HF_DATASETS_CACHE", "HF_CACHE_HOME"):
        monkeypatch.setattr(library.config, name, tmp_path / "cache")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    return library


def test_hf_saved_dataset(tmp_path: Path, pictures: Pictures, datasets: object) -> None:
    library = pytest.importorskip("datasets")
    cells = [{"bytes": data, "path": None} for data in pictures.values()] + [{"bytes": b"text", "path": None}, None]
    dataset = library.Dataset.from_dict({"text": list("abcde"), "photo": cells}).cast_column("photo", library.Image())
    dataset.save_to_disk(str(tmp_path / "one"))
    source = open_hf(str(tmp_path / "one"))
    assert [source.id(i) for i in range(len(source))] == [content_id(data) for data in pictures.values()]
    assert source[0].decode(16).tobytes() == Image.open(io.BytesIO(pictures["a.png"])).tobytes()
    assert problems(source) == {"row 4": "no picture (or of an unknown format)", "row 5": "no picture"}
    library.DatasetDict({"test": dataset, "val": dataset.select([0])}).save_to_disk(str(tmp_path / "two"))
    assert len(open_hf(f"{tmp_path}/two#test")) == 3
    assert len(open_hf(f"{tmp_path}/two?column=photo#val")) == 1
    assert error(open_hf, f"{tmp_path}/two").endswith("has no split 'train'; allowed: test, val")


def test_hf_folder_of_pictures_and_of_parquet(
    tmp_path: Path, folder: Path, pictures: Pictures, datasets: object
) -> None:
    expected = sorted(content_id(data) for data in pictures.values())
    source = open_hf(str(folder))
    assert sorted(source.id(i) for i in range(len(source))) == expected
    (tmp_path / "table").mkdir()
    write_parquet(
        tmp_path / "table" / "train.parquet", image=[{"bytes": data, "path": None} for data in pictures.values()]
    )
    source = open_hf(f"{tmp_path}/table#train[:2]")
    assert len(source) == 2


def test_hf_errors(tmp_path: Path, datasets: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert error(open_hf, "./emty") == "'hf:./emty' does not exist; did you mean 'empty'?"
    assert error(open_hf, "empty").startswith("'hf:empty' cannot be loaded: ")
    assert error(open_hf, "").startswith("'hf:' names no dataset; allowed: hf:PATH_OR_ID")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert (
        error(open_hf, "owner/name") == "hf: needs the datasets library, which is not installed; pip install datasets"
    )


def test_hf_grammar() -> None:
    assert parse("owner/name") == ("owner/name", None, None, None)
    assert parse("owner/name@small#test[:10]") == ("owner/name", "small", "test[:10]", None)
    assert parse("owner/name?column=photo#val") == ("owner/name", None, "val", "photo")


def test_a_table_of_very_many_rows_that_cannot_be_used_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL4RL_PROBLEMS", "50")
    table = write_tsv(tmp_path / "x.tsv", ["index", "image"], *([str(n), "gone"] for n in range(60)))
    assert error(open_tsv, table) == (
        f"tsv:{table}: more than 50 rows of one table or text that cannot be used (x.tsv row 1: refers to row 'gone', "
        "which has no picture); set SSL4RL_PROBLEMS for more"
    )
    table = write_tsv(tmp_path / "y.tsv", ["index", "image"], *([str(n), "gone", "more"] for n in range(60)))
    assert "y.tsv row 1: has 3 columns, the header 2); set SSL4RL_PROBLEMS" in error(open_tsv, table)
    monkeypatch.setenv("SSL4RL_PICTURES", "55")
    assert error(open_tsv, str(tmp_path / "x.tsv")).endswith("set SSL4RL_PICTURES for more")
