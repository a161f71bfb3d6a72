"""What the section `trl` may not say: wrong types, unknown keys, and what would be taken in silence and not hold."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.grpo.trl.arguments import _NOT_HERE, _OF_A_LOSS, _ONLY_WITH, OWNED, refuse_arguments
from ssl4rl.core.grpo.trl.config import divides
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.runs import recipe

trl = pytest.importorskip("trl")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"mask_truncated_completions": "no"}, "trl.mask_truncated_completions='no'; allowed: true or false"),
        ({"num_iterations": 1.5}, "trl.num_iterations=1.5; allowed: a whole number"),
        ({"num_iterations": True}, "trl.num_iterations=True; allowed: a whole number"),
        ({"repetition_penalty": "1.1"}, "trl.repetition_penalty='1.1'; allowed: a number"),
        ({"delta": [2]}, "trl.delta=[2]; allowed: a number or null"),
        ({"cache_implementation": {}}, "trl.cache_implementation={}; allowed: a text or null"),
        ({"num_iteration": 2}, "trl.num_iteration: TRL's GRPOConfig has no such argument; did you mean "
            "'num_iterations'?"),
        ({"model_init_kwargs": {}}, "trl.model_init_kwargs: the model comes from the recipe's section model"),
        ({"trust_remote_code": True}, "trl.trust_remote_code: a model's own code is never run"),
        ({"logging_first_step": True}, "trl.logging_first_step: the engine sets it, for its own log and data"),
        ({"vllm_mode": "server"}, "trl.vllm_mode=server: nothing reads it without trl.use_vllm=true"),
        ({"vespo_k_pos": 2}, "trl.vespo_k_pos=2: only the loss vespo reads it, which grpo.loss does not offer"),
        ({"generation_kwargs": {"top_k": 2}}, "trl.generation_kwargs.top_k: the recipe's sampling.top_k sets it"),
        (
            {"generation_kwargs": {"suppress_tokens": []}},
            "trl.generation_kwargs.suppress_tokens: the engine sets it, so that no placeholder is sampled",
        ),
        (
            {"generation_kwargs": {"repetition_penality": 1.2}},
            "trl.generation_kwargs.repetition_penality: GenerationConfig has no such key; did you mean "
            "'repetition_penalty'?",
        ),
    ],
)  # fmt: skip
def test_what_would_not_hold_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        refuse_arguments(given)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "given",
    [
        {"mask_truncated_completions": True, "num_iterations": 2, "top_entropy_quantile": 1},
        {"report_to": ["none"], "optim": "adamw_torch", "delta": None, "adam_epsilon": 1e-7},
        {"use_vllm": True, "vllm_mode": "colocate", "generation_kwargs": {"anything": 1}},
        {"generation_kwargs": {"repetition_penalty": 1.5}, "deepspeed": {"zero_optimization": {"stage": 2}}},
        {"use_adaptive_entropy": True, "entropy_target": 0.3, "fsdp": "full_shard"},
        {"fsdp": True},
    ],
)
def test_what_trl_takes_is_taken(given: dict[str, Any]) -> None:
    refuse_arguments(given)


def test_the_names_are_trls() -> None:
    known = {f.name for f in fields(trl.GRPOConfig)} | {"activation_checkpointing"}  # transformers' later name for it
    assert {*OWNED, *_NOT_HERE, *_ONLY_WITH.values()} <= known
    for start in (*_ONLY_WITH, *_OF_A_LOSS):
        assert any(name.startswith(start) for name in known)


def test_every_default_is_allowed() -> None:
    """The types are read off GRPOConfig, so what it says of itself must fit them."""
    ours = {*OWNED, *_NOT_HERE}
    reads = [f for f in fields(trl.GRPOConfig) if f.init and f.name not in ours and isinstance(f.default, (int, str))]
    checked = [f for f in reads if not any(f.name.startswith(start) for start in (*_ONLY_WITH, *_OF_A_LOSS))]
    assert len(checked) > 40
    for f in checked:
        refuse_arguments({f.name: f.default})


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, False),
        ({"fsdp": "full_shard"}, {}, True),
        ({"fsdp": True}, {}, True),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, {}, True),
        ({}, {"ACCELERATE_USE_FSDP": "true"}, True),
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_FSDP": "false"}, True),
        ({}, {"ACCELERATE_USE_FSDP": "false"}, False),
    ],
)
def test_who_divides_the_model(
    given: dict[str, Any], environment: dict[str, str], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert divides(recipe(tmp_path, engine="trl", trl=given)) is expected
