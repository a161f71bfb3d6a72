"""Decoding with a model that keeps no cache (GPT-1, RWKV as transformers has it): every token reads the whole row anew.

The slow way that is right for every causal model. A group's rows are of one length, so nothing is padded: some of these
models take no mask, and a recurrent one would run its state over the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.grpo.model.policy import Encoded
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample
from ssl4rl.core.types import Ssl4rlError


def decode_uncached(
    policy: Any, prompts: Sequence[Encoded], group_size: int, sampling: Sampling, noise_RT: Tensor | None
) -> tuple[Tensor, Tensor]:
    """R = P x G rows: their tokens [R, T], padded, and lengths [R].

    Raises:
        Ssl4rlError: a prompt shows something, which this way has no place for.
    """
    if any(prompt.media for prompt in prompts):
        raise Ssl4rlError(
            f"{policy.name} keeps no cache of what it has read, and such models are sampled from text alone; "
            "these prompts hold pictures"
        )
    device, T = policy.device, sampling.max_new_tokens
    eos = torch.tensor(policy.eos_ids, device=device)
    tokens = torch.full((len(prompts) * group_size, T), policy.pad_id, dtype=torch.long, device=device)
    length_R = torch.full((len(tokens),), T, device=device)
    for p, prompt in enumerate(prompts):
        rows = slice(p * group_size, (p + 1) * group_size)
        noise_GT = None if noise_RT is None else noise_RT[rows]
        ids_GL = prompt.prompt_ids.to(device).expand(group_size, -1)
        alive_G = torch.ones(group_size, dtype=torch.bool, device=device)
        for t in range(T):
            logits_GV = policy.model(input_ids=ids_GL).logits[:, -1].float()
            logits_GV[:, policy.banned_ids] = -torch.inf
            token_G = sample(logits_GV, sampling, None if noise_GT is None else noise_GT[:, t])
            token_G = torch.where(alive_G, token_G, policy.pad_id)
            tokens[rows, t] = token_G
            ended_G = alive_G & torch.isin(token_G, eos)
            length_R[rows] = torch.where(ended_G, t + 1, length_R[rows])
            alive_G &= ~ended_G
            if not alive_G.any():
                break
            ids_GL = torch.cat([ids_GL, token_G[:, None]], 1)
    return tokens, length_R
