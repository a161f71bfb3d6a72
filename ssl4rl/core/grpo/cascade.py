"""Decoding many completions of few prompts, with every prompt's keys and values kept once.

A *row* is a distinct beginning of completions of one prompt: completions that have said the same so far share it, and
part when they sample different tokens. Each step runs the text model on one token a row. A row attends to its prompt,
for which the rows of a prompt are queries side by side, and to its own tokens; the two parts are joined by their
log-sum-exp, as in ``attention.merged_attention``. ("Cascade" after Ye et al. 2024,
https://flashinfer.ai/2024/02/02/cascade-inference.html.)

Shapes change only in ``Cascade.select`` and where the rows' memory doubles: that is where a static-shape decoder
(CUDA graphs) would take hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

FIRST_TOKENS = 16  # tokens that a row's memory starts with; it doubles when full


class Cascade:
    """Keys and values of P prompts, and of R rows beyond them; to the model it is a cache.

    ``prompts``: keys and values [P, K, L, D] of each layer, left-padded. ``seen_PL``: bool, False at padding; None if
    nothing is padded. At first R = P, and row r is the empty beginning of prompt r. ``prompt_R`` (long) is never
    decreasing and names each row's prompt by its first number, also after prompts were dropped.
    """

    def __init__(self, prompts: Sequence[tuple[Tensor, Tensor]], seen_PL: Tensor | None) -> None:
        P = len(prompts[0][0])
        self.prompt_R = torch.arange(P, device=prompts[0][0].device)
        self._prompts = [tuple(_attended(x) for x in layer) for layer in prompts]
        self._kept_P = self.prompt_R  # the prompts that still have their keys and values here
        self._seen_PL = seen_PL
        self._rows: list[tuple[Tensor, Tensor] | None] = [None] * len(prompts)
        self._tokens = 0
        self._place()

    def __len__(self) -> int:
        return len(self.prompt_R)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of a row beyond its prompt: transformers' name for it."""
        return self._tokens

    def update(self, key_RK1D: Tensor, value_RK1D: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends a token to every row, as transformers' attention asks for it. Returns views [R, K, T, D] with it."""
        new = (_attended(key_RK1D), _attended(value_RK1D))
        rows = self._rows[layer_idx]
        if rows is None or rows[0].shape[2] == self._tokens:
            room = max(FIRST_TOKENS, 2 * self._tokens)
            grown = [x.new_empty(*x.shape[:2], room, x.shape[3]) for x in new]
            for wide, old in zip(grown, rows or (), strict=False):
                wide[:, :, : self._tokens] = old
            rows = self._rows[layer_idx] = (grown[0], grown[1])
        for row, x in zip(rows, new, strict=True):
            row[:, :, self._tokens : self._tokens + 1] = x
        keys, values = (x[:, :, : self._tokens + 1] for x in rows)
        return keys, values

    def select(self, parent_R: Tensor) -> None:
        """Makes row i go on from the present row ``parent_R[i]``; long, never decreasing. Rows left out are gone."""
        self.prompt_R = self.prompt_R[parent_R]
        for layer, rows in enumerate(self._rows):
            if rows is not None:
                keys, values = (_moved(x, parent_R, self._tokens) for x in rows)
                self._rows[layer] = keys, values
        kept_P = torch.bincount(self.prompt_R).nonzero()[:, 0]
        if 2 * len(kept_P) <= len(self._kept_P):
            index_P = torch.searchsorted(self._kept_P, kept_P)
            self._prompts = [tuple(x[index_P] for x in layer) for layer in self._prompts]
            self._seen_PL = None if self._seen_PL is None else self._seen_PL[index_P]
            self._kept_P = kept_P
        self._place()

    def _place(self) -> None:
        """Finds each row's place [P, M] beside the other rows of its prompt; M is the most that a prompt has."""
        index_R = torch.searchsorted(self._kept_P, self.prompt_R)
        count_P = torch.bincount(index_R, minlength=len(self._kept_P))
        self._beside = int(count_P.max())
        self._row_N: Tensor | None = None  # the row at each place, p M + m; None if each row is at its own
        if len(index_R) == self._beside * len(count_P):
            return
        first_P = count_P.cumsum(0) - count_P
        self._place_R = index_R * self._beside + torch.arange(len(index_R), device=index_R.device) - first_P[index_R]
        row_N = torch.zeros(len(count_P) * self._beside, dtype=torch.long, device=index_R.device)
        row_N[self._place_R] = torch.arange(len(index_R), device=index_R.device)
        self._row_N = row_N

    def attend(self, layer: int, query_RH1D: Tensor, key_RKTD: Tensor, value_RKTD: Tensor, scale: float) -> Tensor:
        """Attention of one token a row to its prompt and to its own tokens, itself included. Returns [R, 1, H, D]."""
        R, H, _, D = query_RH1D.shape
        K = key_RKTD.shape[1]
        # the H / K query heads that share a key head are queries side by side
        query_RKQD = _attended(query_RH1D).reshape(R, K, H // K, D)
        own, own_lse = _attention(query_RKQD, key_RKTD, value_RKTD, scale)
        keys, values = self._prompts[layer]
        P, M = len(keys), self._beside
        beside = query_RKQD if self._row_N is None else query_RKQD[self._row_N]
        query_PKND = beside.view(P, M, K, -1, D).transpose(1, 2).reshape(P, K, -1, D)
        far, far_lse = (
            x.view(P, K, M, H // K, -1).transpose(1, 2).reshape(P * M, K, H // K, -1)
            for x in _attention(query_PKND, keys, values, scale, self._seen_PL)
        )
        if self._row_N is not None:
            far, far_lse = far[self._place_R], far_lse[self._place_R]
        # exp(far) / (exp(far) + exp(own))
        out = torch.lerp(own, far, torch.sigmoid(far_lse - own_lse))
        return out.to(value_RKTD.dtype).reshape(R, 1, H, D)

    def step(self, model: PreTrainedModel, token_R: Tensor, position_AR: Tensor) -> Tensor:
        """Adds ``token_R`` to the rows. Returns the logits [R, V] of what comes next.

        ``position_AR``: long, A = 1, or 3 under M-RoPE. ``attention.install`` was called on ``model``.
        """
        position = position_AR.unsqueeze(-1)
        hidden_R1D = model.get_decoder()(
            input_ids=token_R.unsqueeze(-1),
            position_ids=position[0] if len(position) == 1 else position,
            attention_mask=torch.empty(1, 1, 0, 0, device=token_R.device),  # none is needed, and none is built
            past_key_values=self,
            use_cache=True,
            cascade=self,
        ).last_hidden_state
        self._tokens += 1
        head: nn.Module = model.get_output_embeddings()
        logits_RV: Tensor = head(hidden_R1D[:, -1])
        return logits_RV


def _attended(x: Tensor) -> Tensor:
    """In the dtype that autocast wants for attention; rotary embeddings leave keys wider than values."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _attention(
    q_BKND: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, scale: float, seen_BT: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output [B, K, N, D] and log-sum-exp [B, K, N, 1], both at least float32."""
    wide = torch.promote_types(q_BKND.dtype, torch.float32)
    score_BKNT = (q_BKND @ k_BKTD.transpose(-1, -2)).to(wide).mul_(scale)
    if seen_BT is not None:
        score_BKNT.masked_fill_(~seen_BT[:, None, None], -torch.inf)
    most_BKN1 = score_BKNT.amax(-1, keepdim=True)
    weight_BKNT = score_BKNT.sub_(most_BKN1).exp_()
    total_BKN1 = weight_BKNT.sum(-1, keepdim=True)
    out_BKND = (weight_BKNT.to(v_BKTD.dtype) @ v_BKTD) / total_BKN1
    return out_BKND, total_BKN1.log_().add_(most_BKN1)


def _moved(x_RKTD: Tensor, parent_R: Tensor, tokens: int) -> Tensor:
    """Chosen rows' first tokens, in memory of the same length."""
    out = x_RKTD.new_empty(len(parent_R), *x_RKTD.shape[1:])
    out[:, :, :tokens] = x_RKTD[:, :, :tokens].index_select(0, parent_R)
    return out
