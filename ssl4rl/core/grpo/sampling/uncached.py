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
from ssl4rl.core.grpo.sampling.replies import Replies
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample
from ssl4rl.core.types import Ssl4rlError


def decode_uncached(
    policy: Any, prompts: Sequence[Encoded], group_size: int, sampling: Sampling, noise_RT: Tensor | None
) -> Replies:
    """R = P x G rows.

    Raises:
        Ssl4rlError: a prompt shows something, which this way has no place for.
    """
    if any(prompt.media for prompt in prompts):
        raise Ssl4rlError(
            f"{policy.name} keeps no cache of what it has read, and such models are sampled from text alone; "
            "these prompts hold pictures"
        )
    device, T = policy.device, sampling.max_new_tokens
    replies = Replies(policy, len(prompts) * group_size, T, device)
    for p, prompt in enumerate(prompts):
        number_G = torch.arange(p * group_size, (p + 1) * group_size, device=device)
        noise_GT = None if noise_RT is None else noise_RT[number_G]
        ids_GL = prompt.prompt_ids.to(device).expand(group_size, -1)
        alive_G = torch.ones(group_size, dtype=torch.bool, device=device)
        for t in range(T):
            logits_GV = policy.model(input_ids=ids_GL).logits[:, -1].float()
            replies.ban(logits_GV)
            token_G = sample(logits_GV, sampling, None if noise_GT is None else noise_GT[:, t])
            alive_G = replies.write(t, number_G, token_G, alive_G)
            if not alive_G.any():
                break
            ids_GL = torch.cat([ids_GL, replies.tokens_NT[number_G, t, None]], 1)
    return replies
