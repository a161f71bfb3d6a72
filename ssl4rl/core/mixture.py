"""From names to datasets: which tasks, at which levels, on which data, in which proportion."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ssl4rl.core import registry
from ssl4rl.core.curriculum import target_rank
from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.source import Part, Source, Split, Way
from ssl4rl.core.task import Level, Task
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.verify import STYLES, Style

if TYPE_CHECKING:  # a recipe's types cost 0.1 s to import, which `ssl4rl list` should not pay
    from ssl4rl.core.recipe.recipe import Recipe


@dataclass(frozen=True)
class TaskSpec:
    """One line of a mixture, as a recipe writes it. `data` None is the mixture's own.

    `levels` in place of `level`: several, as `level_names` takes them; `shares` are their parts of the weight, alike by
    default.
    """

    task: str
    level: str | None = None
    weight: float = 1.0
    data: str | None = None
    levels: Sequence[str] | str | None = None
    shares: Sequence[float] | None = None


def level_names(task: Task[Any], levels: Sequence[str] | str) -> list[str]:
    """A list of levels as it is; "all" is all of the task's, from easy to hard, "all,image_px=32" with a parameter."""
    if not isinstance(levels, str):
        return list(levels)
    name, comma, rest = levels.partition(",")
    return [f"{level}{comma}{rest}" for level in task.levels] if name == "all" else [levels]


def _ladder(spec: TaskSpec, task: Task[Any]) -> list[tuple[Level, float]]:
    """The levels of one line, with the parts of its weight that sum to 1."""
    if spec.levels is None:
        return [(task.level(spec.level), 1.0)]
    levels = [task.level(name) for name in level_names(task, spec.levels)]
    names = [level.name for level in levels]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Ssl4rlError(f"{task.name}: the level {twice!r} is listed twice")
    shares = list(spec.shares or [1.0] * len(levels))
    if len(shares) != len(levels):
        raise Ssl4rlError(f"{task.name}: {len(shares)} shares for {len(levels)} levels ({', '.join(names)})")
    return [(level, share / sum(shares)) for level, share in zip(levels, shares, strict=True)]


class Sources:
    """Opens each source once, and splits it once each way, so that a mixture or a train and held-out pair shares it."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], Source[Any]] = {}
        self._used: dict[int, Source[Any]] = {}
        self._splits: dict[tuple[int, Part, float, Way | None], Split[Any]] = {}

    def get(self, uri: str, plugin: registry.Plugin, task: Task[Any]) -> Source[Any]:
        """What a source, opened at most once, holds for a task (`Source.for_task`).

        Raises:
            Ssl4rlError: as `registry.open_source`, or nothing for this task is there.
        """
        key = (plugin.name, uri, "" if plugin.sources else task.data)
        if key not in self._open:
            self._open[key] = registry.open_source(uri, plugin, task.data)
        source = self._open[key].for_task(task)
        self._used.setdefault(id(source), source)
        return source

    def split(self, source: Source[Any], part: Part, held_out: float, by: Way | None) -> Split[Any]:
        """One part of a source that was opened here; the ids of all its items are asked for once."""
        key = (id(source), part, held_out, by)
        if key not in self._splits:
            self._splits[key] = Split(source, part, held_out, by)
        return self._splits[key]

    def __iter__(self) -> Iterator[Source[Any]]:
        """Those that were asked for."""
        return iter(self._used.values())

    @property
    def taken(self) -> dict[str, str]:
        """What each source read and how, in one line by URI; those with nothing to say are not there."""
        found: dict[str, str] = {}
        for source in self:
            if source.taken:
                before = found.get(source.uri, "")
                found[source.uri] = f"{before}; {source.taken}" if before else source.taken
        return found


def open_mixture(
    specs: Sequence[TaskSpec],
    *,
    data: str | None = None,
    split: Part = "train",
    held_out: float = 0.2,
    split_by: Way | None = None,
    seed: int = 0,
    size: int | None = None,
    style: Style = "think",
    sources: Sources | None = None,
) -> TaskDataset:
    """A dataset that mixes `specs` by their weights.

    Args:
        split_by: "look", "content" or "folder" for the sources that can be split so; the others are split by content.
            None: each source's default.

    Raises:
        Ssl4rlError: an unknown task, level, source, split or style, each with the nearest name.
    """
    if style not in STYLES:
        raise Ssl4rlError(f"unknown prompt style {style!r}{nearest(style, STYLES)}")
    sources = sources or Sources()
    components = []
    for entry, spec in enumerate(specs):
        task, plugin = registry.resolve(spec.task)
        uri = spec.data or data or task.data
        if not uri:
            raise Ssl4rlError(f"{task.name} brings no data of its own; name a source, for instance a folder")
        registry.require_kind(uri, task.kinds)
        source = sources.get(uri, plugin, task)
        parted = sources.split(source, split, held_out, split_by if split_by in source.ways else None)
        parted.prepare(task.draws)
        for level, share in _ladder(spec, task):
            components.append(Component(task, level, parted, spec.weight * share, entry, spec.task))
    if split_by is not None and all(c.split.by != split_by for c in components):
        known = {way: None for c in components for way in c.split.source.ways}
        raise Ssl4rlError(f"split_by is {split_by!r}; allowed for this data: {', '.join(known)}")
    return TaskDataset(components, seed=seed, size=size, style=style)


def open_recipe(recipe: Recipe, sources: Sources | None = None) -> tuple[TaskDataset, TaskDataset]:
    """A recipe's mixture on both parts of its sources: the unbounded training examples and the held-out ones.

    Of a task with several levels the held-out part has the curriculum's target, or with `eval.levels: all` every one.

    Raises:
        Ssl4rlError: anything a name can be wrong in; a benchmark's items that `benchmark_data` does not name.
    """
    sources = sources or Sources()
    specs = [TaskSpec(**task.model_dump()) for task in recipe.tasks]

    def part(split: Part, seed: int, size: int | None, specs: Sequence[TaskSpec]) -> TaskDataset:
        return open_mixture(
            specs,
            data=recipe.data,
            split=split,
            held_out=recipe.held_out,
            split_by=recipe.split_by,
            seed=seed,
            size=size,
            style=recipe.prompt.style,
            sources=sources,
        )

    wanted = [_evaluated(spec, recipe) for spec in specs]
    train = part("train", recipe.train.seed, None, specs)
    for component in train.components:
        _refuse_benchmark(component.split.source, recipe.benchmark_data)
    return train, part("held_out", recipe.eval.seed, recipe.eval.n, wanted)


def _refuse_benchmark(source: Source[Any], named: Sequence[str]) -> None:
    """Who trains on what models are measured on should have meant it.

    Raises:
        Ssl4rlError: a benchmark's items, and `named` does not hold its name.
    """
    if source.benchmark and source.benchmark not in named:
        got = f", got benchmark_data={list(named)}" if named else ""
        raise Ssl4rlError(
            f"{source.uri} holds the items of the benchmark {source.benchmark!r}, on which models are measured; train "
            f"on other data, or say benchmark_data=[{source.benchmark}]{got}"
        )


def _evaluated(spec: TaskSpec, recipe: Recipe) -> TaskSpec:
    """The line of the held-out mixture: its levels alike, or the target alone."""
    if spec.levels is None:
        return spec
    if recipe.eval.levels == "all":
        return replace(spec, shares=None)
    levels = [level for level, _ in _ladder(spec, registry.resolve(spec.task)[0])]
    return replace(spec, levels=[levels[target_rank(levels, recipe.curriculum.target)].name], shares=None)


def create_dataset(
    task: str | Sequence[str | TaskSpec | Mapping[str, Any]],
    data: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    seed: int = 0,
    level: str | None = None,
    split: Part = "train",
    held_out: float = 0.2,
    split_by: Way | None = None,
    style: Style = "think",
) -> TaskDataset:
    """Examples of a task, or of a mixture, made from any source.

    Args:
        task: "vision/rotation", a file's task "./my.py:TASKS", or a list of names, mappings or `TaskSpec`s to mix.
        data: a folder, or another source's URI; None is the task's embedded default.
        size: how many examples; None is unbounded.
        seed: examples of different seeds share nothing.
        level: a level's name, perhaps with parameters: "90deg,original=false,image_px=32"; None is the easiest.
        split: "train", "held_out" or "all"; decided group by group from the hash of a content.
        held_out: the share of groups that is held out.
        split_by: what makes a group: "look" (near-twins, the default for pictures), "content" (equal bytes) or
            "folder" (the first folder under the root).
        style: "think" asks for reasoning before the answer, "answer" for the answer alone.

    Raises:
        Ssl4rlError: anything the caller can mend.
    """
    parts = [task] if isinstance(task, str) else list(task)
    specs = []
    for part in parts:
        if isinstance(part, str):
            specs.append(TaskSpec(part, level))
        else:
            specs.append(part if isinstance(part, TaskSpec) else _spec(part))
    uri = None if data is None else os.fspath(data)
    return open_mixture(
        specs, data=uri, split=split, held_out=held_out, split_by=split_by, seed=seed, size=size, style=style
    )


def _spec(record: Mapping[str, Any]) -> TaskSpec:
    allowed = [field.name for field in fields(TaskSpec)]
    unknown = next((name for name in record if name not in allowed), None)
    if unknown is not None:
        raise Ssl4rlError(f"unknown key {unknown!r} in a mixture{nearest(str(unknown), allowed)}")
    if "task" not in record:
        raise Ssl4rlError(f"a part of the mixture names no task: {dict(record)}")
    return TaskSpec(**record)
