"""What an encoding is given to write, and what it reads back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Row:
    """A node's line: its neighbours (successors where directed) with their weights, in the order shown."""

    name: str
    neighbours: Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class Content:
    """A graph by names, everything in the order shown. `weight` None: not shown.

    `rows` hold no line for hidden nodes, `edges` (u, v, weight) none of their edges, each edge once. `texts` are by
    name, in the order of the nodes.
    """

    directed: bool
    names: Sequence[str]
    edges: Sequence[tuple[str, str, float | None]]
    rows: Sequence[Row]
    texts: Mapping[str, str] = field(default_factory=dict)


class Parsed(NamedTuple):
    """A graph as a text says it. An undirected edge is the pair of its names in ascending order.

    `weights` has the edges that had one, as shown (rounded).
    """

    names: list[str]
    edges: set[tuple[str, str]]
    directed: bool
    texts: dict[str, str]
    weights: dict[tuple[str, str], float]


Writer = Callable[[Content], str]
Reader = Callable[[str], Parsed]


def collect(
    directed: bool,
    names: Sequence[str],
    edges: Sequence[tuple[str, str, float | None]],
    texts: Mapping[str, str] | None = None,
) -> Parsed:
    """What was read, edges brought into their one form.

    Raises:
        ValueError: a name stands for two nodes, or an edge has an end that is no node.
    """
    if len(set(names)) < len(names):
        raise ValueError("a node is listed twice")
    known = set(names)
    found: dict[tuple[str, str], float | None] = {}
    for u, v, weight in edges:
        if not {u, v} <= known:
            raise ValueError(f"the edge {u!r}, {v!r} has an end that is no node")
        found[(u, v) if directed or u <= v else (v, u)] = weight
    weights = {edge: weight for edge, weight in found.items() if weight is not None}
    return Parsed(list(names), set(found), directed, dict(texts or {}), weights)


def show_weight(weight: float) -> str:
    """A whole number as it is, any other to three significant digits."""
    return str(int(weight)) if abs(weight) < 1e15 and weight == int(weight) else f"{weight:.3g}"
