"""Whose weights a path names, and how the run that made them put its questions. Reads files only: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.tools.run_log import Run, read_run


@dataclass(frozen=True)
class Weights:
    """Where weights lie. `weights`: which ones of the `run` they are: final, start, model (what the recipe names), or
    a folder in the run's."""

    path: str
    run: Run | None = None
    weights: str = ""


def find_weights(model: str, before: bool = False) -> Weights:
    """Finds the weights, and the run that they belong to."""
    given = Path(model)
    if not given.is_dir():
        return Weights(model)
    folder = next((up for up in (given, *given.resolve().parents[:3]) if (up / "recipe.yaml").is_file()), None)
    if folder is None:
        return Weights(model)
    run = read_run(folder)
    if before:
        start = folder / "start"
        return Weights(str(start), run, "start") if start.is_dir() else Weights(run.model, run, "model")
    if folder == given:
        return Weights(str(given / "final"), run, "final") if (given / "final").is_dir() else Weights(model, run)
    inside = given / "policy" if (given / "policy").is_dir() else given
    name = inside.resolve().relative_to(folder.resolve()).as_posix().removesuffix("/policy")
    return Weights(str(inside) if inside != given else model, run, name)


def of_a_run(model: str) -> tuple[str, dict[str, Any]]:
    """Where the weights lie, and how the run that made them put its questions."""
    place = find_weights(model)
    return place.path, as_asked(place.run)


def as_asked(run: Run | None) -> dict[str, Any]:
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
