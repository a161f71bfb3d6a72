"""For ms-swift: jsonl rows for its `load_dataset`, and a plugin that adds the reward `ssl4rl`.

A row is `messages` of plain text in which `<image>` stands for each picture, `images` as data URLs, and `solution`, the
row's `info`; swift drops that column unless `--remove_unused_columns false`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, data_url, info_text, plain_messages, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row

NAME = "ssl4rl"


def record(row: Row) -> dict[str, Any]:
    """messages, images where there are any, solution. A tag for each picture, which swift itself does not check."""
    found = {"messages": plain_messages(row), "solution": info_text(row)}
    return found | ({"images": [data_url(picture) for picture in row["images"]]} if row["images"] else {})


def reward_class(
    weights: Mapping[str, float] = WEIGHTS, max_new_tokens: int = 256, parts: tuple[str, ...] = ("accuracy", "format")
) -> type:
    """A subclass of swift's `ORM`, to be put into `swift.rewards.orms`."""
    from swift.rewards import ORM

    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)

    class Ssl4rlReward(ORM):  # type: ignore[misc]
        """The weighed sum for each completion."""

        def __call__(self, completions: Sequence[str], solution: Sequence[str], **others: Any) -> list[float]:
            ids = others.get("response_token_ids") or [()] * len(completions)
            replies = [pay.reply(text, _flat(turns)) for text, turns in zip(completions, ids, strict=True)]
            return [pay.of(score) for score in pay.scores(replies, solution)]

    return Ssl4rlReward


def _flat(turns: Sequence[Any]) -> list[int]:
    """Token ids, of which swift makes a list a turn."""
    return [token for turn in turns for token in (turn if isinstance(turn, Sequence) else [turn])]


def _files(launch: Launch) -> dict[str, str]:
    names = ["from swift.rewards import orms", "", f'orms["{NAME}"] = swift.reward_class(PAY)']
    return {"reward.py": reward_file("swift", names, launch)}


def _launch(launch: Launch) -> str:
    recipe = launch.recipe
    held_out = (
        f" --val_dataset {launch.files['held_out']}" if "train" in launch.files and "held_out" in launch.files else ""
    )
    lines = [
        "NPROC_PER_NODE=8 swift rlhf --rlhf_type grpo",
        f"--model {launch.model} --use_hf true --dataset {next(iter(launch.files.values()))}{held_out}",
        f"--external_plugins reward.py --reward_funcs {NAME} --remove_unused_columns false",
        f"--num_generations {recipe['grpo']['group_size']} --learning_rate {recipe['optim']['lr']}",
        f"--max_length {recipe['prompt']['max_tokens']} --max_completion_length {launch.max_new_tokens}",
        f"--temperature {recipe['sampling']['temperature']} --use_vllm true --vllm_mode colocate",
    ]
    return " \\\n  ".join(lines)


CONSUMER = Consumer(
    name="swift",
    tried="ms-swift 4.6.0",
    trains=True,
    suffix="jsonl",
    record=record,
    files=_files,
    launch=_launch,
    tells=frozenset({"tokens", "group"}),
)
