"""Put the tiles of a picture back in order."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ssl4rl.core.task import Task
from ssl4rl.core.types import Example, Media, Ssl4rlError, Unusable
from ssl4rl.core.verify import Choice, Permutation, Verifier
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo

Array = pixels.Array

MAX_ACCEPTED = 24
_STEPS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}


def cut_tiles(picture: Array, rows: int, cols: int, margin: tuple[int, int]) -> Array:
    """The tiles of a picture in reading order, without a margin (rows, columns of pixels) at each of their edges.

    Args:
        picture: shape (rows * tile height, cols * tile width, 3).

    Returns:
        Shape (rows * cols, shown height, shown width, 3).
    """
    high, wide = picture.shape[0] // rows, picture.shape[1] // cols
    tiles = picture.reshape(rows, high, cols, wide, 3).swapaxes(1, 2).reshape(rows * cols, high, wide, 3)
    return tiles[:, margin[0] : high - margin[0], margin[1] : wide - margin[1]]


def shuffle_tiles(tiles: Array, order: Sequence[int]) -> Array:
    """The tiles as they are shown, so that `order` is the answer.

    `order[i]` is the number, from 1, of the shown tile that belongs at place i of the picture (in reading order).
    """
    shown = np.empty_like(tiles)
    shown[np.asarray(order) - 1] = tiles
    return shown


def join_tiles(tiles: Array, rows: int, cols: int) -> Array:
    """One picture out of tiles in reading order, the inverse of `cut_tiles` without a margin."""
    high, wide = tiles.shape[1:3]
    return tiles.reshape(rows, cols, high, wide, 3).swapaxes(1, 2).reshape(rows * high, cols * wide, 3)


def same_orders(order: Sequence[int], tiles: Array) -> list[list[int]]:
    """The further orders that rebuild the same picture, because some tiles are the same to the pixel.

    Raises:
        Unusable: there are more than `MAX_ACCEPTED`.
    """
    groups: dict[bytes, list[int]] = {}
    for place, tile in enumerate(tiles):
        groups.setdefault(tile.tobytes(), []).append(place)
    if len(groups) == len(tiles):
        return []
    orders = [list(order)]
    for places in groups.values():
        numbers = [order[place] for place in places]
        swapped = []
        for base, again in itertools.product(orders, itertools.permutations(numbers)):
            swapped.append(list(base))
            for place, number in zip(places, again, strict=True):
                swapped[-1][place] = number
            if len(swapped) > MAX_ACCEPTED:
                raise Unusable("too many tiles are the same")
        orders = swapped
    return [other for other in orders if other != list(order)]


class Jigsaw(Task[Photo]):
    """Jigsaw: in which order do the shuffled tiles make the picture?

    Sees: the tiles of a picture in a random order (the right one included), as separate pictures (`form=tiles`) or
    as one shuffled picture (`form=picture`).
    Answers: `ask=order`: for each place of the picture, in reading order, the number of the shown tile that belongs
    there, as "3,1,2,4". `ask=pair`: of two tiles that were neighbours, on which side of the first the second was.
    Reward: the share of right places, times `partial` in orders that are not complete; nothing for what is no
    permutation; `ask=pair`: exact.
    Chance: 1 / tiles!, or orders that rebuild the picture / tiles!; `ask=pair`: 1 / directions (4, or 2 in one row or
    column).

    Levels, rows x columns: 2x1 (top and bottom), 1x2 (left and right), 2x2, 3x3, 4x4. Parameters: `rows`; `cols`;
    `form`; `ask`; `margin`, the share of a tile's side that is cut off at each edge; `partial`, what a right place of
    an incomplete order counts, 1 at these levels (0.2 is Visual Jigsaw's above four tiles: almost right then earns less
    than a fifth of right); `image_px`, the side of the whole picture (rounded down to whole tiles).

    Shortcuts and guards: pixels that go on across a cut (`margin`); a tile's sharpness, which told its place (each is
    made of a whole number of the source's pixels, so all are resampled alike); tiles that look alike (identical tiles
    make several orders right, nearly identical or flat ones make the picture unusable, whatever order was drawn);
    prompt and key that disagree about direction (both come from one definition, `shuffle_tiles`, and a test follows
    the prompt's words); twice the same number for a sure share (no permutation earns nothing).
    Exchangeable: order and side are drawn first, uniformly, and whether a question can be made is seen from the tiles
    in their right order, so all orders, and all sides, are right as often; which pair is asked for is drawn after the
    side, among all that lie so. Measured (n = 2,500): every constant is at chance, with `ask=pair` too.

    Source: SSL4RL (arXiv 2510.16416), whose prompt and key are each other's inverse; the pair question after
    Visual Jigsaw's relatives is ours; `partial` after Visual Jigsaw (arXiv 2509.25190).
    Versions: 1, the first; 2, tiles resampled alike.
    """

    name = "vision/jigsaw"
    version = 2
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "2x1": {"rows": 2, "cols": 1, "form": "tiles", "ask": "order", "margin": 0.04, "partial": 1.0, "image_px": 224},
        "1x2": {"rows": 1, "cols": 2, "form": "tiles", "ask": "order", "margin": 0.04, "partial": 1.0, "image_px": 224},
        "2x2": {"rows": 2, "cols": 2, "form": "tiles", "ask": "order", "margin": 0.06, "partial": 1.0, "image_px": 224},
        "3x3": {"rows": 3, "cols": 3, "form": "tiles", "ask": "order", "margin": 0.08, "partial": 1.0, "image_px": 252},
        "4x4": {"rows": 4, "cols": 4, "form": "tiles", "ask": "order", "margin": 0.1, "partial": 1.0, "image_px": 336},
    }
    draws = 1
    data = "sample:"
    verifier = Permutation(4)

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        if level["ask"] == "pair":
            return Choice(_sides(level["rows"], level["cols"]))
        return Permutation(level["rows"] * level["cols"], level["partial"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        pixels.check_between(self.name, params, "rows", 1, 6)
        pixels.check_between(self.name, params, "cols", 1, 6)
        pixels.check_among(self.name, params, "form", ("tiles", "picture"))
        pixels.check_among(self.name, params, "ask", ("order", "pair"))
        pixels.check_between(self.name, params, "margin", 0.0, 0.3)
        pixels.check_between(self.name, params, "partial", 0.0, 1.0)
        pixels.check_between(self.name, params, "image_px", 8 * max(params["rows"], params["cols"]), 2048)
        if params["rows"] * params["cols"] == 1:
            raise Ssl4rlError(f"{self.name}: rows is 1 and cols is 1; allowed: at least 2 tiles")

    def make(self, items: Sequence[Photo], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        rows, cols = level["rows"], level["cols"]
        order = (rng.permutation(rows * cols) + 1).tolist()
        side = _draw_side(rows, cols, rng)
        tiles = self._tiles(items[0], level, rng)
        identical = same_orders(order, tiles)
        if level["ask"] == "order":
            meta = {"accepted": identical} if identical else {}
            return Example(_ask_order(shuffle_tiles(tiles, order), level), order, meta=meta)
        if identical:
            raise Unusable("two tiles are the same")
        answer, first, second = side
        if level["form"] == "tiles":
            pair = tiles[[first, second]]
            said = "\nBoth are tiles of one picture, cut from places next to each other."
            return Example((*_numbered(pair), f"{said} Where was tile 2, seen from tile 1?"), answer)
        question = _shuffled_text(rows, cols) + (
            f" In the original, tiles {order[first]} and {order[second]} were neighbours. "
            f"Where was tile {order[second]}, seen from tile {order[first]}?"
        )
        return Example((_picture(shuffle_tiles(tiles, order), rows, cols), question), answer)

    def _tiles(self, photo: Photo, level: Mapping[str, Any], rng: np.random.Generator) -> Array:
        """The tiles of a random square of the photo in reading order.

        Raises:
            Unusable: a tile is flat, or two are nearly but not quite the same, or the photo is too small.
        """
        rows, cols, px = level["rows"], level["cols"], level["image_px"]
        share = level["margin"] / (1 - 2 * level["margin"])
        high, wide = px // rows, px // cols
        margin = (round(high * share), round(wide * share))
        size = (cols * (wide + 2 * margin[1]), rows * (high + 2 * margin[0]))
        image = photo.decode(max(size))
        window = pixels.square_window(image, rng, px / 2)
        picture = pixels.cut_alike(image, window, size, rows, cols)
        tiles = cut_tiles(np.asarray(picture), rows, cols, margin)
        thumbs = pixels.thumbnail(picture, (0, 0, *size), (8 * cols, 8 * rows))
        check_tiles(cut_tiles(thumbs, rows, cols, (0, 0)), tiles)
        return tiles


def check_tiles(thumbs: Array, tiles: Array) -> None:
    """Raise Unusable where a tile is flat, or two tiles are nearly but not quite the same.

    Args:
        thumbs: small copies of the tiles, shape (tiles, height, width, 3).
        tiles: the tiles as shown.
    """
    if pixels.contrast(thumbs).min() < pixels.FLAT_STD:
        raise Unusable("a tile is flat")
    for i, j in pixels.alike(thumbs):
        if not np.array_equal(tiles[i], tiles[j]):
            raise Unusable("two tiles look nearly the same")


def _sides(rows: int, cols: int) -> tuple[str, ...]:
    return (("left", "right") if cols > 1 else ()) + (("above", "below") if rows > 1 else ())


def _draw_side(rows: int, cols: int, rng: np.random.Generator) -> tuple[str, int, int]:
    """A side, and two places such that the second lies on that side of the first."""
    sides = _sides(rows, cols)
    side = sides[int(rng.integers(len(sides)))]
    down, right = _STEPS[side]
    row = int(rng.integers(max(0, -down), rows - max(0, down)))
    col = int(rng.integers(max(0, -right), cols - max(0, right)))
    return side, row * cols + col, (row + down) * cols + col + right


def _image(array: Array) -> Media:
    return pixels.media(Image.fromarray(np.ascontiguousarray(array)))


def _picture(shown: Array, rows: int, cols: int) -> Media:
    return _image(join_tiles(shown, rows, cols))


def _numbered(shown: Array) -> tuple[str | Media, ...]:
    """ "Tile 1: " and its picture, and so on, each on a line."""
    lines = ((f"{'' if i == 0 else chr(10)}Tile {i + 1}: ", _image(tile)) for i, tile in enumerate(shown))
    return tuple(part for line in lines for part in line)


def _reading(rows: int, cols: int) -> str:
    """How the places of a picture with so many rows and columns are counted."""
    if rows == 1:
        return "from left to right"
    return "from top to bottom" if cols == 1 else "row by row from the top left"


def _shuffled_text(rows: int, cols: int) -> str:
    return (
        f"\nA picture was cut into {rows} x {cols} tiles (rows x columns) and the tiles were shuffled. The tiles as "
        f"shown here are numbered 1 to {rows * cols}, {_reading(rows, cols)}."
    )


def _ask_order(shown: Array, level: Mapping[str, Any]) -> tuple[str | Media, ...]:
    rows, cols = level["rows"], level["cols"]
    place = {(True, False): "leftmost", (False, True): "topmost"}.get((rows == 1, cols == 1), "top left")
    question = (
        f" List the tile numbers in the order of the original picture, {_reading(rows, cols)}: "
        f"first the number of the tile that belongs in the {place} place, and so on."
    )
    if level["form"] == "picture":
        return (_picture(shown, rows, cols), _shuffled_text(rows, cols) + question)
    text = f"\nThese are the {rows} x {cols} tiles (rows x columns) of one picture, shuffled."
    return (*_numbered(shown), text + question)
