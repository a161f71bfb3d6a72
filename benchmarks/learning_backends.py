"""What runs that sampled by different backends learned: held-out accuracy before and after, in one table.

    python -m ssl4rl train quickstart_graph sampling.backend=vllm train.workers=0 train.seed=0 name=graph-vllm
    python -m ssl4rl train quickstart_graph train.workers=0 train.seed=0 name=graph-native
    python benchmarks/learning_backends.py runs/graph-vllm runs/graph-native [--json FILE]

Reads finished run folders alone. Seconds are those of the runs as they were made, the evaluations included; `together`
says which runs' intervals overlap with that of the first of the same task.
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
    """A finished run in one record."""
    recipe: Recipe = load_recipe(folder / "recipe.yaml", [])
    summary = json.loads((folder / "summary.json").read_text())
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in log if line["phase"] == "train"]
    ratios = [line["importance"] for line in trained if "importance" in line]
    return {
        "task": "+".join(task.task for task in recipe.tasks),
        "model": Path(recipe.model.path).name,
        "backend": recipe.sampling.backend,
        "seed": recipe.train.seed,
        "steps": len(trained),
        "before": summary["before"],
        "after": summary["after"],
        "seconds": summary["seconds"],
        "median_step_s": statistics.median(line["step_s"] for line in trained),
        "curve": [[line["step"], line["eval"]["accuracy"]] for line in log if line["phase"] == "eval"],
        **({"importance": _weights(ratios)} if ratios else {}),
    }


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
    first: dict[str, dict[str, Any]] = {}
    for one in found:
        other = first.setdefault(one["task"], one)["after"]["ci95"]
        one["together"] = one["after"]["ci95"][0] <= other[1] and other[0] <= one["after"]["ci95"][1]
        print("| " + " | ".join(map(str, _row(one))) + " |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _row(one: dict[str, Any]) -> list[Any]:
    names = [one["task"], one["model"], one["backend"], one["seed"], one["steps"]]
    return [*names, told(one["before"]), told(one["after"]), f"{one['seconds']:.0f} s"]


if __name__ == "__main__":
    main()
