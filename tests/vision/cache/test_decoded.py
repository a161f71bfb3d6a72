"""Pictures kept as they were decoded: the same pixels at every visit, whatever happens to the folder they lie in."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from ssl4rl import Ssl4rlError, create_dataset
from ssl4rl.core import registry
from ssl4rl.vision import TASKS
from ssl4rl.vision.cache import decoded
from ssl4rl.vision.cache.decoded import pixels_folder
from ssl4rl.vision.photo import BytesPhoto, EncodedPhoto, FilePhoto
from ssl4rl.vision.sources import open_folder, open_sample, open_tar
from tests.vision.files import write_tar

VARIABLE = "SSL4RL_PIXEL_CACHE_MIB"
LONG_AGO_S = 1_700_000_000
EIGHTH = (250, 188)  # of the pictures below, by any need of up to 187 px


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(decoded, "_said", False)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photographs of three megapixels, last changed long ago."""
    folder = tmp_path_factory.mktemp("large")
    sample = open_sample()
    for number in range(8):
        sample[number].decode(256).resize((2000, 1500)).save(folder / f"{number}.jpg", quality=85)
        os.utime(folder / f"{number}.jpg", (LONG_AGO_S, LONG_AGO_S))
    return folder


@pytest.fixture
def one(large: Path, tmp_path: Path) -> FilePhoto:
    """One of them, that may be written over."""
    return rewritten(FilePhoto(str(tmp_path), "one.jpg"), (large / "0.jpg").read_bytes())


def rewritten(photo: FilePhoto, data: bytes, time_s: float = LONG_AGO_S) -> FilePhoto:
    file = Path(photo.root) / photo.name
    file.write_bytes(data)
    os.utime(file, (time_s, time_s))
    return photo


def jpeg(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def kept() -> list[Path]:
    """What is kept, drafts too."""
    return sorted(pixels_folder().iterdir()) if pixels_folder().exists() else []


def plainly(photo: EncodedPhoto, min_side_px: int) -> Image.Image:
    """Decoded without anything kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "0")
        return photo.decode(min_side_px)


def same(one: Image.Image, other: Image.Image) -> bool:
    return (one.mode, one.size, one.info, one.tobytes()) == (other.mode, other.size, other.info, other.tobytes())


class Counted(io.BytesIO):
    asked = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.asked += len(found)
        return found


class CountedPhoto(EncodedPhoto):
    """Counts the bytes that are read of it."""

    name = "counted"

    def __init__(self, data: bytes) -> None:
        self.stream, self.data = Counted(), data

    def open(self) -> BinaryIO:
        self.stream = Counted(self.data)
        return self.stream

    def stamp(self, file: BinaryIO) -> bytes | None:
        return b"counted"


def test_a_second_visit_reads_the_header_alone(large: Path) -> None:
    photo = CountedPhoto((large / "0.jpg").read_bytes())
    first = photo.decode(400)
    assert photo.stream.asked >= len(photo.data)
    second = photo.decode(500)  # another need, the same scale
    assert photo.stream.asked < len(photo.data) / 4
    assert same(first, second)
    assert first.size == (1000, 750)
    assert [file.stat().st_size for file in kept()] == [36 + 3 * 1000 * 750]


def variants() -> dict[str, Callable[[Image.Image], bytes]]:
    found: dict[str, Callable[[Image.Image], bytes]] = {
        "progressive": lambda image: jpeg(image, progressive=True),
        "grey": lambda image: jpeg(image.convert("L")),
        "CMYK": lambda image: jpeg(image.convert("CMYK")),
        "odd sides": lambda image: jpeg(image.crop((0, 0, 1999, 1499))),
        "two pictures": lambda image: jpeg(image, "MPO", save_all=True, append_images=[image]),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"orientation {orientation}"] = lambda image, exif=exif: jpeg(image, exif=exif)  # type: ignore[misc]
    return found


@pytest.mark.parametrize("variant", list(variants()))
def test_every_kind_comes_out_pixel_for_pixel(large: Path, variant: str) -> None:
    with Image.open(large / "1.jpg") as image:
        photo = BytesPhoto(variants()[variant](image))
    for need_px in (100, 300, 700):
        plain = plainly(photo, need_px)
        assert same(photo.decode(need_px), plain)
        assert same(photo.decode(need_px), plain)
    assert len(kept()) == 3


def test_examples_are_the_same_bytes_with_and_without(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task, at its first and last level: nothing kept, kept now, kept before."""
    digests: list[list[str]] = []
    for mib in ("0", "512", "512"):
        monkeypatch.setenv(VARIABLE, mib)
        found = []
        for task in TASKS:
            if task != "depth_order":
                levels = list(registry.resolve(f"vision/{task}")[0].levels)
                for level in (levels[0], levels[-1]):
                    data = create_dataset(f"vision/{task}", str(large), level=level, split="all")
                    found += [data[index].digest() for index in range(3)]
        digests.append(found)
    assert kept()
    assert len(set(digests[0])) == len(digests[0]) == 54
    assert digests[0] == digests[1] == digests[2]


def test_small_pictures_other_formats_and_whole_ones_are_not_kept(large: Path) -> None:
    with Image.open(large / "2.jpg") as image:
        BytesPhoto(jpeg(image.resize((1600, 1200)))).decode(100)
        BytesPhoto(jpeg(image, "PNG")).decode(100)
        BytesPhoto(jpeg(image)).decode(751)  # 750 would do with half
    assert kept() == []


def test_looks_are_kept_elsewhere(large: Path) -> None:
    assert len(set(open_folder(str(large)).groups("look") or [])) == 8
    assert kept() == []
    open_folder(str(large), keep=False)[0].decode(100)
    assert kept() == []
    open_folder(str(large))[0].decode(100)
    assert len(kept()) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "a bit", "another's", "header", "pipe"])
def test_what_is_not_whole_is_made_anew(one: FilePhoto, large: Path, damage: str) -> None:
    plain = one.decode(100)
    (entry,) = kept()
    whole = entry.read_bytes()
    rewritten(FilePhoto(one.root, "other.jpg"), (large / "1.jpg").read_bytes()).decode(100)
    (other,) = set(kept()) - {entry}
    changed = {
        "cut": whole[:-1000],
        "empty": b"",
        "longer": whole + b"\0",
        "a bit": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
        "another's": other.read_bytes(),
        "header": b"\0" * 36 + whole[36:],
    }
    if damage == "pipe":
        entry.unlink()
        os.mkfifo(entry)
    else:
        entry.write_bytes(changed[damage])
    assert same(one.decode(100), plain)
    assert entry.read_bytes() == whole


def test_a_changed_file_is_decoded_anew(one: FilePhoto, large: Path) -> None:
    before = one.decode(100)
    rewritten(one, (large / "3.jpg").read_bytes(), LONG_AGO_S + 1)
    assert not same(one.decode(100), before)
    assert same(one.decode(100), plainly(one, 100))
    assert len(kept()) == 2


def test_a_file_that_was_changed_just_now_is_not_kept(one: FilePhoto) -> None:
    os.utime(Path(one.root) / one.name)
    one.decode(100)
    assert kept() == []


def test_pictures_in_an_archive_are_kept_by_their_place(large: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar", {f"{n}.jpg": (large / f"{n}.jpg").read_bytes() for n in (4, 5)})
    os.utime(archive, (LONG_AGO_S, LONG_AGO_S))
    source = open_tar(archive)
    for _ in range(2):
        for index in range(2):
            assert same(source[index].decode(100), plainly(source[index], 100))
    assert len(kept()) == 2


def test_no_more_is_kept_than_may_be_and_the_oldest_goes(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    photos = [FilePhoto(str(large), f"{number}.jpg") for number in range(8)]
    entries: list[Path] = []
    for photo in photos[:7]:  # 141,036 bytes each: seven are .94 MiB
        photo.decode(100)
        (new,) = set(kept()) - set(entries)
        entries.append(new)
        os.utime(new, (LONG_AGO_S + len(entries),) * 2)
    photos[0].decode(100)  # used, so it is the newest now
    photos[7].decode(100)  # one too many: two go, since room is made to a sixteenth below the limit
    assert set(kept()) >= {entries[0], *entries[3:7]}
    assert not {entries[1], entries[2]} & set(kept())
    assert sum(file.stat().st_size for file in kept()) <= 15 << 16


def test_drafts_of_killed_processes_go_as_well(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    pixels_folder().mkdir(parents=True)
    draft = pixels_folder() / f".{'0' * 32}.1.00000000.tmp"
    draft.write_bytes(bytes(1 << 20))
    os.utime(draft, (LONG_AGO_S, LONG_AGO_S))
    FilePhoto(str(large), "0.jpg").decode(100)
    assert not draft.exists()
    assert len(kept()) == 1


def test_a_picture_larger_than_the_limit_is_not_kept(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    FilePhoto(str(large), "0.jpg").decode(700)
    assert kept() == []


def test_0_neither_keeps_nor_reads(one: FilePhoto, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = one.decode(100)
    (entry,) = kept()
    name = bytes.fromhex(entry.name)
    decoded.keep(name, Image.new("RGB", EIGHTH, "red"))
    assert one.decode(100).getpixel((0, 0)) == (255, 0, 0)  # what is kept is what is read
    monkeypatch.setenv(VARIABLE, "0")
    assert same(one.decode(100), plain)
    monkeypatch.setenv(VARIABLE, "lots")
    with pytest.raises(Ssl4rlError, match=r"SSL4RL_PIXEL_CACHE_MIB='lots'; allowed: a whole number from 0 on \(MiB of"):
        one.decode(100)


def test_without_a_place_it_goes_on_and_says_so_once(one: FilePhoto, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.warns(RuntimeWarning, match=r"decoded pictures cannot be kept in .*; SSL4RL_PIXEL_CACHE_MIB=0") as said:
        pictures = [one.decode(100), one.decode(100), one.decode(300)]
    assert len(said) == 1
    assert same(pictures[0], plainly(one, 100))


def test_on_a_disk_that_is_nearly_full_nothing_is_kept(one: FilePhoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "_SPARE", 1 << 60)
    with pytest.warns(RuntimeWarning, match=r"pictures cannot be kept in .* \(less than 1099511627776 MiB are free\)"):
        one.decode(100)
    assert kept() == []


def _full(folder: str) -> None:
    """What a process says whose disk is full: it may write files of up to 100 KB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    photo = FilePhoto(folder, "0.jpg")
    sys.exit(0 if same(photo.decode(100), photo.decode(100)) and same(photo.decode(100), plainly(photo, 100)) else 1)


def test_a_write_that_fails_leaves_nothing_behind(large: Path) -> None:
    code = f"from tests.vision.cache.test_decoded import _full; _full({str(large)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be kept") == 1
    assert "(file too large)" in done.stderr
    assert kept() == []


def test_a_cache_that_may_only_be_read_is_read(one: FilePhoto) -> None:
    plain = one.decode(100)
    with _nobody():
        with contextlib.suppress(PermissionError):
            (pixels_folder() / "tried").touch()
        assert len(kept()) == 1
        assert same(one.decode(100), plain)
        with pytest.warns(RuntimeWarning, match=r"\(permission denied\)"):
            one.decode(300)
    assert len(kept()) == 1


@contextlib.contextmanager
def _nobody() -> Any:
    """The pixels' folder is another's, or read only."""
    folder = pixels_folder()
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    modes = {path: path.stat().st_mode for path in (folder, *folder.parents) if path.stat().st_mode & 0o005 != 0o005}
    for path, mode in modes.items():
        path.chmod(mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


def _visit(folder: str) -> list[bytes]:
    return [FilePhoto(folder, f"{number}.jpg").decode(100).tobytes() for number in range(8)] * 2


def test_processes_that_write_at_the_same_time_agree(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight pictures where seven have room: each process deletes what others read and write."""
    monkeypatch.setenv(VARIABLE, "1")
    expected = [plainly(FilePhoto(str(large), f"{number}.jpg"), 100).tobytes() for number in range(8)] * 2
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(_visit, [str(large)] * 12, chunksize=1)
    assert all(pixels == expected for pixels in found)
    assert kept()
    assert not [file for file in kept() if file.suffix == ".tmp"]
    assert sum(file.stat().st_size for file in kept()) <= (1 << 20) + 3 * 141_036


def test_pixels_of_other_libraries_are_not_taken(one: FilePhoto, monkeypatch: pytest.MonkeyPatch) -> None:
    one.decode(100)
    monkeypatch.setattr("PIL.__version__", "0.0")
    decoded._decoder.cache_clear()
    try:
        one.decode(100)
        assert len(kept()) == 2
    finally:
        monkeypatch.undo()
        decoded._decoder.cache_clear()


def test_deleting_the_folder_is_no_fault(one: FilePhoto) -> None:
    one.decode(100)
    shutil.rmtree(pixels_folder())
    one.decode(100)
    assert len(kept()) == 1
