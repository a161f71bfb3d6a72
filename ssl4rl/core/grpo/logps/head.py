"""Log-probs and entropies of chosen tokens from hidden states, without keeping logits larger than a budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LOGITS = 2**25  # logits kept for the backward pass, 128 MiB in float32; beyond it they are computed again in chunks


def head_logps(
    head: nn.Module, hidden_ND: Tensor, label_N: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-probs of ``label_N`` (long) and, if asked, entropies in nats of softmax(head(hidden) / temperature).

    Both are float32 [N] (float64 for a float64 head), whatever the head's dtype, and differentiable. Up to ``LOGITS``
    logits are computed once and their log-softmax is kept; more are computed in chunks of that size, and again in the
    backward pass. ``head`` may be any module from hidden states to logits, a LoRA-wrapped one too.
    """

    def chunk(hidden: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return logits_logps(head(hidden), label, temperature, entropy)

    N = len(label_N)
    vocabulary = next(weight.shape[0] for name, weight in head.named_parameters() if name.endswith("weight"))
    rows = max(1, LOGITS // vocabulary)
    if rows >= N:
        logp_N, entropy_N = chunk(hidden_ND, label_N)
    else:
        pairs = [
            checkpoint(chunk, hidden_ND[at : at + rows], label_N[at : at + rows], use_reentrant=False)
            for at in range(0, N, rows)
        ]
        logp_N, entropy_N = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return logp_N, entropy_N if entropy else None


def logits_logps(
    logits_NV: Tensor, label_N: Tensor, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probs of the labels and entropies (zeros unless asked) from logits; float32 [N] each, or float64."""
    pair: tuple[Tensor, Tensor] = _Logps.apply(logits_NV, label_N, temperature, entropy)  # type: ignore[no-untyped-call]
    return pair


class _Logps(torch.autograd.Function):
    """One buffer [N, V] kept and one more in the backward pass; gather and logsumexp by autograd would keep three."""

    @staticmethod
    def forward(
        ctx: Any, logits_NV: Tensor, label_N: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(logits_NV.dtype, torch.float32)
        scaled_NV = logits_NV if temperature == 1.0 else logits_NV.to(wide) / temperature
        all_NV = torch.log_softmax(scaled_NV, dim=-1, dtype=wide)
        logp_N = all_NV.gather(1, label_N[:, None])[:, 0]
        # A log-prob of -inf (a masked token) has probability 0 and adds nothing, though 0 x inf would be nan.
        entropy_N = torch.special.entr(all_NV.exp()).sum(-1) if entropy else torch.zeros_like(logp_N)
        ctx.save_for_backward(all_NV, label_N, entropy_N)
        ctx.temperature, ctx.entropy, ctx.dtype = temperature, entropy, logits_NV.dtype
        return logp_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_logp_N: Tensor, grad_entropy_N: Tensor) -> tuple[Tensor | None, ...]:
        all_NV, label_N, entropy_N = ctx.saved_tensors
        # d logp / d logits = onehot - p;  d H / d logits = -p (log p + H)
        grad_NV = all_NV.exp()
        if ctx.entropy:
            surprise_NV = torch.where(grad_NV > 0, all_NV + entropy_N[:, None], 0)
            grad_NV *= -grad_logp_N[:, None] - grad_entropy_N[:, None] * surprise_NV
        else:
            grad_NV *= -grad_logp_N[:, None]
        grad_NV.scatter_add_(1, label_N[:, None], grad_logp_N[:, None])
        if ctx.temperature != 1.0:
            grad_NV /= ctx.temperature
        return grad_NV.to(ctx.dtype), None, None, None
