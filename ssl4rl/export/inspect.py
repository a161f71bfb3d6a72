"""For Inspect (UK AI Security Institute): rows as a task with its scorer, for evaluation.

A sample is chat messages, pictures as data URLs; its metadata holds the row's `info`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, data_url, info_text, lines_of, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row


def record(row: Row) -> dict[str, Any]:
    """id, input (messages), target (the answer as JSON), metadata: what `inspect_ai.dataset.Sample` takes."""
    pictures = iter(row["images"])
    messages: list[dict[str, Any]] = []
    for message in row["prompt"]:
        content = [
            part if part["type"] == "text" else {"type": "image", "image": data_url(next(pictures))}
            for part in message["content"]
        ]
        if message["role"] == "system":  # text alone
            messages.append({"role": "system", "content": "".join(part["text"] for part in content)})
        else:
            messages.append({"role": message["role"], "content": content})
    answer, index = row["info"]["answer"], row["info"]["key"]["index"]
    return {
        "id": f"{row['info']['task']}[{row['info']['level']}] {index}",
        "input": messages,
        "target": answer if isinstance(answer, str) else str(answer),
        "metadata": {"info": info_text(row)},
    }


def task(
    folder: str | os.PathLike[str],
    split: str | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    max_new_tokens: int = 256,
    parts: tuple[str, ...] = ("accuracy", "format"),
) -> Any:
    """An `inspect_ai.Task` over an exported folder: the figures of each reply, and their means with standard errors."""
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig
    from inspect_ai.scorer import Score, mean, scorer, stderr
    from inspect_ai.solver import generate

    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)
    part = split or ("held_out" if (Path(folder) / "held_out").is_dir() else "train")
    samples = [Sample(**one) for one in lines_of(Path(folder), part)]

    @scorer(metrics={"*": [mean(), stderr()]}, name="ssl4rl")  # type: ignore[untyped-decorator]
    def ours() -> Any:
        async def score(state: Any, target: Any) -> Any:
            found = pay.score(state.output.completion, state.metadata["info"])
            said = "" if found.parsed is None else str(found.parsed)
            return Score(value=pay.figures(found, "reward"), answer=said, explanation=found.verdict)

        return score

    return Task(
        dataset=MemoryDataset(samples, name=f"ssl4rl_{part}"),
        solver=generate(),
        scorer=ours(),
        config=GenerateConfig(max_tokens=max_new_tokens),
    )


def _files(launch: Launch) -> dict[str, str]:
    names = [
        "from pathlib import Path",
        "from inspect_ai import Task, task",
        "",
        "",
        "@task",
        "def ssl4rl_rows(split: str | None = None) -> Task:",
        "    return inspect.task(Path(__file__).parent, split, PAY)",
    ]
    return {"reward.py": reward_file("inspect", names, launch)}


def _launch(launch: Launch) -> str:
    return (
        "export VLLM_BASE_URL=http://localhost:8000/v1 VLLM_API_KEY=none\n"
        f"inspect eval reward.py --model vllm/{launch.model} --temperature 0"
    )


CONSUMER = Consumer(
    name="inspect",
    tried="inspect-ai 0.3.285",
    trains=False,
    suffix="jsonl",
    record=record,
    files=_files,
    launch=_launch,
)
