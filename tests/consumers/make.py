"""What the checks are given: folders made by `ssl4rl export`, 200 replies, and what `score_answer` pays them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.task import keyed_rng
from ssl4rl.export.plan import Asked, open_plan
from ssl4rl.export.write import export

ROWS, REPLIES = 25, 8
PICTURES = """
name: consumers
model: {path: Qwen/Qwen2.5-VL-3B-Instruct}
tasks:
- {task: vision/rotation, level: "90deg,image_px=56", weight: 2}
- {task: vision/jigsaw, level: "2x2,image_px=112"}
- {task: vision/position, level: "2x2,image_px=112,piece_px=56"}
reward: {accuracy: 1.0, format: 0.1, repetition: 0.05}
"""
TEXT = """
name: consumers_text
model: {path: Qwen/Qwen2.5-3B-Instruct}
tasks:
- {task: graph/hops, level: tiny}
- {task: graph/neighbours}
- {task: graph/masked_edge, level: tiny}
reward: {accuracy: 1.0, format: 0.1}
"""
WEIGHTS = {"pictures": {"accuracy": 1.0, "format": 0.1, "repetition": 0.05}, "text": {"accuracy": 1.0, "format": 0.1}}


def replies(data: TaskDataset, index: int) -> list[str]:
    """Eight to an example: right, random, right without reasoning or tags, in another form, cut, hostile, none."""
    example = data[index]
    verifier = data.component_of(example).verifier
    rng = keyed_rng("consumers", index)
    right, other = (verifier.render(a) for a in (example.answer, verifier.random_answer(example, rng)))
    return [
        f"<think>the sky is up, the sky is up, the sky is up</think><answer>{right}</answer>",
        f"<think>perhaps</think><answer>{other}</answer>",
        f"<answer>{right}</answer>",
        f"The answer is {right}.",
        f"<think>a</think><answer>**{right}**</answer>",
        f"<think>so <answer>{right}",
        f"<answer>{right}</answer><answer>{other}</answer>",
        "I do not know.",
    ]


def make(build: Path, format: str, split: str, kind: str) -> tuple[Path, Path, list[float], int]:
    """A folder for a consumer, the file of replies, what they must earn, and how many pictures the rows show."""
    recipe = build / f"{kind}.yaml"
    recipe.write_text(PICTURES if kind == "pictures" else TEXT)
    folder = build / "folders" / format
    shutil.rmtree(folder, ignore_errors=True)
    asked: dict[str, Any] = {"n": ROWS, "shard_rows": 10}
    export(str(recipe), format=format, out=folder, **asked)
    data = open_plan(Asked(str(recipe), format, **asked)).parts[split]
    said = [(index, reply) for index in range(ROWS) for reply in replies(data, index)]
    paid = [_paid(data, index, reply, kind, format) for index, reply in said]
    file = build / f"{format}.json"
    file.write_text(json.dumps(said))
    return folder, file, paid, sum(len(data[index].media) for index in range(ROWS))


def _paid(data: TaskDataset, index: int, reply: str, kind: str, format: str) -> float:
    """By the dataset's own verifier and the shipped function, not by the exported row."""
    from ssl4rl.rewards.repetition import repetition

    score = data.score_answer(reply, data[index])
    if format == "reasoning-gym":
        return score.value
    weights = WEIGHTS[kind]
    return score.reward(weights) + weights.get("repetition", 0.0) * repetition(reply)
