"""TRL: `load_dataset` of the folder as its own script does, its multimodal messages, the reward functions by the import
path of `--reward_funcs`, and their weighed sum. (tests/export/test_trl.py takes a step of GRPOTrainer.)"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    from datasets import load_dataset
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    rows = load_dataset(str(folder))["train"]
    pictures = 0
    for row in rows:
        assert is_conversational(row)
        talk = prepare_multimodal_messages(row["prompt"], images=row["images"])
        shown = [part["image"] for message in talk for part in message["content"] if part["type"] == "image"]
        assert len(shown) == len(row["images"]) > 0
        assert all(picture.size[0] > 0 for picture in shown)
        pictures += len(shown)
    sys.path.insert(0, str(folder))
    module = importlib.import_module("reward")
    talk = [[{"role": "assistant", "content": reply}] for _, reply in replies]
    given = {"prompts": [rows[row]["prompt"] for row, _ in replies], "completion_ids": [[1]] * len(replies)}
    info = [rows[row]["info"] for row, _ in replies]
    columns = [function(completions=talk, info=info, **given) for function in module.REWARDS]
    weights = module.WEIGHTS
    rewards = [sum(w * part for w, part in zip(weights, parts, strict=True)) for parts in zip(*columns, strict=True)]
    ran = "load_dataset of the folder, prepare_multimodal_messages, reward functions by import path"
    return Ran("", ran, len(rows), pictures, rewards)


if __name__ == "__main__":
    main("trl", check)
