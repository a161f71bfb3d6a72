"""A recipe of several tasks against each of its tasks alone, at the same number of steps, prompts and samples.

    python benchmarks/mixtures.py recipes/mixed_scenes.yaml --seeds 0 [--json OUT] [key=value ...]

The mixed run spends its prompts by the tasks' weights, a task alone gets all of them; all are measured on the held-out
items of every task they trained on. Beside them the mean cosine of the tasks' gradients, over the first tenth of the
mixed run's steps ("early") and over all of it (`train.gradient_agreement_every`); "self" is that of two halves of one
task's own prompts, what noise leaves of 1. Finished runs are read, not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from statistics import fmean
from typing import Any

from learning import Run, finished, tasks_of

EARLY = 0.1


def cosines(run: Run) -> list[dict[str, Any]]:
    """Mean cosines of the gradients of every two tasks, and of every task's halves."""
    steps = run.recipe.train.steps
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in run.log:
        done = (line["step"] - run.recipe.warmup.steps) / steps
        for one, other, cosine in line.get("agreement", []):
            found.setdefault((one, other), []).append((done, cosine))
    names = sorted({name for pair in found for name in pair})
    rows = []
    for one, other in combinations_with_replacement(names, 2):
        seen = found.get((one, other)) or found.get((other, one)) or []
        early = [cosine for done, cosine in seen if done <= EARLY]
        rows.append({"tasks": [one, other], "early": _mean(early), "all": _mean([c for _, c in seen]), "n": len(seen)})
    return rows


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None


def accuracies(run: Run) -> dict[str, dict[str, Any]]:
    """By task and level: before, after, its interval, chance."""
    return {
        name: {
            "before": entry["before"]["accuracy"],
            **{key: entry["after"][key] for key in ("accuracy", "ci95", "chance", "n")},
        }
        for name, entry in run.summary["tasks"].items()
    }


def measure(recipe: str, seed: int, out: Path, extra: list[str]) -> dict[str, Any]:
    """The mixed run and each task alone."""
    tasks = tasks_of(recipe, extra)
    mixed = finished(recipe, "mixed", seed, out, extra)
    alone = [
        finished(
            recipe, f"alone{at}", seed, out, [*extra, f"tasks={json.dumps([task])}", "train.gradient_agreement_every=0"]
        )
        for at, task in enumerate(tasks)
    ]
    return {
        "seed": seed,
        "mixed": accuracies(mixed),
        "alone": {name: entry for run in alone for name, entry in accuracies(run).items()},
        "cosines": cosines(mixed),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row a task and seed."""

    def cell(entry: dict[str, Any]) -> str:
        return f"{entry['accuracy']:.3f} ({entry['ci95'][0]:.2f}-{entry['ci95'][1]:.2f})"

    lines = ["| task | seed | chance | alone | mixed |", "|---|---|---|---|---|"]
    for result in results:
        for name, alone in result["alone"].items():
            mixed = result["mixed"][name]
            lines.append(f"| {name} | {result['seed']} | {alone['chance']:.3g} | {cell(alone)} | {cell(mixed)} |")
    for result in results:
        for row in result["cosines"]:
            one, other = row["tasks"]
            pair = f"{one} with itself" if one == other else f"{one} with {other}"
            early = "none" if row["early"] is None else f"{row['early']:.3f}"
            lines.append(f"\nseed {result['seed']}, cosine of {pair}: early {early}, all {row['all']:.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/mixtures"))
    parser.add_argument("--json", type=Path)
    arguments, extra = parser.parse_known_args()
    results = [measure(arguments.recipe, seed, arguments.out, extra) for seed in arguments.seeds]
    print(table(results))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"recipe": Path(arguments.recipe).name, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
