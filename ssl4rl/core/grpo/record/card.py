"""The model card of a run's final model: what it was trained on, before and after, and with what. Texts only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

UNKNOWN = "not known here"


def model_card(
    summary: Mapping[str, Any], recipe: Mapping[str, Any], licences: Mapping[str, str], adapter: bool
) -> str:
    """README.md for final/, with the front matter that model hubs read.

    Args:
        summary: what summary.json says.
        recipe: the resolved recipe.
        licences: of each source by its URI; "" where it is not known.
        adapter: whether final/ holds an adapter for the base model.
    """
    base = str(summary["model"])
    front: dict[str, Any] = {"library_name": "peft" if adapter else "transformers", "tags": ["ssl4rl", "grpo"]}
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        front = {"base_model": base, **front}
    data = "\n".join(f"- `{uri}`: licence {licences.get(uri) or UNKNOWN}" for uri in summary["data"])
    benchmarks = recipe.get("benchmark_data") or []
    seen = (
        f"\nItems of benchmarks were trained on: {', '.join(benchmarks)}. Scores on them say less.\n"
        if benchmarks
        else ""
    )
    what = "adapter" if adapter else "model"
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---
# {summary["name"]}

This {what} is {base}, trained {_how(summary)}: {summary["task"]}.
{summary["steps"]} steps in {summary["seconds"]:.0f} s, engine {summary["engine"]}, seed {summary["seed"]}.

## Before and after

Measured on held-out items; the interval is Wilson's.

{_table(summary)}

## Data

{data}
{seen}
The weights' licence is that of {base}.

## Recipe

```yaml
{yaml.safe_dump(_told(recipe), sort_keys=False, allow_unicode=True).strip()}
```

## Versions

{", ".join(f"{name} {version}" for name, version in summary["versions"].items())}
"""


_KINDS = {
    "grpo": "by reinforcement learning (GRPO) on self-supervised tasks",
    "supervised": "on the right answers of self-supervised tasks",
    "rejection": "on the best of its own replies to self-supervised tasks",
}


def _how(summary: Mapping[str, Any]) -> str:
    """What the steps did, of each stage where there are several."""
    stages = summary.get("stages")
    if not stages:
        return _KINDS[summary.get("kind", "grpo")]
    told = ", ".join(f"{one['name']} ({one['kind']}, {one['steps']} steps)" for one in stages)
    return f"in {len(stages)} stages, {told}, on self-supervised tasks"


def _told(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without the folder it was written to, which says something of a machine and nothing of a model."""
    return {name: value for name, value in recipe.items() if name != "out"}


def _table(summary: Mapping[str, Any]) -> str:
    rows: list[Sequence[str]] = [
        ("task", "", "accuracy", "95 %", "chance", "unparsed", "truncated", "n"),
        ("---", "---", "--:", "--:", "--:", "--:", "--:", "--:"),
    ]
    tasks = summary.get("tasks") or {}
    parts = {"all": summary, **tasks} if len(tasks) != 1 else tasks
    for name, part in parts.items():
        for when in ("before", "after"):
            if found := part.get(when):
                low, high = found["ci95"]
                shares = (f"{found[key]:.3f}" for key in ("unparsed", "truncated"))
                rows.append(
                    (name.replace("|", "\\|"), when, f"{found['accuracy']:.3f}", f"{low:.3f}-{high:.3f}",
                     f"{found['chance']:.3g}", *shares, str(found["n"]))
                )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
