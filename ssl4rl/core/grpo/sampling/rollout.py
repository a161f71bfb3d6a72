"""Sampling completions: each prompt is prefilled once, for its whole group.

`_decode_shared` keeps the prompt's keys and values once and computes equal beginnings of completions once
(`cascade`); `_decode_static` does it in steps of one shape, for CUDA graphs (`static`); `_decode`, their slow twin,
gives every completion a copy and runs the model's own forward.

Every sampled token is a function of the policy, the prompt and its own random numbers (one row of uniforms a
completion, drawn from a key), never of what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.features import MediaFeatures, joined
from ssl4rl.core.grpo.logps.head import logits_logps
from ssl4rl.core.grpo.logps.prefix import Group, inner_model, prompt_positions
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.sampling.cascade import Cascade
from ssl4rl.core.grpo.sampling.host import News, sent
from ssl4rl.core.grpo.sampling.merged import merged
from ssl4rl.core.grpo.sampling.replies import Replies
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample, sample_of_rows
from ssl4rl.core.grpo.sampling.static import StaticCascade
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
        max_rows: completions decoded at a time.
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
    decode = (_decode_static if static else _decode_shared) if shared else _decode
    per_batch = max(1, max_rows // group_size)
    done: list[list[Completion]] = []
    with _mode_back(model, was_training), merged(model):
        for start in range(0, len(prompts), per_batch):
            chunk = prompts[start : start + per_batch]
            noise = None
            if sampling.temperature > 0:
                assert uniforms is not None, "sampling needs random numbers"
                rows = [uniforms(start + p, g) for p in range(len(chunk)) for g in range(group_size)]
                noise = torch.from_numpy(np.stack(rows)).to(policy.device)
            known = [None] * len(chunk) if features is None else features[start : start + per_batch]
            replies = decode(policy, chunk, known, group_size, sampling, noise)
            done.extend(_completions(policy, replies, group_size))
    return done


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


@dataclass(frozen=True)
class Prefill:
    """P prompts run once, left-padded to L: the cache (None where the model has none), the logits [P, V] of the first
    token, and where it stands."""

    cache: Any
    cache_name: str
    logits_PV: Tensor
    mask_PL: Tensor  # long, 0 at padding
    padded: bool  # whether there is any
    next_AP: Tensor  # the first token's position; A is 1, or 3 for multimodal rotary positions


def prefill(
    model: nn.Module, prompts: Sequence[Encoded], features: Sequence[MediaFeatures | None], pad_id: int
) -> Prefill:
    inner = inner_model(model)
    batch: dict[str, Any] = collate(prompts, pad_id, inner.device)
    if seen := joined(features):
        batch = {name: value for name, value in batch.items() if not name.startswith("pixel_")}
        batch["mm_encoder_outputs"] = seen
    position_APL = _positions(inner, prompts)
    out = model(**batch, position_ids=_squeezed(position_APL), use_cache=True, logits_to_keep=1)
    # "cache_params" is Mamba's word for it; some models have none
    name = next((name for name in ("past_key_values", "cache_params") if out.get(name) is not None), "")
    # after the prompt all axes go on from the largest position used in it
    next_AP = (position_APL.amax((0, 2)) + 1).expand(len(position_APL), -1)
    mask_PL = batch["attention_mask"]
    padded = len({len(prompt.prompt_ids) for prompt in prompts}) > 1
    if padded and name:
        _empty_padding(out[name], mask_PL.bool())
    return Prefill(out[name] if name else None, name, out.logits[:, -1], mask_PL, padded, next_AP)


def _empty_padding(cache: Any, seen_PL: Tensor) -> None:
    """Zeroes keys and values of padding. Its weight is 0, but it attended to nothing, and 0 times nan is nan."""
    for layer in getattr(cache, "layers", ()):
        for name in ("keys", "values"):
            kept_PKLD = getattr(layer, name, None)
            if isinstance(kept_PKLD, Tensor) and kept_PKLD.ndim == 4 and 0 < kept_PKLD.shape[2] <= seen_PL.shape[1]:
                hidden_PL = ~seen_PL[:, -kept_PKLD.shape[2] :]  # a sliding window keeps the last ones
                setattr(layer, name, kept_PKLD.masked_fill(hidden_PL[:, None, :, None], 0))


def _decode(
    policy: Policy,
    prompts: Sequence[Encoded],
    features: Sequence[MediaFeatures | None],
    group_size: int,
    sampling: Sampling,
    noise_RT: Tensor | None,
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
            position_ids=_squeezed(next_AR1 + t),
            use_cache=True,
            **{start.cache_name: start.cache},
        )
        logits_RV = step.logits[:, -1]
    return replies


def _decode_shared(
    policy: Policy,
    prompts: Sequence[Encoded],
    features: Sequence[MediaFeatures | None],
    group_size: int,
    sampling: Sampling,
    noise_NT: Tensor | None,
) -> Replies:
    """The same for N = P x G completions, on the R <= N rows of a `Cascade`.

    Who goes on, and beside whom, decides the next step's shapes, so the host keeps these books: it asks the device for
    each step's tokens, once, and sends the indices back.
    """
    device, host = policy.device, torch.device("cpu")
    inner = inner_model(policy.model)
    cascade, logits_RV, next_AP = prefill_shared(policy.model, prompts, features, policy.pad_id)

    N, T = len(prompts) * group_size, sampling.max_new_tokens
    replies = Replies(policy, N, T, host)
    number_A = torch.arange(N)  # the completions that go on, and the row of each
    row_A = number_A // group_size
    for t in range(T):
        replies.ban(logits_RV)
        noise_A = None if noise_NT is None else noise_NT[sent(number_A, device), t]
        token_A = sample_of_rows(logits_RV.float(), row_A, sampling, noise_A).cpu()
        alive_A = replies.write(t, number_A, token_A, torch.ones_like(token_A, dtype=torch.bool))
        number_A, row_A, token_A = (x[alive_A] for x in (number_A, row_A, token_A))
        if t + 1 == T or not len(number_A):
            break
        token_R, row_A = _branch(cascade, row_A, token_A, logits_RV.shape[1])
        logits_RV = cascade.step(inner, sent(token_R, device), next_AP[:, cascade.on_device(cascade.prompt_R)] + t)
    return replies


def _decode_static(
    policy: Policy,
    prompts: Sequence[Encoded],
    features: Sequence[MediaFeatures | None],
    group_size: int,
    sampling: Sampling,
    noise_NT: Tensor | None,
) -> Replies:
    """The same on a `StaticCascade` with a row for each completion; the host hears now and then who goes on."""
    device = policy.device
    inner = inner_model(policy.model)
    cascade, logits_PV, next_AP = prefill_shared(policy.model, prompts, features, policy.pad_id, static=True)
    assert isinstance(cascade, StaticCascade)
    N, T = len(prompts) * group_size, sampling.max_new_tokens
    replies = Replies(policy, N, T, device)
    number_R, alive_R = torch.arange(N, device=device), torch.ones(N, dtype=torch.bool, device=device)
    cascade.select(torch.arange(N) // group_size)
    logits_RV, next_AR = logits_PV.repeat_interleave(group_size, 0), next_AP.repeat_interleave(group_size, 1)
    news = News(device)
    for t in range(T):
        replies.ban(logits_RV)
        token_R = sample(logits_RV.float(), sampling, None if noise_NT is None else noise_NT[number_R, t])
        alive_R = replies.write(t, number_R, token_R, alive_R)
        if t + 1 == T or news.all_ended(t, alive_R):
            break
        if cascade.full:
            host_R = alive_R.cpu().nonzero()[:, 0]
            if not len(host_R):
                break
            cascade.select(host_R)
            kept_R = sent(host_R, device)
            number_R, token_R, alive_R = number_R[kept_R], token_R[kept_R], alive_R[kept_R]
            next_AR = next_AR[:, kept_R]
        logits_RV = cascade.step(inner, token_R, next_AR + t)
    return replies


def prefill_shared(
    model: nn.Module,
    prompts: Sequence[Encoded],
    features: Sequence[MediaFeatures | None],
    pad_id: int,
    static: bool = False,
) -> tuple[Cascade, Tensor, Tensor]:
    """The prompts' keys and values, which nobody else holds, and `Prefill`'s logits [P, V] and positions [A, P]."""
    install(inner_model(model))
    start = prefill(model, prompts, features, pad_id)
    seen_PL = start.mask_PL.bool() if start.padded else None
    kept = [(layer.keys, layer.values) for layer in start.cache.layers]
    cascade = StaticCascade(kept, seen_PL) if static else Cascade(kept, seen_PL)
    return cascade, start.logits_PV, start.next_AP


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


def _positions(inner: PreTrainedModel, prompts: Sequence[Encoded]) -> Tensor:
    """long [A, P, L], left-padded with 0: A is 1, or 3 (time, height, width) for multimodal rotary positions."""
    rows = [prompt_positions(inner, prompt.prompt_ids, prompt.media) for prompt in prompts]
    longest = max(row_AL.shape[1] for row_AL in rows)
    padded = [torch.nn.functional.pad(row_AL, (longest - row_AL.shape[1], 0)) for row_AL in rows]
    return torch.stack(padded, dim=1)


def _squeezed(position_APL: Tensor) -> Tensor:
    """A single axis is given to the model as [P, L]."""
    return position_APL[0] if len(position_APL) == 1 else position_APL


def collate(prompts: Sequence[Encoded], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """Prompts as one left-padded batch.

    Token-aligned tensors ([1, L]) are padded like the ids; a picture list of fixed-size pictures ([1, N, ...],
    Idefics3) is padded to the longest list with zeros; everything else (patches, grids) is concatenated.
    """
    longest = max(len(p.prompt_ids) for p in prompts)

    def left(row_L: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(row_L, (longest - len(row_L), 0), value=value)

    batch = {
        "input_ids": torch.stack([left(p.prompt_ids, pad_id) for p in prompts]),
        "attention_mask": torch.stack([left(torch.ones_like(p.prompt_ids), 0) for p in prompts]),
    }
    nested = any(p.media["pixel_values"].dim() == 5 for p in prompts if "pixel_values" in p.media)
    for name in dict.fromkeys(name for p in prompts for name in p.media):
        parts = [p.media.get(name) for p in prompts]
        if name.endswith("token_type_ids"):
            rows = [
                part[0] if part is not None else torch.zeros_like(p.prompt_ids)
                for p, part in zip(prompts, parts, strict=True)
            ]
            batch[name] = torch.stack([left(row, 0) for row in rows])
        elif nested and name.startswith("pixel_"):
            batch[name] = _stack_lists(parts)
        else:
            batch[name] = torch.cat([part for part in parts if part is not None])
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _stack_lists(parts: Sequence[Tensor | None]) -> Tensor:
    """[1, N_p, ...] of each prompt (None: no picture) to [P, max N, ...]; all-zero pictures are padding to models."""
    known = [part for part in parts if part is not None]
    longest = max(part.shape[1] for part in known)
    shape = [max(sizes) for sizes in zip(*(part.shape[2:] for part in known), strict=True)]
    out = known[0].new_zeros(len(parts), longest, *shape)
    for row, part in zip(out, parts, strict=True):
        if part is not None:
            window = tuple(slice(size) for size in part.shape[1:])
            row[window] = part[0]
    return out
