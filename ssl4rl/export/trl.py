"""For TRL's GRPOTrainer: parquet files, or a dataset that makes its pictures when they are asked for; and rewards.

    train_dataset = dataset("vision/rotation", "photos/", 10_000)
    GRPOTrainer(model=..., args=..., train_dataset=train_dataset, reward_funcs=reward_functions())

Rewards read the `info` that comes with each row: no picture is made again for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ssl4rl.core.mixture import create_dataset
from ssl4rl.export.consumer import Consumer, Launch, in_bytes, info_text, plain_messages, reward_file
from ssl4rl.export.pay import WEIGHTS, Pay, short
from ssl4rl.export.plan import alike, pictured
from ssl4rl.export.rows import Row, row

_KEPT_ROWS = 64  # TRL asks for a row once a completion and again for every micro-batch


def record(row: Row) -> dict[str, Any]:
    """prompt (conversational), images where there are any, info (JSON text).

    With pictures the content is a list of parts, so that pictures stand where they belong; without it is text, which
    templates of language models take alone.
    """
    if row["images"]:
        return {"prompt": row["prompt"], "images": in_bytes(row), "info": info_text(row)}
    return {"prompt": plain_messages(row, tag="\0"), "info": info_text(row)}


def dataset(task: Any, data: str | None = None, size: int = 10_000, system: str | None = None, **options: Any) -> Any:
    """A `datasets.Dataset` with the columns of `record`, whose pictures are made when a row is asked for.

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
    shows = pictured(made)
    alike(shows, "TRL")

    @lru_cache(maxsize=_KEPT_ROWS)
    def at(index: int) -> dict[str, Any]:
        one = row(made, made[index], system)
        return record(Row(prompt=one["prompt"], images=[], info=one["info"])) if not one["images"] else _live(one)

    def columns(batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        chosen = [at(index) for index in batch["index"]]
        return {name: [one[name] for one in chosen] for name in chosen[0]}

    return datasets.Dataset.from_dict({"index": range(size)}).with_transform(columns)


def _live(row: Row) -> dict[str, Any]:
    """`record` with pictures as they are."""
    return {"prompt": row["prompt"], "images": row["images"], "info": info_text(row)}


def reward_functions(
    weights: Mapping[str, float] = WEIGHTS, max_new_tokens: int = 256, parts: tuple[str, ...] = ("accuracy", "format")
) -> list[Callable[..., list[float]]]:
    """A function for each part and each reward function that is weighed, for GRPOConfig's `reward_weights`.

    Args:
        weights: by name, as a recipe's `reward` section has them; TRL multiplies, so the functions give what is
            weighed.
        max_new_tokens: GRPOConfig's `max_completion_length`.
        parts: what the rows' verifiers give beyond which a name is a reward function's.
    """
    pay = Pay(weights, max_new_tokens, parts, CONSUMER.tells, CONSUMER.name)

    def of(name: str) -> Callable[..., list[float]]:
        def part(completions: Sequence[Any], info: Sequence[str], **others: Any) -> list[float]:
            ids = others.get("completion_ids") or [()] * len(completions)
            replies = [pay.reply(_text(one), known) for one, known in zip(completions, ids, strict=True)]
            return [score.parts.get(name, 0.0) for score in pay.scores(replies, info)]

        part.__name__ = short(name)  # TRL logs rewards by their functions' names
        part.__doc__ = f"The part {name!r} of each completion's score."
        return part

    return [of(name) for name in weights]


def _text(completion: Any) -> str:
    """TRL hands over chat messages for conversational prompts, text for others."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _files(launch: Launch) -> dict[str, str]:
    names = [
        "REWARDS = trl.reward_functions(PAY)",
        f"WEIGHTS = {list(launch.weights.values())!r}  # GRPOConfig's reward_weights",
        *(f"{name} = REWARDS[{at}]" for at, name in enumerate(_names(launch))),
    ]
    return {"reward.py": reward_file("trl", names, launch)}


def _names(launch: Launch) -> list[str]:
    return [short(name) for name in launch.weights]


def _launch(launch: Launch) -> str:
    recipe = launch.recipe
    weights = " ".join(str(weight) for weight in launch.weights.values())
    group, prompts = recipe["grpo"]["group_size"], recipe["grpo"]["prompts_per_step"]
    lines = [
        f"trl grpo --model_name_or_path {launch.model} --dataset_name $PWD",
        f"--dataset_train_split {next(iter(launch.parts))} --output_dir trained",
        f"--reward_funcs {' '.join(f'reward.{name}' for name in _names(launch))} --reward_weights {weights}",
        f"--num_generations {group} --generation_batch_size {group * prompts} --learning_rate {recipe['optim']['lr']}",
        f"--max_completion_length {launch.max_new_tokens} --temperature {recipe['sampling']['temperature']}",
        "--use_vllm --vllm_mode colocate --bf16",
    ]
    return " \\\n  ".join(lines)


CONSUMER = Consumer(
    name="trl",
    tried="trl 1.16.0",
    trains=True,
    suffix="parquet",
    record=record,
    files=_files,
    launch=_launch,
    tells=frozenset({"tokens", "group"}),
    pictures="alike",
    features=("images",),
)
