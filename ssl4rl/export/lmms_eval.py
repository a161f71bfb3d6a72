"""For lmms-eval: rows as one of its tasks, for evaluation. A YAML file names the data and what `functions` gives.

A question is chat messages with pictures where they stand (chat models), or the pictures and a text (simple ones).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, in_bytes, info_text, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row

_FIGURES = ("accuracy", "format", "correct", "unparsed", "reward")


def record(row: Row) -> dict[str, Any]:
    """id, prompt (messages, as JSON text), images, info (JSON text), answer."""
    key = row["info"]["key"]
    return {
        "id": f"{row['info']['task']}[{row['info']['level']}] {key['index']}",
        "prompt": json.dumps(row["prompt"]),
        "images": in_bytes(row),
        "info": info_text(row),
        "answer": json.dumps(row["info"]["answer"]),
    }


def functions(
    weights: Mapping[str, float] = WEIGHTS, max_new_tokens: int = 256, parts: tuple[str, ...] = ("accuracy", "format")
) -> SimpleNamespace:
    """doc_to_messages, doc_to_visual, doc_to_text and process_results, as a task's YAML names them."""
    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)

    def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
        return pay.figures(pay.score(results[0], doc["info"]), "reward")

    return SimpleNamespace(
        doc_to_messages=doc_to_messages,
        doc_to_visual=doc_to_visual,
        doc_to_text=doc_to_text,
        process_results=process_results,
    )


def doc_to_messages(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Messages whose pictures are PIL images, in reading order."""
    pictures = iter(doc_to_visual(doc))
    return [
        {
            "role": message["role"],
            "content": [
                part if part["type"] == "text" else {"type": "image", "url": next(pictures)}
                for part in message["content"]
            ],
        }
        for message in json.loads(doc["prompt"])
    ]


def doc_to_visual(doc: Mapping[str, Any]) -> list[Any]:
    """The pictures alone, RGB."""
    return [picture.convert("RGB") for picture in doc["images"]]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """The texts alone; models that are asked so get the pictures before them."""
    messages = json.loads(doc["prompt"])
    return "".join(part.get("text", "") for message in messages for part in message["content"])


def _files(launch: Launch) -> dict[str, str]:
    names = ["doc_to_messages", "doc_to_visual", "doc_to_text", "process_results"]
    lines = ["FUNCTIONS = lmms_eval.functions(PAY)", *(f"{name} = FUNCTIONS.{name}" for name in names)]
    return {"reward.py": reward_file("lmms_eval", lines, launch), f"{_task(launch)}.yaml": _yaml(launch, names)}


def _task(launch: Launch) -> str:
    return f"ssl4rl_{launch.name}".replace("-", "_").replace(".", "_")


def _yaml(launch: Launch, names: Sequence[str]) -> str:
    split, pattern = next(iter(launch.files.items()))
    own = [name.rpartition(":")[2] for name in launch.weights]
    figures = dict.fromkeys([*_FIGURES, *launch.parts_given, *own])
    lines = [
        f"task: {_task(launch)}",
        "dataset_path: parquet",
        "dataset_kwargs:",
        "  data_files:",
        f"    {split}: {pattern}",
        f"test_split: {split}",
        "output_type: generate_until",
        *(f"{name}: !function reward.{name}" for name in names),
        "doc_to_target: answer",
        "generation_kwargs:",
        f"  max_new_tokens: {launch.max_new_tokens}",
        "  temperature: 0",
        "  do_sample: false",
        "metric_list:",
        *(
            f"- metric: {name}\n  aggregation: mean\n  higher_is_better: {str(name != 'unparsed').lower()}"
            for name in figures
        ),
        "metadata:",
        "  version: 0",
    ]
    return "\n".join(lines) + "\n"


def _launch(launch: Launch) -> str:
    return (
        "OPENAI_API_KEY=none OPENAI_API_BASE=http://localhost:8000/v1 python3 -m lmms_eval \\\n"
        f"  --model openai --model_args model_version={launch.model} --include_path $PWD --tasks {_task(launch)} "
        "--batch_size 8"
    )


CONSUMER = Consumer(
    name="lmms-eval",
    tried="lmms-eval 0.7.3",
    trains=False,
    suffix="parquet",
    record=record,
    files=_files,
    launch=_launch,
    features=("images",),
)
