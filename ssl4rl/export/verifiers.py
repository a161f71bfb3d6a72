"""For verifiers (Prime Intellect, v1): rows as a Taskset whose tasks score themselves by `ssl4rl.score`.

A prompt is OpenAI chat messages, pictures as data URLs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, info_text, lines_of, openai_messages, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row


def record(row: Row) -> dict[str, Any]:
    """id, prompt (messages), info (JSON text)."""
    key = row["info"]["key"]
    identity = f"{row['info']['task']}[{row['info']['level']}] {key['seed']} {key['index']}"
    return {"id": identity, "prompt": openai_messages(row), "info": info_text(row)}


def taskset(
    folder: str | os.PathLike[str],
    weights: Mapping[str, float] = WEIGHTS,
    max_new_tokens: int = 256,
    parts: tuple[str, ...] = ("accuracy", "format"),
) -> Any:
    """A `verifiers.v1.Taskset` class over an exported folder; its configuration has `split`.

    Its tasks have one reward, the weighed sum, and as metrics the parts, `correct` and `unparsed`.
    """
    import verifiers.v1 as vf

    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)
    first = "train" if (Path(folder) / "train").is_dir() else "held_out"

    class Ssl4rlData(vf.TaskData):  # type: ignore[misc]
        """A row."""

        info: str

    class Ssl4rlTask(vf.Task[Ssl4rlData]):  # type: ignore[misc]
        """Scores the last reply of a rollout."""

        @vf.reward(weight=1.0)  # type: ignore[untyped-decorator]
        async def reward(self, trace: Any) -> float:
            return pay.of(pay.score(trace.last_reply, self.data.info))

        @vf.metric  # type: ignore[untyped-decorator]
        async def parts(self, trace: Any) -> dict[str, float]:
            return pay.figures(pay.score(trace.last_reply, self.data.info), "weighed")

    class Ssl4rlConfig(vf.TasksetConfig):  # type: ignore[misc]
        """`split`: train or held_out."""

        split: str = first

    class Ssl4rlTaskset(vf.Taskset[Ssl4rlTask, Ssl4rlConfig]):  # type: ignore[misc]
        """The rows of a folder."""

        def load(self) -> Iterator[Any]:
            for one in lines_of(Path(folder), self.config.split):
                yield Ssl4rlTask(Ssl4rlData(**one), self.config.task)

    return Ssl4rlTaskset


def _files(launch: Launch) -> dict[str, str]:
    names = [
        "from pathlib import Path",
        "",
        '__all__ = ["Ssl4rlTaskset"]',
        "Ssl4rlTaskset = verifiers.taskset(Path(__file__).parent, PAY)",
    ]
    return {"ssl4rl_rows.py": reward_file("verifiers", names, launch)}


def _launch(launch: Launch) -> str:
    split = "held_out" if "held_out" in launch.parts else next(iter(launch.parts))
    return (
        f"PYTHONPATH=$PWD vf-eval ssl4rl_rows -m {launch.model} --client.base-url http://localhost:8000/v1 "
        f"\\\n  --env.taskset.split {split} -n {min(200, launch.parts[split])} -r 1"
    )


CONSUMER = Consumer(
    name="verifiers",
    tried="verifiers 0.4.0",
    trains=True,
    suffix="jsonl",
    record=record,
    files=_files,
    launch=_launch,
)
