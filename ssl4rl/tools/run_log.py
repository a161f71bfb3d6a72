"""A run's folder as it was left: finished, unfinished or damaged. Reads files only, so it needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.record.files import parse, read_text, read_yaml, records, stages_in
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import holding

EVALS = "evals.jsonl"
BENCHES = "bench.jsonl"
_FILES = ("recipe.yaml", "metrics.jsonl", "summary.json", "rollouts.jsonl")
_STEP = re.compile(rb'\{"step": (\d{1,9}),')
_MEASURED = ("accuracy", "chance", "unparsed", "truncated", "n")


@dataclass(frozen=True)
class Measure:
    """An accuracy on held-out items with all it takes to read it. `step` counts GRPO steps."""

    step: int
    accuracy: float
    low: float
    high: float
    chance: float
    unparsed: float
    truncated: float
    n: int


@dataclass(frozen=True)
class Row:
    """One task of a run (None: all together) before GRPO and as far as it has come."""

    task: str | None
    before: Measure | None
    after: Measure | None


@dataclass(frozen=True)
class Run:
    """What a run's folder holds. `notes` says, a line each, what was missing or could not be read.

    `evals`: what `ssl4rl eval --save` measured; `benches`: what `ssl4rl bench` did.
    `stages`: those of it that have begun, each a run; then it has no log of its own. `offset`: the steps of the stages
    before, where it is one.
    """

    folder: Path
    recipe_text: str
    recipe: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] | None
    notes: tuple[str, ...]
    evals: tuple[Mapping[str, Any], ...] = ()
    benches: tuple[Mapping[str, Any], ...] = ()
    stages: tuple[Run, ...] = ()
    offset: int = 0

    def setting(self, section: str, key: str, default: Any) -> Any:
        """A value of the recipe, whatever state the recipe is in."""
        part = self.recipe.get(section)
        value = part.get(key, default) if isinstance(part, Mapping) else default
        return value if isinstance(value, type(default)) else default

    @property
    def name(self) -> str:
        return str((self.summary or self.recipe).get("name") or self.folder.resolve().name)

    @property
    def model(self) -> str:
        return str((self.summary or {}).get("model") or self.setting("model", "path", "") or "unknown model")

    @property
    def data(self) -> str:
        """The sources it trained on."""
        told = (self.summary or {}).get("data")
        named = told if isinstance(told, list) else [self.recipe.get("data")]
        return ", ".join(str(uri) for uri in named if uri) or "the tasks' own data"

    @property
    def warmup_steps(self) -> int:
        return int(self.setting("warmup", "steps", 0))

    @property
    def kind(self) -> str:
        """What its steps are: grpo, supervised or rejection."""
        return str(self.recipe.get("kind") or "grpo")

    @property
    def begins(self) -> str:
        """What was measured before anything but the format was taught: "before GRPO"."""
        return "before" if self.stages or self.kind != "grpo" else "before GRPO"

    @property
    def planned_stages(self) -> int:
        """How many there will be, all rounds counted."""
        stages, rounds = self.recipe.get("stages"), self.recipe.get("repeat")
        return len(stages) * int(number(rounds) or 1) if isinstance(stages, list) else 0

    @property
    def planned_steps(self) -> int:
        return int(self.setting("train", "steps", 0))

    @property
    def done_steps(self) -> int:
        """GRPO steps done; negative within the format warm-up."""
        return max((int(record["step"]) for record in self.metrics), default=0) - self.warmup_steps

    @property
    def seconds(self) -> float:
        if self.summary and (total := number(self.summary.get("seconds"))) is not None:
            return total
        return max((number(record.get("seconds")) or 0.0 for record in self.metrics), default=0.0)

    def phase(self, name: str) -> list[Mapping[str, Any]]:
        """The metrics of one phase: "warmup", "train" or "eval"."""
        return [record for record in self.metrics if record["phase"] == name]

    @property
    def trained_on(self) -> list[str]:
        """ "task@version[level]" of everything it was trained on; of an unfinished run, of what it is evaluated on."""
        named = (self.summary or {}).get("task")
        return re.split(r"(?<=\]), ", named) if isinstance(named, str) else self.tasks

    @cached_property
    def tasks(self) -> list[str]:
        """ "task@version[level]" of everything that was evaluated, in order of appearance."""
        return list(dict.fromkeys(task for record in self.phase("eval") for task in _mapping(record.get("tasks"))))

    def curve(self, task: str | None = None) -> list[Measure]:
        """The held-out evaluations of one task (None: of all together), in order; of the stages, one after another."""
        found = [one for stage in self.stages for one in stage.curve(task)]
        for record in self.phase("eval"):
            values = record.get("eval") if task is None else _mapping(record.get("tasks")).get(task)
            one = measure(values, int(record["step"]) - self.warmup_steps + self.offset)
            if one:
                found.append(one)
        return found

    def rows(self) -> list[Row]:
        """All together, then each task where there are several."""
        if self.summary:
            parts = [(None, self.summary), *_mapping(self.summary.get("tasks")).items()]
            steps = int(number(self.summary.get("steps")) or 0)
            rows = [
                Row(task, measure(_mapping(part).get("before"), 0), measure(_mapping(part).get("after"), steps))
                for task, part in parts
            ]
        else:
            rows = []
            for task in (None, *self.tasks):
                curve = self.curve(task)
                started = bool(curve) and curve[0].step <= self.offset
                later = curve[1:] if started else curve
                rows.append(Row(task, curve[0] if started else None, later[-1] if later else None))
        return rows if len(rows) > 2 else rows[:1]


def read_run(folder: str | Path) -> Run:
    """Reads whatever can be read.

    Raises:
        Ssl4rlError: there is no such folder, or it holds no run.
    """
    path = Path(folder)
    if path.is_file():
        raise Ssl4rlError(f"{str(folder)!r} is a file, no run directory")
    if not path.is_dir():
        near = nearest(path.name, sorted(p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise Ssl4rlError(f"run directory {str(folder)!r} does not exist{near if 'did you mean' in near else ''}")
    if not any((path / name).is_file() for name in _FILES[:3]):
        part = (path.parent / _FILES[0]).is_file()  # a run's final or checkpoints
        near = f"; did you mean the run {str(path.parent)!r}?" if part else holding(path)
        raise Ssl4rlError(f"{str(folder)!r} is no run directory: it holds none of {', '.join(_FILES[:3])}{near}")
    recipe_text = read_text(path / "recipe.yaml")
    recipe = read_yaml(recipe_text)
    stages: list[Run] = []
    for stage in stages_in(path):
        done = sum(max(0, one.done_steps) for one in stages)
        stages.append(replace(read_run(stage), offset=done))
    needed = _needed(recipe, bool(stages))
    notes = [f"{name} is missing" for name in needed if not (path / name).is_file()]
    if (path / "recipe.yaml").is_file() and recipe is None:
        notes.append("recipe.yaml could not be read")
    metrics = records(path / "metrics.jsonl")
    readable = tuple(record for record in metrics if record and isinstance(record.get("phase"), str))
    if lost := len(metrics) - len(readable):
        notes.append(f"{_lines(lost)} of metrics.jsonl could not be read")
    summary = parse(read_text(path / "summary.json"))
    if summary is None and (path / "summary.json").is_file():
        notes.append("summary.json could not be read")
    changes = (summary or {}).get("changed_data")
    notes += [f"went on with changed data {change}" for change in (changes if isinstance(changes, list) else [])]
    evals, benches = (_saved(path / name, notes) for name in (EVALS, BENCHES))
    return Run(path, recipe_text, recipe or {}, readable, summary, tuple(notes), evals, benches, tuple(stages))


def _needed(recipe: Mapping[str, Any] | None, staged: bool) -> list[str]:
    """The files that a run has from its start: no logs where its stages have them, no rollouts without sampling."""
    if staged or (recipe or {}).get("stages"):
        return ["recipe.yaml"]
    sampled = (recipe or {}).get("kind") != "supervised"
    return ["recipe.yaml", "metrics.jsonl", *(["rollouts.jsonl"] if sampled else [])]


def _saved(file: Path, notes: list[str]) -> tuple[Mapping[str, Any], ...]:
    """The lines of a file that measurements were appended to; what could not be read is said in `notes`."""
    found = [parse(line) for line in read_text(file).split("\n") if line.strip()]
    if lost := found.count(None):
        notes.append(f"{_lines(lost)} of {file.name} could not be read")
    return tuple(record for record in found if record is not None)


def _lines(n: int) -> str:
    return "1 line" if n == 1 else f"{n} lines"


@dataclass(frozen=True)
class LoggedRollout:
    """One prompt's line in rollouts.jsonl."""

    step: int
    record: Mapping[str, Any]


def pick_rollouts(folder: Path, prompts: int = 2) -> list[list[LoggedRollout]]:
    """The first `prompts` lines of an early, a middle and a late step, as far as there are any.

    Only the lines that are shown are parsed and kept: the file of a long run is large.
    """
    file = folder / "rollouts.jsonl"
    if not file.is_file():
        return []
    starts: dict[int, list[int]] = {}
    with file.open("rb") as stream:
        position = 0
        for line in stream:
            found = _STEP.match(line)
            if found and line.endswith(b"}\n"):
                starts.setdefault(int(found[1]), []).append(position)
            position += len(line)
        steps = sorted(starts)
        groups = []
        for step in dict.fromkeys(steps[at] for at in (0, len(steps) // 2, -1) if steps):
            group = []
            for start in starts[step][:prompts]:
                stream.seek(start)
                record = parse(stream.readline().decode("utf-8", "replace"))
                if record is not None:
                    group.append(LoggedRollout(step, record))
            if group:
                groups.append(group)
    return groups


def number(value: Any) -> float | None:
    """A finite number, or None for anything else that a log may hold."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def measure(values: Any, step: int) -> Measure | None:
    """What an evaluation says; None where something it takes to read it is missing."""
    numbers = {key: number(_mapping(values).get(key)) for key in _MEASURED}
    interval = _mapping(values).get("ci95")
    bounds = [number(bound) for bound in interval] if isinstance(interval, list) and len(interval) == 2 else [None]
    if None in numbers.values() or None in bounds:
        return None
    low, high = bounds
    n = int(numbers.pop("n") or 0)
    return Measure(step=step, low=low, high=high, n=n, **numbers)  # type: ignore[arg-type]  # none is None by now


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
