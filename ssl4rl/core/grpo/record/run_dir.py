"""The folder of a run: resolved recipe, logs, checkpoints. Written so that a kill at any moment loses no more than the
steps since the last checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from ssl4rl.core.grpo.record.loggers import Logger, open_loggers
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError

_KEPT_ON_RESUME = (
    *(
        "train.steps",
        "train.max_seconds",
        "train.workers",
        "out",
        "train.checkpoint_every",
        "train.keep_checkpoints",
        "train.keep_start",
        "train.processes",
        "train.shard",
        "train.shared",
        "train.cuda_graphs",
        "train.log_to",
        "train.changed_data",
    ),
)


class RunDir:
    """Paths and files of one run. Nothing is written or deleted before `open`, but for `latest`, which cuts logs back.

    Of several processes one writes; with `writes` False nothing is checked, written or deleted.

    Raises:
        Ssl4rlError: the folder holds a run already, and the recipe neither resumes nor overwrites it; or it resumes
            one that was started with other settings.
    """

    def __init__(self, recipe: Recipe, writes: bool = True) -> None:
        self.writes = writes
        self.folder = recipe.folder
        self.metrics, self.rollouts = self.folder / "metrics.jsonl", self.folder / "rollouts.jsonl"
        self.checkpoints, self.final = self.folder / "checkpoints", self.folder / "final"
        self.start, self.summary = self.folder / "start", self.folder / "summary.json"
        self._recipe, self._stored = recipe, self.folder / "recipe.yaml"
        self.loggers: list[Logger] = []
        if not writes:
            return
        if self._holds_a_run and recipe.resume:
            _same_recipe(yaml.safe_load(self._stored.read_text(encoding="utf-8")), recipe.dump(), self.folder)
        elif self._holds_a_run and not recipe.overwrite:
            raise Ssl4rlError(
                f"{self.folder} already holds a run; resume=true continues it, overwrite=true deletes it and "
                "starts anew, name=... starts beside it"
            )

    @property
    def _holds_a_run(self) -> bool:
        """A folder where no step was ever logged is none: its run was refused or killed before it began."""
        begun = self.metrics.exists() or self.summary.exists() or bool(self._steps())
        return self._stored.exists() and begun

    def open(self) -> None:
        """Makes the folder and writes the recipe; `overwrite` deletes what was there. For when nothing was refused."""
        if not self.writes:
            return
        if self._holds_a_run and self._recipe.overwrite and not self._recipe.resume:
            shutil.rmtree(self.folder)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        _write(self._stored, yaml.safe_dump(self._recipe.dump(), sort_keys=False, allow_unicode=True))
        self.loggers = open_loggers(self._recipe.train.log_to, self._recipe.name, self.folder, self._recipe.dump())

    def finished(self) -> dict[str, Any] | None:
        """The summary, if the run is complete as far as the recipe now wants it to go."""
        if not self.summary.exists():
            return None
        summary: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        wanted = self._recipe.train
        late = wanted.max_seconds is not None and summary["seconds"] >= wanted.max_seconds
        return summary if summary["steps"] >= wanted.steps or late else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        if self.writes:
            _write(self.summary, json.dumps(summary, indent=2) + "\n")

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl, and shows it to the loggers."""
        self._append(self.metrics, record)
        for logger in self.loggers:
            logger.log(record)

    def close(self) -> None:
        """The run ends, or stops here to be resumed."""
        for logger in self.loggers:
            logger.finish()

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl."""
        return [json.loads(line) for line in self.metrics.read_text().splitlines()] if self.metrics.exists() else []

    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluation lines of metrics.jsonl, in order."""
        return [record for record in self.read_metrics() if record["phase"] == "eval"]

    def seconds_so_far(self) -> float:
        """How long the run has taken by its log; 0 for a new one."""
        return float(max((record["seconds"] for record in self.read_metrics()), default=0.0))

    def log_rollout(self, record: Mapping[str, Any]) -> None:
        """Appends one line to rollouts.jsonl."""
        self._append(self.rollouts, record)

    def _append(self, log: Path, record: Mapping[str, Any]) -> None:
        if self.writes:
            with log.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def save(self, step: int, policy: Any, state: Mapping[str, Any], keep: int) -> None:
        """Writes checkpoints/step_N whole or not at all, then drops the oldest beyond `keep`."""
        done = self.checkpoints / f"step_{step:06d}"
        if done.exists() or not self.writes:
            return
        partial = self.checkpoints / f".step_{step:06d}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial / "policy")
        torch.save(dict(state), partial / "state.pt")
        os.replace(partial, done)
        for old in self._steps()[:-keep]:
            shutil.rmtree(old)

    def save_start(self, policy: Any) -> None:
        """Writes start/, the policy before GRPO, whole or not at all."""
        if self.start.exists() or not self.writes:
            return
        partial = self.folder / ".start.partial"
        shutil.rmtree(partial, ignore_errors=True)
        policy.save(partial)
        os.replace(partial, self.start)

    def _steps(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step_*"))

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint's policy folder and state; the logs are cut back to its step."""
        if self.writes:
            for leftover in self.checkpoints.glob(".step_*"):
                shutil.rmtree(leftover)
        steps = self._steps()
        if not steps:
            for log in (self.metrics, self.rollouts) * self.writes:
                log.unlink(missing_ok=True)
            return None
        state: dict[str, Any] = torch.load(steps[-1] / "state.pt", map_location="cpu", weights_only=True)
        if self.writes:
            self.cut_back(state["step"])
        return steps[-1] / "policy", state

    def cut_back(self, step: int) -> None:
        """Drops what the logs hold of steps after `step`."""
        for log in (self.metrics, self.rollouts):
            _cut_back(log, step)


def finished_summary(recipe: Recipe) -> dict[str, Any] | None:
    """The summary of a run that is to be resumed and has no step left; refuses a folder that is in the way."""
    run = RunDir(recipe)
    return run.finished() if recipe.resume else None


def _write(path: Path, text: str) -> None:
    """Replaces a file in one move."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _cut_back(log: Path, step: int) -> None:
    """Drops lines after `step`, and a last line that a kill cut in two."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except json.JSONDecodeError:
            continue
    _write(log, "".join(kept))


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for name, part in tree.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    return {prefix[:-1]: tree}


def _same_recipe(stored: Any, now: Any, folder: Path) -> None:
    old, new = _flat(stored), _flat(now)
    for key in sorted(old.keys() | new.keys()):
        if key not in _KEPT_ON_RESUME and old.get(key) != new.get(key):
            raise Ssl4rlError(
                f"{folder} was started with {key}={old.get(key)!r}, now it is {new.get(key)!r}; resume with the same "
                "recipe, or start another run with name=..."
            )
