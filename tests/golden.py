"""Golden digests: 20 examples a task, so that a change of any example is noticed (and the task's version raised).

`python -m tests.golden` writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.source import Source, Split
from ssl4rl.core.task import Task

FOLDER = Path(__file__).parent / "golden"
EXAMPLES = 20

Golden = dict[str, dict[str, Any]]


def compute(tasks: Mapping[str, str], source: Source[Any], more_levels: Mapping[str, list[str]]) -> Golden:
    """The digests of every task, its levels and `more_levels` taken in turn, on a source that never changes.

    Args:
        tasks: a plugin's table, name -> "module:Class".
        more_levels: for a task's name, level texts that its named levels do not cover.
    """
    golden: Golden = {}
    for target in tasks.values():
        module, _, name = target.partition(":")
        task: Task[Any] = getattr(import_module(module), name)()
        levels = [*task.levels, *more_levels.get(task.name, [])]
        digests = {}
        for index in range(EXAMPLES):
            level = task.level(levels[index % len(levels)])
            dataset = TaskDataset([Component(task, level, Split(source, "all"))])
            digests[f"{level.name} {index}"] = dataset[index].digest()
        golden[task.name] = {"version": task.version, "digests": digests}
    return golden


def stored(plugin: str) -> Golden:
    return dict(json.loads((FOLDER / f"{plugin}.json").read_text()))


def write(plugin: str, golden: Golden) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{plugin}.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    from tests.graph import test_golden as graph
    from tests.qa import test_golden as qa
    from tests.video import test_golden as video
    from tests.vision import test_golden as vision

    write("vision", vision.current())
    write("video", video.current())
    write("graph", graph.current())
    write("qa", qa.current())
