"""Which pictures are twins, on the embedded photographs and copies of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssl4rl.vision.look.alike import fitted, same_colours, smoothed
from ssl4rl.vision.look.search import twins
from ssl4rl.vision.look.thumb import LOOK_BYTES, colours_of, content_box, grey_of, look_of
from ssl4rl.vision.sources import open_sample

TEXTURES = ("bricks", "deep_field", "grass", "gravel", "nebula")
"""Photographs of one texture throughout: what is left of them at 24 x 24 is not the same after a crop."""


@lru_cache(maxsize=1)
def photos() -> dict[str, Image.Image]:
    source = open_sample()
    return {source[i].name.removesuffix(".jpg"): source[i].decode(300) for i in range(len(source))}


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def corner(image: Image.Image) -> Image.Image:
    return image.crop((0, 0, round(0.9 * image.width), round(0.9 * image.height)))


def turned(image: Image.Image) -> Image.Image:
    width, height = image.size
    inner = (0.07 * width, 0.07 * height, 0.93 * width, 0.93 * height)
    return image.rotate(3, Image.Resampling.BICUBIC).crop(tuple(round(v) for v in inner))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "jpeg": lambda image: jpeg(image, 30),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "corner": corner,
    "turned": turned,
    "bright": lambda image: image.point([min(255, int(v * 1.1 + 5)) for v in range(256)] * 3),
}


def stacked(images: list[Image.Image]) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([np.frombuffer(look_of(image), np.uint8) for image in images])


def test_a_look_is_704_bytes() -> None:
    assert {len(look_of(image)) for image in photos().values()} == {LOOK_BYTES} == {704}


def test_no_two_of_the_embedded_photographs_are_twins() -> None:
    assert len(twins(stacked(list(photos().values())))) == 0


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_twins_of_their_original_and_of_nothing_else(how: str) -> None:
    kept = [image for name, image in photos().items() if name not in TEXTURES]
    found = twins(stacked([*kept, *map(COPIES[how], kept)]))
    n = len(kept)
    assert {tuple(sorted(pair)) for pair in found.tolist()} == {(i, i + n) for i in range(n)}


def test_only_pairs_with_something_new_are_looked_at() -> None:
    cat, wine = photos()["cat"], photos()["wine"]
    looks = stacked([cat, jpeg(cat, 30), wine, jpeg(wine, 30)])
    assert twins(looks, np.array([False, False, False, True])).tolist() == [[2, 3]]


def test_recoloured_pictures_are_twins_as_they_lie_and_not_once_moved() -> None:
    cat = photos()["cat"]
    grey = np.asarray(ImageOps.grayscale(cat), dtype=np.float64) / 255
    blue, yellow = (
        Image.fromarray((low + (np.array(high) - low) * grey[..., None]).astype(np.uint8))
        for low, high in ((np.array([0, 0, 90]), (90, 160, 255)), (np.array([90, 40, 0]), (255, 220, 60)))
    )
    grey_copy = ImageOps.grayscale(blue).convert("RGB")
    looks = stacked([blue, yellow, corner(yellow), grey_copy])
    assert not same_colours(colours_of(looks[:1]), colours_of(looks[1:2]))[0]
    pairs = {tuple(sorted(pair)) for pair in twins(looks[[0, 1]]).tolist()}
    assert pairs == {(0, 1)}
    assert len(twins(looks[[0, 2]])) == 0
    assert len(twins(looks[[3, 2]])) == 1


def test_pages_that_hardly_vary_are_twins_by_their_levels() -> None:
    pages = [Image.new("RGB", (64, 64), (v, v, v)) for v in (250, 251, 20)]
    assert twins(stacked([*pages, photos()["bricks"], jpeg(photos()["bricks"], 30)])).tolist() == [[0, 1], [3, 4]]


def test_the_content_of_a_page_is_what_is_looked_at() -> None:
    page = Image.new("RGB", (480, 480), "white")
    page.paste((0, 0, 0), (100, 200, 200, 400))
    assert content_box(page) == (100.0, 200.0, 200.0, 400.0)
    assert content_box(photos()["cat"]) == (0.0, 0.0, *map(float, photos()["cat"].size))


def test_a_fit_finds_the_shift() -> None:
    thumbs = smoothed(grey_of(stacked([photos()["palace"], corner(photos()["palace"])])))
    still = np.corrcoef(thumbs[0].ravel(), thumbs[1].ravel())[0, 1]
    start = np.array([[0.1, -0.1, 0, 0.1, 0, -0.1]])
    assert still < 0.9
    assert fitted(thumbs[1:], thumbs[:1], -start * [1, -1, 1, 1, 1, -1]) > 0.97
