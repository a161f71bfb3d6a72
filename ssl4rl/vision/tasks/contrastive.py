"""Whether two views come from the same picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.views import Share, augmented, draw_views

ANSWERS = ("same", "different")


class Contrastive(Task[Photo]):
    """Contrastive: do two views come from the same picture?

    Sees: two square views, each cropped, mirrored, changed in colour, greyed or blurred by chance.
    Answers: same or different.
    Reward: exact. Chance: 1 / 2.

    Levels: easy, medium, hard. Parameters: `area`, the least share of the picture's square that a view shows;
    `jitter`, the strength of the change of colours; `grey`, `blur`, `flip`, how probable each is; `match`, give both
    views their common mean colour; `view_px`, the side of both.

    Shortcuts and guards: pictures that lie in the data twice (core draws different contents, and pictures whose
    thumbnails nearly agree are unusable); the histogram of colours (`jitter`; `match` at the hard level, done alike
    for both answers); where and how large the crops are (the second crop is drawn once and laid on the first or on the
    other picture); pictures that are more often usable as one answer than as the other (both pictures and all three
    views are checked, whatever was drawn); views of one picture that share nothing (they overlap by a quarter at
    least).
    Exchangeable: the answer is drawn first; both pictures and all three views are checked whatever it is. Measured
    (n = 2,500): always the same word is at chance.
    Not guarded: the grain or blur of different cameras, beyond what resampling and `blur` hide.

    Source: SSL4RL (arXiv 2510.16416), whose negatives are other rows, even where these hold the same picture.
    Versions: 1, the first.
    """

    name = "vision/contrastive"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {"area": 0.5, "jitter": 0.1, "grey": 0.0, "blur": 0.0, "flip": 0.0, "match": False, "view_px": 224},
        "medium": {"area": 0.3, "jitter": 0.3, "grey": 0.1, "blur": 0.3, "flip": 0.5, "match": False, "view_px": 224},
        "hard": {"area": 0.2, "jitter": 0.4, "grey": 0.2, "blur": 0.5, "flip": 0.5, "match": True, "view_px": 224},
    }
    draws = 2
    data = "sample:"
    verifier = Choice(ANSWERS)

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "area", 0.05, 1.0)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        for name in ("grey", "blur", "flip"):
            pixels.check_between(self.name, params, name, 0.0, 1.0)
        pixels.check_between(self.name, params, "view_px", 8, 2048)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        answer = ANSWERS[int(rng.integers(2))]
        px = level["view_px"]
        need_px = math.ceil(px / math.sqrt(level["area"]))
        images = [photo.decode(need_px) for photo in items]
        windows = [pixels.square_window(image, rng, px / 2) for image in images]
        first, second = draw_views(level["area"], rng)
        _check(images, windows, first, second)
        other = 0 if answer == "same" else 1
        views = [augmented(images[i], windows[i], share, level, rng) for i, share in ((0, first), (other, second))]
        if level["match"]:
            views = pixels.match_colours(views)
        if rng.random() < 0.5:
            views.reverse()
        question = (
            "\nBoth are crops of pictures and may be mirrored, recoloured or blurred. "
            "Do they come from the same picture or from different pictures?"
        )
        one, two = (pixels.media(view) for view in views)
        return Example(("First: ", one, "\nSecond: ", two, question), answer)


def _check(images: Sequence[Image.Image], windows: Sequence[pixels.Window], first: Share, second: Share) -> None:
    """Raise Unusable where a picture or a view is flat, or the pictures look the same; whatever the answer is."""
    wholes = [pixels.thumbnail(image, (0, 0, *image.size), (8, 8)) for image in images]
    views = ((0, first), (0, second), (1, second))
    parts = [pixels.thumbnail(images[i], windows[i].part(*share).box, (8, 8)) for i, share in views]
    if pixels.contrast(np.stack(parts)).min() < pixels.FLAT_STD:
        raise Unusable("a view is flat")
    if pixels.alike(np.stack(wholes)) or pixels.alike(np.stack(parts[1:])):
        raise Unusable("the two pictures look nearly the same")
