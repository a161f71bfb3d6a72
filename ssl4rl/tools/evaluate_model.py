"""A model's accuracy on tasks (`ssl4rl eval`), never without chance, an interval and the shares of unusable replies."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.evaluate import Evaluation, evaluate
from ssl4rl.core.grpo.policy import load_policy
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.source import Part
from ssl4rl.tools.run_log import read_run

_MOST_ANSWERS = 12


@dataclass(frozen=True)
class Result:
    """One task's evaluation."""

    dataset: TaskDataset
    evaluation: Evaluation
    seconds: float

    @property
    def answers(self) -> dict[str, int]:
        """How often each parsed answer was given, most frequent first; "no answer" for the replies without one."""
        counts = self.evaluation.answers()
        none = counts.pop("None", 0)
        return dict(counts.most_common()) | ({"no answer": none} if none else {})

    def to_json(self) -> dict[str, Any]:
        component = self.dataset.components[0]
        return {
            "task": component.task.id,
            "level": component.level.name,
            "data": component.split.source.uri,
            "split": component.split.part,
            "seed": self.dataset.seed,
            "style": self.dataset.style,
            **self.evaluation.to_json(),
            "answers": self.answers,
            "seconds": round(self.seconds, 2),
        }


def evaluate_model(
    model: str,
    tasks: Sequence[str],
    *,
    data: str | None = None,
    level: str | None = None,
    n: int = 400,
    split: Part = "held_out",
    held_out: float | None = None,
    seed: int = 0,
    style: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    system: str | None = None,
) -> list[Result]:
    """Evaluates a model on `n` examples of each task.

    Args:
        model: "embedded:NAME", a folder, a hub id, or a run's folder (its `final/` or a checkpoint).
        style, max_new_tokens, system, held_out: None is what the run's recipe says where the model is a run's, else
            "think", 256, no system message and 0.2.

    Raises:
        Ssl4rlError: anything the caller can mend.
    """
    path, asked = of_a_run(model)
    chosen = {"style": style, "max_new_tokens": max_new_tokens, "system": system, "held_out": held_out}
    asked = {**asked, **{name: value for name, value in chosen.items() if value is not None}}
    datasets = [
        create_dataset(
            task,
            data,
            size=n,
            seed=seed,
            level=level,
            split=split,
            held_out=asked["held_out"],
            style=asked["style"],
        )
        for task in tasks
    ]
    policy = load_policy(path, name=model, trainable=False, system=asked["system"])
    results = []
    for dataset in datasets:
        started = time.perf_counter()
        found = evaluate(policy, dataset, max_new_tokens=asked["max_new_tokens"], temperature=temperature)
        results.append(Result(dataset, found, time.perf_counter() - started))
    return results


def of_a_run(model: str) -> tuple[str, dict[str, Any]]:
    """Where the weights lie, and how the run that made them put its questions."""
    defaults: dict[str, Any] = {"style": "think", "max_new_tokens": 256, "system": None, "held_out": 0.2}
    defaults["max_tokens"] = 1024
    folder = Path(model)
    if (folder / "recipe.yaml").is_file() and (folder / "final").is_dir():
        model = str(folder / "final")
    elif folder.is_dir():
        folder = next((up for up in folder.resolve().parents[:3] if (up / "recipe.yaml").is_file()), folder)
    if not (folder / "recipe.yaml").is_file():
        return model, defaults
    run = read_run(folder)
    share = run.recipe.get("held_out")
    return model, {
        "style": run.setting("prompt", "style", "think"),
        "max_new_tokens": run.setting("sampling", "max_new_tokens", 256),
        "system": run.setting("prompt", "system", "") or None,
        "held_out": share if isinstance(share, float) else 0.2,
        "max_tokens": run.setting("prompt", "max_tokens", 1024),
    }


def to_json(model: str, results: Sequence[Result]) -> str:
    record: Mapping[str, Any] = {"model": model, "results": [result.to_json() for result in results]}
    return json.dumps(record, indent=2, ensure_ascii=False)


def to_text(results: Sequence[Result]) -> str:
    blocks = []
    for result in results:
        r = result.to_json()
        low, high = r["ci95"]
        answers = [f"{answer} ({count}x)" for answer, count in result.answers.items()]
        more = f", {len(answers) - _MOST_ANSWERS} more" if len(answers) > _MOST_ANSWERS else ""
        blocks.append(
            f"{r['task']}[{r['level']}]  {r['data']} ({r['split']}), seed {r['seed']}, reply style {r['style']}\n"
            f"  accuracy {r['accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), chance {r['chance']:.3g}, "
            f"unparsed {r['unparsed']:.3f}, truncated {r['truncated']:.3f}, n {r['n']}\n"
            f"  answers: {', '.join(answers[:_MOST_ANSWERS])}{more}"
        )
    return "\n".join(blocks)
