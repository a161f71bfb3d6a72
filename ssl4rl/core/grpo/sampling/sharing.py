"""Completions by the decoders that keep a prompt once, batch after batch, none of which waits for its longest replies.

A batch decodes until all its completions have ended or the memory of its rows is full and would double. There most
have often ended. What is left then stays behind, with its keys and values, until others have come as far, and they go
on together. All rows of a batch have said equally many tokens, so nothing of one must be hidden from another, and
where all completions fit into one batch nothing changes. What stays behind is less than half a batch at each doubling.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.sampling.cascade import Cascade
from ssl4rl.core.grpo.sampling.host import News, sent
from ssl4rl.core.grpo.sampling.prefill import prefill_shared
from ssl4rl.core.grpo.sampling.replies import Replies
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample, sample_of_rows


@dataclass
class Batch:
    """A completions that are decoded together, on the rows of a cascade. All have said `t` tokens.

    `number_A`: which of all completions each is; `row_A`: its row; `place_A`: its row of `noise_NT`, the uniforms (None
    for greedy decoding); `token_A`: what it said last, which the cascade has not heard yet. `next_AP`: the first
    position after each prompt, by the cascade's number of it. `logits_RV`: of each row's next token.
    """

    cascade: Any
    next_AP: Tensor
    logits_RV: Tensor
    number_A: Tensor
    row_A: Tensor
    place_A: Tensor
    token_A: Tensor
    noise_NT: Tensor | None
    t: int = 0

    def __len__(self) -> int:
        return len(self.number_A)


class Shared:
    """Decodes on a `Cascade`: equal beginnings are one row, and completions that end leave at once.

    Who goes on, and beside whom, decides the next step's shapes, so the host keeps these books: it asks the device for
    each step's tokens, once, and sends the indices back.
    """

    static = False

    def __init__(self, policy: Policy, sampling: Sampling, replies: Replies) -> None:
        self.policy, self.sampling, self.replies = policy, sampling, replies
        self.device, self.inner = policy.device, inner_model(policy.model)

    def begin(
        self,
        prompts: Sequence[Encoded],
        features: Sequence[MediaFeatures | None],
        group_size: int,
        first: int,
        noise_NT: Tensor | None,
    ) -> Batch:
        """Prompts, each with all its completions; the first of these has the number `first`."""
        cascade, logits_PV, next_AP = prefill_shared(
            self.policy.model, prompts, features, self.policy.pad_id, self.static
        )
        place_A = torch.arange(len(prompts) * group_size)
        row_A, none_A = place_A // group_size, torch.zeros_like(place_A)
        return self._opened(Batch(cascade, next_AP, logits_PV, first + place_A, row_A, place_A, none_A, noise_NT))

    def advance(self, batch: Any) -> bool:
        """Goes on until all have ended (False), or until a `step` would double their memory (True)."""
        while self._say(batch):
            if batch.cascade.full:
                return self._settle(batch)
            self.step(batch)
        return False

    def step(self, batch: Any) -> None:
        """The last tokens through the model."""
        cascade = batch.cascade
        token_R, batch.row_A = _branch(cascade, batch.row_A, batch.token_A, batch.logits_RV.shape[1])
        position_AR = batch.next_AP[:, cascade.on_device(cascade.prompt_R)] + (batch.t - 1)
        batch.logits_RV = cascade.step(self.inner, sent(token_R, self.device), position_AR)

    def join(self, batch: Any, other: Any) -> None:
        """Takes another batch, settled and with as many tokens, into this one."""
        batch.row_A = torch.cat([batch.row_A, other.row_A + len(batch.cascade)])
        batch.place_A = torch.cat([batch.place_A, other.place_A + len(batch)])
        batch.cascade.join(other.cascade, batch.next_AP.shape[1])
        batch.next_AP = torch.cat([batch.next_AP, other.next_AP], 1)
        batch.number_A, batch.token_A = (
            torch.cat(pair) for pair in ((batch.number_A, other.number_A), (batch.token_A, other.token_A))
        )
        if batch.noise_NT is not None:
            batch.noise_NT = torch.cat([batch.noise_NT, other.noise_NT])

    def _opened(self, batch: Batch) -> Batch:
        """A new batch as this decoder keeps its books."""
        return batch

    def _say(self, batch: Any) -> bool:
        """A token of each; those that end with it leave. Whether any goes on."""
        self.replies.ban(batch.logits_RV)
        noise_A = None if batch.noise_NT is None else batch.noise_NT[sent(batch.place_A, self.device), batch.t]
        token_A = sample_of_rows(batch.logits_RV.float(), batch.row_A, self.sampling, noise_A).cpu()
        on_A = self.replies.write(batch.t, batch.number_A, token_A, torch.ones_like(token_A, dtype=torch.bool))
        batch.number_A, batch.row_A, batch.place_A, batch.token_A = (
            x[on_A] for x in (batch.number_A, batch.row_A, batch.place_A, token_A)
        )
        batch.t += 1
        return batch.t < self.sampling.max_new_tokens and len(batch) > 0

    def _settle(self, batch: Any) -> bool:
        """Lets go of what only completions that have ended needed. Whether any goes on."""
        if batch.noise_NT is not None:
            batch.noise_NT = batch.noise_NT[sent(batch.place_A, self.device)]
        batch.place_A = torch.arange(len(batch))
        batch.logits_RV = batch.logits_RV[:0].clone()
        return True


@dataclass
class StaticBatch(Batch):
    """`on_A`: which go on; `next_AR`: the first position after each row's prompt."""

    on_A: Tensor = field(kw_only=True)
    next_AR: Tensor = field(kw_only=True)
    news: News = field(kw_only=True)


class Static(Shared):
    """The same on a `StaticCascade` with a row for each completion; the host hears now and then who goes on."""

    static = True

    def _opened(self, batch: Batch) -> StaticBatch:
        host_A = batch.row_A
        batch.cascade.select(host_A)
        row_A, number_A = sent(host_A, self.device), sent(batch.number_A, self.device)
        place_A = torch.arange(len(batch), device=self.device)
        return StaticBatch(
            batch.cascade,
            batch.next_AP,
            batch.logits_RV[row_A],
            number_A,
            place_A,
            place_A,
            place_A,
            batch.noise_NT,
            on_A=torch.ones_like(place_A, dtype=torch.bool),
            next_AR=batch.next_AP[:, row_A],
            news=News(self.device),
        )

    def step(self, batch: Any) -> None:
        """As `Shared.step`."""
        batch.logits_RV = batch.cascade.step(self.inner, batch.token_A, batch.next_AR + (batch.t - 1))

    def join(self, batch: Any, other: Any) -> None:
        """As `Shared.join`."""
        super().join(batch, other)
        batch.on_A = torch.cat([batch.on_A, other.on_A])
        batch.next_AR = torch.cat([batch.next_AR, other.next_AR], 1)

    def _say(self, batch: Any) -> bool:
        self.replies.ban(batch.logits_RV)
        noise_A = None if batch.noise_NT is None else batch.noise_NT[:, batch.t]
        batch.token_A = sample(batch.logits_RV.float(), self.sampling, noise_A)
        batch.on_A = self.replies.write(batch.t, batch.number_A, batch.token_A, batch.on_A)
        batch.t += 1
        return batch.t < self.sampling.max_new_tokens and not batch.news.all_ended(batch.t - 1, batch.on_A)

    def _settle(self, batch: Any) -> bool:
        host_A = batch.on_A.cpu().nonzero()[:, 0]
        if not len(host_A):
            return False
        batch.cascade.select(host_A)
        kept_A = sent(host_A, self.device)
        batch.number_A, batch.token_A, batch.on_A = (x[kept_A] for x in (batch.number_A, batch.token_A, batch.on_A))
        batch.next_AR, batch.news = batch.next_AR[:, kept_A], News(self.device)
        if batch.noise_NT is not None:
            batch.noise_NT = batch.noise_NT[kept_A]
        batch.row_A = batch.place_A = torch.arange(len(batch), device=self.device)
        batch.logits_RV = batch.logits_RV[:0].clone()
        return True


def decode_in_batches(decoder: Shared, begin: Sequence[Callable[[], Batch]], max_rows: int) -> None:
    """Decodes all batches that `begin` begins, of at most `max_rows` completions at a time.

    A batch with less than half of `max_rows` left waits at a doubling of its memory while younger ones may still come
    as far; those that meet there and fit go on as one.
    """
    fresh = deque(begin)
    waiting: dict[int, Batch] = {}
    while fresh or waiting:
        if fresh:
            batch = fresh.popleft()()
        else:
            batch = waiting.pop(min(waiting))
            decoder.step(batch)
        while decoder.advance(batch):
            met = waiting.get(batch.t)
            if met is not None and len(met) + len(batch) <= max_rows:
                decoder.join(batch, waiting.pop(batch.t))
            younger = bool(fresh) or any(t < batch.t for t in waiting)
            if younger and 2 * len(batch) < max_rows:
                waiting[batch.t] = batch
                break
            decoder.step(batch)


def _branch(cascade: Cascade, row_A: Tensor, token_A: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """One row for each distinct (row, token). Returns each row's token [R] and each completion's row [A].

    Rows that nobody goes on from stay, with any token, until they are a quarter: moving the others costs a copy.
    """
    key_R, inverse_A = torch.unique(row_A * vocabulary + token_A, return_inverse=True)
    parent_R, token_R = key_R // vocabulary, key_R % vocabulary
    parts = bool((parent_R[1:] == parent_R[:-1]).any())
    if not parts and len(parent_R) > 0.75 * len(cascade):
        return torch.zeros(len(cascade), dtype=torch.long).scatter(0, parent_R, token_R), row_A
    cascade.select(parent_R)
    return token_R, inverse_A
