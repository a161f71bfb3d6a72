"""What runs did on multiple-choice benchmarks (`ssl4rl bench`), a table a benchmark. Reads files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.run_log import Measure, Run, measure

_OVERALL = "overall"


@dataclass(frozen=True)
class Column:
    """One model: its run's label, which weights, and how the questions were put."""

    label: str
    weights: str
    colour: int
    asked: str


@dataclass(frozen=True)
class Line:
    """One group of questions: its name, what kind of group it is ("" for all), and each column's measure."""

    name: str
    group: str
    chance: float
    n: int
    cells: Sequence[Measure | None]


@dataclass(frozen=True)
class Table:
    """One benchmark asked in one way. `paired`: comparisons of two models that were saved with it."""

    title: str
    way: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    paired: Sequence[Mapping[str, Any]]


def benchmarks(runs: Sequence[Run], labels: Sequence[str]) -> list[Table]:
    """The tables of what was saved in the runs' folders; of equal measurements the last one."""
    found: dict[tuple[str, str], dict[Column, Mapping[str, Any]]] = {}
    for i, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for record in run.benches:
            if measure(record.get(_OVERALL), 0) is None:
                continue
            column = Column(label, _weights(record), i % COLOURS, _asked(record))
            found.setdefault((str(record.get("benchmark")), _way(record)), {})[column] = record
    return [_table(title, way, records) for (title, way), records in found.items()]


def _table(title: str, way: str, records: Mapping[Column, Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(place for record in records.values() for place in _places(record))
    lines = []
    for group, name in names:
        cells = [_places(record).get((group, name)) for record in records.values()]
        first = next(cell for cell in cells if cell)
        lines.append(Line(name, group, first.chance, first.n, cells))
    paired = {str(pair): pair for record in records.values() for pair in _pairs(record)}
    return Table(title, way, list(records), lines, list(paired.values()))


def _places(record: Mapping[str, Any]) -> dict[tuple[str, str], Measure]:
    """Every group's measure, all together first."""
    found = {("", _OVERALL): measure(record.get(_OVERALL), 0)}
    groups = record.get("groups")
    for group, values in groups.items() if isinstance(groups, Mapping) else ():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            found[str(group), str(name)] = measure(value, 0)
    return {place: one for place, one in found.items() if one}


def _pairs(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    keys = {"first", "second", "n", "first_alone", "second_alone", "difference", "ci95", "p"}
    pairs = record.get("paired")
    return [p for p in pairs if isinstance(p, Mapping) and keys <= p.keys()] if isinstance(pairs, list) else []


def _weights(record: Mapping[str, Any]) -> str:
    weights, steps = str(record.get("weights")), record.get("steps")
    return {"final": f"after {steps} steps", "start": "before GRPO", "model": "before GRPO"}.get(weights, weights)


def _way(record: Mapping[str, Any]) -> str:
    parts = ["circular: all rotations must be right" if record.get("circular") else "each question once"]
    parts += ["options shuffled"] if record.get("shuffle") else []
    parts += [f"pictures corrupted ({record['corrupt']})"] if record.get("corrupt") else []
    return ", ".join([*parts, f"seed {record.get('seed')}"])


def _asked(record: Mapping[str, Any]) -> str:
    return f"reply style {record.get('style')}, up to {record.get('max_new_tokens')} tokens"
