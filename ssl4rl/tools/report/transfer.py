"""What runs learnt for other tasks (`ssl4rl eval --save`): trained on rows, tested on columns. Reads files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.run_log import Measure, Run, measure, number

_MUTE = 0.5
"""Where more than this share of the replies has no answer, an accuracy says little about the task."""


@dataclass(frozen=True)
class Column:
    """A column. `task` is "task@version"; `more` is what is unusual about it, "" for nothing."""

    task: str
    level: str
    data: str
    more: str


@dataclass(frozen=True)
class Cell:
    """One model on one test. `own`: of a run that trains on that very task, level and source."""

    measure: Measure
    own: bool
    asked: str

    @property
    def no_answer(self) -> float:
        """The share of replies that were unparsed or cut off."""
        return self.measure.unparsed + self.measure.truncated

    @property
    def mute(self) -> bool:
        return self.no_answer > _MUTE

    @property
    def gain(self) -> float:
        """(accuracy - chance) as a share of what lies beyond chance, -1 to 1; 0 where the interval holds chance."""
        m = self.measure
        if m.low <= m.chance <= m.high or self.mute:
            return 0.0
        beyond = 1 - m.chance if m.accuracy > m.chance else m.chance
        return round((m.accuracy - m.chance) / beyond, 3)


@dataclass(frozen=True)
class Line:
    """A row: a run's weights, or (`colour` None) a model that several runs started from."""

    label: str
    weights: str
    colour: int | None
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Transfer:
    """The whole table."""

    columns: Sequence[Column]
    lines: Sequence[Line]


def transfer(runs: Sequence[Run], labels: Sequence[str]) -> Transfer | None:
    """The table of what was saved in the runs' folders; of equal measurements the last one. None without any."""
    found: dict[_Row, dict[Column, Cell]] = {}
    for i, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for record in run.evals:
            one = measure(record, 0)
            if one is not None:
                column = _column(record)
                own = f"{column.task}[{column.level}]" in run.trained_on and column.data in run.data.split(", ")
                found.setdefault(_row(record, label, i), {})[column] = Cell(one, own, _asked(record))
    columns = list(dict.fromkeys(column for cells in found.values() for column in cells))
    lines = [
        Line(row.label, row.weights, row.colour, [found[row].get(column) for column in columns])
        for row in sorted(found, key=lambda row: row.order)
    ]
    return Transfer(columns, lines) if columns else None


class _Row(NamedTuple):
    """Whose row a measurement belongs to. `order`: the run, whether its start, a checkpoint or its end, and which."""

    label: str
    weights: str
    colour: int | None
    order: tuple[int, int, int, str]


def _row(record: Mapping[str, Any], label: str, i: int) -> _Row:
    """What nobody trained comes first, then every run's own rows together, from its start to its end."""
    weights, colour = str(record.get("weights")), i % COLOURS
    if weights == "model":
        model = str(record.get("model"))
        return _Row(model, "as it came", None, (-1, 0, 0, model))
    if weights == "start":
        return _Row(label, "before GRPO", colour, (i, 0, 0, ""))
    if weights == "final":
        steps = int(number(record.get("steps")) or 0)
        return _Row(label, f"after {steps} step{'s' * (steps != 1)}", colour, (i, 2, steps, ""))
    return _Row(label, weights, colour, (i, 1, 0, weights))


def _column(record: Mapping[str, Any]) -> Column:
    usual = {"split": "held_out", "seed": 0, "temperature": 0.0}
    unusual = [f"{name} {record[name]}" for name, value in usual.items() if record.get(name, value) != value]
    task, level, data = (str(record.get(name)) for name in ("task", "level", "data"))
    return Column(task, level, data, ", ".join(unusual))


def _asked(record: Mapping[str, Any]) -> str:
    """How the questions were put, and what was answered most."""
    answers = record.get("answers")
    common = list(answers.items())[:3] if isinstance(answers, Mapping) else []
    return f"reply style {record.get('style')}, up to {record.get('max_new_tokens')} tokens, n {record.get('n')}" + (
        f"; most often: {', '.join(f'{answer} ({count}x)' for answer, count in common)}" if common else ""
    )
