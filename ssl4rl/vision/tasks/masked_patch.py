"""Which patch fills the hidden cell of a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Media, Ssl4rlError, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo

LETTERS = "ABCD"
Source = tuple[Image.Image, pixels.Window, int]
"""Where a patch comes from: picture, square, cell."""

GREY = (128, 128, 128)
FRAME = (255, 0, 0)


class MaskedPatch(Task[Photo]):
    """Masked patch: which of the patches fills the hidden cell?

    Sees: a picture with a grey cell in a red frame, and lettered patches. `distractors=others`: the wrong patches are
    the same cell of other pictures. `distractors=same`: they are other cells of the same picture, which are grey too
    (a cell that could still be seen would be ruled out by looking for it).
    Answers: the patch's letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (2 x 2 cells, other pictures), medium (3 x 3, other pictures, mean colours made equal), hard (4 x 4,
    the same picture). Parameters: `grid`, cells a side; `options`, 2 to 4; `distractors`; `margin`, the share of a
    patch's side cut off at each edge; `jitter`, the strength of a change of colours, for each patch its own; `match`,
    give all patches their common mean colour; `image_px`, `patch_px`, the sides of the pictures shown.

    Shortcuts and guards: distractors that were cut, scaled or coloured in another way (truth and distractors take one
    path and are told apart by nothing but their place in a list; which one is true is drawn first); pixels that go on
    across the cell's edge (`margin`, a sub-pixel shift); mean colour (`match`; `distractors=same`); two patches that
    look alike (unusable, whichever is true).
    Exchangeable: `same`: the options are cells drawn as a set, one of them is then asked for; all are grey. `others`:
    core draws the pictures as a set, each gives the same cell, one of them is then shown. What makes a question
    unusable looks at the options alone. Measured (n = 2,500): first and last option, and the patch most or least like
    the others, are at chance.
    Not guarded: `distractors=others` can be told by sharpness or grain where the pictures come from very different
    cameras; in a picture of one texture throughout several patches may fit as well.

    Core draws as many pictures as the largest question needs (4); `distractors=same` decodes the first alone.

    Source: ours, after masked image modelling, as one of SSL4RL's kind (arXiv 2510.16416).
    Versions: 1, the first.
    """

    name = "vision/masked_patch"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {
            "grid": 2, "options": 4, "distractors": "others", "margin": 0.04, "jitter": 0.0, "match": False,
            "image_px": 224, "patch_px": 112,
        },
        "medium": {
            "grid": 3, "options": 4, "distractors": "others", "margin": 0.06, "jitter": 0.1, "match": True,
            "image_px": 224, "patch_px": 84,
        },
        "hard": {
            "grid": 4, "options": 4, "distractors": "same", "margin": 0.06, "jitter": 0.1, "match": False,
            "image_px": 224, "patch_px": 84,
        },
    }  # fmt: skip
    draws = len(LETTERS)
    data = "sample:"
    verifier = Choice(LETTERS)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "grid", 2, 8)
        pixels.check_between(self.name, params, "options", 2, len(LETTERS))
        pixels.check_among(self.name, params, "distractors", ("others", "same"))
        pixels.check_between(self.name, params, "margin", 0.0, 0.3)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        pixels.check_between(self.name, params, "image_px", 16, 2048)
        pixels.check_between(self.name, params, "patch_px", 8, 1024)
        if params["distractors"] == "same" and params["options"] * 2 > params["grid"] ** 2:
            raise Ssl4rlError(
                f"{self.name}: distractors is same and options {params['options']} of {params['grid'] ** 2} cells; "
                "allowed: at most half of the cells"
            )

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        grid, options, px = level["grid"], level["options"], level["image_px"]
        true = int(rng.integers(options))
        cells = rng.permutation(grid * grid)[:options].tolist()
        same = level["distractors"] == "same"
        others = [] if same else list(items[1:options])
        need_px = max(px, min(2 * px, math.ceil(level["patch_px"] * grid)))
        windows = [_window(photo, need_px, px, rng) for photo in (items[0], *others)]
        image, window = windows[0]
        if same:
            # Patch i is cell i: the true one is as good as any, so its place in the list says nothing.
            sources = [(image, window, cell) for cell in cells]
            hidden = cells
        else:
            order = [*windows[1 : true + 1], windows[0], *windows[true + 1 :]]
            sources = [(*opened, cells[0]) for opened in order]
            hidden = cells[:1]
        _check(sources, level)
        patches = [self._patch(*source, level, rng) for source in sources]
        if level["match"]:
            patches = pixels.match_colours(patches)
        picture = hide_cells(pixels.cut(image, window.box, (px, px)), grid, hidden, cells[true] if same else cells[0])
        return Example((*_lettered(pixels.media(picture), patches), _question(len(hidden))), LETTERS[true])

    def _patch(
        self, image: Image.Image, window: pixels.Window, cell: int, level: Mapping[str, Any], rng: np.random.Generator
    ) -> Image.Image:
        """One cell less its margin, at the patches' size; the one path for truth and distractors."""
        row, col = divmod(cell, level["grid"])
        share = (1 - 2 * level["margin"]) * float(rng.uniform(0.95, 1.0))
        x, y = ((1 - share) / 2 + rng.uniform(-0.01, 0.01, 2) * (share < 0.98)).tolist()
        cut = window.part((col + x) / level["grid"], (row + y) / level["grid"], share / level["grid"])
        patch = pixels.cut(image, cut.box, (level["patch_px"],) * 2)
        return pixels.jitter_colours(patch, rng, level["jitter"])


def _check(sources: Sequence[Source], level: Mapping[str, Any]) -> None:
    """Raise Unusable where two patches look nearly the same, less what of their mean colours will not be shown."""
    grid = level["grid"]
    boxes = (window.part(cell % grid / grid, cell // grid / grid, 1 / grid).box for _, window, cell in sources)
    thumbs = np.stack([pixels.thumbnail(source[0], box, (8, 8)) for source, box in zip(sources, boxes, strict=True)])
    hidden = 1.0 if level["match"] else 0.5 if level["jitter"] else 0.0
    if pixels.alike(thumbs - hidden * thumbs.mean(axis=(1, 2), keepdims=True)):
        raise Unusable("two patches look nearly the same")


def _window(photo: Photo, need_px: int, px: int, rng: np.random.Generator) -> tuple[Image.Image, pixels.Window]:
    image = photo.decode(need_px)
    return image, pixels.square_window(image, rng, px / 2)


def hide_cells(picture: Image.Image, grid: int, hidden: Sequence[int], asked: int) -> Image.Image:
    """The picture with the hidden cells grey, and a red frame inside the one that is asked for."""
    draw = ImageDraw.Draw(picture)
    px = picture.size[0]
    for cell in (*hidden, asked):
        row, col = divmod(cell, grid)
        box = [round(col * px / grid), round(row * px / grid), *(round((i + 1) * px / grid) - 1 for i in (col, row))]
        draw.rectangle(box, GREY, FRAME if cell == asked else None, max(1, px // 75) if cell == asked else 0)
    return picture


def _lettered(picture: Media, patches: Sequence[Image.Image]) -> tuple[str | Media, ...]:
    lines = ((f"\nPatch {letter}: ", pixels.media(patch)) for letter, patch in zip(LETTERS, patches, strict=False))
    return ("Picture: ", picture, *(part for line in lines for part in line))


def _question(hidden: int) -> str:
    said = "The grey cell of the picture is hidden." if hidden == 1 else "The grey cells of the picture are hidden."
    return f"\n{said} Which patch belongs in the cell with the red frame?"
