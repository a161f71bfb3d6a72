"""A model's accuracy on tasks (`ssl4rl eval`), never without chance, an interval and the shares of unusable replies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.record.console import silent
from ssl4rl.core.grpo.record.evaluate import Evaluation, evaluate
from ssl4rl.core.grpo.record.files import SUMS, checkpoints_in, damage
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.source import Part
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.run_log import EVALS, Run, read_run

_MOST_ANSWERS = 12
_WITH_LEVEL = re.compile(r"(?P<task>.+?)(?:@(?P<version>\d+))?\[(?P<level>[^\[\]]*)\]")
_PACKAGES = ("ssl4rl", "torch", "transformers")


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
    before: bool = False,
    save: bool = False,
    say: Callable[[str], None] = silent,
) -> list[Result]:
    """Evaluates a model on `n` examples of each task.

    Args:
        model: "embedded:NAME", a folder, a hub id, or a run's folder (its `final/` or a checkpoint).
        tasks: names, perhaps with a level as reports print it, "vision/rotation[90deg]"; of the others `level` is it.
        style, max_new_tokens, system, held_out: None is what the run's recipe says where the model is a run's, else
            "think", 256, no system message and 0.2.
        before: the run's model as it was before GRPO: its `start/`, else the model that the recipe names.
        say: is told where a damaged run's last good checkpoint stands in for its final model.
        save: append a line for each task to evals.jsonl in the run's folder, for the report's table of transfer.

    Raises:
        Ssl4rlError: anything the caller can mend.
    """
    place = _place(model, before)
    if place.run is None and (before or save):
        raise Ssl4rlError(
            f"--{'before' if before else 'save'}: {model!r} is not in a run's folder, which has a recipe.yaml; "
            "allowed: runs/NAME, runs/NAME/final, runs/NAME/checkpoints/..."
        )
    path, asked = place.path, _as_asked(place.run)
    chosen = {"style": style, "max_new_tokens": max_new_tokens, "system": system, "held_out": held_out}
    asked = {**asked, **{name: value for name, value in chosen.items() if value is not None}}
    datasets = [
        create_dataset(
            name,
            data,
            size=n,
            seed=seed,
            level=its_level,
            split=split,
            held_out=asked["held_out"],
            style=asked["style"],
        )
        for name, its_level in (_named(task, level) for task in tasks)
    ]
    options = place.run.setting("model", "processor", {}) if place.run and place.weights == "model" else None
    policy = load_policy(path, name=model, trainable=False, system=asked["system"], options=options)
    if place.note:
        say(place.note)
    results = []
    for dataset in datasets:
        started = time.perf_counter()
        found = evaluate(policy, dataset, max_new_tokens=asked["max_new_tokens"], temperature=temperature)
        results.append(Result(dataset, found, time.perf_counter() - started))
        if save and place.run:
            _save(place.run, place, results[-1], {**asked, "temperature": temperature})
    return results


def _named(task: str, level: str | None) -> tuple[str, str | None]:
    """A task's name and its level, from "name[level]" or "name@version[level]".

    Raises:
        Ssl4rlError: the installed task has another version.
    """
    found = _WITH_LEVEL.fullmatch(task)
    if found is None:
        return task, level
    name, asked = found["task"], found["version"]
    installed = registry.resolve(name)[0]
    if asked and int(asked) != installed.version:
        raise Ssl4rlError(f"{task!r}: got version {asked}; allowed: {installed.version}, the installed one")
    return name, found["level"]


@dataclass(frozen=True)
class _Place:
    """Where weights lie. `weights`: which ones of the `run` they are: final, start, model (what the recipe names), or
    a folder in the run's. `note`: which others they stand in for, and why."""

    path: str
    run: Run | None = None
    weights: str = ""
    note: str = ""


def _place(model: str, before: bool = False) -> _Place:
    """Finds the weights, and the run that they belong to. Of a run without a final model, or whose final model is
    damaged, they are those of the last good checkpoint.

    Raises:
        Ssl4rlError: the run has no recipe that says how questions were put, or the weights are not what was written.
    """
    given = Path(model)
    if not given.is_dir():
        return _Place(model)
    folder = next((up for up in (given, *given.resolve().parents[:3]) if _is_run(up)), None)
    if folder is None:
        return _Place(model)
    run = read_run(folder)
    _check_recipe(run)
    if before:
        start = folder / "start"
        return _Place(_whole(start), run, "start") if start.is_dir() else _Place(run.model, run, "model")
    if folder == given:
        final = folder / "final"
        wrong = damage(final)
        if wrong is None:
            return _Place(str(final), run, "final")
        path = _last_good(folder)
        if path is None:
            raise Ssl4rlError(f"{folder}: {wrong}, and there is no good checkpoint; `ssl4rl train` writes them")
        name = path.relative_to(folder).as_posix()
        return _Place(str(_policy_in(path)), run, name, f"{folder}: {wrong}; these are the weights of {name}")
    inside = _policy_in(given)
    _whole(inside if (inside / SUMS).is_file() else inside.parent)
    name = inside.resolve().relative_to(folder.resolve()).as_posix().removesuffix("/policy")
    return _Place(str(inside) if inside != given else model, run, name)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("recipe.yaml", "metrics.jsonl"))


def _policy_in(checkpoint: Path) -> Path:
    return checkpoint / "policy" if (checkpoint / "policy").is_dir() else checkpoint


def _last_good(folder: Path) -> Path | None:
    """The run's newest checkpoint with its weights as they were written."""
    for _, path in reversed(checkpoints_in(folder / "checkpoints")):
        if damage(path) is None and any(_policy_in(path).glob("*.safetensors")):
            return path
    return None


def _whole(folder: Path) -> str:
    """The folder; refused where it is not what was written."""
    if wrong := damage(folder):
        raise Ssl4rlError(f"{folder}: {wrong}; without its {SUMS} it is taken as it is")
    return str(folder)


def _check_recipe(run: Run) -> None:
    """Without it the questions would be put in another way than in training, and nobody would know."""
    asked = (run.setting("prompt", "style", ""), run.setting("sampling", "max_new_tokens", 0))
    if not all(asked):
        raise Ssl4rlError(
            f"{run.folder}: recipe.yaml is missing or damaged, so it is not known how questions were put; `ssl4rl "
            "train` with resume=true writes it anew, and a copy of final/ elsewhere is measured as any model"
        )


def _save(run: Run, place: _Place, result: Result, asked: Mapping[str, Any]) -> None:
    """Appends a line to the run's evals.jsonl. Raises Ssl4rlError where it cannot be written."""
    found = result.to_json()
    steps = (run.summary or {}).get("steps", run.done_steps)
    record = {
        "weights": place.weights,
        "model": run.model,
        "steps": steps if place.weights == "final" else None,
        **found,
        "answers": dict(list(found["answers"].items())[:_MOST_ANSWERS]),
        **{name: asked[name] for name in ("max_new_tokens", "temperature", "system", "held_out")},
        "versions": {package: version(package) for package in _PACKAGES},
    }
    try:
        with (run.folder / EVALS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise Ssl4rlError(f"cannot write {str(run.folder / EVALS)!r}: {error.strerror}") from error


def of_a_run(model: str) -> tuple[str, dict[str, Any], str]:
    """Where the weights lie, how the run that made them put its questions, and a line about damage, or ""."""
    place = _place(model)
    return place.path, _as_asked(place.run), place.note


def _as_asked(run: Run | None) -> dict[str, Any]:
    """How a run puts its questions; the defaults where there is none."""
    if run is None:
        return {"style": "think", "max_new_tokens": 256, "system": None, "held_out": 0.2, "max_tokens": 1024}
    share = run.recipe.get("held_out")
    return {
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
