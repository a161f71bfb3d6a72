"""Completions while they are written: the tokens so far and who has ended, the same for every decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl4rl.core.grpo.model.policy import Policy


class Replies:
    """N completions of at most T tokens. ``tokens_NT``: long, padding after the end; ``length_N``: long, T at first.

    ``device``: where the decoder wants to know who goes on.
    """

    def __init__(self, policy: Policy, completions: int, most_tokens: int, device: torch.device) -> None:
        self.tokens_NT = torch.full((completions, most_tokens), policy.pad_id, dtype=torch.long, device=device)
        self.length_N = torch.full((completions,), most_tokens, device=device)
        self._pad_id = policy.pad_id
        self._eos_E = torch.tensor(policy.eos_ids, dtype=torch.long, device=device)
        self._banned = torch.tensor(policy.banned_ids, dtype=torch.long, device=policy.device)

    def ban(self, logits_RV: Tensor) -> None:
        """Makes placeholders for media impossible, in place."""
        logits_RV.index_fill_(1, self._banned, -torch.inf)

    def write(self, t: int, number_A: Tensor, token_A: Tensor, alive_A: Tensor) -> Tensor:
        """Token t of the completions ``number_A``, where ``alive_A`` says so. Returns bool [A]: who goes on."""
        self.tokens_NT[number_A, t] = torch.where(alive_A, token_A, self._pad_id)
        ended_A = alive_A & (token_A[:, None] == self._eos_E).any(1)
        self.length_N[number_A] = torch.where(ended_A, t + 1, self.length_N[number_A])
        return alive_A & ~ended_A
