"""What runs learnt for other tasks (`ssl4rl eval --save`): trained on rows, tested on columns. Reads files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.run_log import Measure, Run, measure

_MUTE = 0.5
"""Where more than this share of the replies has no answer, an accuracy says little about the task."""


@dataclass(frozen=True)
class Test:
    """A column. `task` is "task@version[level]"; `more` is what is unusual about it, "" for nothing."""

    task: str
    data: str
    more: str


@dataclass(frozen=True)
class Cell:
    """One model on one test. `own`: it was trained on that very task, level and source."""

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

    tests: Sequence[Test]
    lines: Sequence[Line]


def transfer(runs: Sequence[Run], labels: Sequence[str]) -> Transfer | None:
    """The table of what was saved in the runs' folders; of equal measurements the last one. None without any."""
    found: dict[tuple[str, str, int | None], dict[Test, Cell]] = {}
    for i, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for record in run.evals:
            one = measure(record, 0)
            if one is not None:
                test = _test(record)
                own = test.task in run.trained_on and test.data in run.data.split(", ")
                found.setdefault(_row(record, label, i % COLOURS), {})[test] = Cell(one, own, _asked(record))
    tests = list(dict.fromkeys(test for cells in found.values() for test in cells))
    # what nobody trained comes first, then every run's own rows together, from its start to its end
    order = sorted(found, key=lambda row: (-1, (0, "")) if row[2] is None else (labels.index(row[0]), _age(row[1])))
    lines = [Line(*row, cells=[found[row].get(test) for test in tests]) for row in order]
    return Transfer(tests, lines) if tests else None


def _row(record: Mapping[str, Any], label: str, colour: int) -> tuple[str, str, int | None]:
    """Whose row a measurement belongs to: label, weights, colour."""
    weights, model = str(record.get("weights")), str(record.get("model"))
    if weights == "model":
        return model, "as it came", None
    steps = record.get("steps")
    names = {"start": "before GRPO", "final": f"after {steps} step{'s' * (steps != 1)}"}
    return label, names.get(weights, weights), colour


def _age(weights: str) -> tuple[int, str]:
    """Sorts a run's rows: its start, its checkpoints by name, its end."""
    return (0 if weights == "before GRPO" else 2 if weights.startswith("after") else 1), weights


def _test(record: Mapping[str, Any]) -> Test:
    usual = {"split": "held_out", "seed": 0, "temperature": 0.0}
    unusual = [f"{name} {record[name]}" for name, value in usual.items() if record.get(name, value) != value]
    return Test(f"{record.get('task')}[{record.get('level')}]", str(record.get("data")), ", ".join(unusual))


def _asked(record: Mapping[str, Any]) -> str:
    """How the questions were put, and what was answered most."""
    answers = record.get("answers")
    common = list(answers.items())[:3] if isinstance(answers, Mapping) else []
    return f"reply style {record.get('style')}, up to {record.get('max_new_tokens')} tokens, n {record.get('n')}" + (
        f"; most often: {', '.join(f'{answer} ({count}x)' for answer, count in common)}" if common else ""
    )
