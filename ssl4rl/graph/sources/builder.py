"""A graph put together as a file of text is read: nodes by name, what they carry, edges; its memory counted."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssl4rl.core.limits import Budget
from ssl4rl.core.source import Problem
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import assemble

NODE_BYTES, CELL_BYTES, EDGE_BYTES = 230, 70, 130
"""What a node, a cell and an edge take at the worst, beside the letters of a name or a text."""

_BATCH = 4096


def letters(text: str) -> int:
    """Bytes that a text's letters take in memory, at the worst."""
    return len(text) if text.isascii() else 4 * len(text)


@dataclass
class Builder:
    """Collects a graph. `closed`: the nodes are known, and no other name becomes one."""

    budget: Budget
    numbers: dict[str, int] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    sources: array[int] = field(default_factory=lambda: array("q"))
    targets: array[int] = field(default_factory=lambda: array("q"))
    weights: array[float] = field(default_factory=lambda: array("d"))
    closed: bool = False

    def node(self, name: str) -> int | None:
        """The number of a node, a new one where the name is new; None: the builder is closed and lacks it."""
        number = self.numbers.get(name)
        if number is None and not self.closed:
            self.budget.spend(NODE_BYTES + letters(name))
            number = self.numbers[name] = len(self.numbers)
        return number

    def value(self, node: int, column: str, value: Any) -> None:
        """What a node carries in a column; nodes before it that carry nothing there hold None."""
        cells = self.columns.setdefault(column, [])
        missing = node + 1 - len(cells)
        if missing > 0:
            self.budget.spend(8 * missing + (CELL_BYTES if not cells else 0))
            cells.extend([None] * missing)
        self.budget.spend(CELL_BYTES + (letters(value) if isinstance(value, str) else 0))
        cells[node] = value

    def fill(self, column: str, default: Any) -> None:
        """`default` in a column for every node that carries nothing there."""
        cells = self.columns.setdefault(column, [])
        self._pad(cells)
        for node, value in enumerate(cells):
            if value is None:
                cells[node] = default

    def edge(self, source: int, target: int, weight: float | None = None) -> None:
        """An edge between nodes; all edges or none are given weights."""
        if len(self.sources) % _BATCH == 0:
            self.budget.spend(EDGE_BYTES * _BATCH)
        self.sources.append(source)
        self.targets.append(target)
        if weight is not None:
            self.weights.append(weight)

    def _pad(self, cells: list[Any]) -> None:
        missing = len(self.numbers) - len(cells)
        self.budget.spend(8 * missing)
        cells.extend([None] * missing)

    def graph(self, directed: bool, names: Sequence[str] | None = None) -> tuple[Graph, list[Problem]]:
        """The graph, and what was dropped or merged. `names`: other names for the nodes, in order."""
        for cells in self.columns.values():
            self._pad(cells)
        return assemble(
            self.budget.uri,
            len(self.numbers),
            _array(self.sources, np.int64),
            _array(self.targets, np.int64),
            directed=directed,
            weight=_array(self.weights, np.float64) if self.weights else None,
            names=list(self.numbers) if names is None else names,
            columns=self.columns,
        )


def _array(values: array[Any], kind: Any) -> Any:
    """The same numbers, not copied."""
    return np.frombuffer(values, dtype=kind) if values else np.empty(0, dtype=kind)
