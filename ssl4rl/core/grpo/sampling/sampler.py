"""Tokens from logits and random numbers: the same numbers draw the same token, whatever else is in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl4rl.core.grpo.sampling.host import sent

_CACHED = 2**16  # logits whose distributions fit a core's cache together


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 switch those off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_new_tokens: int = 128


def sample(logits_RV: Tensor, sampling: Sampling, uniform_R: Tensor | None) -> Tensor:
    """long [R]: a token a row, by inverting the cumulative distribution at `uniform_R`; the likeliest at temperature 0.

    The distribution is filtered by top-k, top-p and min-p in that order, after the temperature.
    """
    if sampling.temperature == 0 or uniform_R is None:
        return logits_RV.argmax(-1)
    return _sample_each(logits_RV, sampling, uniform_R[:, None])[:, 0]


def sample_of_rows(logits_RV: Tensor, row_A: Tensor, sampling: Sampling, uniform_A: Tensor | None) -> Tensor:
    """long [A]: a token from row `row_A[a]` for each a, by `sample`; a row may serve any number of them.

    `row_A` lies on the host, the rest on the logits' device.
    """
    device = logits_RV.device
    if sampling.temperature == 0 or uniform_A is None:
        return logits_RV.argmax(-1)[sent(row_A, device)]
    # each a's place among those that its row serves
    order_A = row_A.argsort(stable=True)
    count_R = torch.bincount(row_A, minlength=len(logits_RV))
    place_A = torch.empty_like(row_A)
    place_A[order_A] = torch.arange(len(row_A)) - (count_R.cumsum(0) - count_R)[row_A[order_A]]
    uniform_RM = uniform_A.new_zeros(len(logits_RV), int(count_R.max()))
    where = sent(row_A, device), sent(place_A, device)
    uniform_RM[where] = uniform_A
    return _sample_each(logits_RV, sampling, uniform_RM)[where]


def _sample_each(logits_RV: Tensor, sampling: Sampling, uniform_RM: Tensor) -> Tensor:
    """long [R, M]: a token for each of a row's random numbers; a few rows at a time on a CPU, twice as fast."""
    rows = max(1, _CACHED // logits_RV.shape[1]) if logits_RV.device.type == "cpu" else len(logits_RV)
    if rows >= len(logits_RV):
        return sample_together(logits_RV, sampling, uniform_RM)
    pairs = zip(logits_RV.split(rows), uniform_RM.split(rows), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat([sample_together(logits, sampling, uniform) for logits, uniform in pairs])


def sample_together(logits_RV: Tensor, sampling: Sampling, uniform_RM: Tensor) -> Tensor:
    """long [R, M]: a token for each of a row's random numbers."""
    prob_RV = (logits_RV / sampling.temperature).softmax(-1)
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        prob_RV = _filter(prob_RV, sampling)
    cdf_RV = prob_RV.cumsum(-1, dtype=torch.float64)
    token_RM = torch.searchsorted(cdf_RV, uniform_RM * cdf_RV[:, -1:], right=True)
    return token_RM.clamp(max=logits_RV.shape[-1] - 1)


def _filter(prob_RV: Tensor, sampling: Sampling) -> Tensor:
    sorted_RV, order_RV = prob_RV.sort(-1, descending=True)
    keep_RV = torch.ones_like(sorted_RV, dtype=torch.bool)
    if sampling.top_k:
        keep_RV[:, sampling.top_k :] = False
    if sampling.top_p < 1:
        kept_RV = sorted_RV * keep_RV
        before_RV = kept_RV.cumsum(-1) - kept_RV
        keep_RV &= before_RV < sampling.top_p * kept_RV.sum(-1, keepdim=True)
    if sampling.min_p > 0:
        keep_RV &= sorted_RV >= sampling.min_p * sorted_RV[:, :1]
    return prob_RV * torch.zeros_like(keep_RV).scatter(-1, order_RV, keep_RV)
