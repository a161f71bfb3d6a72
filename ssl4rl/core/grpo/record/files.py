"""A run's files: written whole or not at all, and read whatever has become of them. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ssl4rl.core.recipe.stages import STAGES
from ssl4rl.core.types import Ssl4rlError

SUMS = "checksums.json"
"""In each folder that was written whole: every other file in it with its SHA-256."""

_CHECKPOINT = re.compile(r"(?:step_|checkpoint-)(\d{1,9})")
_MOST_STEPS = 10**9


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within this, what keeps a file from being written becomes one line.

    Raises:
        Ssl4rlError: the disk is full, the folder may not be written to, ...; what was there before is as it was.
    """
    try:
        yield
    except OSError as error:
        raise Ssl4rlError(_unwritten(path, error.strerror or str(error))) from error
    except Exception as error:
        # torch.save and safetensors hide the system's error in their own
        told = " ".join(str(error).split())
        if type(error).__name__ != "SafetensorError" and not (isinstance(error, RuntimeError) and "write" in told):
            raise
        raise Ssl4rlError(_unwritten(path, told[:160])) from error


def _unwritten(path: Path, why: str) -> str:
    return (
        f"cannot write {str(path)!r}: {why}; what is there already is whole, and once there is room and leave to "
        "write, resume=true goes on from it"
    )


def write_text(path: Path, text: str) -> None:
    """Replaces a file in one move."""
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(done: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `done` in one move once it is; what was there before goes then, not earlier.

    If it cannot be filled it is removed, so that the room it took is free again.
    """
    partial, old = done.with_name(f".{done.name}.partial"), done.with_name(f".{done.name}.old")
    with writing(done):
        try:
            for left in (partial, old):
                remove(left)
            partial.mkdir(parents=True)
            yield partial
            write_sums(partial)
            if done.exists():
                os.replace(done, old)
            os.replace(partial, done)
            remove(old)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_sums(folder: Path) -> None:
    """Writes the folder's `SUMS`."""
    sums = {path.relative_to(folder).as_posix(): _sum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    sums.pop(SUMS, None)
    (folder / SUMS).write_text(json.dumps(sums, indent=1) + "\n")


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that was written whole; None if nothing, or if it never had its `SUMS`.

    Files that are not in them are nobody's business.
    """
    if not folder.is_dir():
        return f"{folder.name} is missing"
    if not (folder / SUMS).is_file():
        return None
    sums = parse((folder / SUMS).read_text("utf-8", "replace"))
    if sums is None:
        return f"{SUMS} could not be read"
    for name, wanted in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        try:
            found = _sum(path)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != wanted:
            return f"{name} is not what was written"
    return None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stages_in(run: Path) -> list[Path]:
    """The folders of a run's stages, as far as they have begun, in order; none of a run without stages."""
    return sorted(path.parent for path in (run / STAGES).glob("*/recipe.yaml"))


def run_of(stage: Path) -> Path | None:
    """The folder of the run that this folder is a stage of, None if of none."""
    above = stage.absolute().parent
    return above.parent if above.name == STAGES and (above.parent / "recipe.yaml").is_file() else None


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of everything that is named as a checkpoint and is a folder, in order."""
    if not folder.is_dir():
        return []
    found = ((_CHECKPOINT.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), path) for name, path in found if name and path.is_dir())


def read_text(file: Path) -> str:
    """The text of a regular file, as far as it is one: "" for none, U+FFFD for what is not UTF-8."""
    return file.read_text("utf-8", "replace") if file.is_file() else ""


def parse(text: str) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_yaml(text: str) -> dict[str, Any] | None:
    """A mapping in YAML; None for anything else."""
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def records(file: Path) -> list[dict[str, Any] | None]:
    """A log's lines: None for each that is no record of a step."""
    found = [parse(line) for line in read_text(file).split("\n") if line.strip()]
    return [record if record is not None and is_step(record.get("step")) else None for record in found]


def is_step(value: Any) -> bool:
    """Whether it can be a number of steps."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_STEPS


def is_evaluation(record: Mapping[str, Any]) -> bool:
    """Whether a record of a log is an evaluation with all that a summary takes of it."""
    values, tasks = record.get("eval"), record.get("tasks")
    if record.get("phase") != "eval" or not isinstance(values, dict) or not isinstance(tasks, dict):
        return False
    return isinstance(values.get("n"), int)
