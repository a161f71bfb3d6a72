"""Attention over a packed row in which the branches of a prompt see the prompt once.

A row is ``[prompt 1 | ... | prompt P | branches of prompt 1 | ... | branches of prompt P]``. A prompt attends causally
to itself; a branch attends to the whole of its prompt and causally to itself; nothing else sees anything. ``Layout``
says where the pieces lie.

Three implementations agree (tests/core/grpo/logps/test_attention.py):

- ``merged_attention`` runs flash attention on pieces without copying keys: prompt on prompt, branches on prompt,
  branches on themselves. The two parts of a branch are joined by their log-sum-exp, as in ring attention (Liu et al.
  2023, https://arxiv.org/abs/2310.01889, section 3.1). Given the joined output and log-sum-exp, the flash backward of
  each part is exact by itself. CPU only, since it calls the CPU kernel by name.
- ``flexible.flexible_attention``, on every other device: one FlexAttention call under a block mask.
- ``concatenated_attention`` repeats the prompt's keys before each branch's own and masks. Any device; the slow twin,
  and what ``preflight`` falls back to where the others fail.

``install`` puts them behind transformers' ``AttentionInterface`` for the text model; a vision tower keeps its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ssl4rl.core.grpo.logps.flexible import flexible_attention
from ssl4rl.core.grpo.logps.layout import Layout, Span
from ssl4rl.core.grpo.model.patches import multiply_patches

ATTENTION = "ssl4rl_shared_prefix"
COPYING = "ssl4rl_shared_prefix_copying"  # the same, always by ``concatenated_attention``
FAR = 1e30  # a log-sum-exp beyond reach: exp(score - FAR) is 0, so padded queries pass no gradient on


class Decoding(Protocol):
    """A step of decoding that attends by itself (``sampling.cascade``)."""

    def attend(self, layer: int, query_RH1D: Tensor, key_RKTD: Tensor, value_RKTD: Tensor, scale: float) -> Tensor:
        """Attention of one token a row in that layer. Returns [R, 1, H, D]."""


def install(model: PreTrainedModel, implementation: str = ATTENTION) -> str:
    """Let the text model of ``model`` take packed rows from now on; other calls go to SDPA as before.

    It stays installed, because gradient checkpointing runs the attention again during the backward pass, after any
    ``with`` block round the forward pass has ended. Patch embeddings become matrix products with it. Returns the
    implementation that was in place; passing that name as ``implementation`` puts it all back. Where ``COPYING`` was
    put in place it stays. Raises ValueError if the model takes none.
    """
    config = model.config
    text = config.get_text_config(decoder=True)
    before: str = text._attn_implementation
    if before == implementation or (before == COPYING and implementation == ATTENTION):
        return before
    AttentionInterface.register(ATTENTION, shared_prefix_attention)
    AttentionInterface.register(COPYING, partial(shared_prefix_attention, copying=True))
    for name in (ATTENTION, COPYING):
        AttentionMaskInterface.register(name, sdpa_mask)
    part = next((key for key in config.sub_configs if getattr(config, key, None) is text), None)
    model.set_attn_implementation(implementation if part is None else {part: implementation})
    if text._attn_implementation != implementation:
        raise ValueError(f"{type(model).__name__} did not accept an attention function for its text model")
    multiply_patches(model, implementation in (ATTENTION, COPYING))  # preflight compares it with the model as it came
    return before


def shared_prefix_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_prefix: Layout | None = None,
    cascade: Decoding | None = None,
    copying: bool = False,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What ``install`` registers: packed when the call carries ``shared_prefix``, else transformers' SDPA.

    query [1, H, S, D]; key, value [1, K, S, D] with H a multiple of K. Returns [1, S, H, D]. A call that carries
    ``cascade`` is a step of decoding and is attended to there.
    """
    if shared_prefix is None and cascade is None:
        if attention_mask is not None and not attention_mask.numel():
            raise RuntimeError("a packed row came without its layout: the model does not hand keyword arguments down")
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    odd = [name for name in ("softcap", "s_aux", "sliding_window", "position_bias") if kwargs.get(name) is not None]
    if odd or dropout:
        raise ValueError(f"packed attention knows no {' or '.join(odd) or 'dropout'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if cascade is not None:
        return cascade.attend(int(module.layer_idx), query, key, value, scale), None  # type: ignore[arg-type]
    assert shared_prefix is not None
    if torch.is_autocast_enabled(query.device.type):
        # Autocast knows SDPA but not the kernels called here; rotary embeddings leave queries wider than values.
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    fast = merged_attention if query.device.type == "cpu" else flexible_attention
    attend = concatenated_attention if copying else fast
    return attend(query, key, value, shared_prefix, scale).unsqueeze(0), None


def concatenated_attention(q_1HSD: Tensor, k_1KSD: Tensor, v_1KSD: Tensor, plan: Layout, scale: float) -> Tensor:
    """The slow twin: every branch gets a copy of its prompt's keys and values. Returns [S, H, D]."""
    q, k, v = q_1HSD[0], k_1KSD[0], v_1KSD[0]
    prompts, branches = [], []
    for span in plan.spans:
        prompt = slice(span.prompt_start, span.prompt_end)
        if span.prompt_end > span.prompt_start:
            prompts.append(
                F.scaled_dot_product_attention(
                    q[None, :, prompt],
                    k[None, :, prompt],
                    v[None, :, prompt],
                    is_causal=True,
                    scale=scale,
                    enable_gqa=True,
                )[0]
            )
        own_k, own_v = _branches(k, span), _branches(v, span)
        G, _, T, _ = own_k.shape
        keys = torch.cat([k[None, :, prompt].expand(G, -1, -1, -1), own_k], dim=2)
        values = torch.cat([v[None, :, prompt].expand(G, -1, -1, -1), own_v], dim=2)
        P = span.prompt_end - span.prompt_start
        seen = torch.ones(T, P + T, dtype=torch.bool, device=q.device).tril(P)
        out_GHTD = F.scaled_dot_product_attention(
            _branches(q, span), keys, values, attn_mask=seen, scale=scale, enable_gqa=True
        )
        flat_HND = out_GHTD.transpose(0, 1).flatten(1, 2)
        branches.append(flat_HND if span.pack_N is None else flat_HND[:, span.pack_N])
    return torch.cat([*prompts, *branches], dim=1).transpose(0, 1)


def _branches(x_HSD: Tensor, span: Span) -> Tensor:
    """The branches of a span side by side [G, H, T, D]: a view when they are equally long, else a padded copy."""
    x_HND = x_HSD[:, span.start : span.end]
    if span.gather_GT is None:
        H, _, D = x_HND.shape
        return x_HND.reshape(H, len(span.lengths), -1, D).transpose(0, 1)
    return x_HND[:, span.gather_GT].transpose(0, 1)


def merged_attention(q_1HSD: Tensor, k_1KSD: Tensor, v_1KSD: Tensor, plan: Layout, scale: float) -> Tensor:
    """The fast one. One autograd node a layer: autograd's own slices would each return a gradient as long as the row.

    Returns [S, H, D] in the input's dtype; log-sum-exps and the join are at least float32.
    """
    out: Tensor = _Merged.apply(q_1HSD, k_1KSD, v_1KSD, plan, scale)  # type: ignore[no-untyped-call]
    return out


def _flash(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Flash attention of [B, H, Q, D] on [B, K, N, D]: output like q, log-sum-exp [B, H, Q]."""
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)
    return out, lse


def _flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    dq, dk, dv = backward(grad, q, k, v, out, lse, 0.0, causal, scale=scale)
    return dq, dk, dv


class _Merged(torch.autograd.Function):
    """Three flash calls a span, joined; see the module's docstring."""

    @staticmethod
    def forward(ctx: Any, q_1HSD: Tensor, k_1KSD: Tensor, v_1KSD: Tensor, plan: Layout, scale: float) -> Tensor:
        _, H, S, D = q_1HSD.shape
        q, k, v = q_1HSD[0], k_1KSD[0], v_1KSD[0]
        wide = torch.promote_types(q.dtype, torch.float32)
        out_SHD = q.new_empty(S, H, D)
        out_HSD = out_SHD.transpose(0, 1)
        lse_HS = q.new_empty(H, S, dtype=wide)
        for span in plan.spans:
            prompt, branch = slice(span.prompt_start, span.prompt_end), slice(span.start, span.end)
            own_out, own_lse = _flash(_branches(q, span), _branches(k, span), _branches(v, span), True, scale)
            own_out_HND, own_lse_HN = _pack(own_out, span), _pack(own_lse, span)
            if span.prompt_end == span.prompt_start:
                out_HSD[:, branch], lse_HS[:, branch] = own_out_HND, own_lse_HN
                continue
            k_p, v_p = k[None, :, prompt], v[None, :, prompt]
            out, lse = _flash(q[None, :, prompt], k_p, v_p, True, scale)
            out_HSD[:, prompt], lse_HS[:, prompt] = out[0], lse[0]
            far_out, far_lse = _flash(q[None, :, branch], k_p, v_p, False, scale)
            joined_HN = torch.logaddexp(far_lse[0], own_lse_HN)
            weight_HN1 = torch.exp(far_lse[0] - joined_HN).unsqueeze(-1)
            out_HSD[:, branch] = torch.lerp(own_out_HND.to(wide), far_out[0].to(wide), weight_HN1)
            lse_HS[:, branch] = joined_HN
        ctx.save_for_backward(q_1HSD, k_1KSD, v_1KSD, out_SHD, lse_HS)
        ctx.plan, ctx.scale = plan, scale
        return out_SHD

    @staticmethod
    def backward(ctx: Any, grad_SHD: Tensor) -> tuple[Tensor | None, ...]:
        q_1HSD, k_1KSD, v_1KSD, out_SHD, lse_HS = ctx.saved_tensors
        scale = ctx.scale
        q, k, v = q_1HSD[0], k_1KSD[0], v_1KSD[0]
        grad, out = grad_SHD.transpose(0, 1), out_SHD.transpose(0, 1)
        dq, dk, dv = (_token_major(x_1HSD)[0] for x_1HSD in (q_1HSD, k_1KSD, v_1KSD))
        for span in ctx.plan.spans:
            prompt, branch = slice(span.prompt_start, span.prompt_end), slice(span.start, span.end)
            g, a, b, c, o = (_branches(x, span) for x in (grad, q, k, v, out))
            own_lse = _branches(lse_HS.unsqueeze(-1), span).squeeze(-1)
            if span.pad_GT is not None:
                own_lse = own_lse.masked_fill(span.pad_GT[:, None], FAR)
            own_dq, own_dk, own_dv = _flash_backward(g, a, b, c, o, own_lse, True, scale)
            dq[:, branch], dk[:, branch], dv[:, branch] = (_pack(x, span) for x in (own_dq, own_dk, own_dv))
            if span.prompt_end == span.prompt_start:
                continue
            parts = []
            for queries, causal in ((prompt, True), (branch, False)):
                g, a, o = (x[None, :, queries] for x in (grad, q, out))
                lse = lse_HS[None, :, queries]
                parts.append(_flash_backward(g, a, k[None, :, prompt], v[None, :, prompt], o, lse, causal, scale))
            (own, from_prompt, from_prompt_v), (far, from_branch, from_branch_v) = parts
            dq[:, prompt] = own[0]
            dq[:, branch] += far[0]
            torch.add(from_prompt[0], from_branch[0], out=dk[:, prompt])
            torch.add(from_prompt_v[0], from_branch_v[0], out=dv[:, prompt])
        return dq.unsqueeze(0), dk.unsqueeze(0), dv.unsqueeze(0), None, None


def _pack(x_GHT: Tensor, span: Span) -> Tensor:
    """Undo ``_branches``: [G, H, T, ...] to [H, N, ...] over the span's tokens, padding dropped."""
    flat = x_GHT.transpose(0, 1).flatten(1, 2)
    return flat if span.pack_N is None else flat[:, span.pack_N]


def _token_major(like_1HSD: Tensor) -> Tensor:
    """An empty tensor of that shape laid out [1, S, H, D], as the projections before attention want their gradient."""
    B, H, S, D = like_1HSD.shape
    return like_1HSD.new_empty(B, S, H, D).transpose(1, 2)
