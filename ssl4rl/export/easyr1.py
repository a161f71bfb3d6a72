"""For EasyR1 (hiyouga): rows for its `RLHFDataset`, and a batch reward function for `worker.reward.reward_function`.

A prompt is one user message, `problem`, in which `<image>` stands for each picture; the row's `info` is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, in_bytes, info_text, plain_messages, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row


def record(row: Row) -> dict[str, Any]:
    """problem, answer, and images (bytes) where there are any: a column of empty lists would call the processor."""
    found = {"problem": plain_messages(row)[-1]["content"], "answer": info_text(row)}
    return found | ({"images": in_bytes(row)} if row["images"] else {})


def reward_function(
    weights: Mapping[str, float] = WEIGHTS, max_new_tokens: int = 256, parts: tuple[str, ...] = ("accuracy", "format")
) -> Callable[..., list[dict[str, float]]]:
    """EasyR1's batch reward: records of response, response_length and ground_truth to records with "overall"."""
    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)

    def compute_score(reward_inputs: Sequence[Mapping[str, Any]], **others: Any) -> list[dict[str, float]]:
        replies = [pay.reply(one["response"], int(one["response_length"])) for one in reward_inputs]
        scores = pay.scores(replies, [one["ground_truth"] for one in reward_inputs])
        return [pay.figures(score, "overall") for score in scores]

    return compute_score


def _files(launch: Launch) -> dict[str, str]:
    names = ['REWARD_NAME, REWARD_TYPE = "ssl4rl", "batch"', "compute_score = easyr1.reward_function(PAY)"]
    return {"reward.py": reward_file("easyr1", names, launch)}


def _launch(launch: Launch) -> str:
    """GRPO on one machine with eight GPUs; the rest is as EasyR1's own configuration has it."""
    recipe = launch.recipe
    lines = [
        "DIR=$PWD; cd EASYR1  # your clone, for its examples/config.yaml\n"
        "python3 -m verl.trainer.main config=examples/config.yaml",
        *(f"data.{key}_files=$DIR/{split}" for key, split in _parts(launch)),
        "data.prompt_key=problem data.answer_key=answer data.image_key=images data.format_prompt=null",
        f"data.max_prompt_length={recipe['prompt']['max_tokens']} data.max_response_length={launch.max_new_tokens}",
        f"data.rollout_batch_size={recipe['grpo']['prompts_per_step']} data.min_pixels=3136",
        f"worker.actor.global_batch_size={recipe['grpo']['prompts_per_step']}",
        f"worker.actor.model.model_path={launch.model} worker.actor.optim.lr={recipe['optim']['lr']}",
        f"worker.rollout.n={recipe['grpo']['group_size']}",
        f"worker.rollout.temperature={recipe['sampling']['temperature']}",
        "worker.reward.reward_function=$DIR/reward.py:compute_score trainer.n_gpus_per_node=8",
    ]
    return " \\\n  ".join(lines)


def _parts(launch: Launch) -> list[tuple[str, str]]:
    first = next(iter(launch.parts))
    return [("train", first), ("val", "held_out" if "held_out" in launch.parts else first)]


CONSUMER = Consumer(
    name="easyr1",
    tried="EasyR1 of 2026-07-30 (b44b311)",
    trains=True,
    suffix="parquet",
    record=record,
    files=_files,
    launch=_launch,
    tells=frozenset({"tokens", "group"}),
    system=False,
)
