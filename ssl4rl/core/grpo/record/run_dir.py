"""The folder of a run: resolved recipe, logs, checkpoints. Written so that a kill at any moment loses no more than the
steps since the last checkpoint, and read so that damage to any file of it is said and as much as can be goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ssl4rl.core.grpo.record.checkpoint import read_state, save_state
from ssl4rl.core.grpo.record.files import (
    SUMS,
    checkpoints_in,
    damage,
    is_evaluation,
    is_step,
    parse,
    read_text,
    read_yaml,
    records,
    remove,
    run_of,
    stages_in,
    whole_folder,
    write_text,
    writing,
)
from ssl4rl.core.grpo.record.lock import LOCK
from ssl4rl.core.grpo.record.loggers import Logger, open_loggers
from ssl4rl.core.recipe.recipe import Recipe, make_recipe
from ssl4rl.core.recipe.stages import STAGES
from ssl4rl.core.types import Ssl4rlError

RECIPE = "recipe.yaml"
_KEPT = "run.yaml"  # in a checkpoint; by a recipe.yaml a run's own folder is known
_LENGTHS = ("train.steps", "train.max_seconds")
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
        "train.log_table_every",
        "train.say_every",
        "train.changed_data",
    ),
)


class RunDir:
    """Paths and files of one run. Nothing is written or deleted before `open`, but for `last_good`, which cuts logs
    back and sets damaged checkpoints aside.

    Of several processes one writes; with `writes` False nothing is checked, written or deleted. `notes` are lines about
    what was found damaged, for a person.

    Raises:
        Ssl4rlError: the folder holds a run already, and the recipe neither resumes nor overwrites it; or it resumes
            one that was started with other settings.
    """

    def __init__(self, recipe: Recipe, writes: bool = True) -> None:
        self.writes = writes
        self.notes: list[str] = []
        self.folder = recipe.folder
        self.metrics, self.rollouts = self.folder / "metrics.jsonl", self.folder / "rollouts.jsonl"
        self.checkpoints, self.final = self.folder / "checkpoints", self.folder / "final"
        self.start, self.summary = self.folder / "start", self.folder / "summary.json"
        self._recipe, self._stored = recipe, self.folder / RECIPE
        self.loggers: list[Logger] = []
        self._whole: set[Path] = set()  # checkpoints read or written by this process
        if not writes or not self._holds_a_run:
            return
        if recipe.resume:
            self._check_recipe()
        elif not recipe.overwrite:
            raise Ssl4rlError(
                f"{self.folder} already holds a run; resume=true continues it, overwrite=true deletes it and "
                "starts anew, name=... starts beside it"
            )

    @property
    def _holds_a_run(self) -> bool:
        """A folder where no step was ever logged is none: its run was refused or killed before it began."""
        begun = any((stage / self.metrics.name).exists() for stage in stages_in(self.folder))
        return begun or self.metrics.exists() or self.summary.exists() or bool(checkpoints_in(self.checkpoints))

    def _check_recipe(self) -> None:
        """Compares with the stored recipe; with the newest checkpoint's where that is damaged."""
        now = self._recipe.dump()
        kept = [read_yaml(read_text(path / _KEPT)) for _, path in reversed(checkpoints_in(self.checkpoints))]
        known = next((recipe for recipe in kept if recipe is not None), None)
        stored = read_yaml(read_text(self._stored))
        difference = None if stored is None else _difference(stored, now)
        if stored is None or (difference and known is not None and not _difference(known, now)):
            self.notes.append(f"{RECIPE} is damaged; it is written anew")
            difference = None if known is None else _difference(known, now)
        if difference:
            raise Ssl4rlError(
                f"{self.folder} was started with {difference}; resume with the same recipe, or start another run with "
                "name=..."
            )

    def open(self) -> None:
        """Makes the folder and writes the recipe; `overwrite` deletes what was there. For when nothing was refused."""
        if not self.writes:
            return
        with writing(self.folder):
            if self._holds_a_run and self._recipe.overwrite and not self._recipe.resume:
                found = [path for path in self.folder.iterdir() if path.name != LOCK]
                for path in sorted(found, key=lambda path: path == self.metrics):  # by its log it is known for a run
                    remove(path)
            if not self._recipe.resume:
                remove(self.rollouts)  # of a run whose log was deleted
            (self.folder if self._recipe.stages else self.checkpoints).mkdir(parents=True, exist_ok=True)
        self.write_recipe(self.folder)
        if not self._recipe.stages:  # each of them has its own
            run = run_of(self.folder)
            name = f"{run.name}-{self._recipe.name}" if run else self._recipe.name
            self.loggers = open_loggers(self._recipe.train.log_to, name, self.folder, self._recipe.dump())

    def finished(self) -> dict[str, Any] | None:
        """The summary, if the run is complete as far as the recipe now wants it to go."""
        if not self.summary.exists():
            return None
        summary = parse(read_text(self.summary))
        numbers = [(summary or {}).get(key) for key in ("seconds", "steps")]
        if summary is None or not all(isinstance(value, (int, float)) for value in numbers):
            self.notes.append("summary.json could not be read; it is written anew")
            return None
        wanted = self._recipe.train
        late = wanted.max_seconds is not None and summary["seconds"] >= wanted.max_seconds
        if summary["steps"] < wanted.steps and not late and not self._recipe.stages:
            return None
        if wrong := damage(self.final):
            self.notes.append(f"final/: {wrong}; it is written anew")
            return None
        return summary

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        if self.writes:
            write_text(self.summary, json.dumps(summary, indent=2) + "\n")

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
        """All lines of metrics.jsonl that can be read."""
        return [record for record in records(self.metrics) if record is not None]

    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluation lines of metrics.jsonl, in order."""
        return [record for record in self.read_metrics() if is_evaluation(record)]

    def seconds_so_far(self) -> float:
        """How long the run has taken by its log; 0 for a new one."""
        told = (record.get("seconds") for record in self.read_metrics())
        return float(max((seconds for seconds in told if isinstance(seconds, (int, float))), default=0.0))

    def log_rollout(self, record: Mapping[str, Any]) -> None:
        """Appends one line to rollouts.jsonl."""
        self._append(self.rollouts, record)

    def show_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Shows rollouts with their pictures to the loggers that take them."""
        for logger in self.loggers:
            show = getattr(logger, "log_rollouts", None)
            if show is not None:
                show(step, rows)

    def _append(self, log: Path, record: Mapping[str, Any]) -> None:
        if self.writes:
            with writing(log), log.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def write_recipe(self, folder: Path) -> None:
        """Writes the recipe; into checkpoints too, for when this folder's own is damaged later."""
        write_text(
            folder / (RECIPE if folder == self.folder else _KEPT),
            yaml.safe_dump(self._recipe.dump(), sort_keys=False, allow_unicode=True),
        )

    def kept(self) -> dict[str, Any]:
        """What a checkpoint's state holds of this folder, for when the log is damaged later."""
        return {"evaluations": self.evaluations()}

    def save(self, step: int, policy: Any, state: Mapping[str, Any], keep: int) -> None:
        """Writes checkpoints/step_N whole or not at all, then drops the oldest beyond `keep`."""
        done = self.checkpoints / f"step_{step:06d}"
        if not self.writes or done in self._whole:
            return
        with whole_folder(done) as partial:
            policy.save(partial / "policy")
            save_state(partial, {**state, **self.kept()})
            self.write_recipe(partial)
        self._whole.add(done)
        with writing(self.checkpoints):
            for _, old in [one for one in checkpoints_in(self.checkpoints) if one[0] < step][: -keep + 1 or None]:
                remove(old)

    def save_start(self, policy: Any) -> None:
        """Writes start/, the policy before GRPO, whole or not at all."""
        if self.writes and not self.start.exists():
            with whole_folder(self.start) as partial:
                policy.save(partial)

    def link_final(self, of: Path, card: str) -> None:
        """Makes final/ that of the run's last stage, with a card of its own: the same files, which take no room again
        where links can be."""
        if self.writes:
            with whole_folder(self.final) as partial:
                shutil.copytree(of, partial, copy_function=_link, dirs_exist_ok=True)
                for own in (SUMS, "README.md"):  # written anew, and not into the stage's
                    (partial / own).unlink(missing_ok=True)
                (partial / "README.md").write_text(card, encoding="utf-8")

    def save_final(self, policy: Any, card: str = "") -> None:
        """Writes final/, the policy at the end and its card, whole or not at all."""
        if self.writes:
            with whole_folder(self.final) as partial:
                policy.save(partial)
                if card:
                    (partial / "README.md").write_text(card, encoding="utf-8")

    def last_good(self, read: Callable[[Path], dict[str, Any]] = read_state) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that is as it was written, None if there are none; the logs are cut back to its step.

        Damaged ones that are newer are set aside as `damaged-NAME`, and said in `notes`.

        Args:
            read: what it was kept with, from its folder; raises Ssl4rlError, with what is wrong, for one that is
                damaged.

        Raises:
            Ssl4rlError: there are some, and all are damaged.
        """
        wrong: list[str] = []
        for _, path in reversed(checkpoints_in(self.checkpoints)):
            try:
                if why := damage(path):
                    raise Ssl4rlError(why)
                state = read(path)
            except Ssl4rlError as error:
                wrong.append(f"{path.name}: {error}")
                continue
            self._accept(path, state, wrong)
            return path, state
        if wrong:
            raise Ssl4rlError(
                f"{self.folder}: no checkpoint can be used ({'; '.join(wrong[:2])}); overwrite=true deletes the run "
                f"and starts anew, name=... starts beside it (one without {SUMS} is not compared with what was written)"
            )
        if self._holds_a_run:
            self.notes.append("there is no checkpoint; it begins anew")
        self._cut_back(-1)
        return None

    def _accept(self, path: Path, state: Mapping[str, Any], wrong: list[str]) -> None:
        """Makes the folder one whose last checkpoint is the one at `path`."""
        if wrong:
            self.notes.append(f"damaged and set aside: {'; '.join(wrong)}")
        self._whole.add(path)
        if not self.writes:
            return
        with writing(self.checkpoints):
            for _, other in checkpoints_in(self.checkpoints):
                if any(line.startswith(f"{other.name}: ") for line in wrong):
                    aside = self.checkpoints / f"damaged-{other.name}"
                    remove(aside)
                    os.replace(other, aside)
        self._cut_back(state["step"])
        self._restore_evaluations(state)

    def _cut_back(self, step: int) -> None:
        """Drops what the logs hold of steps after `step`, and what a kill left half written."""
        if not self.writes:
            return
        with writing(self.checkpoints):
            for left in self.checkpoints.glob(".step_*"):
                remove(left)
        for log in (self.metrics, self.rollouts):
            found = records(log)
            cut = bool(found) and found[-1] is None and not read_text(log).endswith("\n")  # by a kill: nobody's fault
            if lost := found.count(None) - cut:
                lines = "1 line" if lost == 1 else f"{lost} lines"
                self.notes.append(f"{lines} of {log.name} could not be read; dropped")
            self._rewrite(log, [record for record in found if record is not None and record["step"] <= step])

    def _rewrite(self, log: Path, kept: list[dict[str, Any]]) -> None:
        if kept:
            write_text(log, "".join(json.dumps(record) + "\n" for record in kept))
        else:
            with writing(log):
                remove(log)

    def _restore_evaluations(self, state: Mapping[str, Any]) -> None:
        """Those that the log has lost or holds otherwise; a summary compares the first with the last."""
        told = state.get("evaluations")
        kept = [one for one in told if _sound(one)] if isinstance(told, list) else []
        log = self.read_metrics()
        known = [_which(one) for one in kept]
        rest = [record for record in log if not is_evaluation(record) or _which(record) not in known]
        lost = [one for one in kept if one not in log]
        if lost:
            are = "evaluations, which the checkpoint kept" if len(lost) > 1 else "evaluation, which the checkpoint kept"
            self.notes.append(f"metrics.jsonl had lost {len(lost)} {are}")
            self._rewrite(self.metrics, sorted([*rest, *kept], key=lambda record: int(record["step"])))


def _link(source: str, target: str) -> None:
    """A hard link, or a copy on a file system that has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _sound(record: Any) -> bool:
    return isinstance(record, dict) and is_step(record.get("step")) and is_evaluation(record)


def _which(evaluation: Mapping[str, Any]) -> tuple[int, int]:
    return evaluation["step"], evaluation["eval"]["n"]


def finished_summary(recipe: Recipe) -> tuple[dict[str, Any] | None, list[str]]:
    """The summary of a run that is to be resumed and has no step left, and what was found damaged; refuses a folder
    that is in the way."""
    run = RunDir(recipe)
    known = list(run.notes)
    summary = run.finished() if recipe.resume else None
    if summary is None:
        return None, run.notes[len(known) :]  # what comes before is said when the run is opened
    if known:
        run.write_recipe(run.folder)
    return summary, run.notes


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if prefix == f"{STAGES}." and isinstance(tree, list):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        return {k: v for name, part in tree.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    return {prefix[:-1]: tree}


def _difference(stored: Any, now: Any) -> str | None:
    """The first key that keeps a run from being resumed, with both values; None if there is none."""
    old, new = _flat(_whole_recipe(stored)), _flat(now)
    # the length of a stage that is done cannot change: the next ones have begun from its end
    kept = [key for key in _KEPT_ON_RESUME if not new.get(f"{STAGES}.0.name") or key not in _LENGTHS]
    for key in sorted(old.keys() | new.keys()):
        if key not in kept and old.get(key) != new.get(key):
            return f"{key}={old.get(key)!r}, now it is {new.get(key)!r}"
    return None


def _whole_recipe(stored: Any) -> Any:
    """With the defaults of keys that are younger than the run."""
    try:
        return make_recipe(stored).dump()
    except Ssl4rlError:
        return stored
