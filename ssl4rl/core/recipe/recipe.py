"""Typed recipes: YAML or plain values, with overrides on top (`recipe_files`).

Every key has a type, a default and a range; an unknown one is an error that names the nearest. The resolved recipe is
written into the run's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from ssl4rl.core.recipe.files import Overrides, override, plain, read_tree
from ssl4rl.core.recipe.sections import (
    CurriculumSection,
    EvalSection,
    GrpoSection,
    ModelSection,
    OptimSection,
    PromptSection,
    RewardSection,
    SamplingSection,
    Section,
    TaskSection,
    TrainSection,
    WarmupSection,
)
from ssl4rl.core.recipe.stages import RejectionSection, check_heard, check_keys, stage_trees, with_tasks
from ssl4rl.core.recipe.vllm import VllmSection
from ssl4rl.core.types import Ssl4rlError, nearest, shortened


class Recipe(Section):
    """A whole run. `trl` holds further arguments of TRL's GRPOConfig for `engine: trl` (use_vllm, deepspeed, ...).

    `kind`: what the steps after the format warm-up do: GRPO; supervised, on the tasks' right answers; rejection,
    supervised on the best of sampled completions. `stages`: mappings laid over the recipe (each with a `name` and a
    `kind`), trained one after another, each from the last one's weights; `repeat`: so many times.
    `benchmark_data`: names of benchmarks whose items may be trained on; others' are refused.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    engine: Literal["native", "trl"] = "native"
    kind: Literal["grpo", "supervised", "rejection"] = "grpo"
    model: ModelSection
    tasks: list[TaskSection] = Field(min_length=1)
    data: str | None = None
    benchmark_data: list[str] = []
    held_out: float = Field(0.2, gt=0, lt=1)
    split_by: Literal["look", "content", "folder"] | None = None
    min_items: int = Field(8, ge=1)
    curriculum: CurriculumSection = CurriculumSection()
    prompt: PromptSection = PromptSection()
    reward: RewardSection = RewardSection()
    sampling: SamplingSection = SamplingSection()
    vllm: VllmSection = VllmSection()
    grpo: GrpoSection = GrpoSection()
    rejection: RejectionSection = RejectionSection()
    warmup: WarmupSection = WarmupSection()
    optim: OptimSection = OptimSection()
    train: TrainSection = TrainSection()
    eval: EvalSection = EvalSection()
    trl: dict[str, Any] = {}
    stages: list[dict[str, Any]] = []
    repeat: int = Field(1, ge=1, le=1000)
    out: str = "runs"
    resume: bool = False
    overwrite: bool = False

    @model_validator(mode="before")
    @classmethod
    def _tasks_of_stages(cls, tree: Any) -> Any:
        return with_tasks(tree)

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.grpo.prompts_per_step % self.grpo.updates_per_step:
            raise ValueError(
                f"grpo.updates_per_step={self.grpo.updates_per_step} must divide "
                f"grpo.prompts_per_step={self.grpo.prompts_per_step}"
            )
        if sum(task.weight for task in self.tasks) <= 0:
            raise ValueError("the weights of all tasks are 0")
        if self.trl and self.engine != "trl":
            raise ValueError(f"the section trl ({', '.join(self.trl)}) is read by engine=trl, not by {self.engine!r}")
        if self.vllm != VllmSection() and self.sampling.backend != "vllm":
            raise ValueError("the section vllm is read with sampling.backend=vllm, which this recipe has not")
        if self.engine == "trl" and (self.stages or self.kind != "grpo"):
            raise ValueError(
                f"engine=trl trains by GRPO alone; {'stages' if self.stages else 'kind'} needs engine=native"
            )
        if self.kind == "supervised" and self.curriculum.strategy not in ("fixed", "uniform"):
            raise ValueError(
                f"curriculum.strategy={self.curriculum.strategy!r} learns from sampled completions, of which "
                "kind=supervised has none; allowed: fixed, uniform"
            )
        unweighed = next((part for part in self.rejection.at_least if part not in self.reward.model_dump()), None)
        if unweighed is not None:
            raise ValueError(f"rejection.at_least names {unweighed!r}, which reward does not; it may weigh 0 there")
        if self.repeat > 1 and not self.stages:
            raise ValueError(f"repeat={self.repeat} repeats stages, and there are none")
        self.stage_recipes()
        return self

    def stage_recipes(self) -> list[Recipe]:
        """A recipe for each stage in each round, in order; none without stages. Raises ValueError for a wrong one."""
        found = []
        for i, stage in enumerate(self.stages):
            try:
                check_keys(stage, type(self).model_fields)
            except ValueError as error:
                raise ValueError(f"stages.{i}: {error}") from None
        for i, tree in enumerate(stage_trees(self.dump(), self.folder)):
            try:
                found.append(Recipe.model_validate({**tree, "resume": self.resume}))
            except ValidationError as error:
                raise ValueError(f"stages.{i % len(self.stages)}: {_explain(error)}") from None
        return found

    def single(self, what: str) -> Recipe:
        """The recipe itself, for what takes no stages. Raises Ssl4rlError where it has some."""
        if self.stages:
            raise Ssl4rlError(
                f"recipe {self.name!r} has {len(self.stages)} stages, and {what} takes none; stages=[] repeat=1 takes "
                "the sections that they are laid over"
            )
        return self

    @property
    def folder(self) -> Path:
        return Path(self.out) / self.name

    def dump(self) -> dict[str, Any]:
        """Plain values, without the switches that only say how this very call runs."""
        return self.model_dump(mode="json", exclude={"resume", "overwrite"})


def load_recipe(recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe, overrides: Overrides = ()) -> Recipe:
    """A recipe with overrides on top.

    Args:
        recipe: a file's path, the name of one that ships with the package ("quickstart_vision"; a file of that name
            wins), its plain values, or a recipe.
        overrides: `section.key=value` texts (values are YAML; `tasks.0.level=90deg` works), or values by key, dotted
            or nested: {"train.steps": 20} or {"train": {"steps": 20}}.

    Raises:
        Ssl4rlError: no such file or name, not YAML, an unknown key (with the nearest), a value of the wrong type or
            range.
    """
    if isinstance(recipe, Recipe):
        tree, where = recipe.model_dump(mode="json"), f"recipe {recipe.name!r}"
    elif isinstance(recipe, Mapping):
        tree, where = plain(recipe), "recipe"
    elif isinstance(recipe, (str, os.PathLike)):
        tree, where = read_tree(recipe), os.fspath(recipe)
    else:
        raise Ssl4rlError(f"a recipe is {type(recipe).__name__}; allowed: a path, a name, a mapping or a Recipe")
    check_heard(tree, override(tree, overrides))
    return make_recipe(tree, where)


def make_recipe(tree: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values. Raises Ssl4rlError as `load_recipe` does."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise Ssl4rlError(f"{shortened(where)}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem in one line: where, what, allowed, nearest."""
    found = error.errors()
    # of a value that may be a text or a section, what is wrong in the section
    alike = [one for one in found if one["loc"][:2] == found[0]["loc"][:2]]
    first = next((one for one in alike if one["type"] == "extra_forbidden"), found[0])
    place = ".".join(shortened(str(part)) for part in first["loc"] if not str(part).endswith("Section"))
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}{nearest(str(first['loc'][-1]), _keys(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{place!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = shortened(message[0].lower() + message[1:], 300)
    got = first["input"]
    shown = f", got {shortened(repr(got))}" if isinstance(got, (str, int, float, bool, type(None))) else ""
    if first["type"] == "list_type" and isinstance(got, str):
        shown += f"; a list is written {place}=[{f'{{task: {got}}}' if place == 'tasks' else got}]"
    return f"{place}: {message}{shown}" if place else message


def _keys(path: Sequence[Any]) -> list[str]:
    """The keys allowed in the section at `path`."""
    section: Any = Recipe
    for part in path:
        if isinstance(part, str) and part in getattr(section, "model_fields", {}):
            annotation = section.model_fields[part].annotation
            options = [annotation, *getattr(annotation, "__args__", ())]
            section = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), section)
    return list(section.model_fields)
