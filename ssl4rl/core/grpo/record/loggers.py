"""Where else a run is logged: tensorboard, wandb and trackio through accelerate's trackers, and loggers of one's own.

`train.log_to` names them. metrics.jsonl stays the record; these get its lines' numbers as they are written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ssl4rl.core import registry
from ssl4rl.core.types import Ssl4rlError, nearest

TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
"""Accelerate's trackers, and the packages any of which they need."""


class Logger(Protocol):
    """What a run writes to. Made as `Class(name, folder, recipe)`: the run's name, its folder, its resolved recipe."""

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


class _Tracker:
    """One of accelerate's trackers."""

    def __init__(self, kind: str, run_name: str, folder: Path, recipe: Mapping[str, Any]) -> None:
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # the trackers ask it whether this is the first process
        logging.getLogger("accelerate.tracking").setLevel(logging.ERROR)
        options: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": run_name, "logging_dir": folder / "tensorboard"},
            "wandb": {"run_name": "ssl4rl", "name": run_name, "id": run_name, "resume": "allow", "dir": str(folder)},
            "trackio": {"run_name": "ssl4rl", "name": run_name, "resume": "allow"},
        }
        self._tracker = LOGGER_TYPE_TO_CLASS[kind](**options[kind])
        if hasattr(self._tracker, "start"):
            self._tracker.start()
        self._tracker.store_init_configuration(dict(flat(recipe)))

    def log(self, record: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in flat(record) if _is_number(value) and name != "step"}
        phase = str(record.get("phase", "train"))
        self._tracker.log({f"{phase}/{name}": value for name, value in numbers.items()}, step=int(record["step"]))

    def finish(self) -> None:
        self._tracker.finish()


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
