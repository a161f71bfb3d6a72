"""verifiers v1: `load_taskset` by the id of its command line, `Task.score` offline on a trace with the reply."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    import verifiers.v1 as vf
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, TraceTask
    from verifiers.v1.types import AssistantMessage
    from verifiers.v1.utils.loaders import load_taskset, taskset_class

    sys.path.insert(0, str(folder))
    kind = taskset_class("ssl4rl_rows")
    config = next(base for base in kind.__orig_bases__[0].__args__ if issubclass(base, vf.TasksetConfig))
    tasks = list(load_taskset(config(id="ssl4rl_rows", split="train")))
    pictures = sum(
        part.type == "image_url" for task in tasks for message in task.data.prompt for part in _parts(message.content)
    )

    def trace(task: Any, reply: str) -> Any:
        node = MessageNode(message=AssistantMessage(content=reply), sampled=True)
        made = vf.Trace(task=TraceTask(type="Ssl4rlTask", data=task.data), agent=AgentInfo(config=vf.AgentConfig()))
        made.nodes.append(node)
        return made

    async def paid() -> list[float]:
        found = []
        for row, reply in replies:
            one = trace(tasks[row], reply)
            await tasks[row].score(one)
            assert one.metrics["correct"] in (0.0, 1.0)
            found.append(one.reward)
        return found

    return Ran("", "load_taskset, Task.score offline", len(tasks), pictures, asyncio.run(paid()))


def _parts(content: Any) -> list[Any]:
    return [] if isinstance(content, str) else content


if __name__ == "__main__":
    main("verifiers", check)
