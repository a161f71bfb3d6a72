"""One recipe with levels under several strategies, at the same number of steps, prompts and samples; held-out curves.

    python benchmarks/curricula.py recipes/curriculum_hops.yaml --seeds 0 1 2 [--json OUT] [--plot PNG] [key=value ...]

`goldilocks`, `uniform` and `staged` are the strategies of docs/curriculum.md with the recipe's settings; `hard` and
`easy` are fixed on the hardest and on the easiest level. A seed is that of the data, of the sampling and of the model's
weights. All are measured on the hardest level, on held-out items. Runs that are finished are read, not run again, so
parts of the table may be run side by side: `--strategies goldilocks --seeds 0` here, the rest there, then the whole.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from learning import finished, tasks_of

STRATEGIES = ("goldilocks", "uniform", "hard", "easy")
ALL = (*STRATEGIES, "staged")


def overrides(tasks: list[dict[str, Any]], strategy: str) -> list[str]:
    """The recipe's keys that make it train by `strategy`; `tasks` are the recipe's."""
    if strategy not in ("hard", "easy"):
        return [f"curriculum.strategy={strategy}"]
    fixed = []
    for task in tasks:
        shares = [0.0] * len(task["levels"])
        shares[-1 if strategy == "hard" else 0] = 1.0
        fixed.append({**task, "shares": shares})
    return ["curriculum.strategy=fixed", f"tasks={json.dumps(fixed)}"]


def measure(recipe: str, strategy: str, seed: int, out: Path, extra: list[str]) -> dict[str, Any]:
    """A run's final figures and its curve."""
    done = finished(recipe, strategy, seed, out, [*extra, *overrides(tasks_of(recipe, extra), strategy)])
    after = {name: done.summary["after"][name] for name in ("accuracy", "ci95", "chance", "value", "n")}
    return {
        "strategy": strategy,
        "seed": seed,
        "before": done.summary["before"]["accuracy"],
        "after": after,
        "completion_tokens": done.completion_tokens,
        "curve": done.curve,
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row a strategy, a column a seed."""
    seeds = sorted({result["seed"] for result in results})
    lines = [
        f"| strategy | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |",
        f"|---|{'---|' * (len(seeds) + 1)}",
    ]
    for strategy in ALL:
        row = {r["seed"]: r["after"] for r in results if r["strategy"] == strategy}
        if row:
            cells = [
                f"{row[s]['accuracy']:.3f} ({row[s]['ci95'][0]:.2f}-{row[s]['ci95'][1]:.2f})" if s in row else ""
                for s in seeds
            ]
            mean = sum(after["accuracy"] for after in row.values()) / len(row)
            lines.append(f"| {strategy} | {' | '.join(cells)} | {mean:.3f} |")
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], chance: float, path: Path) -> None:
    """All curves, a colour a strategy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, strategy in enumerate(name for name in ALL if any(r["strategy"] == name for r in results)):
        for result in (r for r in results if r["strategy"] == strategy):
            steps, accuracy = zip(*result["curve"], strict=True)
            label = strategy if result["seed"] == min(r["seed"] for r in results) else None
            axes.plot(steps, accuracy, color=f"C{number}", label=label)
    axes.axhline(chance, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="GRPO steps", ylabel="held-out accuracy at the hardest level")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=ALL)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/curricula"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments, extra = parser.parse_known_args()
    results = [
        measure(arguments.recipe, strategy, seed, arguments.out, extra)
        for seed in arguments.seeds
        for strategy in arguments.strategies
    ]
    print(table(results))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"recipe": Path(arguments.recipe).name, "results": results}, indent=1) + "\n"
        )
    if arguments.plot:
        plot(results, results[0]["after"]["chance"], arguments.plot)


if __name__ == "__main__":
    main()
