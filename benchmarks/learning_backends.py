"""What runs that sampled by different backends learned: held-out accuracy before and after, in one table.

    python -m ssl4rl train quickstart_graph sampling.backend=vllm train.workers=0 train.seed=0 name=graph-vllm
    python -m ssl4rl train quickstart_graph train.workers=0 train.seed=0 name=graph-native
    python benchmarks/learning_backends.py runs/graph-vllm runs/graph-native [--json FILE]

Reads run folders alone; of one that was cut off, its last evaluation. Seconds are those of the runs as they were made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ssl4rl.core.recipe.recipe import Recipe, load_recipe


def learned(folder: Path) -> dict[str, Any]:
    """A run in one record; of one that was cut off, what its last evaluation said."""
    recipe: Recipe = load_recipe(folder / "recipe.yaml", [])
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in log if line["phase"] == "eval"]
    trained = [line for line in log if line["phase"] == "train"]
    ratios = [line["importance"] for line in trained if "importance" in line]
    return {
        "task": "+".join(task.task for task in recipe.tasks),
        "model": Path(recipe.model.path).name,
        "backend": recipe.sampling.backend,
        "seed": recipe.train.seed,
        "steps": evaluated[-1]["step"] - recipe.warmup.steps,
        "of_steps": recipe.train.steps,
        "before": evaluated[0]["eval"],
        "after": evaluated[-1]["eval"],
        "seconds": log[-1]["seconds"],
        "median_step_s": statistics.median(line["step_s"] for line in trained),
        "curve": [_point(line["step"] - recipe.warmup.steps, line["eval"]) for line in evaluated],
        **({"importance": _weights(ratios)} if ratios else {}),
    }


def _point(step: int, found: dict[str, Any]) -> list[float]:
    """[GRPO step, accuracy, lower and upper end of its 95 % interval, n]."""
    return [step, found["accuracy"], *found["ci95"], found["n"]]


def _weights(ratios: list[dict[str, float]]) -> dict[str, float]:
    """Of all steps: the mean of p / q, the largest, and the share that was capped."""
    return {
        "mean": statistics.mean(one["mean"] for one in ratios),
        "largest": max(one["largest"] for one in ratios),
        "capped": statistics.mean(one["capped"] for one in ratios),
    }


def told(accuracy: dict[str, Any]) -> str:
    low, high = accuracy["ci95"]
    return f"{accuracy['accuracy']:.3f} ({low:.3f}-{high:.3f}, n {accuracy['n']})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = [learned(folder) for folder in options.runs]
    for one in found:
        print("| " + " | ".join(map(str, _row(one))) + " |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _row(one: dict[str, Any]) -> list[Any]:
    names = [one["task"], one["model"], one["backend"], one["seed"], f"{one['steps']} of {one['of_steps']}"]
    return [*names, told(one["before"]), told(one["after"]), f"{one['seconds']:.0f} s"]


if __name__ == "__main__":
    main()
