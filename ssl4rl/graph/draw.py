"""A small graph as a picture for people: SVG, laid out the same way every time, in colours for light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Places [N, 2], x to the right and y down."""
Point = tuple[float, float]
Spot = tuple[float, float, str]
"""Where a label stands: its anchor's x, its middle's y, its anchor."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_SIDE_PX = 290.0
_LEAST_PX = 80.0
_APART_PX = 95.0
_MARGIN_PX = 5.0
_RADIUS_PX, _SMALL_PX, _DOT_PX = 12.0, 9.0, 5.0
_FONT_PX = 12.0
_RISE_PX = 0.36 * _FONT_PX
_CHAR_PX = 0.58 * _FONT_PX
_INSIDE_CHARS = 3
_LABEL_CHARS = 22
_LEGEND = "Dashed: hidden from the model"
_MANY = 40
_ROUNDS = 80
_STYLE = """
.graph { --ink: #1f2023; --line: #8b8d93; --fill: #ffffff; --root: #cfe8e6; --accent: #0f6b6b; --hidden: #b3322a; }
@media (prefers-color-scheme: dark) {
  .graph { --ink: #e7e6e3; --line: #787b82; --fill: #1c1f23; --root: #1d4745; --accent: #64c4bd; --hidden: #ef8078; }
}
line { stroke: var(--line); stroke-width: 1.3; }
line.hidden { stroke: var(--hidden); stroke-width: 2; stroke-dasharray: 5 4; }
circle { fill: var(--fill); stroke: var(--ink); stroke-width: 1.3; }
circle.root { fill: var(--root); stroke: var(--accent); stroke-width: 2.4; }
circle.hidden { stroke: var(--hidden); stroke-width: 2; stroke-dasharray: 4 3; }
text { fill: var(--ink); font: 500 12px system-ui, sans-serif; }
text.beside { stroke: var(--fill); stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
text.root { font-weight: 700; } text.hidden { fill: var(--hidden); }
text.legend { fill: var(--hidden); font-size: 11px; }
.head { fill: var(--line); } .head.hidden { fill: var(--hidden); }
"""


def svg(drawing: Mapping[str, Any]) -> str:
    """A drawing as SVG text, about 300 px wide; it holds no links and no scripts.

    Args:
        drawing: `nodes` (names), `edges` ([u, v] by name), `directed`, `hidden_edges` (dashed, whether they are among
            `edges` or not), `hidden_nodes` (dashed, with a question mark), `root` (a name or None; filled). All but
            `nodes` may be left out.
    """
    names = [str(name) for name in drawing["nodes"]]
    number = {name: i for i, name in enumerate(names)}
    directed = bool(drawing.get("directed"))
    dashed = _pairs(drawing.get("hidden_edges", ()), number, directed)
    plain = [edge for edge in _pairs(drawing.get("edges", ()), number, directed) if edge not in set(dashed)]
    hidden = {str(name) for name in drawing.get("hidden_nodes", ())}
    root = drawing.get("root")
    classes = [_classes(root=name == root, hidden=name in hidden) for name in names]
    inside = all(len(name) <= _INSIDE_CHARS for name in names)
    radius = _DOT_PX if not inside else _RADIUS_PX if len(names) <= _MANY else _SMALL_PX
    labels = [_label(name, hidden=name in hidden) for name in names]
    points = spread(_scaled(layout(len(names), [*plain, *dashed])), [*plain, *dashed], 2.6 * radius, radius + 5)
    spots = [(x, y, "middle") for x, y in points.tolist()] if inside else _beside(points, labels, radius)
    legend = _LEGEND if dashed or hidden else ""
    shift, width, height = _frame(points, spots, labels, radius, max(_LEAST_PX, _CHAR_PX * len(legend)))
    at: list[Point] = [(x, y) for x, y in (points + shift).tolist()]
    parts = [_line(at[u], at[v], radius, directed, "") for u, v in plain]
    parts += [_line(at[u], at[v], radius, directed, "hidden") for u, v in dashed]
    for (x, y), kind, name in zip(at, classes, names, strict=True):
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{_text(name)}</title></circle>'
        )
    for (x, y, anchor), kind, label in zip(spots, classes, labels, strict=True):
        place = f'x="{x + shift[0]:.1f}" y="{y + shift[1] + _RISE_PX:.1f}" text-anchor="{anchor}"'
        parts.append(f'<text class="{kind}{"" if inside else " beside"}" {place}>{_text(label)}</text>')
    if legend:
        height += 1.5 * _FONT_PX
        parts.append(
            f'<text class="legend" x="{width / 2:.1f}" y="{height - 5:.1f}" text-anchor="middle">{legend}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><style>{_STYLE}</style>{"".join(parts)}</svg>'
    )


def layout(nodes: int, edges: Sequence[tuple[int, int]]) -> Points:
    """Places without a unit after Kamada and Kawai (1989), turned so that the longer side is the first.

    Parts that no edge joins are set as far apart as the longest path there is, and one hop more.
    """
    import networkx as nx

    if nodes < 2:
        return np.zeros((nodes, 2))
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edges)
    near: dict[int, dict[int, float]] = {u: dict(row) for u, row in nx.all_pairs_shortest_path_length(graph)}
    apart = 1.0 + max(max(row.values()) for row in near.values())
    far = {u: {v: near[u].get(v, apart) for v in range(nodes)} for u in range(nodes)}
    places = nx.kamada_kawai_layout(graph, dist=far)
    points = np.array([places[node] for node in range(nodes)], dtype=np.float64)
    points -= points.mean(axis=0)
    axes = np.linalg.svd(points, full_matrices=False)[2]
    return np.asarray(points @ axes.T)


def _scaled(points: Points) -> Points:
    """In px: as large as the picture may be, but not so large that most nodes are far from all others."""
    if len(points) < 2:
        return points
    side_px = _SIDE_PX if len(points) <= _MANY / 2 else 1.3 * _SIDE_PX
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
    usual = float(np.median(gaps.min(axis=1)))
    extent = float(np.ptp(points, axis=0).max())
    return points * min(side_px / extent, _APART_PX / max(usual, 1e-9))


def spread(points: Points, edges: Sequence[tuple[int, int]], gap_px: float, clear_px: float) -> Points:
    """Places in px, moved a little until nodes are `gap_px` apart and `clear_px` from others' edges, or nearly so."""
    points = points.copy()
    count = len(points)
    turn = np.arange(count)[:, None]
    aside = np.concatenate([np.cos(turn), np.sin(turn)], axis=1)  # where to go from the very same place
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    own = (np.arange(count)[:, None, None] == ends[None]).any(axis=2)
    for _ in range(_ROUNDS if count > 1 else 0):
        push = _away(points[:, None] - points[None], gap_px, np.eye(count, dtype=bool), aside)
        if len(ends):
            start, along = points[ends[:, 0]], points[ends[:, 1]] - points[ends[:, 0]]
            from_start = points[:, None] - start[None]
            share = (from_start * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-9)
            nearest = start[None] + np.clip(share, 0, 1)[..., None] * along[None]
            push += _away(points[:, None] - nearest, clear_px, own, aside)
        if not push.any():
            break
        points += 0.5 * push
    return points


def _away(gaps: NDArray[np.float64], least_px: float, leave: NDArray[np.bool_], aside: Points) -> Points:
    """[N, 2]: the sum of what pushes each node out of reach of the things it is too near to; `gaps` [N, things, 2]."""
    length = np.linalg.norm(gaps, axis=2)
    unit = np.where(length[..., None] > 1e-6, gaps / np.maximum(length, 1e-6)[..., None], aside[:, None])
    short = np.where(leave, 0.0, np.maximum(least_px - length, 0.0))
    return np.asarray((unit * short[..., None]).sum(axis=1))


def _beside(points: Points, labels: Sequence[str], radius: float) -> list[Spot]:
    """Where labels stand beside their nodes: above, below, right or left, whichever covers least so far."""
    reach = radius + 2
    dots = [(x - reach, y - reach, x + reach, y + reach) for x, y in points.tolist()]
    boxes: list[Box] = []
    spots = []
    for number, (x, y) in enumerate(points.tolist()):
        offered: list[Spot] = [
            (x, y - radius - 0.7 * _FONT_PX, "middle"),
            (x, y + radius + 0.8 * _FONT_PX, "middle"),
            (x + radius + 4, y, "start"),
            (x - radius - 4, y, "end"),
        ]
        others = [*boxes, *dots[:number], *dots[number + 1 :]]
        covered = [sum(_shared(_box(spot, labels[number]), other) for other in others) for spot in offered]
        spots.append(offered[covered.index(min(covered))])
        boxes.append(_box(spots[-1], labels[number]))
    return spots


def _box(spot: Spot, label: str) -> Box:
    x, y, anchor = spot
    width = _CHAR_PX * len(label)
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    return left, y - 0.6 * _FONT_PX, left + width, y + 0.6 * _FONT_PX


def _shared(a: Box, b: Box) -> float:
    """The area that two boxes share, in square px."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _frame(
    points: Points, spots: Sequence[Spot], labels: Sequence[str], radius: float, least_px: float
) -> tuple[NDArray[np.float64], float, float]:
    """How far everything is moved, and the width (at least `least_px`) and height of the picture that then holds it."""
    boxes = [_box(spot, label) for spot, label in zip(spots, labels, strict=True)]
    boxes += [(x - radius, y - radius, x + radius, y + radius) for x, y in points.tolist()]
    if not boxes:
        return np.zeros(2), least_px, _LEAST_PX
    corners = np.array(boxes)
    low, high = corners[:, :2].min(axis=0) - _MARGIN_PX, corners[:, 2:].max(axis=0) + _MARGIN_PX
    size = np.maximum(high - low, (least_px, _LEAST_PX))
    return (size - high - low) / 2, float(size[0]), float(size[1])


def _line(start: Point, end: Point, radius: float, directed: bool, kind: str) -> str:
    """From rim to rim, with a head where directed."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    dx, dy = dx / length, dy / length
    tip = end[0] - dx * (radius + 2), end[1] - dy * (radius + 2)
    back = 7.0 if directed else 0.0
    attribute = f' class="{kind}"' if kind else ""
    line = (
        f'<line x1="{start[0] + dx * radius:.1f}" y1="{start[1] + dy * radius:.1f}" '
        f'x2="{tip[0] - dx * back:.1f}" y2="{tip[1] - dy * back:.1f}"{attribute}/>'
    )
    if not directed:
        return line
    base = tip[0] - dx * 8, tip[1] - dy * 8
    corners = (tip, (base[0] - dy * 3.5, base[1] + dx * 3.5), (base[0] + dy * 3.5, base[1] - dx * 3.5))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'{line}<polygon class="head{" " + kind if kind else ""}" points="{points}"/>'


def _pairs(edges: Iterable[Sequence[Any]], number: Mapping[str, int], directed: bool) -> list[tuple[int, int]]:
    """Edges by number, each once."""
    found = ((number[str(u)], number[str(v)]) for u, v in edges)
    return list(dict.fromkeys((u, v) if directed or u <= v else (v, u) for u, v in found))


def _classes(*, root: bool, hidden: bool) -> str:
    return " ".join(kind for kind, there in (("node", True), ("root", root), ("hidden", hidden)) if there)


def _label(name: str, *, hidden: bool) -> str:
    short = name if len(name) <= _LABEL_CHARS else f"{name[: _LABEL_CHARS - 1]}…"
    return f"{short}?" if hidden else short


def _text(text: str) -> str:
    """Escaped, less what XML cannot hold."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))
