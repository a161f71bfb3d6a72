"""Pictures that hold arrays, and synthetic ones whose content is plain to see."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ssl4rl.core.source import Source, content_id
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Example, Unusable
from ssl4rl.vision.photo import Depth, Photo

Array = np.ndarray[Any, np.dtype[Any]]


class ArrayPhoto(Photo):
    """A photo out of an array of shape (height, width, 3), uint8; it comes at its own size whatever is asked."""

    def __init__(self, array: Array) -> None:
        self.array = np.ascontiguousarray(array, dtype=np.uint8)

    def decode(self, min_side_px: int) -> Image.Image:
        return Image.fromarray(self.array)


class DeepPhoto(ArrayPhoto):
    """An array with the depth it was made for."""

    def __init__(self, array: Array, depth: Array) -> None:
        super().__init__(array)
        self.far = depth.astype(np.float32)

    def depth(self) -> Depth:
        return self.far


class ArraySource(Source[ArrayPhoto]):
    def __init__(self, arrays: Sequence[Array]) -> None:
        self.uri = "arrays:"
        self.photos: list[ArrayPhoto] = [ArrayPhoto(array) for array in arrays]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> ArrayPhoto:
        return self.photos[index]

    def id(self, index: int) -> str:
        return content_id(self.photos[index].array.tobytes())


def make_many(task: Task[Photo], level: str, photos: Sequence[Photo], n: int, start: int = 0) -> list[Example]:
    """`n` examples; the items of each are taken from `photos` in turn. Unusable draws are left out."""
    params = task.level(level).params
    examples = []
    for index in range(start, start + n):
        items = [photos[(index + i) % len(photos)] for i in range(task.draws)]
        with contextlib.suppress(Unusable):
            examples.append(task.make(items, params, keyed_rng("test", task.id, level, index)))
    return examples


def make_all(task: Task[Photo], level: str, photo: Photo, n: int) -> list[Example]:
    """`n` examples out of one picture, which must be usable each time."""
    examples = make_many(task, level, [photo], n)
    assert len(examples) == n
    return examples


def assert_uniform(answers: Sequence[object], options: int) -> None:
    """Every option occurs about equally often: within five standard deviations of n / options."""
    counts = Counter(map(str, answers))
    expected = len(answers) / options
    assert len(counts) == options
    assert all(abs(count - expected) <= 5 * expected**0.5 for count in counts.values()), counts


def checkered(colours: Sequence[Sequence[tuple[int, int, int]]], cell_px: int) -> Array:
    """Cells of the given colours, each with diagonal stripes of +-20 so that none is flat."""
    cells = np.array(colours, dtype=int)
    picture = cells.repeat(cell_px, axis=0).repeat(cell_px, axis=1)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    stripes = np.where((x % cell_px + y % cell_px) * 4 // cell_px % 2 == 0, 20, -20)
    return np.clip(picture + stripes[:, :, None], 0, 255).astype(np.uint8)


def nearest_colour(picture: Array, colours: Sequence[Sequence[tuple[int, int, int]]]) -> int:
    """The number, in reading order from 0, of the cell whose colour the picture's mean is nearest to."""
    cells = np.array(colours, dtype=float).reshape(-1, 3)
    return int(np.square(cells - picture.reshape(-1, 3).mean(axis=0)).sum(axis=1).argmin())


def pictures(example: Example) -> list[Array]:
    """The example's pictures as int arrays (differences do not wrap)."""
    return [np.asarray(medium.data).astype(int) for medium in example.media]


def noise_photo(seed: int, width: int = 320, height: int = 240) -> Array:
    """A picture with the statistics of photographs: 1/f noise in three related channels, brighter above a horizon.

    Integer arithmetic from box sums, no FFT: the same bytes on every machine.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((height, width, 3), dtype=np.int64)
    for octave in range(7):
        cell = 2**octave
        shape = (height // cell + 2, width // cell + 2)
        grey = rng.integers(-100, 101, size=(*shape, 1)) * 2 + rng.integers(-100, 101, size=(*shape, 3))
        grey = np.repeat(np.repeat(grey, cell, axis=0), cell, axis=1)
        y, x = rng.integers(0, cell, 2)
        total += _smooth(grey, cell)[y : y + height, x : x + width] * 2**octave
    scale = 1 + int(np.abs(total).sum()) // total.size
    horizon = int(rng.integers(height // 4, 3 * height // 4))
    total[:horizon] += scale * 2
    total -= int(total.sum()) // total.size
    return np.clip(total * 32 // scale + 128, 0, 255).astype(np.uint8)


def _smooth(field: Array, cell: int) -> Array:
    """Box means over `cell` pixels along both axes (wrapping), in integers."""
    for axis in (0, 1):
        sums = np.cumsum(np.concatenate([field, np.take(field, range(cell), axis=axis)], axis=axis), axis=axis)
        upper = np.take(sums, range(cell, sums.shape[axis]), axis=axis)
        lower = np.take(sums, range(sums.shape[axis] - cell), axis=axis)
        field = (upper - lower) // cell
    return field


def spectral_photo(seed: int, width: int = 320, height: int = 240) -> Array:
    """1/f noise without any grid, lines or preferred directions, brighter above a slanting horizon (by FFT)."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(2 * height), np.fft.rfftfreq(2 * width)
    radius = np.hypot(fy[:, None], fx[None])
    radius[0, 0] = 1
    shape = (*radius.shape, 3)
    noise = rng.normal(size=shape) + 1j * rng.normal(size=shape) + 2 * rng.normal(size=(*radius.shape, 1))
    field = np.fft.irfft2(noise / radius[:, :, None] ** 1.1, axes=(0, 1))[:height, :width]
    field /= field.std()
    y, x = np.mgrid[:height, :width]
    horizon = height * rng.uniform(0.3, 0.7) + (x - width / 2) * rng.uniform(-0.1, 0.1)
    field += np.clip(horizon - y, -0.5, 0.5)[:, :, None] * 1.5
    return np.clip(field * 40 + 128, 0, 255).astype(np.uint8)
