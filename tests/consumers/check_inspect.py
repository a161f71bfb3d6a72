"""Inspect: its own loader of task files, `eval` with the mock model whose outputs are the replies, the log's scores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl4rl.export.consumer import lines_of
from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    from inspect_ai import eval
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    lines = list(lines_of(folder, "held_out"))
    row_of = {_asked(line["input"]): row for row, line in enumerate(lines)}
    by_id = {line["id"]: row for row, line in enumerate(lines)}
    rows = {row: [reply for at, reply in replies if at == row] for row in row_of.values()}
    assert len(rows) == len(row_of)
    os.chdir(folder)
    paid: dict[tuple[int, int], float] = {}
    pictures, turns = 0, len(replies) // len(rows)
    for turn in range(turns):

        def answer(messages: Any, *others: Any, turn: int = turn) -> ModelOutput:
            sent = [message.model_dump() for message in messages]
            found = ModelOutput.from_content("mockllm/model", rows[row_of[_asked(sent)]][turn])
            found.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            return found

        model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
        (log,) = eval("reward.py", model=model, log_dir=tempfile.mkdtemp(), display="none")
        assert log.status == "success", log.error
        assert log.samples is not None
        assert len(log.samples) == len(rows)
        for sample in log.samples:
            row = by_id[sample.id]
            assert sample.output.completion == rows[row][turn]
            sent = [message.model_dump() for message in sample.input]
            pictures += 0 if turn else sum(kind == "image" for kind, _ in _asked(sent))
            paid[row, turn] = float(sample.scores["ssl4rl"].value["reward"])
    rewards = [paid[row, turn] for row in range(len(rows)) for turn in range(turns)]
    return Ran("", "eval of the folder's task file with the mock model", len(rows), pictures, rewards)


def _asked(messages: Any) -> tuple[tuple[str, str], ...]:
    """A question's parts, by which its row is known: kind, and text or picture."""
    found = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [(part["type"], part.get("text") or part.get("image") or "") for part in parts]
    return tuple(found)


if __name__ == "__main__":
    main("inspect-ai", check)
