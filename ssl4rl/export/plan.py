"""What an export holds: from a task or a recipe to its parts, each a bounded dataset. Nothing is written here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.curriculum import target_rank
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import Sources, TaskSpec, level_names, open_mixture
from ssl4rl.core.recipe.files import Overrides, shipped
from ssl4rl.core.recipe.recipe import Recipe, load_recipe, make_recipe
from ssl4rl.core.recipe.sections import RewardSection, TaskSection
from ssl4rl.core.reward import Rewards
from ssl4rl.core.source import PARTS, Part
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.export.consumer import Consumer, Launch, consumer
from ssl4rl.export.pay import Pay

HELD_OUT_ROWS = 200
"""Of the held-out part beside a trainer's, by default."""
_MODEL, _TEXT_MODEL = "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-3B-Instruct"
_STANDS = ("fixed", "uniform")  # curricula that a file can follow
_KINDS = ("pictures", "text")


@dataclass(frozen=True)
class Asked:
    """What `ssl4rl export` was asked for, in plain values, so that another process can open it again.

    `what`: a task, or a recipe by its name or file; `overrides`: `section.key=value` on top. `n`: rows of the trained
    part, or of the only one; `n_held_out`: of the held-out part beside it. `level`: a level, "all" or "target", of
    every task. `split`: the only part to write. `only`: the tasks with "pictures" or those of "text". `shard_rows`:
    rows a file.
    """

    what: str
    format: str
    n: int = 1000
    data: str | None = None
    level: str | None = None
    split: str | None = None
    n_held_out: int | None = None
    seed: int | None = None
    only: str | None = None
    shard_rows: int = 500
    overrides: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Plan:
    """An export, opened: `parts` by split, and everything that decides a row."""

    asked: Asked
    consumer: Consumer
    recipe: Recipe
    parts: Mapping[str, TaskDataset]
    pictured: Mapping[str, bool] = field(default_factory=dict)

    @property
    def system(self) -> str | None:
        return self.recipe.prompt.system

    @property
    def pictures(self) -> bool:
        return any(self.pictured.values())

    def identity(self) -> dict[str, Any]:
        """What must be equal for two commands to write the same rows, as JSON values: settings, and the data by its
        contents' hashes. Where things lie and how many processes write are not in it."""
        first = next(iter(self.parts.values()))
        return {
            "format": self.consumer.name,
            "tasks": [
                {"task": c.name, "weight": c.weight, "source": c.split.source.uri, "named": c.named}
                for c in first.components
            ],
            "parts": {
                split: {
                    "rows": data.size,
                    "seed": data.seed,
                    "items": list(dict.fromkeys("{} {}".format(*c.split.fingerprint) for c in data.components)),
                }
                for split, data in self.parts.items()
            },
            "prompt": self.recipe.prompt.model_dump(include={"style", "system"}),
            "reward": self.recipe.reward.model_dump(),
            "held_out": self.recipe.held_out,
            "shard_rows": self.asked.shard_rows,
        }

    def launch(self, files: Mapping[str, str]) -> Launch:
        """What the consumer's further files are written from."""
        path = self.recipe.model.path
        ours = registry.model_builder(path) is not None  # of our package: no other trainer can load it
        first = next(iter(self.parts.values()))
        return Launch(
            name=self.recipe.name,
            parts={split: data.size or 0 for split, data in self.parts.items()},
            files=files,
            pictures=self.pictures,
            model=(_MODEL if self.pictures else _TEXT_MODEL) if ours or not path else path,
            weights=self.recipe.reward.model_dump(),
            parts_given=sorted({part for c in first.components for part in c.verifier.parts}),
            max_new_tokens=self.recipe.sampling.max_new_tokens,
            recipe=self.recipe.dump(),
        )


def open_plan(asked: Asked) -> Plan:
    """Opens what was asked for, and refuses what its consumer could not read.

    Raises:
        Ssl4rlError: anything a name can be wrong in; a split that a trainer must not see; a curriculum that moves; rows
            with and without pictures for a consumer that cannot batch them; a reward that it cannot ask for.
    """
    to = consumer(asked.format)
    recipe = _recipe(asked)
    sizes = _sizes(asked, to)
    sources = Sources()
    recipe = _of_kind(recipe, asked.only, sources)
    parts = {
        split: _mixture(recipe, part, size, sources) for split, (part, size) in sizes.items()
    }  # the same tasks and levels in each
    plan = Plan(asked, to, recipe, parts, pictured(next(iter(parts.values()))))
    _fits(plan)
    return plan


def pictured(data: TaskDataset) -> dict[str, bool]:
    """Whether each component shows pictures, by its name: by an example of it."""
    return {
        component.name: bool(TaskDataset([component], data.seed, 1, data.style)[0].media)
        for component in data.components
    }


def alike(shows: Mapping[str, bool], consumer_name: str) -> None:
    """Raises Ssl4rlError where some of a mixture show pictures and some do not."""
    without = [name for name, shown in shows.items() if not shown]
    if without and len(without) < len(shows):
        raise Ssl4rlError(
            f"{consumer_name} cannot batch prompts with and without pictures: {', '.join(without)} shows none; make "
            "two datasets (export: --only pictures, --only text)"
        )


def _recipe(asked: Asked) -> Recipe:
    """The recipe that is asked for, or one round the task that is."""
    given: Overrides = asked.overrides
    if not _is_task(asked.what):
        recipe = load_recipe(asked.what, given).single("an export")
        if recipe.kind != "grpo":
            raise Ssl4rlError(f"recipe {recipe.name!r} is of kind {recipe.kind!r}; what is exported trains by GRPO")
    else:
        name = "".join(c if c.isalnum() else "_" for c in asked.what.rpartition("/")[2]).strip("_")[:60]
        tree = {"name": f"export_{name}", "model": {"path": ""}, "tasks": [{"task": asked.what}]}
        recipe = load_recipe(make_recipe(tree), given)
    data = recipe.data if asked.data is None else asked.data
    tasks = [task if asked.data is None else task.model_copy(update={"data": None}) for task in recipe.tasks]
    changes: dict[str, Any] = {"data": data, "tasks": [_at_level(task, asked.level, recipe) for task in tasks]}
    changes["reward"] = RewardSection.model_validate(
        {absolute(name): weight for name, weight in recipe.reward.model_dump().items()}
    )
    if asked.seed is not None:
        changes["train"] = recipe.train.model_copy(update={"seed": asked.seed})
    return recipe.model_copy(update=changes)


def _is_task(what: str) -> bool:
    """Whether a word names a task; else it is a recipe's. What is neither is refused with the nearest of both."""
    if ".py:" in what or what in registry.task_names():
        return True
    if what in shipped() or what.endswith((".yaml", ".yml")) or os.path.isfile(what):
        return False
    known = [*registry.task_names(), *shipped()]
    short = nearest(what, [name.rpartition("/")[2] for name in registry.task_names()])
    if "did you mean" in short and "/" not in what:
        registry.resolve(what)  # "rotatoin" finds "vision/rotation"
    raise Ssl4rlError(f"unknown task or recipe {what!r}{nearest(what, known)}")


def _at_level(task: TaskSection, level: str | None, recipe: Recipe) -> TaskSection:
    """The task at the level that was asked for: one, "all" of its own, or the curriculum's "target"."""
    moves = recipe.curriculum.strategy not in _STANDS
    if level is None:
        if task.levels is not None and moves:
            raise Ssl4rlError(
                f"{task.task} has several levels, which the curriculum {recipe.curriculum.strategy!r} moves along in "
                "training, and a file cannot; name one: --level L, --level target, or --level all for each alike"
            )
        shares = None if recipe.curriculum.strategy == "uniform" else task.shares
        return task.model_copy(update={"shares": shares})
    if level == "all":
        own = task.level.partition(",")[2] if task.level else ""
        levels = task.levels or ",".join(["all", *([own] if own else [])])
        return task.model_copy(update={"level": None, "levels": levels, "shares": None})
    if level == "target":
        if task.levels is None:
            return task
        found, _ = registry.resolve(task.task)
        ladder = [found.level(name) for name in level_names(found, task.levels)]
        level = ladder[target_rank(ladder, recipe.curriculum.target)].name
    return task.model_copy(update={"level": level, "levels": None, "shares": None})


def _sizes(asked: Asked, to: Consumer) -> dict[str, tuple[Part, int]]:
    """Rows of each part that is to be written."""
    if asked.split is not None and asked.split not in PARTS:
        raise Ssl4rlError(f"unknown split {asked.split!r}{nearest(asked.split, PARTS)}")
    if asked.n < 1 or asked.shard_rows < 1 or (asked.n_held_out or 0) < 0:
        raise Ssl4rlError(
            f"n={asked.n}, n_held_out={asked.n_held_out}, shard_rows={asked.shard_rows}; allowed: 1 or more, 0 held out"
        )
    if asked.split == "all" and to.trains:
        raise Ssl4rlError(
            f"{to.name} trains, and split 'all' holds held-out items; allowed: train (with held-out rows beside it), "
            "held_out"
        )
    if asked.split in ("held_out", "all") or not to.trains:
        split: Part = next((part for part in PARTS if part == asked.split), "held_out")
        if asked.n_held_out is not None:
            raise Ssl4rlError(f"held-out rows stand beside trained ones, and {split} is written alone; give -n alone")
        return {split: (split, asked.n)}
    held_out = HELD_OUT_ROWS if asked.n_held_out is None else asked.n_held_out
    sizes: dict[str, tuple[Part, int]] = {"train": ("train", asked.n)}
    return sizes | ({"held_out": ("held_out", held_out)} if held_out else {})


def _mixture(recipe: Recipe, part: Part, size: int, sources: Sources) -> TaskDataset:
    return open_mixture(
        [TaskSpec(**task.model_dump()) for task in recipe.tasks],
        data=recipe.data,
        split=part,
        held_out=recipe.held_out,
        seed=recipe.eval.seed if part == "held_out" else recipe.train.seed,
        size=size,
        style=recipe.prompt.style,
        sources=sources,
    )


def _of_kind(recipe: Recipe, only: str | None, sources: Sources) -> Recipe:
    """The recipe's tasks with pictures alone, or those without."""
    if only is None:
        return recipe
    if only not in _KINDS:
        raise Ssl4rlError(f"--only {only!r}{nearest(only, _KINDS)}")
    data = _mixture(recipe, "train", 1, sources)
    shows = pictured(data)
    entries = {c.entry for c in data.components if shows[c.name] == (only == "pictures")}
    if not entries:
        raise Ssl4rlError(
            f"--only {only}: no task of {recipe.name} shows {'any' if only == 'pictures' else 'text alone'}"
        )
    return recipe.model_copy(update={"tasks": [task for at, task in enumerate(recipe.tasks) if at in entries]})


def _fits(plan: Plan) -> None:
    """Refuses what the consumer cannot read or pay, before anything is written."""
    to = plan.consumer
    if to.pictures == "none" and plan.pictures:
        shown = ", ".join(name for name, shows in plan.pictured.items() if shows)
        raise Ssl4rlError(f"{to.name} asks in text alone, and {shown} shows pictures; --only text leaves those out")
    if to.pictures == "alike":
        alike(plan.pictured, to.name)
    if plan.system is not None and not to.system:
        raise Ssl4rlError(f"{to.name} has no place for a system message, and prompt.system is set; leave it out")
    weights = plan.recipe.reward.model_dump()
    verifiers = [c.verifier for c in next(iter(plan.parts.values())).components]
    Rewards.of(weights, verifiers, 1)  # a name that is none is found here, with the nearest
    given = {part for verifier in verifiers for part in verifier.parts}
    further = [name for name in weights if name not in given]
    if further and not to.weighs:
        raise Ssl4rlError(f"{to.name} pays accuracy alone, and {further[0]} is weighed too; leave it out here")
    Pay(weights, plan.recipe.sampling.max_new_tokens, sorted(given), to.tells, to.name)


def share_of(plan: Plan) -> list[tuple[str, float, str]]:
    """The mixture's components: name, share of the rows, source."""
    first = next(iter(plan.parts.values()))
    whole = sum(c.weight for c in first.components)
    return [(c.name, c.weight / whole, c.split.source.uri) for c in first.components]


def absolute(name: str) -> str:
    """ "./my.py:f" with the file's whole path; any other name as it is."""
    path, _, short = name.rpartition(":")
    return f"{os.path.abspath(path)}:{short}" if path.endswith(".py") else name


def with_files_absolute(asked: Asked) -> Asked:
    """For a process in another folder: paths of files as absolute ones."""
    what = os.path.abspath(asked.what) if os.path.isfile(asked.what) else absolute(asked.what)
    data = os.path.abspath(asked.data) if asked.data and os.path.exists(asked.data) else asked.data
    return replace(asked, what=what, data=data)
