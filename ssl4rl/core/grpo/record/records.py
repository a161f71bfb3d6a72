"""What a run writes for people to read later: some of its rollouts, what could not be used, the summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ssl4rl.core.grpo.record.card import model_card
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.types import Example

_PACKAGES = ("ssl4rl", "torch", "transformers", "peft", "accelerate", "trl", "pillow", "numpy")
_NAMED_PROBLEMS = 20


@dataclass
class Unusable:
    """What could not be used, by reason, with some names."""

    reasons: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def add(self, name: str, why: str, items: int = 1) -> None:
        self.reasons[why] += items
        line = f"{name}: {why}"
        if len(self.named) < _NAMED_PROBLEMS and line not in self.named:
            self.named.append(line)

    def add_draws(self, example: Example) -> None:
        for draw in example.meta.get("rejected", ()):
            self.reasons[draw["why"]] += 1

    def to_json(self) -> dict[str, Any]:
        return {"reasons": dict(self.reasons.most_common()), "named": self.named}

    def restore(self, record: dict[str, Any]) -> None:
        """Goes on counting from what `to_json` said."""
        self.reasons, self.named = Counter(record["reasons"]), list(record["named"])


def show_rollouts(run: RunDir, trainer: Trainer, rollouts: Rollouts) -> None:
    """The same groups to the loggers, with prompts and pictures, at the first step and then when a table is due."""
    every, step = trainer.recipe.train.log_table_every, trainer.step
    if not run.loggers or not every or (step - trainer.recipe.warmup.steps - 1) % every:
        return
    rows = []
    for p in range(min(trainer.recipe.train.log_rollouts, len(rollouts.prompts))):
        example = rollouts.prompts[p].example
        about = {
            "step": step,
            "prompt": example.text(),
            "pictures": list(example.pictures),
            "answer": str(example.answer),
        }
        for g, (completion, score) in enumerate(zip(rollouts.completions[p], rollouts.scores[p], strict=True)):
            reward = round(float(rollouts.reward_PG[p, g]), 6)
            rows.append({**about, "completion": completion.text, "verdict": score.verdict, "reward": reward})
    run.show_rollouts(step, rows)


def log_rollouts(run: RunDir, trainer: Trainer, rollouts: Rollouts) -> None:
    """The first `train.log_rollouts` groups of the step just run, a line each in rollouts.jsonl: keys, no prompts."""
    for p in range(min(trainer.recipe.train.log_rollouts, len(rollouts.prompts))):
        example = rollouts.prompts[p].example
        completions = [
            {
                "text": completion.text,
                "verdict": score.verdict,
                "reward": round(float(rollouts.reward_PG[p, g]), 6),
                "tokens": len(completion.ids),
            }
            for g, (completion, score) in enumerate(zip(rollouts.completions[p], rollouts.scores[p], strict=True))
        ]
        key = example.key.to_json() if example.key else None
        run.log_rollout({"step": trainer.step, "key": key, "answer": example.answer, "completions": completions})


def summarise(run: RunDir, trainer: Trainer, unusable: Unusable, seconds: float) -> dict[str, Any]:
    """The content of summary.json for a run that ends now, its first and last evaluations logged already."""
    recipe, components = trainer.recipe, trainer.dataset.components
    evals = run.evaluations()
    before, after = evals[0], evals[-1]
    names = list(after["tasks"])
    return {
        "name": recipe.name,
        "task": ", ".join(f"{c.task.id}[{c.level.name}]" for c in components),
        "data": sorted({c.split.source.uri for c in components}),
        "model": recipe.model.path,
        "engine": recipe.engine,
        "kind": recipe.kind,
        "shared_prompts": trainer.learner.shared,
        "preflight": trainer.ways["report"],
        "seconds": round(seconds, 1),
        "steps": trainer.step - recipe.warmup.steps,
        "warmup_steps": recipe.warmup.steps,
        "seed": recipe.train.seed,
        "before": before["eval"],
        "after": after["eval"],
        "tasks": {name: {"before": before["tasks"].get(name), "after": after["tasks"][name]} for name in names},
        "unusable": unusable.to_json(),
        "too_long": trainer.stream.too_long,
        "out_of_memory": [one.to_json() for one in trainer.shortages],
        "versions": _versions(),
    }


def card(run: RunDir, trainer: Trainer, summary: dict[str, Any]) -> str:
    """The text for README.md in final/."""
    licences = {c.split.source.uri: c.split.source.licence for c in trainer.dataset.components}
    adapter = hasattr(trainer.policy.model, "peft_config")
    return model_card(summary, trainer.recipe.dump(), licences, adapter)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
