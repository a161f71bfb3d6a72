"""Which of the marked points is nearest, or in which order they lie from near to far."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Ssl4rlError, Unusable
from ssl4rl.core.verify import Choice, Permutation, Verifier
from ssl4rl.vision import marks, pixels
from ssl4rl.vision.photo import Depth, Photo

Array = pixels.Array

PLACES = 48
"""Points lie on a grid of so many places a side."""
EVEN = 0.06
"""Around a point the depth differs by this share of it at most: it lies on something, not at its edge."""
SETS = 8000
"""Sets of points that are looked at for one of each kind."""
BANDS = 12
"""Bands of depth, on a logarithmic scale, of which points are taken alike: most of a picture is its background."""
REACH = 0.42
SPACING = 0.15
"""How far from the middle, and at least from each other, points lie: shares of the picture's side."""
ASPECT = 0.03


class DepthOrder(Task[Photo]):
    """Depth order: which marked point of the picture is nearest to the camera?

    Sees: a square picture with coloured rings round some points.
    Answers: `ask=nearest`: the colour of the nearest point's ring: red, green, blue, yellow, as many as there are.
    `ask=order`: the numbers of the rings from the nearest to the farthest, as "3,1,2".
    Reward: `ask=nearest`: exact; `ask=order`: the share of right places, nothing for what is no permutation.
    Chance: 1 / points; `ask=order`: 1 / points!.

    Levels: easy (2 points, one at least twice as far away), medium (3), order (3), hard (4). Parameters: `points`, 2
    to 4 (`ask=order`: 2 or 3); `ask`; `ratio`, how many times as far away as the one before a point is at least;
    `image_px`, the side of the picture.

    Shortcuts and guards: what is low in a picture is near, and so is what is in its middle (it is drawn first which of
    the points, counted from the top, is the nearest and whether it lies most in the middle, or with `ask=order` which
    order from the top they have; a picture is used only where each of these kinds is found); points chosen in another
    way than the nearest (they are drawn as a set, and colours are dealt anew, so rings are exchangeable); the edge of
    a thing, where a ring's point might be either (the depth around each point is even); rings (drawn last, of one
    size).
    Not guarded: haze, size, focus, and that bright things are near indoors: they are what depth is seen by.

    Items must know their depth: `rgbd:` folders, where a depth map lies beside each picture, and the drawn `layers:`.

    Source: Visual Jigsaw's 3D task (arXiv 2509.25190), which orders points of RGB-D pictures whatever their height, and
    relative depth in the wild (Chen et al., arXiv 1604.03901); the balance is ours.
    Versions: 1, the first.
    """

    name = "vision/depth_order"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {"points": 2, "ask": "nearest", "ratio": 2.0, "image_px": 224},
        "medium": {"points": 3, "ask": "nearest", "ratio": 1.4, "image_px": 224},
        "order": {"points": 3, "ask": "order", "ratio": 1.4, "image_px": 224},
        "hard": {"points": 4, "ask": "nearest", "ratio": 1.2, "image_px": 224},
    }
    draws = 1
    data = "layers:"
    kinds = ("layers", "rgbd")
    verifier = Choice(marks.NAMES)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        points = level["points"]
        return Choice(marks.NAMES[:points]) if level["ask"] == "nearest" else Permutation(points)

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_among(self.name, params, "ask", ("nearest", "order"))
        pixels.check_between(self.name, params, "points", 2, 4)
        pixels.check_between(self.name, params, "ratio", 1.1, 4.0)
        pixels.check_between(self.name, params, "image_px", 16, 2048)
        if params["ask"] == "order" and params["points"] == 4:
            raise Ssl4rlError(f"{self.name}: ask is order and points is 4; allowed: 2 or 3 points")

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        px, count = level["image_px"], level["points"]
        kind, colours = float(rng.random()), rng.permutation(count)
        image = items[0].decode(px)
        window = pixels.square_window(image, rng, px / 2)
        places, depths = even_places(items[0].depth(), image.size, window)
        chosen = draw_set(places, depths, count, level["ratio"], level["ask"], kind, rng)[colours]
        picture = pixels.cut(image, window.box, (px, px))
        for point, name in zip(places[chosen].tolist(), marks.NAMES, strict=False):
            marks.ring(picture, point, marks.COLOURS[name])
        near_to_far = np.argsort(depths[chosen])
        shown = pixels.media(picture)
        if level["ask"] == "nearest":
            question = "\nRings mark points of the picture. Which ring's point is nearest to the camera?"
            return Example(("Picture: ", shown, question), marks.NAMES[int(near_to_far[0])])
        names = ", ".join(f"{number} {name}" for number, name in enumerate(marks.NAMES[:count], 1))
        question = (
            f"\nRings mark points of the picture: {names}. List the numbers of the rings from the point that is "
            "nearest to the camera to the one that is farthest away."
        )
        return Example(("Picture: ", shown, question), [int(i) + 1 for i in near_to_far])


def even_places(depth: Depth, size: tuple[int, int], window: pixels.Window) -> tuple[Array, Array]:
    """Points of a square of the picture around which the depth is even.

    Args:
        depth: of the whole picture, float [height, width], NaN where it is not known.
        size: width and height of the picture.

    Returns:
        Places (x, y) as shares of the square's side, [n, 2], and their depths, [n].

    Raises:
        Unusable: the map has another aspect than the picture.
    """
    (high, wide), (width, height) = depth.shape, size
    if not math.isclose(wide / high, width / height, rel_tol=ASPECT):
        raise Unusable(f"its depth map has {wide}x{high} px, the picture {width}x{height}: another aspect")
    at = (np.arange(PLACES) + 0.5) / PLACES
    at = at[np.abs(at - 0.5) <= REACH]
    steps = np.linspace(-1, 1, 5) * marks.RADIUS / 2
    across = np.add.outer(at, steps) * window.side / width * wide + window.x / width * wide
    down = np.add.outer(at, steps) * window.side / height * high + window.y / height * high
    rows, cols = (np.clip(a.astype(int), 0, n - 1) for a, n in ((down, high), (across, wide)))
    around = depth[rows[:, None, :, None], cols[None, :, None, :]].reshape(len(at), len(at), -1)
    middle = around[:, :, around.shape[2] // 2]
    with np.errstate(invalid="ignore"):
        even = around.max(axis=2) <= (1 + EVEN) * around.min(axis=2)  # False where a depth is not known
    y, x = np.nonzero(even)
    return np.stack([at[x], at[y]], axis=1), middle[even].astype(np.float64)


def draw_set(
    places: Array, depths: Array, count: int, ratio: float, ask: str, kind: float, rng: np.random.Generator
) -> Array:
    """Indices of `count` points from near to far, of the kind that `kind` in [0, 1) says.

    Kinds: for "nearest", how many of the points lie higher than the nearest one, all alike, and whether it lies nearest
    to the middle, which one set in `count` does; for "order", the points' order from the top.

    Raises:
        Unusable: there is not one set of each kind.
    """
    if len(places) < count:
        raise Unusable("too few points of even depth")
    sets = _drawn_evenly(depths, rng.random((SETS, count)))
    sets = np.take_along_axis(sets, np.argsort(depths[sets], axis=1, kind="stable"), axis=1)
    far = depths[sets]
    good = (far[:, 1:] >= ratio * far[:, :-1]).all(axis=1)
    for one, other in itertools.combinations(range(count), 2):
        good &= np.square(places[sets[:, one]] - places[sets[:, other]]).sum(axis=1) >= SPACING**2
    sets = sets[good]
    from_top = places[sets][:, :, 1]
    if ask == "order":
        power = count ** np.arange(count)
        kinds = np.argsort(from_top, axis=1, kind="stable") @ power
        codes = [int(np.dot(order, power)) for order in itertools.permutations(range(count))]
        code = codes[int(kind * len(codes))]
    else:
        from_middle = np.square(places[sets] - 0.5).sum(axis=2)
        above, central = (from_top[:, 1:] < from_top[:, :1]).sum(axis=1), from_middle.argmin(axis=1) == 0
        kinds, codes = 2 * above + central, list(range(2 * count))
        code = 2 * int(kind * count) + (kind * count % 1 < 1 / count)
    if not np.isin(codes, kinds).all():
        raise Unusable("near and far do not lie in all ways")
    of_kind = np.flatnonzero(kinds == code)
    picked: Array = sets[of_kind[int(rng.integers(len(of_kind)))]]
    return picked


def _drawn_evenly(depths: Array, at: Array) -> Array:
    """Indices of depths, as many from each band of depths that holds any; `at` are numbers in [0, 1)."""
    scale = np.log(depths)
    band = np.minimum(BANDS - 1, (BANDS * (scale - scale.min()) / max(1e-9, float(np.ptp(scale)))).astype(int))
    order = np.argsort(band, kind="stable")
    count = np.bincount(band, minlength=BANDS)
    held = np.flatnonzero(count)
    which = at * len(held)
    chosen = held[which.astype(int)]
    first = np.cumsum(count) - count
    indices: Array = order[first[chosen] + (which % 1 * count[chosen]).astype(int)]
    return indices
