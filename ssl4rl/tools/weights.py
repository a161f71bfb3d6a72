"""Whose weights a path names, and how the run that made them put its questions. Reads files only: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.record.files import SUMS, checkpoints_in, damage, run_of, stages_in
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.run_log import Run, read_run


@dataclass(frozen=True)
class Weights:
    """Where weights lie. `weights`: which ones of the `run` they are: final, start, model (what the recipe names), or
    a folder in the run's. `note`: which others they stand in for, and why."""

    path: str
    run: Run | None = None
    weights: str = ""
    note: str = ""

    @property
    def loading(self) -> dict[str, Any]:
        """What `load_policy` is told of the model's code and precision, as the run's recipe says it."""
        return loading_of(self.run)


def find_weights(model: str, before: bool = False) -> Weights:
    """Finds the weights, and the run that they belong to. Of a run without a final model, or whose final model is
    damaged, they are those of the last good checkpoint. A run with stages has the weights of the last one that has
    any, and the questions are put as that stage put them; before it are those of the first.

    Raises:
        Ssl4rlError: the run has no recipe that says how questions were put, or the weights are not what was written.
    """
    given = Path(model)
    if not given.is_dir():
        return Weights(model)
    folder = next((up for up in (given, *given.resolve().parents[:3]) if _is_run(up)), None)
    if folder is None:
        return Weights(model)
    asked, begun = folder, stages_in(folder)
    if begun and folder == given:
        asked = folder = given = begun[0] if before else _last_with_weights(begun)
    elif begun:  # the run's own final/
        asked = begun[-1]
    run = read_run(asked)
    _check_recipe(run)
    if before:
        return _before(folder, run)
    if folder == given:
        final = folder / "final"
        wrong = damage(final)
        if wrong is None:
            return Weights(str(final), run, "final")
        path = _last_good(folder)
        if path is None:
            raise Ssl4rlError(f"{folder}: {wrong}, and there is no good checkpoint; `ssl4rl train` writes them")
        name = path.relative_to(folder).as_posix()
        return Weights(str(_policy_in(path)), run, name, f"{folder}: {wrong}; these are the weights of {name}")
    inside = _policy_in(given)
    _whole(inside if (inside / SUMS).is_file() else inside.parent)
    name = inside.resolve().relative_to(folder.resolve()).as_posix().removesuffix("/policy")
    return Weights(str(inside) if inside != given else model, run, name)


def _last_with_weights(stages: list[Path]) -> Path:
    """The newest of a run's stages that has weights to measure; the newest, where none has."""
    found = (stage for stage in reversed(stages) if damage(stage / "final") is None or _last_good(stage))
    return next(found, stages[-1])


def _before(folder: Path, run: Run) -> Weights:
    """Those that the run, or the stage of one, began with, the format warm-up done where they were kept."""
    if (folder / "start").is_dir():
        return Weights(_whole(folder / "start"), run, "start")
    above = run_of(folder)
    earlier = [stage for stage in stages_in(above) if stage.name < folder.name] if above else []
    if earlier:
        return Weights(_whole(earlier[-1] / "final"), run, f"{earlier[-1].name}/final")
    return Weights(run.model, run, "model")


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


def of_a_run(model: str) -> tuple[str, dict[str, Any], str]:
    """Where the weights lie, how the run that made them put its questions, and a line about damage, or ""."""
    place = find_weights(model)
    return place.path, as_asked(place.run), place.note


def loading_of(run: Run | None) -> dict[str, Any]:
    """The `code`, `trust` and `dtype` that a run's model is loaded with: it is measured as it was trained."""
    if run is None:
        return {}
    dtype = run.setting("model", "dtype", "auto")
    return {
        "code": run.setting("model", "code", ""),
        "trust": run.setting("model", "trust_remote_code", False),
        "dtype": dtype if dtype in ("float32", "bfloat16") else "auto",
    }


def as_asked(run: Run | None) -> dict[str, Any]:
    """How a run puts its questions; the defaults where there is none."""
    if run is None:
        return {
            "style": "think",
            "max_new_tokens": 256,
            "system": None,
            "held_out": 0.2,
            "split_by": None,
            "max_tokens": 1024,
            "loading": {},
        }
    share = run.recipe.get("held_out")
    return {
        "style": run.setting("prompt", "style", "think"),
        "max_new_tokens": run.setting("sampling", "max_new_tokens", 256),
        "system": run.setting("prompt", "system", "") or None,
        "held_out": share if isinstance(share, float) else 0.2,
        "split_by": run.recipe.get("split_by", "content"),  # what runs of before there was a choice were split by
        "max_tokens": run.setting("prompt", "max_tokens", 1024),
        "loading": loading_of(run),
    }
