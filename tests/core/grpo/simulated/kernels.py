"""Kernels of the simulated device that are more than the CPU's operator of the same name."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

_sdpa = torch.nn.functional.scaled_dot_product_attention


def attention(gpu: Any) -> Any:
    """SDPA as its meaning, one launch on that simulated GPU, in the dtype that autocast wants."""
    return partial(_attention, gpu)


def _attention(
    gpu: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    given = [x for x in (query, key, value, attn_mask) if x is not None]
    here = [x.device.type == "cuda" for x in given]
    if not any(here):
        return _sdpa(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if not all(here):
        raise RuntimeError("Expected all tensors to be on the same device: scaled_dot_product_attention")
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (x.to(torch.get_autocast_dtype("cuda")) for x in (query, key, value))
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(f"Expected one dtype, got {query.dtype}, {key.dtype}, {value.dtype}")
    gpu.launches["scaled_dot_product_attention"] += gpu.counting
    before, gpu.counting = gpu.counting, False
    with torch.autocast("cuda", enabled=False):
        n = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(n, 1) if n > 1 else x for x in (key, value))
        score = (query.float() @ key.float().mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            seen = torch.ones(score.shape[-2:], dtype=torch.bool, device=query.device).tril()
            score = score.masked_fill(~seen, -torch.inf)
        if attn_mask is not None:
            score = (
                score.masked_fill(~attn_mask, -torch.inf)
                if attn_mask.dtype == torch.bool
                else score + attn_mask.float()
            )
        weight = torch.where((score > -torch.inf).any(-1, keepdim=True), score.softmax(-1), 0)  # no key seen: 0
        out = (weight @ value.float()).to(query.dtype)
    gpu.counting = before
    return out
