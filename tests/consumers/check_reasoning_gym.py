"""Reasoning Gym: `register_dataset`, `create_dataset`, a composite of it, `score_answer` of whole replies."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    import reasoning_gym
    from reasoning_gym.composite import DatasetSpec
    from reasoning_gym.utils import extract_answer

    sys.path.insert(0, str(folder))
    importlib.import_module("reward")
    data = reasoning_gym.create_dataset("ssl4rl")
    entries = list(data)
    answers = [reply if extract_answer(reply) is not None else None for _, reply in replies]  # None, as its trainers do
    rewards = [float(data.score_answer(a, entries[row])) for a, (row, _) in zip(answers, replies, strict=True)]
    for row, entry in enumerate(entries):  # what its trainers hand over: the inside of the tags
        right = next(reply for at, reply in replies if at == row)
        assert data.score_answer(extract_answer(right), entry) == 1.0
    both = reasoning_gym.create_dataset("composite", size=10, seed=1, datasets=[DatasetSpec("ssl4rl", 1.0, {})])
    assert all(both.score_answer(f"<answer>{one['answer']}</answer>", one) >= 0 for one in both)
    return Ran(
        "", "register_dataset, create_dataset, composite, extract_answer, score_answer", len(entries), 0, rewards
    )


if __name__ == "__main__":
    main("reasoning-gym", check)
