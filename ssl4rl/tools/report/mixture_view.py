"""A run's tasks and levels for people: difficulty over time, success by level, agreement of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ssl4rl.tools.charts import COLOURS, Line, Plot, Points, Rule, smooth, thin
from ssl4rl.tools.run_log import Run, number

_MOST_STEPS = 300


@dataclass(frozen=True)
class Cosine:
    """Of two tasks' gradients (of one with itself: of its two halves), over the run."""

    a: str
    b: str
    mean: float
    first: float
    last: float
    times: int


@dataclass(frozen=True)
class Mixture:
    """What the report shows of a run with several tasks or levels; `arms` are their names with colours."""

    arms: Sequence[tuple[str, int]]
    plots: Sequence[Plot]
    cosines: Sequence[Cosine]


def mixture(run: Run) -> Mixture | None:
    """None where the run has a single task at a single level, or nothing about them in its log."""
    records = [record for record in run.phase("train") if isinstance(record.get("arms"), Mapping)]
    names = list(dict.fromkeys(str(name) for r in records for name in (*_mapping(r.get("weights")), *r["arms"])))
    if len(names) < 2:
        return None
    plots = [_difficulty(run, records, names)]
    for title, key in (("Success while sampling", "accuracy"), ("Signal: variance within a group", "signal")):
        plots.append(_earned(run, records, names, title, key))
    return Mixture(
        arms=[(name, i % COLOURS) for i, name in enumerate(names)],
        plots=[plot for plot in plots if plot.lines],
        cosines=_cosines(records),
    )


def _difficulty(run: Run, records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Plot:
    """Each step's prompts by arm, stacked to 1; from the weights that they were sampled by."""
    records = [r for r in records if _mapping(r.get("weights"))]
    stride = -(-len(records) // _MOST_STEPS) or 1
    kept = sorted({*range(0, len(records), stride), len(records) - 1} & set(range(len(records))))
    bands: list[list[tuple[float, float, float]]] = [[] for _ in names]
    for record in (records[i] for i in kept):
        values = [max(0.0, number(record["weights"].get(name)) or 0.0) for name in names]
        whole = sum(values) or 1.0
        low = 0.0
        for band, value in zip(bands, values, strict=True):
            band.append((float(record["step"] - run.warmup_steps), low, low + value / whole))
            low += value / whole
    lines = [Line([(x, high) for x, _, high in band], i % COLOURS, band) for i, band in enumerate(bands) if band]
    return Plot("Difficulty over time: share of the prompts", lines, stacked=True)


def _earned(run: Run, records: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, key: str) -> Plot:
    lines, rules = [], []
    for i, name in enumerate(names):
        seen = [(r["step"] - run.warmup_steps, _mapping(r["arms"].get(name))) for r in records]
        points: Points = [(float(x), y) for x, part in seen if (y := number(part.get(key))) is not None]
        if not points:
            continue
        lines.append(Line(thin(smooth(points)), i % COLOURS))
        chances = [chance for _, part in seen if (chance := number(part.get("chance"))) is not None]
        if key == "accuracy" and chances:
            rules.append(Rule(fmean(chances), "", i % COLOURS))
    highest = max((y for line in lines for _, y in line.points), default=1.0)
    return Plot(title, lines, rules, 1.0 if key == "accuracy" or highest > 0.5 else 0.5)


def _cosines(records: Sequence[Mapping[str, Any]]) -> list[Cosine]:
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        rows = record.get("agreement")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, list) and len(row) == 3 and (value := number(row[2])) is not None:
                found.setdefault((str(row[0]), str(row[1])), []).append(value)
    return [Cosine(a, b, fmean(part), part[0], part[-1], len(part)) for (a, b), part in sorted(found.items())]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
