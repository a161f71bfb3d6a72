"""Which of several views shows the same picture as another view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo
from ssl4rl.vision.views import Share, augmented, overlapping

LETTERS = "ABCD"


class Similarity(Task[Photo]):
    """Similarity: which of the views shows the same picture as the first one?

    Sees: a view of a picture, and lettered views of several pictures, of which one is the same. A view is a square
    crop, which may be mirrored, changed in colour, greyed or blurred.
    Answers: the view's letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (2 options), medium (4), hard (4, mean colours made equal). Parameters: `options`, 2 to 4; `area`, the
    least share of the picture's square that a view shows; `jitter`, the strength of the change of colours; `grey`,
    `blur`, `flip`, how probable each is; `match`, give all views their common mean colour; `view_px`, the side of all.

    Shortcuts and guards: wrong options made in another way than the right one (each picture gives one option, by one
    path, and a crop that overlaps the first view's by a quarter at least, before it is drawn which of them gives the
    first view, too: the options are the same whichever is right); pictures that lie in the data twice (core draws
    no near-twins, and pictures whose thumbnails nearly agree are unusable); flat views and pictures too small
    (unusable, whatever was drawn); the histogram of colours (`jitter`; `match` at the hard level).
    Not guarded: the grain or blur of different cameras, beyond what resampling and `blur` hide.

    Core draws as many pictures as the largest question needs (4).

    Source: 1-of-k instance discrimination (Wu et al., arXiv 1805.01978) as a question; SSL-R1 and Visual Jigsaw's
    relatives ask it of frames and views.
    Versions: 1, the first.
    """

    name = "vision/similarity"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {
            "options": 2, "area": 0.5, "jitter": 0.1, "grey": 0.0, "blur": 0.0, "flip": 0.0, "match": False,
            "view_px": 224,
        },
        "medium": {
            "options": 4, "area": 0.3, "jitter": 0.3, "grey": 0.1, "blur": 0.3, "flip": 0.5, "match": False,
            "view_px": 168,
        },
        "hard": {
            "options": 4, "area": 0.2, "jitter": 0.4, "grey": 0.2, "blur": 0.5, "flip": 0.5, "match": True,
            "view_px": 168,
        },
    }  # fmt: skip
    draws = len(LETTERS)
    data = "sample:"
    verifier = Choice(LETTERS)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "options", 2, len(LETTERS))
        pixels.check_between(self.name, params, "area", 0.05, 1.0)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        for name in ("grey", "blur", "flip"):
            pixels.check_between(self.name, params, name, 0.0, 1.0)
        pixels.check_between(self.name, params, "view_px", 8, 2048)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        options, px = level["options"], level["view_px"]
        true = int(rng.integers(options))
        order = rng.permutation(options).tolist()
        images = [items[i].decode(math.ceil(px / math.sqrt(level["area"]))) for i in order]
        windows = [pixels.square_window(image, rng, px / 2) for image in images]
        side = math.sqrt(float(rng.uniform(level["area"], 1.0)))
        x, y = (rng.random(2) * (1 - side)).tolist()
        anchor = (x, y, side)
        shares = [overlapping(anchor, level["area"], rng) for _ in images]
        check_views(images, windows, [anchor, *shares])
        shown = [(image, window, share) for image, window, share in zip(images, windows, shares, strict=True)]
        views = [augmented(*one, level, rng) for one in [*shown, (images[true], windows[true], anchor)]]
        if level["match"]:
            views = pixels.match_colours(views)
        lines = ((f"\nView {letter}: ", pixels.media(view)) for letter, view in zip(LETTERS, views[:-1], strict=False))
        question = (
            "\nAll are crops of pictures and may be mirrored, recoloured or blurred. "
            "Which view comes from the same picture as the first one?"
        )
        prompt = ("First: ", pixels.media(views[-1]), *(part for line in lines for part in line), question)
        return Example(prompt, LETTERS[true])


def check_views(images: Sequence[Image.Image], windows: Sequence[pixels.Window], shares: Sequence[Share]) -> None:
    """Raise Unusable where a view is flat, or two pictures look the same; whichever picture gives the first view.

    Args:
        shares: the first view's, which any picture might give, and then each picture's own.
    """
    anchor, *own = shares
    wholes = [pixels.thumbnail(image, (0, 0, *image.size), (8, 8)) for image in images]
    pairs = list(zip(images, windows, strict=True))
    parts = [
        [
            pixels.thumbnail(image, window.part(*share).box, (8, 8))
            for (image, window), share in zip(pairs, cut, strict=True)
        ]
        for cut in ([anchor] * len(own), own)
    ]
    if pixels.contrast(np.stack([*parts[0], *parts[1]])).min() < pixels.FLAT_STD:
        raise Unusable("a view is flat")
    if any(pixels.alike(np.stack(each)) for each in (wholes, *parts)):
        raise Unusable("two pictures look nearly the same")
