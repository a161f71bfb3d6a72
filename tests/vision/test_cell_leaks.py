"""How a patch was cut must not tell that it was changed.

The probe looks at every patch of a picture for itself, at what says how it was made rather than what it shows, and
learns which one was changed; what it takes for the changed one of a new picture is its guess. It must stay within
chance on our tasks, on pictures with the blocks of a badly compressed JPEG file, and must find what is planted.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example
from ssl4rl.vision import cells, pixels
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.tasks.difference import Difference
from ssl4rl.vision.tasks.flipped import Flipped, changed
from tests.vision.helpers import Array, ArrayPhoto, make_many, spectral_photo

N, PX, GRID = 150, 96, 3


@cache
def blocky() -> tuple[Photo, ...]:
    """Noise as photographs are, out of JPEG files of low quality."""
    found = []
    for seed in range(24):
        file = io.BytesIO()
        Image.fromarray(spectral_photo(seed, 160, 120)).save(file, "JPEG", quality=25)
        found.append(ArrayPhoto(np.asarray(Image.open(file))))
    return tuple(found)


def patch_features(patch: Array, around: Array) -> list[float]:
    """Of one patch: fine energies, steps by their phase of 8, its rim against its inside, and its seam.

    Args:
        patch: grey, [px, px].
        around: the same with one pixel more on every side, as the picture has it.
    """
    across, down = np.abs(np.diff(patch, axis=1)), np.abs(np.diff(patch, axis=0))
    scale = (across.mean() + down.mean()) / 2 + 1e-3
    phases = [float(step[i::8].mean() / scale) for step in (across.T, down) for i in range(8)]
    second = np.abs(np.diff(patch, 2, axis=1)).mean() + np.abs(np.diff(patch, 2, axis=0)).mean()
    rim = np.concatenate([across[:2].ravel(), across[-2:].ravel(), down[:, :2].ravel(), down[:, -2:].ravel()]).mean()
    seams = [around[0] - around[1], around[-1] - around[-2], around[:, 0] - around[:, 1], around[:, -1] - around[:, -2]]
    seam = [float(np.log(np.abs(line).mean() + 0.1)) for line in seams]
    return [math.log(second + 0.1), math.log(scale), float(second / scale), float(rim / scale), *phases, *seam]


def guessed(examples: Sequence[Example], px: int, gap: int) -> float:
    """The share of pictures whose changed patch the probe picks, learnt on the other half of the pictures."""
    rows, right = [], []
    for example in examples:
        whole = np.asarray(example.media[-1].data).astype(float).mean(axis=2)
        at = [gap + i * (px + gap) for i in range(GRID)]
        padded = np.pad(whole, 1, mode="edge")
        own = [
            patch_features(whole[y : y + px, x : x + px], padded[y : y + px + 2, x : x + px + 2])
            for y in at
            for x in at
        ]
        rows.append(np.array(own) - np.mean(own, axis=0))
        right.append(np.arange(GRID * GRID) == example.answer - 1)
    features, labels = np.stack(rows), np.stack(right)
    half, hits = np.arange(len(examples)) % 2 == 0, 0
    for learn, test in ((half, ~half), (~half, half)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=500))
        model.fit(features[learn].reshape(-1, features.shape[2]), labels[learn].ravel())
        scores = model.decision_function(features[test].reshape(-1, features.shape[2])).reshape(-1, GRID * GRID)
        hits += int(labels[test][np.arange(len(scores)), scores.argmax(axis=1)].sum())
    return hits / len(examples)


CHANCE = 1 / GRID**2
UPPER = CHANCE + 2.6 * math.sqrt(CHANCE * (1 - CHANCE) / N)


@pytest.mark.parametrize(
    ("task", "level"),
    [(Flipped(), "3x3"), (Flipped(), "3x3,change=turn"), (Difference(), "medium"), (Difference(), "alone")],
)
def test_how_a_patch_was_cut_tells_nothing(task: Task[Photo], level: str) -> None:
    examples = make_many(task, f"{level},image_px={PX}", blocky(), 2 * N)[:N]
    assert len(examples) == N
    px = cells.patch_px(PX, GRID)
    found = guessed(examples, px, max(1, round(cells.GAP * px)))
    assert found <= UPPER, f"{found:.3f} where chance is {CHANCE:.3f}"


class Planted(Flipped):
    """Patches changed as others do it, in place. `seam`: mirrored in the picture; `blur`: turned by resampling;

    `paste`: mirrored, then drawn into the picture with a soft rim, as a pasted patch is; `moved`: the changed patch
    alone is cut at another scale.
    """

    def __init__(self, way: str) -> None:
        self.way = way

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        cell, px = int(rng.integers(GRID**2)), PX // GRID
        image = items[0].decode(PX)
        left, top = (int(rng.integers(side - PX + 1)) for side in image.size)
        whole = np.asarray(image.crop((left, top, left + PX, top + PX))).copy()
        y, x = (px * at for at in divmod(cell, GRID))
        patch = whole[y : y + px, x : x + px]
        new = changed(patch, "mirror")
        if self.way == "blur":
            new = np.asarray(Image.fromarray(patch).rotate(7, Image.Resampling.BILINEAR).rotate(-7))
        elif self.way == "moved":
            new = np.asarray(Image.fromarray(patch).resize((px, px), Image.Resampling.BICUBIC, (4, 4, px - 4, px - 4)))
        elif self.way == "paste":
            rim = np.minimum(np.arange(px), np.arange(px)[::-1])
            weight = np.minimum(1, np.minimum(rim[:, None], rim[None]) / 5)[:, :, None]
            new = np.rint(weight * new + (1 - weight) * patch).astype(np.uint8)
        whole[y : y + px, x : x + px] = new
        return Example((pixels.media(Image.fromarray(whole)),), cell + 1)


@pytest.mark.parametrize("way", ["seam", "blur", "moved", "paste"])
def test_the_same_probe_finds_planted_leaks(way: str) -> None:
    examples = make_many(Planted(way), "3x3", blocky(), N)
    assert guessed(examples, PX // GRID, 0) > UPPER + 0.05


def test_planted_ways_leave_all_else_as_it_was() -> None:
    """What is planted is in one patch: the probe has no other help."""
    for way in ("seam", "paste"):
        planted = make_many(Planted(way), "3x3", [ArrayPhoto(spectral_photo(0, PX, PX))], 4)
        for example in planted:
            differs = np.asarray(example.media[0].data).astype(int) != spectral_photo(0, PX, PX)
            grid = differs.any(axis=2).reshape(GRID, PX // GRID, GRID, PX // GRID).any(axis=(1, 3)).ravel()
            assert np.flatnonzero(grid).tolist() == [example.answer - 1]
