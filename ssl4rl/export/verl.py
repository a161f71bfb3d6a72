"""For verl (volcengine): rows for its `RLHFDataset`, and a `compute_score` for `reward.custom_reward_function`.

A prompt is messages of plain text in which `<image>` stands for each picture; the row's `info` is the ground truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ssl4rl.export.consumer import Consumer, Launch, in_bytes, info_text, plain_messages, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay
from ssl4rl.export.rows import Row


def record(row: Row) -> dict[str, Any]:
    """data_source, prompt, images (bytes), reward_model, extra_info. Without pictures there is no column for them."""
    key = row["info"]["key"]
    found = {
        "data_source": f"ssl4rl/{row['info']['task']}",
        "prompt": plain_messages(row),
        "ability": row["info"]["task"].partition("/")[0],
        "reward_model": {"style": "rule", "ground_truth": info_text(row)},
        "extra_info": {"index": key["index"], "level": row["info"]["level"]},
    }
    return found | ({"images": in_bytes(row)} if row["images"] else {})


def reward_function(
    weights: Mapping[str, float] = WEIGHTS, max_new_tokens: int = 256, parts: tuple[str, ...] = ("accuracy", "format")
) -> Callable[..., dict[str, float]]:
    """verl's `compute_score`: a reply and a row's ground truth to "score", and beside it what its logs may show.

    Raises:
        Ssl4rlError: a weight whose function counts tokens or reads a group: verl hands over one text at a time.
    """
    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)

    def compute_score(data_source: str, solution_str: str, ground_truth: str, **others: Any) -> dict[str, float]:
        return pay.figures(pay.score(solution_str, ground_truth), "score")

    return compute_score


def _files(launch: Launch) -> dict[str, str]:
    return {"reward.py": reward_file("verl", ["compute_score = verl.reward_function(PAY)"], launch)}


def _launch(launch: Launch) -> str:
    """GRPO on one machine with eight GPUs."""
    recipe = launch.recipe
    val = "held_out" if "held_out" in launch.files else next(iter(launch.files))
    lines = [
        "python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo",
        f"data.train_files=\"[$(ls -m $PWD/{launch.files[next(iter(launch.files))]} | tr -d ' \\n')]\"",
        f"data.val_files=\"[$(ls -m $PWD/{launch.files[val]} | tr -d ' \\n')]\"",
        f"data.image_key=images data.max_prompt_length={recipe['prompt']['max_tokens']}",
        f"data.max_response_length={launch.max_new_tokens} data.train_batch_size={recipe['grpo']['prompts_per_step']}",
        "reward.custom_reward_function.path=$PWD/reward.py reward.custom_reward_function.name=compute_score",
        f"actor_rollout_ref.model.path={launch.model} actor_rollout_ref.actor.optim.lr={recipe['optim']['lr']}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={recipe['grpo']['prompts_per_step']}",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1 actor_rollout_ref.rollout.name=vllm",
        f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1 "
        f"actor_rollout_ref.rollout.n={recipe['grpo']['group_size']}",
        "trainer.n_gpus_per_node=8 trainer.nnodes=1",
    ]
    return " \\\n  ".join(lines)


CONSUMER = Consumer(
    name="verl",
    tried="verl 0.9.1",
    trains=True,
    suffix="parquet",
    record=record,
    files=_files,
    launch=_launch,
)
