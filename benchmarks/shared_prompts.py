"""Steps of a recipe with every prompt and picture computed once a group, and once a completion; in turns.

    python benchmarks/shared_prompts.py recipes/quickstart_vision.yaml [--steps 10] [--json OUT] [key=value ...]

Both trainers are the native engine's, begin from the same weights and see the same prompts. The first step of each (and
its format warm-up, which is the same in both) is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ssl4rl.core.grpo.opening import open_run
from ssl4rl.core.grpo.ranks import open_ranks
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.recipe import load_recipe

PHASES = ("rollout", "update")


def measure(recipe: str, steps: int, keys: list[str]) -> dict[str, Any]:
    """Median seconds by phase and way, and the median over steps of the ratio of whole steps."""
    with tempfile.TemporaryDirectory() as folder, open_ranks(None, "cpu") as (ranks, device):
        settings = load_recipe(recipe, [*keys, f"out={folder}", "resume=false"])
        trainers: dict[str, Trainer] = {}
        for way in ("shared", "unshared"):
            named = settings.model_copy(update={"name": way})
            opened = open_run(named, ranks, device, lambda text: None, lambda run, ranks: None)
            trainers[way] = opened.trainer
            for part in (opened.trainer.learner, opened.trainer.backend):
                part.shared = way == "shared"
            while opened.trainer.warming_up:
                opened.trainer.run_step()
        seconds: dict[str, list[dict[str, float]]] = {way: [] for way in trainers}
        for _ in range(steps + 1):
            for way, trainer in trainers.items():
                metrics, _rollouts = trainer.run_step()
                seconds[way].append({**{phase: metrics["time"][phase] for phase in PHASES}, "step": metrics["step_s"]})
    counted = {way: values[1:] for way, values in seconds.items()}
    ratios = [u["step"] / s["step"] for u, s in zip(counted["unshared"], counted["shared"], strict=True)]
    medians = {
        way: {phase: round(statistics.median(v[phase] for v in values), 4) for phase in (*PHASES, "step")}
        for way, values in counted.items()
    }
    return {
        "recipe": Path(recipe).name,
        "steps": steps,
        "seconds": medians,
        "ratio": round(statistics.median(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", metavar="RECIPE|key=value")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_intermixed_args()
    recipes = [text for text in arguments.recipes if "=" not in text]
    keys = [text for text in arguments.recipes if "=" in text]
    results = [measure(recipe, arguments.steps, keys) for recipe in recipes]
    for result in results:
        print(json.dumps(result))
    if arguments.json:
        machine = f"one core of a {os.cpu_count()}-vCPU {platform.machine()} machine"
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
