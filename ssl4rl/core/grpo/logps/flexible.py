"""Packed attention for accelerators: one FlexAttention call a layer, whose block mask skips what no token sees.

FlexAttention (Dong et al. 2024, https://arxiv.org/abs/2412.05496) compiles the mask below into its kernel: the prompt's
keys and values lie in memory once, and blocks of branches that do not see each other are never computed. PyTorch has
no kernel of its backward pass for the CPU, where ``attention.merged_attention`` is used. Tested there are the compiled
forward pass, and values and gradients by PyTorch's reference of the operator.

What the kernel asks for, by torch 2.13's source (it raises otherwise, and ``preflight`` then falls back): head
dimensions of 16 or more on CUDA, queries, keys and values of one dtype, query heads a multiple of key heads. A row may
have any length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from ssl4rl.core.grpo.logps.layout import Layout

BLOCK = 128  # tokens; the kernel's tiles must divide it, and all of PyTorch's own do
PROMPT = -1
HEADS, HEAD_DIM = 1, 3  # axes of [1, H, S, D]


def flexible_attention(q_1HSD: Tensor, k_1KSD: Tensor, v_1KSD: Tensor, plan: Layout, scale: float) -> Tensor:
    """Attention of a packed row. Returns [S, H, D] in the input's dtype.

    Compiled on an accelerator; the first call takes a minute or so, later ones of any length reuse it.
    """
    usual = q_1HSD.shape[HEAD_DIM] ** -0.5
    if scale != usual:
        # A float argument would become a symbol of the compiled graph, where the kernel wants a constant.
        q_1HSD = q_1HSD * (scale / usual)
    for x in (q_1HSD, k_1KSD, v_1KSD):
        torch._dynamo.mark_static(x, [HEADS, HEAD_DIM])  # else the usual scale is a symbol too
    out_1HSD: Tensor = _ready(q_1HSD.device)(
        q_1HSD,
        k_1KSD,
        v_1KSD,
        block_mask=row_mask(plan, q_1HSD.device),
        enable_gqa=q_1HSD.shape[HEADS] != k_1KSD.shape[HEADS],
        # rows of fewer than 128 tokens would take a kernel made for decoding, and preflight's rows may be that short
        kernel_options={"FORCE_USE_FLEX_ATTENTION": True},
    )
    return out_1HSD[0].transpose(0, 1)


def row_mask(plan: Layout, device: torch.device) -> BlockMask:
    """`block_mask`, made once for all layers."""
    if device not in plan.masks:
        plan.masks[device] = block_mask(plan, device)
    found: BlockMask = plan.masks[device]
    return found


def block_mask(plan: Layout, device: torch.device) -> BlockMask:
    """The row's mask in blocks of 128 x 128 tokens: empty, full, or looked up token by token.

    What ``create_block_mask`` returns, without a mask of the whole row in memory and without another compilation.
    """
    group_S, branch_S = (x.to(device) for x in pieces(plan))

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = group_S[query] == group_S[key]
        reach = (branch_S[key] == PROMPT) | (branch_S[key] == branch_S[query])
        return same & reach & (key <= query)

    place_S = torch.arange(plan.tokens, device=device)
    some, every = [], []
    for query_Q in place_S.split(BLOCK):  # type: ignore[no-untyped-call]
        seen_QS = sees(query_Q, query_Q, query_Q[:, None], place_S[None])
        # tokens past the end are seen by nobody and see nobody, so a ragged block is never full
        seen_BS = F.pad(seen_QS, (0, -plan.tokens % BLOCK, 0, BLOCK - len(query_Q)))
        seen_BNB = seen_BS.view(BLOCK, -1, BLOCK)
        some.append(seen_BNB.any(2).any(0))
        every.append(seen_BNB.all(2).all(0))
    some_NN, full_NN = torch.stack(some), torch.stack(every)
    return BlockMask.from_kv_blocks(
        *_ordered(some_NN & ~full_NN),
        *_ordered(full_NN),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(plan.tokens, plan.tokens),
    )


def pieces(plan: Layout) -> tuple[Tensor, Tensor]:
    """For each token of the row its group, and its branch within the group, ``PROMPT`` for a prompt's; long [S]."""
    group_S = torch.empty(plan.tokens, dtype=torch.long)
    branch_S = torch.full((plan.tokens,), PROMPT)
    for number, span in enumerate(plan.spans):
        group_S[span.prompt_start : span.prompt_end] = number
        group_S[span.start : span.end] = number
        branches = torch.arange(len(span.lengths))
        branch_S[span.start : span.end] = branches.repeat_interleave(torch.tensor(span.lengths))
    return group_S, branch_S


def _ordered(chosen_NN: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys are chosen for each block of queries [1, 1, N], and which, those first [1, 1, N, N]."""
    count_N = chosen_NN.sum(1, dtype=torch.int32)
    index_NN = chosen_NN.byte().argsort(dim=1, descending=True, stable=True).int()
    return count_N[None, None], index_NN[None, None].contiguous()


def _ready(device: torch.device) -> Callable[..., Any]:
    if device.type == "cpu":
        return flex_attention
    return compiled()


@cache
def compiled() -> Callable[..., Any]:
    """``flex_attention`` for rows of any length.

    ``fullgraph``: past dynamo's limit of recompilations it raises, where else the whole row's scores would be written
    out in silence. Expected are two for training and log-probs without gradient, and as many for rows of one block.
    """
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)
