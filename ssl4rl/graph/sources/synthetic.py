"""Endless families of small random graphs: `er:`, `sbm:`, `ba:`, `ws:`, `grid:`, `tree:`.

A graph is drawn from its index alone; its id is that of its content, so the same graph met again under another index
falls on the same side of a split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Source
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.sources.base import graph_id

VERSION = 1
MAX_NODES = 2000

Pairs = NDArray[np.int64]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Family:
    """How graphs of a family are drawn, and its parameters' defaults: (least, most), int or float."""

    draw: Callable[[Values, np.random.Generator], Graph]
    defaults: Mapping[str, tuple[float, float]]


def _graph(nodes: int, pairs: Pairs, **columns: Any) -> Graph:
    return Graph.from_edges(nodes, pairs[:, 0], pairs[:, 1], columns=columns)


def _pairs_where(nodes: int, probability: Any, rng: np.random.Generator) -> Pairs:
    """int [M, 2]: each pair u < v with its probability, a number or an array [nodes, nodes]."""
    return np.argwhere(np.triu(rng.random((nodes, nodes)) < probability, 1))


def _er(values: Values, rng: np.random.Generator) -> Graph:
    """Erdos-Renyi: every pair with probability p."""
    nodes = int(values["nodes"])
    return _graph(nodes, _pairs_where(nodes, values["p"], rng))


def _sbm(values: Values, rng: np.random.Generator) -> Graph:
    """Stochastic block model: blocks as equal in size as can be, nodes in random order; column "block"."""
    nodes, blocks = int(values["nodes"]), int(values["blocks"])
    block = rng.permutation(np.arange(nodes) % blocks)
    same = block[:, None] == block[None, :]
    return _graph(nodes, _pairs_where(nodes, np.where(same, values["p_in"], values["p_out"]), rng), block=block)


def _ba(values: Values, rng: np.random.Generator) -> Graph:
    """Barabasi-Albert: each new node joins m different nodes, drawn by degree; it starts from a star of m + 1."""
    nodes, m = int(values["nodes"]), int(values["m"])
    pairs = [(0, end) for end in range(1, m + 1)]
    ends = [node for pair in pairs for node in pair]
    for new in range(m + 1, nodes):
        chosen: dict[int, None] = {}
        while len(chosen) < m:
            chosen[ends[int(rng.integers(len(ends)))]] = None
        pairs += [(new, old) for old in chosen]
        ends += [node for old in chosen for node in (new, old)]
    return _graph(nodes, np.array(pairs))


def _ws(values: Values, rng: np.random.Generator) -> Graph:
    """Watts-Strogatz: a ring where each node knows the k nearest, each edge's far end redrawn with probability p."""
    nodes, half = int(values["nodes"]), int(values["k"]) // 2
    edges = {(min(u, v), max(u, v)): None for s in range(1, half + 1) for u in range(nodes) for v in [(u + s) % nodes]}
    for step in range(1, half + 1):
        for u in range(nodes):
            old = (u + step) % nodes
            new = int(rng.integers(nodes))
            redrawn = rng.random() < values["p"]
            edge, moved = (min(u, old), max(u, old)), (min(u, new), max(u, new))
            if redrawn and new != u and moved not in edges and edge in edges:
                del edges[edge]
                edges[moved] = None
    return _graph(nodes, np.array(list(edges)))


def _grid(values: Values, rng: np.random.Generator) -> Graph:
    """A grid of rows by columns."""
    at = np.arange(int(values["rows"]) * int(values["columns"])).reshape(int(values["rows"]), -1)
    across = np.column_stack([at[:, :-1].ravel(), at[:, 1:].ravel()])
    down = np.column_stack([at[:-1].ravel(), at[1:].ravel()])
    return _graph(at.size, np.concatenate([across, down]))


def _tree(values: Values, rng: np.random.Generator) -> Graph:
    """A tree, every labelled one equally likely: decoded from a random Pruefer sequence."""
    nodes = int(values["nodes"])
    sequence = rng.integers(nodes, size=max(0, nodes - 2)).tolist()
    degree = np.bincount(sequence, minlength=nodes) + 1
    pairs = []
    for parent in sequence:
        leaf = int(np.flatnonzero(degree == 1)[0])
        pairs.append((leaf, parent))
        degree[leaf] -= 1
        degree[parent] -= 1
    first, last = np.flatnonzero(degree == 1).tolist()
    pairs.append((first, last))
    return _graph(nodes, np.array(pairs))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "er": Family(_er, {"nodes": (10, 16), "p": (0.2, 0.3)}),
        "sbm": Family(_sbm, {"nodes": (16, 24), "blocks": (2, 3), "p_in": (0.5, 0.5), "p_out": (0.05, 0.05)}),
        "ba": Family(_ba, {"nodes": (10, 16), "m": (2, 2)}),
        "ws": Family(_ws, {"nodes": (10, 16), "k": (4, 4), "p": (0.2, 0.2)}),
        "grid": Family(_grid, {"rows": (2, 6), "columns": (2, 6)}),
        "tree": Family(_tree, {"nodes": (10, 16)}),
    }
)

_LEAST = {"nodes": 2, "blocks": 1, "m": 1, "k": 2, "rows": 1, "columns": 1}


class Synthetic(Source[Rooted]):
    """2^40 graphs of a family; the item at an index is drawn from that index, its sizes within the given ranges."""

    endless: ClassVar[bool] = True

    def __init__(self, family: str, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.family, self.ranges = family, tuple(ranges.items())
        self.uri = f"{family}:{'&'.join(f'{name}={_show(*span)}' for name, span in ranges.items())}"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Rooted:
        return Rooted(_drawn(self.family, self.ranges, int(index))[0])

    def id(self, index: int) -> str:
        return _drawn(self.family, self.ranges, int(index))[1]


@lru_cache(maxsize=256)
def _drawn(family: str, ranges: tuple[tuple[str, tuple[float, float]], ...], index: int) -> tuple[Graph, str]:
    """A graph and its id; a split asks for the id, a dataset for both."""
    rng = keyed_rng("graphs", VERSION, family, str(ranges), index)
    values: dict[str, float] = {}
    for name, (least, most) in ranges:
        if isinstance(least, int) and isinstance(most, int):
            values[name] = int(rng.integers(least, most + 1))
        else:
            values[name] = float(rng.uniform(least, most))
    graph = FAMILIES[family].draw(values, rng)
    return graph, graph_id(graph)


def open_family(family: str, rest: str) -> Synthetic:
    """Opens "sbm:", "sbm:nodes=20&blocks=2&p_in=0.5&p_out=0.05" or, with ranges, "sbm:nodes=8-12".

    Raises:
        Ssl4rlError: an unknown parameter, no number or range, or one that the family cannot have.
    """
    uri = f"{family}:{rest}"
    defaults = FAMILIES[family].defaults
    ranges = dict(defaults)
    for part in rest.removeprefix("?").split("&") if rest else []:
        name, _, text = part.partition("=")
        if name not in defaults:
            raise Ssl4rlError(f"{uri!r}: unknown parameter {name!r}{nearest(name, defaults)}")
        ranges[name] = _span(uri, name, text, type(defaults[name][0]))
    _check(uri, ranges)
    return Synthetic(family, ranges)


open_er, open_sbm, open_ba = partial(open_family, "er"), partial(open_family, "sbm"), partial(open_family, "ba")
open_ws, open_grid, open_tree = partial(open_family, "ws"), partial(open_family, "grid"), partial(open_family, "tree")


def _span(uri: str, name: str, text: str, kind: type[float]) -> tuple[float, float]:
    least, *more = re.split("(?<![eE])-", text, maxsplit=1)  # "1e-3" is one number
    what = "a whole number" if kind is int else "a number from 0 to 1"
    try:
        span = kind(least), kind(more[0] if more else least)
    except ValueError:
        raise Ssl4rlError(f"{uri!r}: {name}={text!r}; allowed: {what}, or a range of them such as 8-12") from None
    low, high = (0.0, 1.0) if kind is float else (_LEAST[name], MAX_NODES)
    if not low <= span[0] <= span[1] <= high:
        raise Ssl4rlError(f"{uri!r}: {name}={text!r}; allowed: {what}, from {low} to {high}, the smaller first")
    return span


def _check(uri: str, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Parameters that contradict each other."""
    if "rows" in ranges:
        most = ranges["rows"][1] * ranges["columns"][1]
        if most > MAX_NODES or ranges["rows"][0] * ranges["columns"][0] < 2:
            raise Ssl4rlError(f"{uri!r}: a grid of up to {int(most)} nodes; allowed: 2 to {MAX_NODES}")
    for name in ("blocks", "m", "k"):
        if name in ranges and ranges[name][1] >= ranges["nodes"][0]:
            got = f"{name}={_show(*ranges[name])} with nodes={_show(*ranges['nodes'])}"
            raise Ssl4rlError(f"{uri!r}: {got}; allowed: fewer than nodes")
    if "k" in ranges and any(int(end) % 2 for end in ranges["k"]):
        raise Ssl4rlError(f"{uri!r}: k={_show(*ranges['k'])}; allowed: even numbers")


def _show(least: float, most: float) -> str:
    return f"{least}" if least == most else f"{least}-{most}"
