"""Is the probe's advice worth following? The level it names against one two levels off, at the same budget.

    python benchmarks/probe_advice.py recipes/curriculum_questions.yaml --seeds 0 1 2 [--json OUT] [key=value ...]

For each seed, with the recipe's levels from easy to hard:

- before: the model after its format warm-up is probed; from the recipe's start one run trains at the advised level
  alone, one at a level two off, for `--steps` steps each;
- after: the model that the recipe trained (its curriculum, all its steps) is probed; from that model one run goes on at
  the advised level, one at a level two off, for `--more` steps at a third of the learning rate, without warm-up.

"Two off" is two levels harder than the advice, or easier where there is none. All are measured on held-out items of
every level. Finished runs are read, not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from learning import Run, finished, tasks_of

from ssl4rl import probe
from ssl4rl.core import registry
from ssl4rl.core.recipe import load_recipe

OFF = 2


def levels_of(recipe: str, extra: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe's only task, and its levels from easy to hard."""
    (task,) = tasks_of(recipe, extra)
    return task, list(task["levels"])


def advised(model: str, task: dict[str, Any], levels: list[str], data: str, n: int) -> tuple[int, list[float]]:
    """The place of the advised level among `levels`, and the probed success of each. Fails where there is no advice."""
    found = probe(model, [task["task"]], data=task.get("data", data), level=levels, n=n)
    (advice,) = found.advice
    if advice.start is None:
        raise SystemExit(f"{model}: the probe advises no level: {advice.why}")
    return list(found.rows).index(advice.start), [row.success for row in found.rows]


def two_off(advice: int, levels: int) -> int:
    return advice + OFF if advice + OFF < levels else max(0, advice - OFF)


def accuracies(run: Run, task: dict[str, Any]) -> list[float]:
    """Held out, by level from easy to hard."""
    asked, _ = registry.resolve(task["task"])
    names = [f"{asked.id}[{asked.level(text).name}]" for text in task["levels"]]
    return [run.summary["tasks"][name]["after"]["accuracy"] for name in names]


def fixed_on(task: dict[str, Any], level: int) -> list[str]:
    """Keys that train on one level."""
    shares = [float(at == level) for at in range(len(task["levels"]))]
    return [f"tasks={json.dumps([{**task, 'shares': shares}])}", "curriculum.strategy=fixed"]


def measure(arguments: argparse.Namespace, seed: int, extra: list[str]) -> list[dict[str, Any]]:
    """Two rows, before and after training: the advice and what both runs of each came to."""
    recipe, out = arguments.recipe, arguments.out
    plain = load_recipe(recipe, extra)
    if not plain.train.keep_start:
        raise SystemExit(f"{recipe}: train.keep_start must be true, for the model after its format warm-up")
    task, levels = levels_of(recipe, extra)
    strategy = plain.curriculum.strategy
    trained = finished(recipe, strategy, seed, out, [*extra, f"curriculum.strategy={strategy}"])  # curricula.py's run
    folder, data = trained.recipe.folder, trained.recipe.data
    rate = trained.recipe.optim.lr
    stages = {
        "before": (folder / "start", [f"train.steps={arguments.steps}"]),
        "after": (
            folder / "final",
            [
                f"train.steps={arguments.more}",
                f"optim.lr={rate / 3}",
                "warmup.steps=0",
                f"model.path={folder / 'final'}",
            ],
        ),
    }
    rows = []
    for stage, (model, keys) in stages.items():
        advice, success = advised(str(model), task, levels, str(data), arguments.n)
        row: dict[str, Any] = {"seed": seed, "stage": stage, "levels": levels, "advised": advice, "probed": success}
        for name, level in (("from_advice", advice), ("two_off", two_off(advice, len(levels)))):
            n = plain.eval.n
            every_level = ["eval.levels=all", "eval.every=0", f"eval.n={n * len(levels)}"]
            run = finished(recipe, f"{stage}{level}", seed, out, [*extra, *fixed_on(task, level), *every_level, *keys])
            row[name] = {"level": level, "accuracies": accuracies(run, task), "n": n}
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row a seed and stage; accuracies by level, and their mean."""

    def cell(side: dict[str, Any]) -> str:
        by_level = " / ".join(f"{a:.3f}" for a in side["accuracies"])
        return f"level {side['level'] + 1}: {by_level} | {fmean(side['accuracies']):.3f}"

    lines = ["| stage | seed | as advised | mean | two levels off | mean |", "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda r: (r["stage"] != "before", r["seed"])):
        lines.append(f"| {row['stage']} | {row['seed']} | {cell(row['from_advice'])} | {cell(row['two_off'])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="of the runs before")
    parser.add_argument("--more", type=int, default=200, help="of the runs after")
    parser.add_argument("-n", type=int, default=48, help="prompts the probe asks at every level")
    parser.add_argument("--out", type=Path, default=Path("runs/probe_advice"))
    parser.add_argument("--json", type=Path)
    arguments, extra = parser.parse_known_args()
    rows = [row for seed in arguments.seeds for row in measure(arguments, seed, extra)]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"recipe": Path(arguments.recipe).name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
