"""Models without a cache: the same tokens as transformers' own decoding, and whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, OpenAIGPTConfig, PreTrainedConfig, RwkvConfig

from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.types import Example
from tests.core.grpo.runs import recipe, run
from tests.tiny_tokenizers import PLAIN, make_tokenizer


def folder(kind: str, place: Path) -> Path:
    tokenizer = make_tokenizer(PLAIN)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config: PreTrainedConfig = (
        OpenAIGPTConfig(vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4, initializer_range=0.15)
        if kind == "gpt"
        else RwkvConfig(vocab_size=len(tokenizer), hidden_size=64, attention_hidden_size=64, num_hidden_layers=2, **ids)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def greedy(policy: Policy, ids: torch.Tensor, n: int) -> list[int]:
    """A token at a time by the bare model."""
    row = ids.tolist()
    for _ in range(n):
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([row])).logits[0, -1]
        logits[policy.banned_ids] = -torch.inf
        row.append(int(logits.argmax()))
        if row[-1] in policy.eos_ids:
            break
    return row[len(ids) :]


@pytest.mark.parametrize("kind", ["gpt", "rwkv"])
def test_every_row_is_what_the_model_says_alone(tmp_path: Path, kind: str) -> None:
    """Two prompts of different length together, for a recurrent model too, which padding would confuse."""
    policy = load_policy(str(folder(kind, tmp_path)), device="cpu", trainable=False)
    prompts = [policy.encoder.encode(Example(("Which is it?" * n,), "A"), "Say.") for n in (1, 3)]
    together = generate(policy, prompts, 2, Sampling(temperature=0, max_new_tokens=6))
    for prompt, row in zip(prompts, together, strict=True):
        assert [completion.ids.tolist() for completion in row] == [greedy(policy, prompt.prompt_ids, 6)] * 2

    def uniforms(p: int, g: int) -> Any:
        return torch.rand(6, generator=torch.Generator().manual_seed(10 * p + g), dtype=torch.float64).numpy()

    sampled = generate(policy, prompts, 3, Sampling(max_new_tokens=6), uniforms)
    assert len({tuple(c.ids.tolist()) for row in sampled for c in row}) > 1
    ((alone,),) = generate(policy, prompts[1:], 1, Sampling(max_new_tokens=6), lambda p, g: uniforms(1, 2 * (g == 0)))
    assert alone.ids.tolist() == sampled[1][2].ids.tolist()


def test_a_run_without_a_cache(tmp_path: Path) -> None:
    made = recipe(tmp_path / "runs", folder("gpt", tmp_path / "gpt"), text=True)
    run(made)
    assert json.loads((made.folder / "summary.json").read_text())["steps"] == 4
