"""A run that is opened as `ssl4rl train` opens it, and how far vLLM's log-probs are from the policy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.grpo.logps.prefix import Group, unshared_logps
from ssl4rl.core.grpo.opening import open_run
from ssl4rl.core.grpo.ranks import ALONE
from ssl4rl.core.grpo.sampling.sampled import Rollouts, sampler_logps
from ssl4rl.core.grpo.trainer import Trainer
from tests.core.grpo.runs import recipe

TWO_PICTURES = [{"task": "vision/rotation", "level": "90deg,original=true,image_px=56"}]


def opened(out: Path, path: Path | str, **sections: Any) -> Trainer:
    """A trainer with vLLM as its sampling backend, by the recipe alone."""
    sections["sampling"] = {"backend": "vllm", "max_new_tokens": 12, **sections.get("sampling", {})}
    sections["prompt"] = {"max_tokens": 256, **sections.get("prompt", {})}
    made = recipe(out, path, grpo={"group_size": 4, "prompts_per_step": 3, **sections.pop("grpo", {})}, **sections)
    return open_run(made, ALONE, "cpu", lambda line: None, lambda run, ranks: None).trainer


def sampled(trainer: Trainer) -> Rollouts:
    return trainer.sample(trainer.stream.take(3))


def differences(trainer: Trainer, rollouts: Rollouts, temperature: float = 1.0) -> torch.Tensor:
    """|log-prob of vLLM - log-prob of the policy as it is now| of every token."""
    theirs_PGT = sampler_logps(rollouts.completions)
    assert theirs_PGT is not None
    pairs = zip(rollouts.prompts, rollouts.completions, strict=True)
    groups = [Group(p.encoded.prompt_ids, p.encoded.media, [c.ids for c in row]) for p, row in pairs]
    trainer.policy.model.eval()
    with torch.no_grad():
        ours = unshared_logps(trainer.policy.model, groups, temperature=temperature)
    return (theirs_PGT - ours.logp_PGT).abs()[ours.mask_PGT]
