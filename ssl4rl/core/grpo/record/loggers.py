"""Where else a run is logged: tensorboard, wandb and trackio through accelerate's trackers, and loggers of one's own.

`train.log_to` names them. metrics.jsonl stays the record; these get its lines' numbers as they are written.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ssl4rl.core import registry
from ssl4rl.core.grpo.record.files import read_text, write_text
from ssl4rl.core.types import Ssl4rlError, nearest

TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
"""Accelerate's trackers, and the packages any of which they need."""


COLUMNS = ("step", "prompt", "pictures", "answer", "completion", "verdict", "reward")
"""Of a table of rollouts: a row a completion."""


class Logger(Protocol):
    """What a run writes to. Made as `Class(name, folder, recipe)`: the run's name, its folder, its resolved recipe.

    One that has a method `log_rollouts(step, rows)` is shown the rollouts that rollouts.jsonl gets, every
    `train.log_table_every` steps: rows as mappings of `COLUMNS`, where `pictures` are PIL images.
    """

    def log(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, as it was written."""

    def finish(self) -> None:
        """The run has ended, or stops here to be resumed."""


def check_loggers(names: Sequence[str]) -> None:
    """Before anything is loaded.

    Raises:
        Ssl4rlError: a name that is none, or a package that is not installed.
    """
    for name in names:
        if name in TRACKERS:
            if not any(find_spec(package) for package in TRACKERS[name]):
                raise Ssl4rlError(
                    f"train.log_to: {TRACKERS[name][0]} is not installed; pip install {TRACKERS[name][0]}"
                )
        elif registry.named_function(name, registry.LOGGERS) is None:
            known = [*TRACKERS, *registry.names(registry.LOGGERS)]
            raise Ssl4rlError(
                f"train.log_to: unknown logger {name!r}{nearest(name, known)}; allowed: {', '.join(known)}, or "
                "'./my.py:Class'"
            )


def open_loggers(names: Sequence[str], run_name: str, folder: Path, recipe: Mapping[str, Any]) -> list[Logger]:
    """The loggers of a run that begins or goes on. A resumed run goes on in the same run of theirs."""
    return [
        _Tracker(name, run_name, folder, recipe)
        if name in TRACKERS
        else registry.named_function(name, registry.LOGGERS)(run_name, folder, recipe)
        for name in names
    ]


def _identity(folder: Path) -> str:
    """What this very run is called where runs of many folders meet: another run of the same name is another one."""
    file = folder / "logged_as.txt"
    known = read_text(file).strip()
    if not known:
        known = uuid.uuid4().hex[:12]
        write_text(file, known + "\n")
    return known


class _Tracker:
    """One of accelerate's trackers. Steps that a resumed run takes again are shown again at their place."""

    def __init__(self, kind: str, run_name: str, folder: Path, recipe: Mapping[str, Any]) -> None:
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # the trackers ask it whether this is the first process
        logging.getLogger("accelerate.tracking").setLevel(logging.ERROR)
        self._kind, known = kind, _identity(folder)
        options: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": run_name, "logging_dir": folder / "tensorboard"},
            "wandb": {"run_name": "ssl4rl", "name": run_name, "id": known, "resume": "allow", "dir": str(folder)},
            "trackio": {"run_name": "ssl4rl", "name": f"{run_name}-{known[:6]}", "resume": "allow"},
        }
        self._tracker = LOGGER_TYPE_TO_CLASS[kind](**options[kind])
        if hasattr(self._tracker, "start"):
            self._tracker.start()
        if kind == "wandb":  # whose own step may not go back
            self._tracker.tracker.define_metric("step")
            self._tracker.tracker.define_metric("*", step_metric="step")
        self._tracker.store_init_configuration(dict(flat(recipe)))

    def log(self, record: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in flat(record) if _is_number(value) and name != "step"}
        phase = str(record.get("phase", "train"))
        named = {name if name.startswith(f"{phase}/") else f"{phase}/{name}": value for name, value in numbers.items()}
        self._log(named, int(record["step"]))

    def _log(self, values: dict[str, Any], step: int) -> None:
        if self._kind == "wandb":
            self._tracker.log({**values, "step": step})
        else:
            self._tracker.log(values, step=step)

    def log_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rollouts as a table with their pictures; in tensorboard, which has none, as text and pictures."""
        if self._kind == "tensorboard":
            self._log_text(step, rows)
            return
        package = import_module(self._kind)
        cells = []
        for row in rows:
            pictures = [package.Image(picture) for picture in joined(row["pictures"])]
            cells.append([(pictures or [None])[0] if name == "pictures" else row[name] for name in COLUMNS])
        shown: dict[str, Any] = {"rollouts": package.Table(columns=list(COLUMNS), data=cells)}
        if self._kind == "wandb":  # offline it leaves a table's pictures out
            once = {id(row["pictures"]): row for row in rows}.values()
            sheets = [package.Image(p, caption=row["prompt"]) for row in once for p in joined(row["pictures"])]
            shown |= {"rollout_pictures": sheets} if sheets else {}
        self._log(shown, step)

    def _log_text(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        import numpy as np

        writer = self._tracker.tracker
        for i, row in enumerate(rows):
            told = "\n".join(f"**{name}**: {row[name]}\n" for name in COLUMNS if name not in ("pictures", "step"))
            writer.add_text(f"rollouts/{i}", told, global_step=step)
            for picture in joined(row["pictures"]):
                writer.add_image(f"rollouts/{i}", np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        writer.flush()

    def finish(self) -> None:
        self._tracker.finish()


def joined(pictures: Sequence[Any]) -> list[Any]:
    """Pictures side by side as one, for where a cell holds one; none of none."""
    if len(pictures) < 2:
        return list(pictures)
    from PIL import Image

    gap_px = 4
    width = sum(picture.width for picture in pictures) + gap_px * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap_px
    return [sheet]


def flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """A nested record's values with the path to each, joined by "/"; what a tracker cannot hold as text."""
    for key, value in record.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}/")
        else:
            yield name, value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
