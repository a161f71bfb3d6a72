"""Boxes as files have them: in pixels, in thousandths or as shares, by corners or by a corner and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ssl4rl.core.types import Ssl4rlError, Unusable, nearest
from ssl4rl.core.verify import made
from ssl4rl.core.verify.lists import BOX_KEYS, EDGES
from ssl4rl.core.verify.plain import from_json
from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.said import untagged
from ssl4rl.vision.photo import EncodedPhoto

_TOKENS = re.compile(r"<[|]?/?box(?:_start|_end)?[|]?>|bbox(?:_2d)?|nan")
_SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
COORDS = ("pixel", "share", "percent", "thousand")
CORNERS = ("xyxy", "xywh")
_LARGEST = {"share": 1.0, "percent": 100.0, "thousand": 1000.0}
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,12})?(?:e-?\d{1,2})?", re.IGNORECASE)
_SLACK = 1.02
"""Annotated boxes end a little outside their picture; so much is cut off rather than refused."""
_MISFITS = 0.02
"""Such a share of boxes may not fit into their pictures in the right measure: annotators err."""

Four = tuple[float, float, float, float]


def read_boxes(uri: str, rows: Sequence[Raw], asked: Mapping[str, str]) -> tuple[list[list[Four] | str], str]:
    """Of each row its boxes as shares of width and height, or why there is none; and how they were read.

    What measure they are in is `coords`; where it is not said, it is told by the numbers themselves: all up to 1 are
    shares; else pixels and thousandths are tried, and what fits only one of them decides. Likewise `corners`: two
    corners (xyxy) unless a corner and sizes (xywh) fits more boxes. A box fits that has an area and lies inside.

    Raises:
        Ssl4rlError: an unknown measure, or one that the numbers do not tell.
    """
    for option, allowed in (("coords", COORDS), ("corners", CORNERS)):
        if asked.get(option, allowed[0]) not in allowed:
            raise Ssl4rlError(f"{uri!r}: {option} is {asked[option]!r}{nearest(asked[option], allowed)}")
    found: list[list[Four] | str] = []
    for row in rows:
        found.append(_fours(row.answer) or f"its answer {str(row.answer)[:40]!r} is no box")
        if len(row.photos) != 1 and not isinstance(found[-1], str):
            found[-1] = f"it has {len(row.photos)} pictures; a box is in one"
    fours = [box for boxes in found if not isinstance(boxes, str) for box in boxes]
    if not fours:
        return found, "boxes"
    tried = (
        [asked["coords"]] if "coords" in asked else ["share"] if max(map(max, fours)) <= 1 else ["pixel", "thousand"]
    )
    sizes: list[tuple[int, int] | None] = [None] * len(rows)
    if "pixel" in tried:
        sizes = [
            None if isinstance(boxes, str) else _size(row.photos[0]) for row, boxes in zip(rows, found, strict=True)
        ]
    ways = {
        (coords, corners): [
            boxes if isinstance(boxes, str) else _shares(boxes, coords, corners, size)
            for boxes, size in zip(found, sizes, strict=True)
        ]
        for coords in tried
        for corners in ([asked["corners"]] if "corners" in asked else CORNERS)
    }
    lost = {way: sum(isinstance(placed, str) for placed in boxes) for way, boxes in ways.items()}
    left = sum(isinstance(boxes, str) for boxes in found)
    fitting = {coords for (coords, _), n in lost.items() if n - left <= _MISFITS * (len(found) - left)}
    best = min(lost, key=lambda way: lost[way])  # of equal ones the first: corners
    rivals = {coords for (coords, _), n in lost.items() if n == lost[best]}
    if len(fitting) > 1 or len(rivals) > 1:
        raise Ssl4rlError(
            f"{uri!r}: its boxes may be in pixels or in thousandths of the picture, both fit; say ?coords=pixel or "
            "?coords=thousand (or percent)"
        )
    coords, corners = best
    return ways[best], f"boxes {corners} in {'pixels' if coords == 'pixel' else coords + 's'}"


def _fours(answer: Any) -> list[Four] | None:
    """One box or several: four numbers, a list of such, a text that holds nothing but them, or as models and annotators
    write them, {"bbox_2d": [...]}, {"x1": ..., "y1": ..., "x2": ..., "y2": ...}, as values or as JSON."""
    answer = untagged(answer)
    if isinstance(answer, str) and "{" in answer:
        answer = from_json(answer)
    if isinstance(answer, Mapping) or (made.is_list(answer) and any(isinstance(one, Mapping) for one in answer)):
        answer = [_edges(one) for one in (answer if made.is_list(answer) else [answer])]
    if isinstance(answer, str):
        if re.search(r"[a-z]{2,}", _TOKENS.sub("", answer.casefold())):
            return None
        answer = [float(number) for number in _NUMBER.findall(answer)]
        answer = [answer[at : at + 4] for at in range(0, len(answer), 4)] if len(answer) % 4 == 0 else []
    if not made.is_list(answer) or not len(answer):
        return None
    boxes = [answer] if all(map(made.is_number, answer)) else list(answer)
    if not all(made.is_list(box) and len(box) == 4 and all(map(made.is_number, box)) for box in boxes):
        return None
    return [(float(box[0]), float(box[1]), float(box[2]), float(box[3])) for box in boxes]


def _edges(box: Any) -> Any:
    """The four numbers of one box with names; None where it has others. A corner and sizes are made two corners."""
    if not isinstance(box, Mapping):
        return box
    named = [box[key] for key in BOX_KEYS if key in box]
    if len(named) == 1:
        return named[0]
    edges = next(([box[name] for name in names] for names in EDGES if {*names} <= {*box}), None)
    sized = next(([box[name] for name in names] for names in _SIZED if {*names} <= {*box}), None)
    if edges is None and sized is not None and all(map(made.is_number, sized)):
        x, y, width, height = sized
        return [x, y, x + width, y + height]
    return edges


def _size(photo: EncodedPhoto) -> tuple[int, int] | None:
    try:
        return photo.size_px()
    except Unusable:
        return None


def _shares(boxes: Sequence[Four], coords: str, corners: str, size: tuple[int, int] | None) -> list[Four] | str:
    """Boxes as shares, what is a little outside cut off; or why they are none."""
    if coords == "pixel" and size is None:
        return "the size of its picture cannot be read"
    across, down = size if coords == "pixel" and size else (_LARGEST.get(coords, 1.0),) * 2
    found: list[Four] = []
    for x0, y0, x1, y1 in boxes:
        if corners == "xywh":
            x1, y1 = x0 + x1, y0 + y1
        box = (x0 / across, y0 / down, x1 / across, y1 / down)
        inside = tuple(min(1.0, max(0.0, edge)) for edge in box)
        if any(abs(edge - kept) > _SLACK - 1 for edge, kept in zip(box, inside, strict=True)):
            return f"its box {x0:g},{y0:g},{x1:g},{y1:g} lies outside the picture"
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            return f"its box {x0:g},{y0:g},{x1:g},{y1:g} has no area"
        found.append((inside[0], inside[1], inside[2], inside[3]))
    return found
