"""What the benchmarks of learning share: a recipe's run under other keys, run once and then read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import Recipe, load_recipe


@dataclass
class Run:
    """A finished run: its recipe, summary and the lines of its log."""

    recipe: Recipe
    summary: dict[str, Any]
    log: list[dict[str, Any]]

    @property
    def completion_tokens(self) -> int:
        """Sampled in GRPO, all steps together."""
        return sum(line["completion_tokens"] for line in self.log if line["phase"] == "train")

    @property
    def curve(self) -> list[list[float]]:
        """[step, held-out accuracy] at every evaluation."""
        steps = self.recipe.warmup.steps
        return [[line["step"] - steps, line["eval"]["accuracy"]] for line in self.log if line["phase"] == "eval"]


def tasks_of(recipe: str, extra: list[str]) -> list[dict[str, Any]]:
    """The recipe's tasks as a recipe would say them."""
    return [task.model_dump(exclude_none=True) for task in load_recipe(recipe, extra).tasks]


def finished(recipe: str, kind: str, seed: int, out: Path, keys: list[str]) -> Run:
    """The recipe with `keys` and a seed of data, sampling and an embedded model's weights, as `out`/NAME-KIND-SEED.

    Runs it, or goes on with it, unless it is finished.
    """
    plain = load_recipe(recipe, keys)
    path = plain.model.path
    if path.startswith("embedded:"):
        path = f"{path}#{seed}"
    named = [f"name={plain.name}-{kind}-{seed}", f"out={out}", f"train.seed={seed}", f"model.path={path}"]
    settings = load_recipe(recipe, [*keys, *named, "resume=true"])
    summary = train(settings)
    lines = (settings.folder / "metrics.jsonl").read_text().splitlines()
    return Run(settings, summary, [json.loads(line) for line in lines])
