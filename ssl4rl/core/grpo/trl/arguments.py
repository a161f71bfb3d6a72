"""What the section `trl` of a recipe may say: arguments of GRPOConfig by their types, and none that would not hold.

GRPOConfig is a dataclass and checks no types: `"no"` is true there, and a whole number may be a text until it is used.
Some of its arguments are the recipe's, some the engine's, and some do nothing unless another is set; all that would be
taken in silence and not hold is refused here, before anything is loaded.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from ssl4rl.core.types import Ssl4rlError, nearest, shortened

OWNED = {
    argument: field
    for field, arguments in {
        "optim.lr": ("learning_rate",),
        "optim.betas": ("adam_beta1", "adam_beta2"),
        "optim.weight_decay": ("weight_decay",),
        "optim.max_grad_norm": ("max_grad_norm",),
        "optim.schedule": ("lr_scheduler_type",),
        "optim.warmup_steps": ("warmup_steps",),
        "grpo.group_size": ("num_generations",),
        "grpo.prompts_per_step": ("generation_batch_size",),
        "grpo.updates_per_step": ("steps_per_generation", "gradient_accumulation_steps"),
        "grpo.loss": ("loss_type", "importance_sampling_level"),
        "grpo.clip_low": ("epsilon",),
        "grpo.clip_high": ("epsilon_high",),
        "grpo.advantage_scale": ("scale_rewards",),
        "grpo.beta": ("beta",),
        "reward": ("reward_weights",),
        "sampling.temperature": ("temperature",),
        "sampling.top_p": ("top_p",),
        "sampling.top_k": ("top_k",),
        "sampling.min_p": ("min_p",),
        "sampling.max_new_tokens": ("max_completion_length",),
        "train.steps": ("max_steps", "num_train_epochs"),
        "train.seed": ("seed", "data_seed", "shuffle_dataset"),
        "train.workers": ("dataloader_num_workers",),
        "train.checkpoint_every": ("save_steps", "save_strategy"),
        "train.keep_checkpoints": ("save_total_limit",),
        "eval.every": ("eval_steps", "eval_strategy", "do_eval"),
        "model.gradient_checkpointing": ("gradient_checkpointing", "activation_checkpointing"),
        "model.dtype": ("bf16", "fp16"),
        "model.device": ("use_cpu",),
        "name": ("run_name",),
        "out": ("output_dir",),
        "resume": ("resume_from_checkpoint",),
    }.items()
    for argument in arguments
}
"""Arguments that the recipe itself sets, and the field that does it."""

_NOT_HERE = {
    argument: why
    for why, arguments in {
        "the engine sets it, for its own log and data": (
            *("logging_steps", "logging_strategy", "logging_first_step", "ignore_data_skip", "remove_unused_columns"),
            *("disable_tqdm", "train_sampling_strategy", "length_column_name"),
        ),
        "held-out evaluation is the recipe's (section eval), TRL does none": (
            *("per_device_eval_batch_size", "num_generations_eval", "prediction_loss_only", "eval_on_start"),
            *("eval_delay", "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps"),
            *("include_for_metrics", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval", "do_predict"),
            *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
        ),
        "the model comes from the recipe's section model": ("model_init_kwargs",),
        "a model's own code is never run": ("trust_remote_code",),
        "a run without the optimiser's state cannot be resumed": ("save_only_model",),
        "GRPO does not read it": ("do_train", "local_rank", "label_names", "label_smoothing_factor"),
        "the tasks have no tools": ("max_tool_calling_iterations",),
    }.items()
    for argument in arguments
}
"""Arguments that would not hold, and why."""

_ONLY_WITH = {
    "vllm_": "use_vllm",
    "entropy_coef_": "use_adaptive_entropy",
    "entropy_target": "use_adaptive_entropy",
    "ref_model_": "sync_ref_model",
    "liger_kernel_config": "use_liger_kernel",
    "transformers_continuous_batching_config": "use_transformers_continuous_batching",
    "num_completions_to_print": "log_completions",
    "log_unique_prompts": "log_completions",
}
"""Beginnings of arguments that nothing reads unless another one is true."""

_OF_A_LOSS = {"sapo_": "sapo", "vespo_": "vespo"}

_SAMPLING = {
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "min_p": "sampling.min_p",
    **dict.fromkeys(("max_new_tokens", "max_length", "max_tokens"), "sampling.max_new_tokens"),
    **dict.fromkeys(("num_return_sequences", "n"), "grpo.group_size"),
    "seed": "train.seed",
}
"""Keys of `generation_kwargs` that would take the place of what the recipe says."""

_BANS = {"suppress_tokens", "logit_bias", "do_sample"}

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "a mapping",
    type(None): "null",
}


def refuse_arguments(given: Mapping[str, Any]) -> None:
    """Stops a section `trl` with an argument that is unknown, of another type, or would not hold.

    Raises:
        Ssl4rlError: the first such argument, its value and what is allowed.
    """
    from trl import GRPOConfig

    known = [f.name for f in fields(GRPOConfig) if f.init]
    for key in given:
        if key in OWNED:
            raise Ssl4rlError(f"trl.{key}: the recipe's {OWNED[key]} sets it")
        if key not in known:
            raise Ssl4rlError(f"trl.{key}: TRL's GRPOConfig has no such argument{nearest(key, known)}")
        if key in _NOT_HERE:
            raise Ssl4rlError(f"trl.{key}: {_NOT_HERE[key]}")
    hints = typing.get_type_hints(GRPOConfig)
    for field in fields(GRPOConfig):
        if isinstance(field.metadata.get("const"), bool):  # a flag on the command line, whatever its type says
            hints[field.name] |= bool
    for key, value in given.items():
        _refuse_type(key, value, hints[key])
    for key, value in given.items():
        _refuse_what_nothing_reads(key, value, given)
    _refuse_sampling(given.get("generation_kwargs") or {}, vllm=bool(given.get("use_vllm")))


def shown(value: Any) -> str:
    return shortened(str(value))


def _refuse_type(key: str, value: Any, hint: Any) -> None:
    if key == "generation_kwargs":  # TRL would take a text of JSON too; ours are added to it
        hint = dict[str, Any] | None
    try:
        TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True)).validate_python(value)
    except ValidationError:
        allowed = " or ".join(dict.fromkeys(_words(hint)))
        raise Ssl4rlError(f"trl.{key}={shown(repr(value))}; allowed: {allowed}") from None
    except PydanticSchemaGenerationError:
        return  # TRL's own to judge


def _words(hint: Any) -> list[str]:
    """A type in words, a union's members one by one."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [word for member in inside for word in _words(member)]
    if origin is Literal:
        return [str(value).lower() for value in inside]
    if origin is list:
        return [f"a list of {'texts' if inside == (str,) else 'values'}"]
    return [_WORDS.get(origin or hint, "a text")]


def _refuse_what_nothing_reads(key: str, value: Any, given: Mapping[str, Any]) -> None:
    flag = next((flag for start, flag in _ONLY_WITH.items() if key.startswith(start)), None)
    if flag is not None and not given.get(flag):
        raise Ssl4rlError(f"trl.{key}={shown(value)}: nothing reads it without trl.{flag}=true")
    loss = next((loss for start, loss in _OF_A_LOSS.items() if key.startswith(start)), None)
    if loss is not None:
        raise Ssl4rlError(f"trl.{key}={shown(value)}: only the loss {loss} reads it, which grpo.loss does not offer")


def _refuse_sampling(given: Mapping[str, Any], vllm: bool) -> None:
    """What `generation_kwargs` may not hold. transformers' GenerationConfig keeps any name, vLLM refuses some."""
    from transformers import GenerationConfig

    known = sorted(vars(GenerationConfig()))
    for key in given:
        if key in _SAMPLING:
            raise Ssl4rlError(f"trl.generation_kwargs.{key}: the recipe's {_SAMPLING[key]} sets it")
        if key in _BANS:
            raise Ssl4rlError(f"trl.generation_kwargs.{key}: the engine sets it, so that no placeholder is sampled")
        if not vllm and key not in known:
            raise Ssl4rlError(f"trl.generation_kwargs.{key}: GenerationConfig has no such key{nearest(key, known)}")
