"""Decoding many completions of few prompts, with every prompt's keys and values kept once.

A *row* is a distinct beginning of completions of one prompt: completions that have said the same so far share it, and
part when they sample different tokens. Each step runs the text model on one token a row. A row attends to its prompt,
for which the rows of a prompt are queries side by side, and to its own tokens. ("Cascade" after Ye et al. 2024,
https://flashinfer.ai/2024/02/02/cascade-inference.html.) There the two parts are joined by their log-sum-exp; here the
scores of both go through one softmax, since a step has few of them and every kernel counts.

Shapes change with every token; ``static.StaticCascade`` is the form of it whose shapes stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssl4rl.core.grpo.sampling.host import sent

FIRST_TOKENS = 16  # tokens that a row's memory starts with; it doubles when full


class Cascade:
    """Keys and values of P prompts, and of R rows beyond them; to the model it is a cache.

    ``prompts``: keys and values [P, K, L, D] of each layer, left-padded. ``seen_PL``: bool, False at padding; None if
    nothing is padded. At first R = P, and row r is the empty beginning of prompt r. ``prompt_R`` (long, on the host,
    where the rows' places are worked out) is never decreasing and names each row's prompt by its first number, also
    after prompts were dropped.
    """

    def __init__(self, prompts: Sequence[tuple[Tensor, Tensor]], seen_PL: Tensor | None) -> None:
        P = len(prompts[0][0])
        self.device = prompts[0][0].device
        self.prompt_R = torch.arange(P)
        # keys are kept [P, K, D, L] and [R, K, D, T]: the scores' matrix products take them faster so
        self._prompts = [(attended(k).mT.contiguous(), attended(v)) for k, v in prompts]
        self._kept_P = self.prompt_R  # the prompts that still have their keys and values here
        self._seen_PL = seen_PL
        self._rows: list[tuple[Tensor, Tensor] | None] = [None] * len(prompts)
        self._tokens = 0
        self._place()

    def __len__(self) -> int:
        return len(self.prompt_R)

    def on_device(self, x: Tensor) -> Tensor:
        """An index of the host where the keys are."""
        return sent(x, self.device)

    def get_room(self) -> int:
        """Tokens that a row has memory for."""
        return next((rows[1].shape[2] for rows in self._rows if rows is not None), 0)

    @property
    def full(self) -> bool:
        """Whether the next step doubles the rows' memory: the time for others to join, since it is moved anyway."""
        return 0 < self._tokens == self.get_room()

    def tensors(self) -> list[Tensor]:
        """The keys and values of prompts and rows."""
        return [x for pair in (*self._prompts, *self._rows) if pair is not None for x in pair]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of a row beyond its prompt: transformers' name for it."""
        return self._tokens

    def update(self, key_RK1D: Tensor, value_RK1D: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends a token to every row, as transformers' attention asks for it. Returns views [R, K, T, D] with it."""
        key_RK1D, value_RK1D = attended(key_RK1D), attended(value_RK1D)
        before = self._tokens
        now = before + 1
        rows = self._rows[layer_idx]
        if rows is None or rows[1].shape[2] == before:
            (R, K), D = key_RK1D.shape[:2], key_RK1D.shape[3]
            room = max(FIRST_TOKENS, 2 * before)
            grown = key_RK1D.new_empty(R, K, D, room), value_RK1D.new_empty(R, K, room, value_RK1D.shape[3])
            if rows is not None:
                grown[0][..., :before], grown[1][:, :, :before] = rows
            rows = self._rows[layer_idx] = grown
        keys_RKDT, values_RKTD = rows
        keys_RKDT[..., before:now] = key_RK1D.mT
        values_RKTD[:, :, before:now] = value_RK1D
        return keys_RKDT[..., :now].mT, values_RKTD[:, :, :now]

    def skip(self, tokens: int) -> None:
        """As if every row had said so many more tokens, whatever they were: for `plan`, which has no memory to fill."""
        self._tokens += tokens
        for layer, rows in enumerate(self._rows):
            if rows is not None:
                (R, K, D, room), Dv = rows[0].shape, rows[1].shape[3]
                while room < self._tokens:
                    room *= 2
                self._rows[layer] = rows[0].new_empty(R, K, D, room), rows[1].new_empty(R, K, room, Dv)

    def select(self, parent_R: Tensor) -> None:
        """Makes row i go on from the present row ``parent_R[i]``; long, never decreasing. Rows left out are gone.

        ``parent_R`` lies on the host.
        """
        self.prompt_R = self.prompt_R[parent_R]
        parent_R = self.on_device(parent_R)
        for layer, rows in enumerate(self._rows):
            if rows is not None:
                keys_RKDT, values_RKTD = (
                    _moved(x, parent_R, axis, self._tokens) for x, axis in zip(rows, (3, 2), strict=True)
                )
                self._rows[layer] = keys_RKDT, values_RKTD
        kept_P = torch.bincount(self.prompt_R).nonzero()[:, 0]
        if 2 * len(kept_P) <= len(self._kept_P):
            index_P = self.on_device(torch.searchsorted(self._kept_P, kept_P))
            self._prompts = [(keys[index_P], values[index_P]) for keys, values in self._prompts]
            self._seen_PL = None if self._seen_PL is None else self._seen_PL[index_P]
            self._kept_P = kept_P
        self._place()

    def join(self, other: Cascade, prompts: int) -> None:
        """Takes in the rows of another one behind its own; both are full and have said as many tokens.

        Prompt p of ``other`` is known here by the number ``prompts`` + p.
        """
        if not (self.full and other.full and self._tokens == other._tokens):
            raise AssertionError("only full cascades of as many tokens join")
        self.prompt_R = torch.cat([self.prompt_R, other.prompt_R + prompts])
        self._kept_P = torch.cat([self._kept_P, other._kept_P + prompts])
        L = max(self._prompts[0][1].shape[2], other._prompts[0][1].shape[2])
        seen = [one._seen() for one in (self, other)]
        if any(x_PL.shape[1] < L or one._seen_PL is not None for x_PL, one in zip(seen, (self, other), strict=True)):
            self._seen_PL = torch.cat([_widened(x_PL, L, 1) for x_PL in seen])
        for layer, (own, its) in enumerate(zip(self._prompts, other._prompts, strict=True)):
            keys_PKDL = torch.cat([_widened(x, L, 3) for x in (own[0], its[0])])
            self._prompts[layer] = keys_PKDL, torch.cat([_widened(x, L, 2) for x in (own[1], its[1])])
        for layer, rows in enumerate(self._rows):
            further = other._rows[layer]
            if rows is not None and further is not None:
                self._rows[layer] = torch.cat([rows[0], further[0]]), torch.cat([rows[1], further[1]])
        self._place()

    def _seen(self) -> Tensor:
        """bool [P, L]: what of its prompts is no padding."""
        if self._seen_PL is not None:
            return self._seen_PL
        P, _, L, _ = self._prompts[0][1].shape
        return torch.ones(P, L, dtype=torch.bool, device=self.device)

    def _place(self) -> None:
        """Finds each row's place [P, M] beside the other rows of its prompt; M is the most that a prompt has."""
        index_R = torch.searchsorted(self._kept_P, self.prompt_R)
        count_P = torch.bincount(index_R, minlength=len(self._kept_P))
        self._beside = int(count_P.max())
        self._hidden_P111L = None if self._seen_PL is None else ~self._seen_PL[:, None, None, None]
        self._row_N: Tensor | None = None  # the row at each place, p M + m; None if each row is at its own
        if len(index_R) == self._beside * len(count_P):
            return
        first_P = count_P.cumsum(0) - count_P
        beside_R = torch.arange(len(index_R)) - first_P[index_R]
        self._place_PR = self.on_device(index_R), self.on_device(beside_R)  # the way back
        row_N = torch.zeros(len(count_P) * self._beside, dtype=torch.long)
        row_N[index_R * self._beside + beside_R] = torch.arange(len(index_R))
        self._row_N = self.on_device(row_N)

    def attend(self, layer: int, query_RH1D: Tensor, key_RKTD: Tensor, value_RKTD: Tensor, scale: float) -> Tensor:
        """Attention of one token a row to its prompt and to its own tokens, itself included. Returns [R, 1, H, D]."""
        R, H, _, D = query_RH1D.shape
        K, T = key_RKTD.shape[1:3]
        keys_PKDL, values_PKLD = self._prompts[layer]
        P, M, L = len(keys_PKDL), self._beside, keys_PKDL.shape[3]
        wide = torch.promote_types(value_RKTD.dtype, torch.float32)
        # the H / K query heads that share a key head are queries side by side
        query_RKQD = attended(query_RH1D).reshape(R, K, H // K, D)
        if query_RKQD.dtype == wide:  # a narrower type would round it
            query_RKQD, scale = query_RKQD * scale, 1.0
        far_PKNL = self._beside_prompts(query_RKQD).reshape(P, K, -1, D) @ keys_PKDL
        own_PKMQT = self._beside_prompts(query_RKQD @ key_RKTD.mT)
        score_PKMQS = torch.cat([far_PKNL.view(P, K, M, -1, L), own_PKMQT], -1)
        self._hide(score_PKMQS, L)
        if scale != 1:
            score_PKMQS = score_PKMQS.to(wide).mul_(scale)
        weight_PKMQS = score_PKMQS.softmax(-1, dtype=wide).to(value_RKTD.dtype)
        far_PKND = weight_PKMQS.view(P, K, -1, L + T)[..., :L] @ values_PKLD
        far_RKQD = self._as_rows(far_PKND.view(P, K, M, -1, values_PKLD.shape[3]))
        own_RKQT = self._as_rows(weight_PKMQS[..., L:])
        out = torch.baddbmm(far_RKQD.flatten(0, 1), own_RKQT.flatten(0, 1), value_RKTD.flatten(0, 1))
        return out.view(R, 1, H, -1)

    def _hide(self, score_PKMQS: Tensor, prompt_tokens: int) -> None:
        """Makes the scores of what no row sees -inf: a prompt's padding."""
        if self._hidden_P111L is not None:
            score_PKMQS[..., :prompt_tokens].masked_fill_(self._hidden_P111L, -torch.inf)

    def _beside_prompts(self, x_RKQX: Tensor) -> Tensor:
        """Rows [R, K, Q, X] beside the others of their prompts: [P, K, M, Q, X], anything at places without a row."""
        x_NKQX = x_RKQX if self._row_N is None else x_RKQX[self._row_N]
        return x_NKQX.view(-1, self._beside, *x_NKQX.shape[1:]).transpose(1, 2)

    def _as_rows(self, x_PKMQX: Tensor) -> Tensor:
        """The way back: [P, K, M, Q, X] to [R, K, Q, X], contiguous."""
        x_PMKQX = x_PKMQX.transpose(1, 2)
        if self._row_N is None:
            return x_PMKQX.reshape(-1, *x_PMKQX.shape[2:])
        return x_PMKQX[self._place_PR]

    def step(self, model: PreTrainedModel, token_R: Tensor, position_AR: Tensor) -> Tensor:
        """Adds ``token_R`` to the rows. Returns the logits [R, V] of what comes next.

        ``position_AR``: long, A = 1, or 3 under M-RoPE. ``attention.install`` was called on ``model``.
        """
        logits_RV = self._logits(model, token_R, position_AR)
        self._tokens += 1
        return logits_RV

    def _logits(self, model: PreTrainedModel, token_R: Tensor, position_AR: Tensor) -> Tensor:
        position = position_AR.unsqueeze(-1)
        hidden_R1D = model.get_decoder()(
            input_ids=token_R.unsqueeze(-1),
            position_ids=position[0] if len(position) == 1 else position,
            attention_mask=torch.empty(1, 1, 0, 0, device=token_R.device),  # none is needed, and none is built
            past_key_values=self,
            use_cache=True,
            cascade=self,
        ).last_hidden_state
        head: nn.Module = model.get_output_embeddings()
        logits_RV: Tensor = head(hidden_R1D[:, -1])
        return logits_RV


def attended(x: Tensor) -> Tensor:
    """In the dtype that autocast wants for attention; rotary embeddings leave keys wider than values."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _moved(x_RKXX: Tensor, parent_R: Tensor, token_axis: int, tokens: int) -> Tensor:
    """Chosen rows' first tokens, in memory of the same length."""
    out = x_RKXX.new_empty(len(parent_R), *x_RKXX.shape[1:])
    out.narrow(token_axis, 0, tokens).copy_(x_RKXX.narrow(token_axis, 0, tokens).index_select(0, parent_R))
    return out


def _widened(x: Tensor, length: int, axis: int) -> Tensor:
    """Padded on the left with zeros (False), as prompts are."""
    sizes = list(x.shape)
    sizes[axis] = length - sizes[axis]
    return torch.cat([x.new_zeros(sizes), x], axis) if sizes[axis] else x
