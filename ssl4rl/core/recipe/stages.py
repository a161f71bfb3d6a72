"""Stages of a recipe: its own sections, overridden a few times, trained one after another. Plain values; no types."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ssl4rl.core.types import Ssl4rlError, nearest, shortened

STAGES = "stages"
"""The folder of a run that holds its stages' folders, each a run of its own."""

_THE_RUNS = (
    "benchmark_data",
    "engine",
    "held_out",
    "out",
    "overwrite",
    "repeat",
    "resume",
    "split_by",
    "stages",
    "trl",
    "vllm",
)
_THE_RUNS_WITHIN = {"train": ("processes", "shard"), "sampling": ("backend",)}
_OF_THE_MODEL = ("freeze_vision", "gradient_checkpointing")
"""What all stages share, and what of the model a stage may set."""


class RejectionSection(BaseModel):
    """Which sampled completions `kind: rejection` trains on: of each prompt the `keep` that earned most.

    `correct`: only those that are fully right. `at_least`: by further parts of the reward, what each must have earned:
    {agreement: 1}, or {"./mine.py:f": 0.5} of a function that the section reward weighs (its weight may be 0).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    keep: int = Field(1, ge=1)
    correct: bool = True
    at_least: dict[str, float] = {}


def with_tasks(tree: Any) -> Any:
    """A recipe that leaves all tasks to its stages has those of the last one."""
    stages = tree.get("stages") if isinstance(tree, Mapping) else None
    if not isinstance(stages, Sequence) or isinstance(stages, str) or not stages or "tasks" in tree:
        return tree
    if not all(isinstance(stage, Mapping) and "tasks" in stage for stage in stages):
        return tree
    return {**tree, "tasks": stages[-1]["tasks"]}


def check_keys(stage: Mapping[str, Any], keys: Collection[str]) -> None:
    """Raises ValueError for a key that no stage may have, `keys` being those of a recipe."""
    allowed = [key for key in keys if key not in _THE_RUNS]
    for key, value in stage.items():
        if key in _THE_RUNS:
            raise ValueError(f"{key!r} is the whole run's and cannot be set in a stage")
        if key not in allowed:
            raise ValueError(f"unknown key {shortened(str(key))!r}{nearest(str(key), allowed)}")
        for inner in value if isinstance(value, Mapping) else ():
            fixed = inner not in _OF_THE_MODEL if key == "model" else inner in _THE_RUNS_WITHIN.get(key, ())
            if fixed:
                model = f"; allowed: {', '.join(_OF_THE_MODEL)}" if key == "model" else ""
                raise ValueError(
                    f"'{key}.{shortened(str(inner))}' is the whole run's and cannot be set in a stage{model}"
                )


def check_heard(tree: Mapping[str, Any], paths: Collection[Sequence[str]]) -> None:
    """Raises Ssl4rlError for a key set beside the recipe whose value every stage replaces, so that it holds nowhere."""
    stages = tree.get("stages")
    if not isinstance(stages, Sequence) or not stages or not all(isinstance(stage, Mapping) for stage in stages):
        return
    for path in paths:
        if path[0] not in ("name", "stages") and all(_sets(stage, path) for stage in stages):
            key = shortened(".".join(path))
            each = ", ".join(f"stages.{i}.{key}" for i in range(min(3, len(stages))))
            raise Ssl4rlError(f"{key} is set by every stage, so the recipe's holds in none; set {each} or stages=[]")


def _sets(stage: Any, path: Sequence[str]) -> bool:
    """Whether a stage says what stands at a path, or replaces something above it."""
    for key in path:
        if not isinstance(stage, Mapping):
            return True
        if key not in stage:
            return False
        stage = stage[key]
    return not isinstance(stage, Mapping)


def stage_trees(run: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """A recipe for each stage in each round, as plain values, in order.

    `run`: the whole recipe's values. Stages after the first have seeds of their own, hashed from the run's, so that
    the rounds see different examples; held-out examples are the same in all. The run's format warm-up is the first
    stage's alone, in the first round; a stage's own is its own.
    """
    stages, rounds = run["stages"], run["repeat"]
    base = {key: value for key, value in run.items() if key not in ("stages", "repeat")}
    width = max(2, len(str(len(stages) * rounds)))
    trees = []
    for place in range(len(stages) * rounds):
        stage = stages[place % len(stages)]
        tree = _overlaid(base, stage)
        kind = tree["kind"]
        tree["name"] = f"{place + 1:0{width}d}_{stage.get('name', kind)}"
        tree["out"] = str(folder / STAGES)
        if place and "steps" not in _section(stage, "warmup"):
            tree["warmup"] = {**_section(tree, "warmup"), "steps": 0}
        seed = _section(tree, "train").get("seed")
        own = "seed" in _section(stage, "train") and place < len(stages)
        if place and not own and isinstance(seed, int):
            tree["train"] = {**_section(tree, "train"), "seed": _seed(seed, place)}
        trees.append(tree)
    return trees


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.get(name)
    return section if isinstance(section, Mapping) else {}


def _seed(seed: int, place: int) -> int:
    """31 bits of a hash: seeds that are added to meet again."""
    return int.from_bytes(blake2b(f"stage {seed} {place}".encode(), digest_size=4).digest(), "big") >> 1


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings key by key, all the way down; every other value takes the place of what was there."""
    tree = dict(below)
    for key, value in above.items():
        old = tree.get(key)
        tree[key] = _overlaid(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return tree
