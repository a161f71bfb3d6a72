"""Which of the points marked in one view is the point marked in another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Unusable
from ssl4rl.core.verify import Choice, Verifier
from ssl4rl.vision import marks, pixels
from ssl4rl.vision.photo import Photo

Array = pixels.Array

COPY_PX = 48
"""Side of the small copy of the picture in which the surroundings of points are compared."""
AROUND_PX = 7
"""Side of a point's surroundings in that copy."""
DISTINCT_RMS = 8.0
DISTINCT_SHARE = 0.4
"""Two points look alike where their surroundings differ by less than this many grey levels, or this share of their own
contrast."""
REACH = 0.4
"""How far from the middle of the second view, as a share of its side, a mark may lie."""


class Lens(NamedTuple):
    """A view of a square: from (x, y) in the view, -0.5 to 0.5, to places in the square, 0 to 1.

    centre + side * (x + shear * y, y) / (1 + lean_x * x + lean_y * y)
    """

    centre: tuple[float, float]
    side: float
    shear: float
    lean: tuple[float, float]

    def seen(self, place: Sequence[float]) -> tuple[float, float]:
        """Where in the view a place of the square is seen."""
        u, v = ((at - c) / self.side for at, c in zip(place, self.centre, strict=True))
        (a, b), (c, d) = (
            (1 - u * self.lean[0], self.shear - u * self.lean[1]),
            (-v * self.lean[0], 1 - v * self.lean[1]),
        )
        det = a * d - b * c
        return (u * d - b * v) / det, (a * v - c * u) / det


class Correspondence(Task[Photo]):
    """Correspondence: which marked point of the second view is the marked point of the first?

    Sees: a close view of a place in a picture, with a white ring round one point, and a wide view of the picture with
    coloured rings round several points. The views differ in place, scale, perspective and colour.
    Answers: the colour of the ring round the same point: red, green, blue, yellow, magenta, cyan, as many as there are.
    Reward: exact. Chance: 1 / options.

    Levels: easy (2 points, far apart), medium (4, with perspective), hard (6, closer to each other). Parameters:
    `options`, 2 to 6; `share`, the side of the first view as a share of the picture's square; `tilt`, the strength of
    the perspective; `spacing`, the least distance between two points, as a share of the square's side; `jitter`, the
    strength of the change of colours, for each view its own; `image_px`, the side of both pictures.

    Shortcuts and guards: the marked point's place in the first view (where in the view it lies is drawn before the
    points, and these lie where each of them could be seen in that very place: it says nothing about which was taken);
    points chosen in another way than the marked one (all are drawn alike, which of them is asked for, and which has
    which colour, is drawn apart from them); points that are ruled out since nothing is there, and points that look
    alike (all have surroundings that are not flat and differ from each other's); an exact copy of pixels (each view
    has its own scale, perspective and colours, and all is resampled in one way); rings (drawn last, of one size).

    Source: after the tasks of Spatial-SSRL's kind and BLINK's visual correspondence (arXiv 2404.12390); views made of
    one picture, and the guards, are ours.
    Versions: 1, the first.
    """

    name = "vision/correspondence"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {"options": 2, "share": 0.5, "tilt": 0.0, "spacing": 0.3, "jitter": 0.1, "image_px": 224},
        "medium": {"options": 4, "share": 0.4, "tilt": 0.12, "spacing": 0.18, "jitter": 0.2, "image_px": 224},
        "hard": {"options": 6, "share": 0.35, "tilt": 0.2, "spacing": 0.14, "jitter": 0.4, "image_px": 280},
    }
    draws = 1
    data = "sample:"
    verifier = Choice(marks.NAMES)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(marks.NAMES[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "options", 2, len(marks.NAMES))
        pixels.check_between(self.name, params, "share", 0.2, 0.6)
        pixels.check_between(self.name, params, "tilt", 0.0, 0.3)
        pixels.check_between(self.name, params, "spacing", 2.5 * marks.RADIUS / 1.25, 0.4)
        pixels.check_between(self.name, params, "jitter", 0.0, 0.8)
        pixels.check_between(self.name, params, "image_px", 16, 2048)

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        px, options = level["image_px"], level["options"]
        true = int(rng.integers(options))
        place = rng.uniform(-0.25, 0.25, 2).tolist()
        near = _lens(level["share"] * float(rng.uniform(0.9, 1.1)), level["tilt"], rng)
        wide = _lens(float(rng.uniform(0.9, 1.0)), level["tilt"], rng, within=True)
        image = items[0].decode(math.ceil(max(px, min(2 * px, px / level["share"]))))
        window = pixels.square_window(image, rng, px / 2)
        copy = pixels.thumbnail(image, window.box, (COPY_PX, COPY_PX))
        points = draw_points(copy, _allowed(near, place, wide), options, level["spacing"], rng)
        shift = offset(near, place)
        near = near._replace(centre=(points[true][0] - shift[0], points[true][1] - shift[1]))
        first, second = (
            pixels.jitter_colours(_shown(image, window, lens, px), rng, level["jitter"]) for lens in (near, wide)
        )
        marks.ring(first, [at + 0.5 for at in place], marks.WHITE)
        for point, name in zip(points, marks.NAMES, strict=False):
            marks.ring(second, [at + 0.5 for at in wide.seen(point)], marks.COLOURS[name])
        question = (
            "\nThe second picture is another view of the first one's place. The white ring of the first picture marks "
            "a point. Which ring of the second picture marks the same point?"
        )
        prompt = ("First picture: ", pixels.media(first), "\nSecond picture: ", pixels.media(second), question)
        return Example(prompt, marks.NAMES[true])


def _lens(side: float, tilt: float, rng: np.random.Generator, within: bool = False) -> Lens:
    """A view that takes no more than `side` of the square, in its middle or (`within`) anywhere inside it."""
    lean_x, lean_y, shear = (rng.uniform(-tilt, tilt, 3) * [0.7, 0.7, 0.5]).tolist()
    across, down = (rng.uniform(-0.5, 0.5, 2) * (1 - side)).tolist()
    reach = (1 + abs(shear)) / (1 - 0.5 * (abs(lean_x) + abs(lean_y)))
    centre = (0.5 + across, 0.5 + down) if within else (0.5, 0.5)
    return Lens(centre, side / reach, shear, (lean_x, lean_y))


def offset(lens: Lens, place: Sequence[float]) -> tuple[float, float]:
    """How far from its centre, in the square, a view shows what it has at a place, -0.5 to 0.5."""
    x, y = place
    scale = lens.side / (1 + lens.lean[0] * x + lens.lean[1] * y)
    return (x + lens.shear * y) * scale, y * scale


def _allowed(near: Lens, place: Sequence[float], wide: Lens) -> Array:
    """bool [COPY_PX, COPY_PX]: middles of the copy's pixels that both views could show, the near one at its place."""
    reach = (1 + abs(near.shear)) / (1 - 0.5 * (abs(near.lean[0]) + abs(near.lean[1])))
    half = near.side * reach / 2
    at = (np.arange(COPY_PX) + 0.5) / COPY_PX
    across, down = (np.abs(at - shift - 0.5) <= 0.5 - half for shift in offset(near, place))
    seen_x, seen_y = wide.seen(np.meshgrid(at, at))  # type: ignore[arg-type]
    allowed: Array = down[:, None] & across[None] & (np.maximum(np.abs(seen_x), np.abs(seen_y)) <= REACH)
    return allowed


def draw_points(
    copy: Array, allowed: Array, count: int, spacing: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """So many points (x, y) of the square, none like another or without anything around it, in a random order.

    Args:
        copy: the square, shape (COPY_PX, COPY_PX, 3).
        allowed: bool [COPY_PX, COPY_PX].

    Raises:
        Unusable: there are not so many.
    """
    k = AROUND_PX
    views = np.lib.stride_tricks.sliding_window_view(copy, (k, k), axis=(0, 1))
    n = len(views)
    views = views.reshape(n * n, 3, k * k)
    spread = views.var(axis=2).mean(axis=1)
    views = (views - views.mean(axis=2, keepdims=True) / 2).reshape(n * n, -1)
    inner = allowed[k // 2 : k // 2 + n, k // 2 : k // 2 + n].ravel()
    left = inner & (spread > pixels.FLAT_STD**2)
    chosen: list[int] = []
    top, side = np.divmod(np.arange(n * n), n)
    while len(chosen) < count:
        free = np.flatnonzero(left)
        if not len(free):
            raise Unusable("the picture has too few points that can be told apart")
        one = int(free[rng.integers(len(free))])
        chosen.append(one)
        differ = np.square(views - views[one]).mean(axis=1)
        unlike = differ > np.maximum(DISTINCT_RMS**2, DISTINCT_SHARE**2 * np.maximum(spread, spread[one]))
        far = np.square(top - top[one]) + np.square(side - side[one]) >= (spacing * COPY_PX) ** 2
        left &= unlike & far
    points = [((side[i] + k // 2 + 0.5) / COPY_PX, (top[i] + k // 2 + 0.5) / COPY_PX) for i in chosen]
    return [(float(points[i][0]), float(points[i][1])) for i in rng.permutation(count)]


def _shown(image: Image.Image, window: pixels.Window, lens: Lens, px: int) -> Image.Image:
    """The view: sampled at twice its side and averaged down."""
    x, y, side = window
    factor = max(1, int(side * lens.side / (2 * px)))
    if factor > 1:
        image = image.reduce(factor, box=(int(x), int(y), int(x + side), int(y + side)))
        x, y, side = 0.0, 0.0, int(side) / factor
    n = 2 * px
    step, (lean_x, lean_y), half = lens.side * side, lens.lean, n / 2
    # In output pixels (i, j), x = i / n - 1 / 2; numerator and denominator are scaled so that the constant is 1.
    constant = 1 - 0.5 * (lean_x + lean_y)
    gx, gy = lean_x / n / constant, lean_y / n / constant
    cx, cy = x + lens.centre[0] * side, y + lens.centre[1] * side
    across, down = step / n / constant, step / n / constant
    data = (
        across + cx * gx, lens.shear * across + cx * gy, cx - across * half * (1 + lens.shear),
        cy * gx, down + cy * gy, cy - down * half, gx, gy,
    )  # fmt: skip
    sampled = image.transform(
        (n, n), Image.Transform.PERSPECTIVE, [round(v, 12) for v in data], Image.Resampling.BILINEAR
    )
    return sampled.reduce(2)
