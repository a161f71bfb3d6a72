"""One optimiser update from scored groups: micro-batches of shared-prefix log-probs, loss, backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.prefix import Group, TokenLogps, image_features, shared_logps, unshared_logps
from ssl4rl.core.grpo.logps.structure import bare_head
from ssl4rl.core.grpo.model.policy import Policy, autocast
from ssl4rl.core.grpo.update.loss import importance_weights, kl_k3, policy_loss, token_weights
from ssl4rl.core.recipe.sections import GrpoSection

Logps = Callable[[Any, Sequence[Group], float], TokenLogps]
"""(model, groups, temperature) -> log-probs: with shared prompts, or the unshared twin."""
Backward = Callable[[Tensor], object]
"""Adds a loss's gradient to what there is."""


def logps_in_rows(shared: bool, row_tokens: int) -> Logps:
    """Log-probs with shared prompts in rows of about `row_tokens`, or the unshared twin."""

    def with_shared(model: Any, groups: Sequence[Group], temperature: float) -> TokenLogps:
        return shared_logps(model, groups, temperature=temperature, row_tokens=row_tokens)

    def unshared(model: Any, groups: Sequence[Group], temperature: float) -> TokenLogps:
        return unshared_logps(model, groups, temperature=temperature, chunked=bare_head(model))

    return with_shared if shared else unshared


@dataclass
class Batch:
    """P groups with what the loss needs. Completions of a group: G sampled ones, then R rehearsed ones (may be 0).

    `advantage_PG` float [P, G]; `old_PGT`, `reference_PGT` and `sampler_PGT` (log-probs by another engine that sampled)
    float [P, G, T] or None.
    """

    groups: Sequence[Group]
    advantage_PG: Tensor
    old_PGT: Tensor | None = None
    reference_PGT: Tensor | None = None
    sampler_PGT: Tensor | None = None

    @property
    def mask_PGT(self) -> Tensor:
        """bool [P, G, T] of the sampled completions, T the longest of them in this batch."""
        lengths = [[len(ids) for ids in g.completion_ids[: self.advantage_PG.shape[1]]] for g in self.groups]
        length_PG = torch.tensor(lengths)
        return torch.arange(int(length_PG.max())) < length_PG[..., None]

    def cut(self, keep: Sequence[int]) -> Batch:
        """The groups at positions `keep`."""
        index = torch.tensor(list(keep), dtype=torch.long)

        def at(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[index]

        groups = [self.groups[i] for i in keep]
        frozen = (at(x) for x in (self.old_PGT, self.reference_PGT, self.sampler_PGT))
        return Batch(groups, self.advantage_PG[index], *frozen)


@dataclass
class Stats:
    """Sums over the micro-batches of an update.

    Where another engine sampled: the mean of the tokens' importance weights and the `largest` of them, before they are
    truncated, and the share of those that the cap truncates.
    """

    loss: float = 0.0
    clipped: float = 0.0
    kl: float = 0.0
    rehearsal: float = 0.0
    importance: float = 0.0
    capped: float = 0.0
    largest: float = 0.0

    def add(self, update: Stats, updates: int) -> None:
        """Takes one of a step's `updates` into their mean; the largest stays the largest."""
        largest = max(self.largest, update.largest)
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(update, name) / updates)
        self.largest = largest

    def metrics(self) -> dict[str, Any]:
        """For the log."""
        found = {"loss": round(self.loss, 8), "rehearsal": round(self.rehearsal, 6)}
        found |= {"kl": round(self.kl, 8), "clipped": round(self.clipped, 6)}
        if not self.largest:
            return found
        names = ("importance", "largest", "capped")
        mean, largest, capped = (round(getattr(self, name), 6) for name in names)
        return {**found, "importance": {"mean": mean, "largest": largest, "capped": capped}}


def micro_batches(groups: Sequence[Group], tokens: int) -> Iterator[list[int]]:
    """Positions of consecutive groups that cost at most `tokens` together; a larger group comes alone."""
    current: list[int] = []
    spent = 0
    for i, group in enumerate(groups):
        if current and spent + group.tokens > tokens:
            yield current
            current, spent = [], 0
        current.append(i)
        spent += group.tokens
    if current:
        yield current


@torch.no_grad()
def frozen_logps(
    policy: Policy, logps: Logps, groups: Sequence[Group], *, temperature: float, tokens_per_microbatch: int
) -> Tensor:
    """float [P, G, T]: log-probs of all completions under the policy as it is now, without gradient or dropout."""
    parts = []
    training = policy.model.training
    policy.model.eval()
    for keep in micro_batches(groups, tokens_per_microbatch):
        with autocast(policy):
            parts.append(logps(policy.model, [groups[i] for i in keep], temperature).logp_PGT.float().cpu())
    policy.model.train(training)
    longest = max(part.shape[-1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in parts])


@torch.no_grad()
def frozen_features(policy: Policy, groups: Sequence[Group], at_once: int) -> list[MediaFeatures | None]:
    """Each group's image features from a tower that is not trained, `at_once` groups at a time, without dropout."""
    training = policy.model.training
    policy.model.eval()
    with autocast(policy):
        parts = [image_features(policy.model, groups[at : at + at_once]) for at in range(0, len(groups), at_once)]
    policy.model.train(training)
    return [one for part in parts for one in part]


def accumulate(
    policy: Policy,
    logps: Logps,
    batch: Batch,
    settings: GrpoSection,
    *,
    temperature: float,
    max_new_tokens: int,
    sequences: int,
    tokens: int,
    tokens_per_microbatch: int,
    sampled_tokens: int | None = None,
    rehearsed_tokens: int | None = None,
    rehearsal: float = 0.0,
    backward: Backward = Tensor.backward,
) -> Stats:
    """Adds the gradient of the batch's loss to the model's `.grad`; the same however the batch is cut.

    Args:
        batch: groups whose completions are the G sampled ones, then perhaps rehearsed ones.
        sequences: how many sampled completions the loss is averaged over (dropped groups included).
        tokens: how many tokens they have together.
        sampled_tokens: how many sampled tokens the statistics are averaged over; None is those of the batch. More
            than that when other processes compute other groups.
        rehearsed_tokens: the same for the rehearsed ones.
        rehearsal: weight of the mean cross-entropy on the rehearsed completions.
        backward: what a micro-batch's loss is given to.
    """
    stats = Stats()
    G = batch.advantage_PG.shape[1]
    mask_all = batch.mask_PGT
    weight_all = token_weights(mask_all, settings.loss, max_new_tokens, sequences, tokens)
    if rehearsed_tokens is None:
        rehearsed_tokens = sum(len(ids) for g in batch.groups for ids in g.completion_ids[G:])
    for keep in micro_batches(batch.groups, tokens_per_microbatch):
        part = batch.cut(keep)
        with autocast(policy):
            out = logps(policy.model, part.groups, temperature)
        T = min(out.logp_PGT.shape[-1], mask_all.shape[-1])
        device = out.logp_PGT.device
        logp = out.logp_PGT[:, :G, :T].float()
        mask, weight = mask_all[keep, :, :T].to(device), weight_all[keep, :, :T].to(device)
        old = logp.detach() if part.old_PGT is None else part.old_PGT[:, :G, :T].to(device)
        token_loss, clipped = policy_loss(
            logp, old, part.advantage_PG.to(device), mask, settings.loss, settings.clip_low, settings.clip_high
        )
        if part.sampler_PGT is not None:
            token_loss = token_loss * _importance(stats, old, part, mask, settings.importance_cap)
        if part.reference_PGT is not None:
            kl = kl_k3(logp, part.reference_PGT[:, :G, :T].to(device))
            stats.kl += float((kl.detach() * mask).sum())
            token_loss = token_loss + settings.beta * kl
        loss = (token_loss * weight).sum()
        stats.loss += float(loss.detach())
        stats.clipped += float(clipped) * int(mask.sum())
        if rehearsed_tokens:
            cross_entropy = -(out.logp_PGT[:, G:] * out.mask_PGT[:, G:]).sum() / rehearsed_tokens
            stats.rehearsal += float(cross_entropy.detach())
            loss = loss + rehearsal * cross_entropy
        backward(loss)
    total = int(mask_all.sum()) if sampled_tokens is None else sampled_tokens
    stats.clipped /= max(1, total)
    stats.kl /= max(1, total)
    stats.importance /= max(1, total)
    stats.capped /= max(1, total)
    return stats


def _importance(stats: Stats, old_PGT: Tensor, part: Batch, mask_PGT: Tensor, cap: float) -> Tensor:
    """The tokens' truncated importance weights; `stats` gets their sums."""
    assert part.sampler_PGT is not None
    sampler_PGT = part.sampler_PGT[..., : old_PGT.shape[-1]].to(old_PGT.device)
    weight_PGT, ratio_PGT = importance_weights(old_PGT, sampler_PGT, cap)
    ratio_N = ratio_PGT[mask_PGT]
    stats.importance += float(ratio_N.sum())
    stats.capped += float((ratio_N > cap).sum())
    stats.largest = max(stats.largest, float(ratio_N.max()))
    return weight_PGT


def supervise(
    policy: Policy,
    logps: Logps,
    groups: Sequence[Group],
    *,
    tokens: int,
    tokens_per_microbatch: int,
    weight: float,
    backward: Backward = Tensor.backward,
) -> float:
    """Adds the gradient of `weight` x the mean cross-entropy of all completions; returns that mean in nats a token.

    `tokens`: how many the mean is over, those of `groups` or more where other processes compute other groups.
    """
    total = 0.0
    for keep in micro_batches(groups, tokens_per_microbatch):
        with autocast(policy):
            loss = -logps(policy.model, [groups[i] for i in keep], 1.0).logp_PGT.sum() / tokens
        backward(weight * loss)
        total += float(loss.detach())
    return total
