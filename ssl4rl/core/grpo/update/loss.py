"""Policy-gradient losses: pure functions on tensors.

Token weights and per-token losses are separate, so that a batch cut into micro-batches gives the very sum it would
give whole. Sources: GRPO (arXiv 2402.03300), Dr. GRPO (arXiv 2503.20783), DAPO (arXiv 2503.14476), GSPO (arXiv
2507.18071), CISPO (arXiv 2506.13585), the k3 estimator (joschu.net/blog/kl-approx.html).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ssl4rl.core.grpo.update.advantage import sequence_mean

Kind = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo"]
KINDS: tuple[Kind, ...] = ("grpo", "dr_grpo", "dapo", "gspo", "cispo")


def token_weights(
    mask_PGT: Tensor, kind: Kind, max_tokens: int, sequences: int | None = None, tokens: int | None = None
) -> Tensor:
    """What each token's loss counts in the batch's loss.

    grpo and gspo: the mean over a completion's tokens, then over completions. dapo and cispo: the mean over all tokens
    of the batch. dr_grpo: the sum over tokens, divided by completions x `max_tokens` (no length bias).

    Args:
        mask_PGT: [P, G, T], 1 on completion tokens.
        max_tokens: the sampling limit, for dr_grpo.
        sequences: how many completions the batch counts; None is P x G. More than that when groups without variance
            were left out of the computation.
        tokens: the same for dapo and cispo: how many tokens the batch counts; None is those of the mask.

    Returns:
        float [P, G, T], 0 outside the mask.
    """
    mask = mask_PGT.float()
    sequences = sequences or mask.shape[0] * mask.shape[1]
    if kind in ("grpo", "gspo"):
        return mask / mask.sum(-1, keepdim=True).clamp(min=1) / sequences
    if kind == "dr_grpo":
        return mask / (sequences * max_tokens)
    return mask / (tokens or mask.sum().clamp(min=1))


def policy_loss(
    logp_PGT: Tensor,
    old_logp_PGT: Tensor,
    advantage_PG: Tensor,
    mask_PGT: Tensor,
    kind: Kind = "grpo",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """The loss of every token, to be summed with `token_weights`.

    Args:
        logp_PGT: float [P, G, T], log-probs of the completions under the policy (with gradient).
        old_logp_PGT: the same under the policy that sampled them.
        advantage_PG: float [P, G].
        mask_PGT: [P, G, T].
        clip_low: the ratio may fall to 1 - clip_low (gspo: of the sequence's ratio; cispo: unused).
        clip_high: and rise to 1 + clip_high ("clip higher" when larger).

    Returns:
        loss float [P, G, T], and the share of tokens where the clip was active, a scalar.
    """
    advantage = advantage_PG[..., None]
    log_ratio_PGT = logp_PGT - old_logp_PGT
    if kind == "gspo":
        # the value is the sequence's ratio, the gradient flows through each token's own log-prob (GSPO-token, eq. 14)
        mean_PG1 = sequence_mean(log_ratio_PGT.detach(), mask_PGT)[..., None]
        log_ratio_PGT = mean_PG1 + logp_PGT - logp_PGT.detach()
    ratio_PGT = log_ratio_PGT.exp()
    low, high = 1 - clip_low, 1 + clip_high
    if kind == "cispo":
        loss_PGT = -ratio_PGT.detach().clamp(max=high) * advantage * logp_PGT
        clipped = ratio_PGT > high
    else:
        loss_PGT = -torch.minimum(ratio_PGT * advantage, ratio_PGT.clamp(low, high) * advantage)
        clipped = ((ratio_PGT > high) & (advantage > 0)) | ((ratio_PGT < low) & (advantage < 0))
    share = (clipped & mask_PGT.bool()).sum() / mask_PGT.sum().clamp(min=1)
    return loss_PGT, share.detach()


def importance_weights(logp_PGT: Tensor, sampler_logp_PGT: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """What each token counts where another engine sampled it, and that before truncation; both float [P, G, T].

    min(p / q, cap), p the policy's probability of the token as it was then and q the sampler's: truncated importance
    sampling (Ionides 2008; for rollouts fengyao.notion.site/off-policy-rl). Uncapped, one unlikely token would decide.

    Args:
        logp_PGT: log-probs under the policy at the time of sampling; no gradient flows through them.
        sampler_logp_PGT: those of the sampler.
        cap: the most that a token counts.
    """
    ratio_PGT = (logp_PGT.detach() - sampler_logp_PGT).exp()
    return ratio_PGT.clamp(max=cap), ratio_PGT


def kl_k3(logp_PGT: Tensor, ref_logp_PGT: Tensor) -> Tensor:
    """[P, G, T]: the k3 estimator of KL(policy || reference), exp(d) - d - 1 with d = ref - policy; never negative."""
    d = ref_logp_PGT - logp_PGT
    return d.exp() - d - 1
