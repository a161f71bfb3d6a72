"""How a rotated picture was made must not tell by how much it was rotated.

The probe is a logistic regression on features that say nothing about content (`ssl4rl.tools.audit.features`), cross-
validated, on as many examples of each answer. It must stay within its 95 % interval of chance on our task, and must
find what is planted: the recipe of the official builder and two of its likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl4rl.core import registry
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Angle
from ssl4rl.tools.audit.features import example_features
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.tasks.rotation import Rotation
from tests.vision.helpers import Array, ArrayPhoto, spectral_photo

N, PX = 240, 48
"""Examples and their side in the default run; the slow one has more of both."""

SIZES = ((200, 150), (150, 200), (160, 160), (240, 140), (140, 250), (210, 190))


@cache
def noise() -> tuple[Photo, ...]:
    return tuple(ArrayPhoto(spectral_photo(seed, *SIZES[seed % len(SIZES)])) for seed in range(48))


def collect(task: Task[Photo], level: str, photos: Sequence[Photo], answers: int, n: int) -> tuple[Array, Array]:
    """Features and answers of about `n` examples, as many of each answer."""
    params = task.level(level).params
    by_answer: dict[int, list[Array]] = {}
    index = 0
    while len(by_answer) < answers or min(map(len, by_answer.values())) < n // answers:
        rng = keyed_rng("leaks", task.id, level, index)
        try:
            example = task.make([photos[index % len(photos)]], params, rng)
        except Unusable:
            index += 1
            continue
        kept = by_answer.setdefault(example.answer, [])
        if len(kept) < n // answers:
            kept.append(example_features(example))
        index += 1
    labels = np.repeat(list(by_answer), n // answers)
    return np.concatenate([np.stack(kept) for kept in by_answer.values()]), labels


def accuracy(features: Array, labels: Array) -> float:
    telling = features[:, features.std(axis=0) > 1e-9]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(model, telling, labels, cv=folds).mean())


def interval(answers: int, n: int) -> tuple[float, float]:
    """Chance and the upper end of its 95 % interval."""
    chance = 1 / answers
    return chance, chance + 1.96 * math.sqrt(chance * (1 - chance) / (n // answers * answers))


@cache
def photographs() -> tuple[Photo, ...]:
    """The embedded photographs, each cut to two other aspects, 140 px and more high and wide."""
    source = registry.open_source("sample:", registry.plugins()["vision"])
    cut = []
    for index in range(len(source)):
        image = source[index].decode(256)
        width, height = image.size
        for share, tall in ((0.55 + 0.45 * (index % 5) / 5, False), (0.55 + 0.45 * (index % 4) / 4, True)):
            box = (0, 0, int(width * share), height) if tall else (0, 0, width, max(140, int(height * share)))
            cut.append(ArrayPhoto(np.asarray(image.crop(box))))
    return tuple(cut)


ANSWERS = {"180deg": 2, "90deg": 4, "45deg": 8, "15deg": 24}


DEFAULT = [(noise, "180deg"), (photographs, "90deg"), (photographs, "45deg"), (noise, "15deg")]


@pytest.mark.parametrize(
    ("pictures", "level", "n", "px"),
    [(pictures, level, N, PX) for pictures, level in DEFAULT]
    + [
        pytest.param(pictures, level, 1200, 96, marks=pytest.mark.slow)
        for pictures in (noise, photographs)
        for level in ANSWERS
    ],
)
def test_rotation_tells_nothing(pictures: Callable[[], Sequence[Photo]], level: str, n: int, px: int) -> None:
    features, labels = collect(Rotation(), f"{level},image_px={px}", pictures(), ANSWERS[level], n)
    chance, upper = interval(ANSWERS[level], n)
    found = accuracy(features, labels)
    assert found <= upper, f"{found:.3f} where chance is {chance:.3f}"


class Leaky(Task[Photo]):
    """Rotation as others build it. `way`: expand (the official SSL4RL builder), corners (black), blur (90 only)."""

    name = "test/leaky_rotation"
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "expand": {"way": "expand", "step_deg": 90},
        "corners": {"way": "corners", "step_deg": 45},
        "blur": {"way": "blur", "step_deg": 45},
    }
    verifier = Angle(90)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        angle_deg = int(rng.integers(360 // level["step_deg"])) * level["step_deg"]
        image = items[0].decode(64)
        if level["way"] == "expand":
            turned = image.rotate(angle_deg, expand=True)
            image.thumbnail((PX, PX))
            turned.thumbnail((PX, PX))
        else:
            rim = 0 if level["way"] == "corners" else PX // 4
            side = PX + 2 * rim
            image = pixels.cut(image, pixels.square_window(image, rng, PX).box, (side, side))
            turned = image.rotate(angle_deg, Image.Resampling.BILINEAR)
            image, turned = (picture.crop((rim, rim, rim + PX, rim + PX)) for picture in (image, turned))
        return Example((pixels.media(image), pixels.media(turned)), angle_deg)


@pytest.mark.parametrize(
    ("pictures", "way", "answers"), [(photographs, "expand", 4), (noise, "corners", 8), (noise, "blur", 8)]
)
def test_the_same_probe_finds_planted_leaks(pictures: Callable[[], Sequence[Photo]], way: str, answers: int) -> None:
    features, labels = collect(Leaky(), way, [p for p in pictures() if not_square(p)], answers, N)
    _, upper = interval(answers, N)
    assert accuracy(features, labels) > upper + 0.05  # 8 answers in two kinds cannot give more than 0.25


def not_square(photo: Photo) -> bool:
    width, height = photo.decode(64).size
    return width != height
