"""What a model can learn now (`ssl4rl probe`, `ssl4rl.probe`): success and signal of every task and level."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import Sources, TaskSpec, level_names, open_mixture
from ssl4rl.core.source import Part
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.asked import Place, at_least, names, need, quiet, taken_lines, uri
from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.page import template
from ssl4rl.tools.probe.advice import LEARNABLE, SOLVED, UNREAD, Advice, Row, advise, hints, recipe_lines
from ssl4rl.tools.shown import Shown
from ssl4rl.tools.weights import of_a_run

_HEAD = ("", "success", "95 %", "chance", "of read", "unparsed", "truncated", "zero-var", "signal", "")
_MOST_SIGNAL = 0.25


@dataclass(frozen=True, repr=False)
class Probe(Shown):
    """A model on a source: one row a task and level, from easy to hard, and what follows from them."""

    model: str
    parameters: int
    data: str | None
    split: str
    style: str
    temperature: float
    seconds: float
    rows: Sequence[Row]
    taken: Mapping[str, str] = field(default_factory=dict)
    """What each source read and how, by URI; those with nothing to say are not there."""

    @property
    def advice(self) -> list[Advice]:
        return advise(self.rows)

    @property
    def recipe(self) -> str:
        return recipe_lines(self.advice, self.data, self.style, self.parameters)

    @property
    def hints(self) -> list[str]:
        return list(hints(self.rows, self.advice, self.style))

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "data": self.data,
            "taken": dict(self.taken),
            "split": self.split,
            "style": self.style,
            "temperature": self.temperature,
            "seconds": round(self.seconds, 2),
            "rows": [row.to_json() for row in self.rows],
            "advice": [one.to_json() for one in self.advice],
            "hints": self.hints,
            "recipe": self.recipe,
        }

    def __str__(self) -> str:
        measured = [row for row in self.rows if not row.why]
        lines: list[Sequence[str]] = [_HEAD, *(_cells(row) for row in measured)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
        blocks = ["\n".join(taken_lines(self.taken))] if self.taken else []
        if measured:
            blocks.append(
                f"{self.model} on {self.data or 'default data'} ({self.split}): {measured[0].n} prompts a level, "
                f"{measured[0].group} completions each, temperature {self.temperature:g}, reply style {self.style}, "
                f"{self.seconds:.0f} s"
            )
            blocks.append(
                "\n".join(
                    "  ".join(
                        cell.ljust(w) if i in (0, len(_HEAD) - 1) else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(line, widths, strict=True))
                    ).rstrip()
                    for line in lines
                )
            )
        unserved = [f"  {row.name}: {row.why}" for row in self.rows if row.why]
        if unserved:
            blocks.append("\n".join(["not measured:", *unserved]))
        starts = [
            f"  {one.task}: {f'start at {one.start.level}, ' if one.start else 'nothing to start with, '}{one.why}"
            for one in self.advice
        ]
        blocks.append("\n".join(["advice:", *starts, *(f"  {hint}" for hint in self.hints)]))
        if self.recipe:
            blocks.append(self.recipe)
        return "\n\n".join(blocks)

    def page(self) -> str:
        tasks: dict[str, list[Row]] = {}
        for row in self.rows:
            tasks.setdefault(row.task, []).append(row)
        starts = {advice.start.name for advice in self.advice if advice.start}
        return template("probe/probe.html.jinja").render(
            found=self,
            tasks=[(task, i % COLOURS, rows) for i, (task, rows) in enumerate(tasks.items())],
            starts=starts,
            completions=sum(row.n * row.group for row in self.rows),
            signal_percent=_percent,
            unserved=[(row.name, row.why) for row in self.rows if row.why],
            rule={"unread": UNREAD, "solved": SOLVED, "learnable": LEARNABLE},
        )


def probe(
    model: Place,
    tasks: str | Sequence[str] = (),
    *,
    data: Place | None = None,
    level: str | Sequence[str] | None = None,
    n: int = 24,
    group: int = 8,
    split: Part = "train",
    seed: int = 0,
    style: str | None = None,
    max_tokens: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    system: str | None = None,
    say: Callable[[str], None] = print,
) -> Probe:
    """Says what a model can learn now: samples `group` completions of `n` examples of every task and level.

    Args:
        model: a folder, a hub id, "embedded:NAME", or a run (runs/NAME, runs/NAME/final, or what `train` returned).
        tasks: one or more; none is all tasks of the plugins that read `data`.
        data: a folder or another source's URI; None is each task's own.
        level: one level, several from easy to hard, or "all,image_px=32": all of them with that parameter; None is all.
        split: "train", "held_out" or "all".
        style, max_tokens, max_new_tokens, system: None is the run's where the model is a run's, else "think", 1024 (of
            a prompt), 256 (of a completion) and none.
        say: is told where a damaged run's last good checkpoint stands in for its final model.

    Raises:
        Ssl4rlError: an unknown name, a number out of range, or nothing could be measured at all.
    """
    at_least(2, n=n, group=group)
    at_least(1, max_tokens=max_tokens, max_new_tokens=max_new_tokens)
    if not temperature > 0:
        raise Ssl4rlError(f"temperature is {temperature}; allowed: above 0, so that completions differ")
    need("train", "torch", "transformers")
    model, data = os.fspath(model), uri(data)
    path, asked, note = of_a_run(model)
    chosen = {"style": style, "max_tokens": max_tokens, "max_new_tokens": max_new_tokens, "system": system}
    asked |= {name: value for name, value in chosen.items() if value is not None}
    sources = Sources()
    known = [name for pattern in names(tasks) for name in registry.expand(pattern)] or served_tasks(data)
    opened = [one for name in known for one in _open(name, level, data, split, seed, asked, sources)]
    if all(isinstance(one, Row) for one in opened):
        raise Ssl4rlError(next(one.why for one in opened if isinstance(one, Row)))
    with quiet():
        from ssl4rl.tools.probe.measure import measure_all

        started = time.perf_counter()
        rows, parameters = measure_all(path, model, opened, n, group, temperature, asked, note, say)
    seconds = time.perf_counter() - started
    return Probe(model, parameters, data, split, asked["style"], temperature, seconds, rows, sources.taken)


def served_tasks(data: str | None) -> list[str]:
    """The installed tasks that can use a source, by name: those of the plugins that open it (all without one).

    Raises:
        Ssl4rlError: no plugin opens it; what the first one says.
    """
    plugins = [plugin for plugin in registry.plugins().values() if not plugin.broken]
    if data is not None:
        plugins = _readers(data, plugins)
    return [f"{plugin.name}/{short}" for plugin in plugins for short in plugin.tasks]


def _readers(data: str, plugins: Sequence[registry.Plugin]) -> list[registry.Plugin]:
    """The plugins that open a URI themselves; a plain path may be readable for several."""
    scheme, colon, _ = data.partition(":")
    if not colon or "/" in scheme or "\\" in scheme:
        scheme = ""
    named = [plugin for plugin in plugins if scheme in plugin.sources]
    found, problems = [], []
    for plugin in named or plugins[:1]:
        try:
            registry.open_source(data, plugin)
            found.append(plugin)
        except Ssl4rlError as error:
            problems.append(error)
    if not found:
        raise problems[0] if problems else Ssl4rlError(f"no plugin is installed that reads {data!r}")
    return found


def _open(
    name: str,
    level: str | Sequence[str] | None,
    data: str | None,
    split: Part,
    seed: int,
    asked: dict[str, Any],
    sources: Sources,
) -> list[tuple[str, TaskDataset] | Row]:
    """A dataset for each of a task's levels, or a row that says why there is none."""
    task, _ = registry.resolve(name)
    found: list[tuple[str, TaskDataset] | Row] = []
    for text in level_names(task, level or "all"):
        try:
            dataset = open_mixture(
                [TaskSpec(name, text)],
                data=data,
                split=split,
                held_out=asked["held_out"],
                split_by=asked["split_by"],
                seed=seed,
                style=asked["style"],
                sources=sources,
            )
            found.append((name, dataset))
        except Ssl4rlError as error:
            found.append(Row(name, task.id, text, data or task.data, why=str(error)))
    return found


def _percent(signal: float) -> float:
    """Of the largest signal that right-or-wrong answers can have."""
    return round(min(100.0, 100 * signal / _MOST_SIGNAL), 1)


def _cells(row: Row) -> Sequence[str]:
    return (
        *(row.name, f"{row.success:.3f}", f"{row.low:.3f}-{row.high:.3f}", f"{row.chance:.3g}"),
        "-" if row.read_success is None else f"{row.read_success:.3f}",
        *(f"{row.unparsed:.3f}", f"{row.truncated:.3f}", f"{row.zero_variance:.3f}", f"{row.signal:.3f}", row.status),
    )
