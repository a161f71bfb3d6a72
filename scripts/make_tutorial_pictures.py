"""Draws the tutorials' pictures: one example of a few tasks, side by side; the graph as SVG on white.

python scripts/make_tutorial_pictures.py
"""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

import ssl4rl
from ssl4rl import Example
from ssl4rl.graph.draw import svg

FOLDER = Path(__file__).parents[1] / "docs" / "images"
ROWS = {
    "vision": [("vision/rotation", "90deg,image_px=168", 3), ("vision/jigsaw", "2x2,form=tiles", 2)],
    "video": [("video/order", "medium", 1)],
}
HEIGHT_PX, GAP_PX, APART_PX = 168, 6, 40


def example(task: str, level: str, index: int) -> Example:
    return ssl4rl.create_dataset(task, level=level, split="all", seed=0)[index]


def strip(examples: list[Example]) -> Image.Image:
    """The examples' pictures in a row, at one height, on white; examples stand apart."""
    placed: list[tuple[int, Image.Image]] = []
    x = 0
    for one in examples:
        for medium in one.media:
            picture = medium.data
            placed.append((x, picture.resize((round(picture.width * HEIGHT_PX / picture.height), HEIGHT_PX))))
            x += placed[-1][1].width + GAP_PX
        x += APART_PX - GAP_PX
    row = Image.new("RGB", (x - APART_PX, HEIGHT_PX), "white")
    for left, picture in placed:
        row.paste(picture, (left, 0))
    return row


def main() -> None:
    for name, asked in ROWS.items():
        strip([example(*one) for one in asked]).save(FOLDER / f"tutorial_{name}.webp", quality=85)
    drawn = svg(example("graph/masked_edge", "tiny", 0).meta["drawing"])
    light = drawn.replace("@media (prefers-color-scheme: dark)", "@media not all")
    on_white = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#fff"/>', light, count=1)
    (FOLDER / "tutorial_graph.svg").write_text(on_white, encoding="utf-8")


if __name__ == "__main__":
    main()
