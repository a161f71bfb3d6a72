"""Clips on disk: frames by number, animations, films, and what is no clip."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.video.sources import open_path


def greys(count: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """Frame k is grey 20 k."""
    return [Image.new("RGB", size, (20 * k,) * 3) for k in range(count)]


def shades(frames: list[Image.Image]) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 20) for frame in frames]


def film(path: Path, count: int) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in greys(count):
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def test_a_folder_of_clips(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    for k, frame in enumerate(greys(11)):
        (root / "walk").mkdir(parents=True, exist_ok=True)
        frame.save(root / "walk" / f"frame{k}.png")
    (root / "short").mkdir()
    greys(1)[0].save(root / "short" / "a.png")
    first, *rest = greys(6)
    first.save(root / "b.gif", save_all=True, append_images=rest)
    first.save(root / "c.webp", save_all=True, append_images=rest, lossless=True)
    first.save(root / "still.gif")
    (root / "broken.gif").write_bytes(b"GIF89a no more")
    (root / "broken.mp4").write_bytes(b"\0" * 64)
    (root / "out.gif").symlink_to(tmp_path / "outside.gif")
    first.save(tmp_path / "outside.gif", save_all=True, append_images=rest)
    os.mkfifo(root / "pipe.mkv")
    film(root / "d.mp4", 12)
    source = open_path(str(root))
    assert source.taken == "4 clips: 1 folders of frames, 2 animations, 1 films"
    assert [len(source[i]) for i in range(4)] == [11, 6, 6, 12]
    assert shades(source[0].frames([2, 9, 10], 48)) == [2, 9, 10]  # frame2 before frame10
    assert shades(source[1].frames([1, 4], 48)) == shades(source[2].frames([1, 4], 48)) == [1, 4]
    assert shades(source[3].frames([0, 3, 7, 11], 48)) == [0, 3, 7, 11]
    assert len({source.id(i) for i in range(4)}) == 4
    why = {problem.name: problem.why for problem in source.problems}
    assert {name: text.partition(";")[0] for name, text in why.items()} == {
        "short": "1 pictures",
        "still.gif": "1 frames",
        "broken.gif": why["broken.gif"],
        "broken.mp4": why["broken.mp4"],
        "out.gif": "'out.gif' leads outside its folder",
        "pipe.mkv": "no regular file",
    }


def test_frames_are_averaged_down_and_of_one_size(tmp_path: Path) -> None:
    for k, frame in enumerate(greys(5, (400, 300))):
        frame.save(tmp_path / f"{k}.png")
    (clip,) = [open_path(str(tmp_path))[0]]
    assert {frame.size for frame in clip.frames([1, 2], 300)} == {(400, 300)}
    greys(1, (300, 300))[0].save(tmp_path / "3.png")
    with pytest.raises(Unusable, match="its frames have different sizes"):
        open_path(str(tmp_path))[0].frames([1, 3], 300)


def test_an_animation_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = greys(8, (800, 600))
    first.save(tmp_path / "large.gif", save_all=True, append_images=rest)
    monkeypatch.setenv("SSL4RL_PICTURE_WORK", "3")
    with pytest.raises(Ssl4rlError, match=r"8 frames of 800x600 px; allowed: 3 million pixels"):
        open_path(str(tmp_path))


def test_one_file_and_what_is_no_clip(tmp_path: Path) -> None:
    first, *rest = greys(6)
    first.save(tmp_path / "b.gif", save_all=True, append_images=rest)
    assert len(open_path(str(tmp_path / "b.gif"))) == 1
    (tmp_path / "notes.txt").write_text("no clip")
    (tmp_path / "empty").mkdir()
    for uri, error in (
        ("", "no folder of clips is named"),
        (str(tmp_path / "notes.txt"), r"notes\.txt is no clip; allowed: a folder, \.gif"),
        (str(tmp_path / "emty"), r"does not exist.*did you mean"),
        (str(tmp_path / "empty"), "no clip was found; allowed: folders of 4 pictures or more"),
    ):
        with pytest.raises(Ssl4rlError, match=error):
            open_path(uri)
