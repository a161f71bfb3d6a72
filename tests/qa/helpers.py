"""Small tables of questions, written where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.source import Source
from ssl4rl.core.task import Task
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.qa.box import OwnBox
from ssl4rl.qa.choice import OwnChoice
from ssl4rl.qa.labelled import Labelled
from ssl4rl.qa.number import OwnNumber
from ssl4rl.qa.tables.opening import open_path
from ssl4rl.qa.text import OwnText
from tests.vision.files import encoded

TASKS: Mapping[str, Task[Labelled]] = {
    "choice": OwnChoice(),
    "number": OwnNumber(),
    "box": OwnBox(),
    "text": OwnText(),
}


def jsonl(path: Path, *rows: Mapping[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pictures(folder: Path, *names: str, size: tuple[int, int] = (64, 48)) -> Sequence[str]:
    """Picture files of noise, no two alike."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(sum(map(ord, name)), size=size))
    return names


def opened(kind: str, text: str) -> Source[Any]:
    """What a table holds for a kind of task."""
    return open_path(text).for_task(TASKS[kind])


def items(source: Source[Any]) -> list[Labelled]:
    return [source[index] for index in range(len(source))]


def answers(kind: str, text: str) -> list[tuple[Any, ...]]:
    return [item.answers for item in items(opened(kind, text))]


def skipped(source: Source[Any]) -> dict[str, str]:
    return {problem.name: problem.why for problem in source.problems}


def error(kind: str, text: str) -> str:
    """The one line that opening gives."""
    with pytest.raises(Ssl4rlError) as caught:
        opened(kind, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)
