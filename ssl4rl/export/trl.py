"""For TRL's GRPOTrainer (tried with 1.16): a dataset that makes its pictures when they are asked for, and rewards.

    train_dataset = dataset("vision/rotation", "photos/", 10_000)
    GRPOTrainer(model=..., args=..., train_dataset=train_dataset, reward_funcs=reward_functions())

Rewards read the `info` that comes with each row: no picture is made again for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Score, Ssl4rlError
from ssl4rl.export.rows import Row, row, score

_KEPT_ROWS = 64  # TRL asks for a row once a completion and again for every micro-batch


def dataset(task: Any, data: str | None = None, size: int = 10_000, system: str | None = None, **options: Any) -> Any:
    """A `datasets.Dataset` with the columns `prompt` (conversational), `images` where there are any, and `info` (JSON).

    Args:
        task: as `ssl4rl.create_dataset` takes it, a mixture too; `options` are that function's others. Training reads
            the part of the source that is not held out, unless `split` says otherwise.
        size: rows; each is made anew whenever TRL asks for it, and is the same on every rank.
        system: a system message, or None.

    Raises:
        Ssl4rlError: anything a name can be wrong in; a mixture of prompts with and without pictures, of which TRL
            cannot make a batch.
    """
    import datasets

    made = create_dataset(task, data, size=size, **options)
    with_pictures = _shows_pictures(made)

    @lru_cache(maxsize=_KEPT_ROWS)
    def at(index: int) -> Row:
        return row(made, made[index], system)

    def columns(batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        chosen = [at(index) for index in batch["index"]]
        found: dict[str, list[Any]] = {
            "prompt": [one["prompt"] for one in chosen],
            "info": [json.dumps(one["info"]) for one in chosen],
        }
        return found | ({"images": [one["images"] for one in chosen]} if with_pictures else {})

    return datasets.Dataset.from_dict({"index": range(size)}).with_transform(columns)


def _shows_pictures(data: TaskDataset) -> bool:
    """By an example of each part of the mixture."""
    first = {component.name: TaskDataset([component], data.seed, 1, data.style)[0] for component in data.components}
    without = [name for name, example in first.items() if not example.media]
    if without and len(without) < len(first):
        raise Ssl4rlError(
            f"TRL cannot batch prompts with and without pictures: {', '.join(without)} shows none; make two datasets"
        )
    return not without


def reward_functions() -> list[Callable[..., list[float]]]:
    """`accuracy` and `format`, to be weighed by GRPOConfig's `reward_weights` ([1.0, 0.1] is our recipes')."""
    return [accuracy, format_]


def accuracy(completions: Sequence[Any], info: Sequence[str], **others: Any) -> list[float]:
    """The accuracy part of each completion, in [0, 1]."""
    return [_score(completion, one).parts["accuracy"] for completion, one in zip(completions, info, strict=True)]


def format_(completions: Sequence[Any], info: Sequence[str], **others: Any) -> list[float]:
    """The format part of each completion, 0 or 1."""
    return [_score(completion, one).parts["format"] for completion, one in zip(completions, info, strict=True)]


format_.__name__ = "format"  # TRL logs rewards by their functions' names


def _score(completion: Any, info: str) -> Score:
    """TRL hands over chat messages for conversational prompts, text for others."""
    return score(completion if isinstance(completion, str) else completion[-1]["content"], info)
