"""A recipe in the words of TRL's GRPOConfig: what maps, what cannot, and how a step is cut into micro-batches.

Departs from the native engine where TRL leaves no choice; docs/engine.md lists it.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.grpo.trl.arguments import refuse_arguments, shown
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError

_UNABLE: dict[str, tuple[tuple[Any, ...], str]] = {
    "warmup.rehearsal": ((0,), "cannot add a loss of ours to TRL's steps (warmup.steps works)"),
    "grpo.refill": ((0,), "cannot sample further prompts within a step"),
    "grpo.advantage_scale": (("group", "batch", "none"), "scales by no task"),
    "train.gradient_agreement_every": ((0,), "sees no gradients by task"),
    "train.cuda_graphs": (("off", "auto"), "samples with transformers or vLLM"),
    "sampling.backend": (("native",), "is told of vLLM by trl.use_vllm=true"),
    "train.shard": (("none",), "shards by trl.fsdp or trl.deepspeed"),
    "curriculum.strategy": (("fixed", "uniform"), "draws its prompts before the run"),
}
"""Fields, the values that TRL can follow, and why no others."""

_LOSSES = {
    **{name: {"loss_type": name} for name in ("grpo", "dr_grpo", "dapo", "cispo")},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
}
REFUSALS = (ValueError, TypeError, AttributeError, ImportError, NotImplementedError, RuntimeError, LookupError, OSError)
"""What TRL, transformers and accelerate raise on settings that they do not take, or lack a package for."""
_OF_LAYERS = {"galore": "galore_torch", "apollo": "apollo_torch"}
"""Optimisers that are made for some of a model's layers, and their packages."""
_BAN = -100.0  # the lowest logit bias that vLLM takes


def refuse(recipe: Recipe) -> None:
    """Stops a recipe that TRL cannot do as it is written.

    Raises:
        Ssl4rlError: a field that TRL cannot follow (rehearsal, refill, a moving curriculum, a numbered GPU), what
            `refuse_arguments` refuses in the section `trl`, or a missing package.
    """
    flat = {f"{name}.{key}": value for name, part in recipe if isinstance(part, BaseModel) for key, value in part}
    for name, (able, why) in _UNABLE.items():
        if flat[name] not in able:
            allowed = " or ".join(map(str, able))
            raise Ssl4rlError(f"{name}={flat[name]!r}: engine trl {why}; allowed: {allowed}, or engine=native")
    if ":" in recipe.model.device:
        raise Ssl4rlError(
            f"model.device={recipe.model.device!r}: engine trl runs on the devices its launcher gives it; allowed: "
            "auto, cpu, cuda (choose one with CUDA_VISIBLE_DEVICES)"
        )
    refuse_arguments(recipe.trl)
    if "lr_scheduler_kwargs" in recipe.trl and recipe.optim.schedule != "cosine":
        raise Ssl4rlError("trl.lr_scheduler_kwargs: nothing reads it without optim.schedule=cosine")
    _refuse_what_lacks_a_package(recipe)


_NEEDS = {
    "use_vllm": "vllm",
    "deepspeed": "deepspeed",
    "use_liger_kernel": "liger_kernel",
    "use_transformers_paged": "kernels",
    "log_completions": "rich",
}
"""Arguments that need a package as soon as they are set, and its module."""


def _refuse_what_lacks_a_package(recipe: Recipe) -> None:
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    given = recipe.trl
    for key, module in _NEEDS.items():
        if given.get(key) and find_spec(module) is None:
            raise Ssl4rlError(f"trl.{key}={shown(given[key])} needs {module}, which is not installed")
    loggers = given.get("report_to") or []
    for name in loggers if isinstance(loggers, list) else [loggers]:
        try:
            for logger in get_reporting_integration_callbacks(name):
                logger()
        except REFUSALS as error:
            raise Ssl4rlError(f"trl.report_to={shown(name)}: {one_line(error)}") from error


def refuse_values(recipe: Recipe, *, on_cpu: bool, processes: int) -> None:
    """Makes TRL's configuration, and looks its optimiser and schedule up, before a model is loaded for it.

    Raises:
        Ssl4rlError: TRL or transformers refuse a value, or lack a package for it.
    """
    import torch
    from transformers import Trainer, get_scheduler
    from trl import GRPOConfig

    settings = ", ".join(f"trl.{key}={shown(value)}" for key, value in recipe.trl.items()) or "the recipe"
    where = recipe.folder
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again where the run makes its own
            made = GRPOConfig(
                **grpo_arguments(recipe, on_cpu=on_cpu, rows=1, processes=processes, banned_ids=[], output_dir=where)
            )
            if not any(name in str(recipe.trl.get("optim")) and find_spec(of) for name, of in _OF_LAYERS.items()):
                Trainer.get_optimizer_cls_and_kwargs(made)
            get_scheduler(
                made.lr_scheduler_type,
                torch.optim.SGD([torch.zeros(1, requires_grad=True)]),
                num_warmup_steps=1,
                num_training_steps=2,
                scheduler_specific_kwargs=made.lr_scheduler_kwargs,
            )
    except REFUSALS as error:
        raise Ssl4rlError(f"engine trl: TRL refuses {settings}: {one_line(error)}") from error


def samples_here(recipe: Recipe) -> bool:
    """Whether TRL samples with a vLLM engine in each process, which is its default mode."""
    return bool(recipe.trl.get("use_vllm")) and recipe.trl.get("vllm_mode", "colocate") == "colocate"


def divides(recipe: Recipe) -> bool:
    """Whether TRL will divide the model over the processes: by the section `trl`, or as accelerate's launcher says."""
    named = recipe.trl.get("fsdp") or recipe.trl.get("deepspeed")
    launched = (os.environ.get(f"ACCELERATE_USE_{way}", "") for way in ("FSDP", "DEEPSPEED"))
    return bool(named) or any(value.lower() in ("1", "true", "yes") for value in launched)


def rows_per_device(recipe: Recipe, prompt_tokens: int, processes: int) -> int:
    """Sequences in a micro-batch: as many as fit `train.tokens_per_microbatch` and divide an update's share evenly.

    Args:
        recipe: a step is `prompts_per_step` x `group_size` sequences, cut into `updates_per_step` updates.
        prompt_tokens: the longest prompt; TRL runs it once a completion.
        processes: how many share a step.

    Raises:
        Ssl4rlError: an update's sequences cannot be shared evenly, or not in the micro-batches that `trl` asks for.
    """
    settings = recipe.grpo
    sequences = settings.prompts_per_step * settings.group_size // settings.updates_per_step
    share, rest = divmod(sequences, processes)
    if rest or settings.prompts_per_step % processes:  # a process scores whole groups
        raise Ssl4rlError(
            f"a step of grpo.prompts_per_step={settings.prompts_per_step} prompts in {settings.updates_per_step} "
            f"updates of {sequences} sequences does not divide over {processes} processes"
        )
    if wanted := recipe.trl.get("per_device_train_batch_size"):
        if not isinstance(wanted, int) or share % wanted:
            raise Ssl4rlError(f"trl.per_device_train_batch_size={wanted!r} does not divide {share} sequences a device")
        return wanted
    most = max(1, recipe.train.tokens_per_microbatch // (prompt_tokens + recipe.sampling.max_new_tokens))
    return max(rows for rows in range(1, share + 1) if share % rows == 0 and rows <= most)


def grpo_arguments(
    recipe: Recipe, *, on_cpu: bool, rows: int, processes: int, banned_ids: list[int], output_dir: Path
) -> dict[str, Any]:
    """The keyword arguments of GRPOConfig.

    Args:
        on_cpu: float32 there, bfloat16 autocast on a GPU, as the native engine.
        rows: `rows_per_device`.
        processes: how many share a step.
        banned_ids: tokens that must not be sampled.
        output_dir: where TRL writes its checkpoints.
    """
    settings, sampling, optim, train = recipe.grpo, recipe.sampling, recipe.optim, recipe.train
    updates = settings.updates_per_step
    accumulated = settings.prompts_per_step * settings.group_size // (updates * rows * processes)
    cosine = optim.schedule == "cosine"
    mapped = {
        **_LOSSES[settings.loss],
        "num_generations": settings.group_size,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulated,
        "steps_per_generation": accumulated * updates,
        "max_steps": train.steps * updates,
        "beta": settings.beta,
        "epsilon": settings.clip_low,
        # TRL's CISPO takes the largest ratio itself, not its distance from 1
        "epsilon_high": settings.clip_high + (settings.loss == "cispo"),
        "scale_rewards": settings.advantage_scale,
        "reward_weights": list(recipe.reward.model_dump().values()),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p or None,
        "max_completion_length": sampling.max_new_tokens,
        "learning_rate": optim.lr,
        "adam_beta1": optim.betas[0],
        "adam_beta2": optim.betas[1],
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "lr_scheduler_type": "cosine_with_min_lr" if cosine else "constant_with_warmup",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1} if cosine else {},
        "warmup_steps": optim.warmup_steps * updates,
        **_checkpointing(recipe.model.gradient_checkpointing),
        "bf16": not on_cpu,
        "use_cpu": on_cpu,
        "seed": train.seed,
        "shuffle_dataset": False,  # a task dataset is random by index
        "dataloader_num_workers": train.workers,
        "ignore_data_skip": True,  # a resumed run's dataset starts where it stopped
        "logging_strategy": "steps",
        "logging_steps": updates,
        "save_strategy": "steps",
        "save_steps": train.checkpoint_every * updates,
        "save_total_limit": train.keep_checkpoints,
        "output_dir": str(output_dir),
        "run_name": recipe.name,
        "report_to": "none",
        "disable_tqdm": True,
    }
    extra = dict(recipe.trl)
    extra["generation_kwargs"] = {**_ban(banned_ids, extra), **(extra.get("generation_kwargs") or {})}
    return mapped | extra


def _checkpointing(on: bool) -> dict[str, Any]:
    """By the name that this transformers knows it by; TRL's own default is on."""
    from trl import GRPOConfig

    new = any(f.name == "activation_checkpointing" for f in fields(GRPOConfig))
    name = "activation_checkpointing" if new else "gradient_checkpointing"
    return {name: on, **({f"{name}_kwargs": {"use_reentrant": False}} if on else {})}


def _ban(ids: list[int], extra: dict[str, Any]) -> dict[str, Any]:
    """In vLLM's words or in transformers'."""
    if not ids:
        return {}
    return {"logit_bias": dict.fromkeys(ids, _BAN)} if extra.get("use_vllm") else {"suppress_tokens": ids}
