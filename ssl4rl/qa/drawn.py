"""`drawn:` pictures of a few shapes with questions about them, of every kind, without end: the tasks' own data.

What is asked is drawn first and uniformly, so that no answer comes more often than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from ssl4rl.core.source import Source
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.qa.constants import SAMPLE, Facts
from ssl4rl.qa.labelled import Labelled
from ssl4rl.vision.photo import Photo

VERSION = 1
KINDS = ("choice", "number", "box", "text")
COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 84, 200),
    "yellow": (244, 208, 63),
    "black": (25, 25, 25),
    "white": (252, 252, 252),
    "orange": (240, 130, 30),
    "violet": (130, 60, 170),
}
OTHER_NAMES = {"violet": ("purple",)}
SHAPES = ("circle", "square", "triangle", "cross")
MOST = 5
"""Shapes of one kind that are counted at most."""
LARGEST_PX = 224
_SIDE = (0.16, 0.3)
_GREY = (120, 190)


@dataclass(frozen=True)
class Shape:
    """A shape in a square picture: `box` are shares of its side."""

    kind: str
    colour: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawing(Photo):
    """A square picture of shapes on grey, drawn at the size that is asked for, up to `LARGEST_PX`."""

    shapes: tuple[Shape, ...]
    grey: int

    def decode(self, min_side_px: int) -> Image.Image:
        px = min(LARGEST_PX, max(16, min_side_px))
        image = Image.new("RGB", (px, px), (self.grey,) * 3)
        draw = ImageDraw.Draw(image)
        for shape in self.shapes:
            _draw(draw, shape, px)
        return image


def _draw(draw: ImageDraw.ImageDraw, shape: Shape, px: int) -> None:
    x0, y0, x1, y1 = (edge * px for edge in shape.box)
    fill = COLOURS[shape.colour]
    if shape.kind == "circle":
        draw.ellipse((x0, y0, x1, y1), fill=fill)
    elif shape.kind == "square":
        draw.rectangle((x0, y0, x1, y1), fill=fill)
    elif shape.kind == "triangle":
        draw.polygon([((x0 + x1) / 2, y0), (x1, y1), (x0, y1)], fill=fill)
    else:
        third = (x1 - x0) / 3
        draw.rectangle((x0 + third, y0, x1 - third, y1), fill=fill)
        draw.rectangle((x0, y0 + third, x1, y1 - third), fill=fill)


class Drawn(Source[Labelled]):
    """2^40 questions of one kind; the one at an index is drawn from that index."""

    endless: ClassVar[bool] = True

    def __init__(self, kind: str = "text") -> None:
        self.kind, self.uri = kind, "drawn:"

    def for_task(self, task: Task[Any]) -> Source[Any]:
        kind = getattr(task, "kind", self.kind)
        return self if kind == self.kind else _of_kind(kind)

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Labelled:
        item = question(self.kind, index)
        return Labelled(item.name, item.question, item.answers, _facts(self.kind), item.options, item.photos)

    def id(self, index: int) -> str:
        return f"drawn{VERSION}/{self.kind}/{index}"


def open_drawn(rest: str) -> Drawn:
    """`drawn:`. Raises Ssl4rlError where something follows the colon."""
    if rest:
        raise Ssl4rlError(f"'drawn:{rest}': nothing may follow the colon; the task decides what is asked")
    return Drawn()


@lru_cache(maxsize=len(KINDS))
def _of_kind(kind: str) -> Drawn:
    return Drawn(kind)


@lru_cache(maxsize=len(KINDS))
def _facts(kind: str) -> Facts:
    """Of questions that stand for all; options are shuffled, so of choices nothing is to know."""
    return Facts(() if kind == "choice" else [question(kind, at).answers for at in range(SAMPLE)])


def question(kind: str, index: int) -> Labelled:
    """The question of a kind at an index."""
    rng = keyed_rng("drawn", VERSION, kind, index)
    count = int(rng.integers(1, MOST + 1)) if kind == "number" else 1
    shapes = [str(name) for name in rng.permutation(SHAPES)]
    asked, others = shapes[0], shapes[1:]
    kinds = [asked] * count + ([str(name) for name in rng.choice(others, 2)] if kind == "number" else others[:2])
    colours = [str(name) for name in rng.permutation(list(COLOURS))]
    boxes = _places(len(kinds), rng)
    placed = tuple(Shape(kind_of, colours[at], boxes[at]) for at, kind_of in enumerate(kinds))
    photo = Drawing(placed, int(rng.integers(*_GREY)))
    name, colour = f"drawn {kind} {index}", placed[0].colour
    facts = Facts()
    if kind == "number":
        return Labelled(name, f"How many {asked}{_plural(asked)} are there?", (count,), facts, (), (photo,))
    if kind == "box":
        return Labelled(name, f"Where is the {asked}?", (placed[0].box,), facts, (), (photo,))
    if kind == "choice":
        options = [colour, placed[1].colour, placed[2].colour, colours[3]]
        return Labelled(name, f"Which colour is the {asked}?", (0,), facts, tuple(options), (photo,))
    return Labelled(name, f"Which colour is the {asked}?", (colour, *OTHER_NAMES.get(colour, ())), facts, (), (photo,))


def _plural(shape: str) -> str:
    return "es" if shape == "cross" else "s"


def _places(count: int, rng: np.random.Generator) -> Sequence[tuple[float, float, float, float]]:
    """Squares that do not touch, the first anywhere: drawn anew until all fit."""
    while True:
        placed: list[tuple[float, float, float, float]] = []
        for _ in range(20 * count):
            side = float(rng.uniform(*_SIDE))
            x, y = (float(v) for v in rng.uniform(0.01, 0.99 - side, 2))
            box = (x, y, x + side, y + side)
            if all(_apart(box, other) for other in placed):
                placed.append(box)
            if len(placed) == count:
                return placed


def _apart(one: Sequence[float], other: Sequence[float]) -> bool:
    gap = 0.02
    return any(one[i] > other[i + 2] + gap or other[i] > one[i + 2] + gap for i in (0, 1))
