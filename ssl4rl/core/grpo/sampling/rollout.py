"""Sampling completions: each prompt is prefilled once, for its whole group.

`sharing.Shared` keeps the prompt's keys and values once and computes equal beginnings of completions once (`cascade`);
`sharing.Static` does it in steps of one shape, for CUDA graphs (`static`); `_decode`, their slow twin, gives every
completion a copy and runs the model's own forward.

Every sampled token is a function of the policy, the prompt and its own random numbers (one row of uniforms a
completion, drawn from a key), never of what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.head import logits_logps
from ssl4rl.core.grpo.logps.prefix import Group, inner_model
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.sampling.host import News, sent
from ssl4rl.core.grpo.sampling.merged import merged
from ssl4rl.core.grpo.sampling.prefill import prefill, prefill_shared, squeezed
from ssl4rl.core.grpo.sampling.replies import Replies
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample
from ssl4rl.core.grpo.sampling.sharing import Batch, Shared, Static, decode_in_batches
from ssl4rl.core.grpo.sampling.uncached import decode_uncached

Uniforms = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Completion:
    """What the policy wrote: `ids` long [C] with the end of turn, unless `truncated` by the token limit.

    `logp`: float32 [C], by the engine that sampled it; None where that was the policy itself.
    """

    ids: Tensor
    text: str
    truncated: bool
    logp: Tensor | None = None


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[Encoded],
    group_size: int,
    sampling: Sampling,
    uniforms: Callable[[int, int], Uniforms] | None = None,
    max_rows: int = 512,
    *,
    shared: bool = False,
    static: bool = False,
    features: Sequence[MediaFeatures | None] | None = None,
) -> list[list[Completion]]:
    """`group_size` completions of each prompt, by the model in evaluation mode with its adapter merged.

    Args:
        prompts: P encoded prompts.
        uniforms: the random numbers of completion g of prompt p, float64 [max_new_tokens] in [0, 1); None is allowed
            for greedy decoding.
        max_rows: completions decoded at a time; those that are left of several batches go on together (`sharing`).
        shared: keep a prompt's keys and values once for its group, for a model that `preflight` accepts; else once a
            completion, right for every model.
        static: with `shared`, in steps of one shape, on a GPU as CUDA graphs.
        features: the prompts' `prefix.image_features`, where they are known already.

    Returns:
        P lists of `group_size` completions.
    """
    model = policy.model
    was_training = model.training
    model.eval()
    per_batch = max(1, max_rows // group_size)
    starts = range(0, len(prompts), per_batch)

    def chunk(start: int) -> tuple[Sequence[Encoded], Sequence[MediaFeatures | None], Tensor | None]:
        own = prompts[start : start + per_batch]
        known = [None] * len(own) if features is None else features[start : start + per_batch]
        if sampling.temperature == 0:
            return own, known, None
        assert uniforms is not None, "sampling needs random numbers"
        rows = [uniforms(start + p, g) for p in range(len(own)) for g in range(group_size)]
        return own, known, torch.from_numpy(np.stack(rows)).to(policy.device)

    with _mode_back(model, was_training), merged(model):
        if shared:
            on = policy.device if static else torch.device("cpu")
            replies = Replies(policy, len(prompts) * group_size, sampling.max_new_tokens, on)
            decoder = (Static if static else Shared)(policy, sampling, replies)

            def begin(start: int) -> Batch:
                own, known, noise = chunk(start)
                return decoder.begin(own, known, group_size, start * group_size, noise)

            decode_in_batches(decoder, [partial(begin, start) for start in starts], max_rows)
            return _completions(policy, replies, group_size)
        parts = [_decode(policy, *chunk(start), group_size=group_size, sampling=sampling) for start in starts]
        return [row for replies in parts for row in _completions(policy, replies, group_size)]


@contextmanager
def _mode_back(model: nn.Module, training: bool) -> Iterator[None]:
    """Afterwards the model is in that mode, whatever happened."""
    try:
        yield
    finally:
        model.train(training)


def _completions(policy: Policy, replies: Replies, group_size: int) -> list[list[Completion]]:
    """Those with the same tokens are one object, decoded to text once."""
    tokens_NT = replies.tokens_NT.cpu()
    made: dict[tuple[int, ...], Completion] = {}
    flat = []
    for row_T, ids, length in zip(tokens_NT, tokens_NT.tolist(), replies.length_N.tolist(), strict=True):
        key = tuple(ids[:length])
        if key not in made:
            made[key] = Completion(row_T[:length], policy.decode(row_T[:length]), key[-1] not in policy.eos_ids)
        flat.append(made[key])
    return [flat[at : at + group_size] for at in range(0, len(flat), group_size)]


def _decode(
    policy: Policy,
    prompts: Sequence[Encoded],
    features: Sequence[MediaFeatures | None],
    noise_RT: Tensor | None,
    group_size: int,
    sampling: Sampling,
) -> Replies:
    """R = P x G rows by the model's own forward."""
    device = policy.device
    start = prefill(policy.model, prompts, features, policy.pad_id)
    if start.cache is None:
        return decode_uncached(policy, prompts, group_size, sampling, noise_RT)
    if group_size > 1:
        # by `reorder_cache`, which recurrent states follow too; their layers lack `batch_repeat_interleave`
        start.cache.reorder_cache(torch.arange(len(prompts), device=device).repeat_interleave(group_size))
    logits_RV = start.logits_PV.repeat_interleave(group_size, 0)
    mask_RL = start.mask_PL.repeat_interleave(group_size, 0)
    next_AR1 = start.next_AP.repeat_interleave(group_size, 1).unsqueeze(-1)

    R, T = len(logits_RV), sampling.max_new_tokens
    replies = Replies(policy, R, T, device)
    number_R, alive_R = torch.arange(R, device=device), torch.ones(R, dtype=torch.bool, device=device)
    news = News(device)
    for t in range(T):
        replies.ban(logits_RV)
        token_R = sample(logits_RV.float(), sampling, None if noise_RT is None else noise_RT[:, t])
        alive_R = replies.write(t, number_R, token_R, alive_R)
        if t + 1 == T or news.all_ended(t, alive_R):
            break
        mask_RL = torch.nn.functional.pad(mask_RL, (0, 1), value=1)
        step = policy.model(
            input_ids=replies.tokens_NT[:, t : t + 1],
            # a state alone has nothing to mask
            attention_mask=mask_RL if start.cache_name == "past_key_values" else None,
            position_ids=squeezed(next_AR1 + t),
            use_cache=True,
            **{start.cache_name: start.cache},
        )
        logits_RV = step.logits[:, -1]
    return replies


@torch.no_grad()
def decoded_logps(model: nn.Module, groups: Sequence[Group], *, static: bool = False) -> Tensor:
    """Log-probs [N] of the groups' completion tokens, in order, by the decoder behind `generate(shared=True)`.

    What `prefix.unshared_logps` returns, by another way: it tells whether sampling with shared prompts is right.
    """
    inner = inner_model(model)
    prompts = [Encoded(group.prompt_ids, group.media) for group in groups]
    pad_id = inner.config.get_text_config(decoder=True).pad_token_id or 0
    features = [group.features for group in groups]
    flat = [ids.to(inner.device) for group in groups for ids in group.completion_ids]
    ids_RT = torch.nn.utils.rnn.pad_sequence(flat, batch_first=True)
    host_R = torch.tensor([p for p, group in enumerate(groups) for _ in group.completion_ids])
    with merged(model):
        cascade, logits_PV, next_AP = prefill_shared(model, prompts, features, pad_id, static)
        cascade.select(host_R)
        parent_R = sent(host_R, inner.device)
        logits_RV, next_AR, columns = logits_PV[parent_R], next_AP[:, parent_R], []
        for t, token_R in enumerate(ids_RT.unbind(1)):
            columns.append(logits_logps(logits_RV, token_R)[0])
            if t + 1 < ids_RT.shape[1]:
                logits_RV = cascade.step(inner, token_R, next_AR + t)
    length_R = torch.tensor([len(ids) for ids in flat], device=inner.device)
    mask_RT = torch.arange(ids_RT.shape[1], device=inner.device) < length_R[:, None]
    return torch.stack(columns, 1)[mask_RT]
