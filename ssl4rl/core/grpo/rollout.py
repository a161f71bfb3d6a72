"""Sampling completions: each distinct prompt is prefilled once, its keys and values are shared out to its group.

Every sampled token is a function of the policy, the prompt and its own random numbers (one row of uniforms a
completion, drawn from a key), never of what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl4rl.core.grpo.policy import Encoded, Policy
from ssl4rl.core.grpo.prefix import inner_model, prompt_positions

Uniforms = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 switch those off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_new_tokens: int = 128


@dataclass(frozen=True)
class Completion:
    """What the policy wrote: `ids` long [C] with the end of turn, unless `truncated` by the token limit."""

    ids: Tensor
    text: str
    truncated: bool


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[Encoded],
    group_size: int,
    sampling: Sampling,
    uniforms: Callable[[int, int], Uniforms] | None = None,
    max_rows: int = 512,
) -> list[list[Completion]]:
    """`group_size` completions of each prompt.

    Args:
        prompts: P encoded prompts.
        uniforms: the random numbers of completion g of prompt p, float64 [max_new_tokens] in [0, 1); None is allowed
            for greedy decoding.
        max_rows: completions decoded at a time.

    Returns:
        P lists of `group_size` completions.
    """
    model = policy.model
    was_training = model.training
    model.eval()
    per_batch = max(1, max_rows // group_size)
    done: list[list[Completion]] = []
    for start in range(0, len(prompts), per_batch):
        chunk = prompts[start : start + per_batch]
        noise = None
        if sampling.temperature > 0:
            assert uniforms is not None, "sampling needs random numbers"
            rows = [uniforms(start + p, g) for p in range(len(chunk)) for g in range(group_size)]
            noise = torch.from_numpy(np.stack(rows)).to(policy.device)
        done.extend(_decode(policy, chunk, group_size, sampling, noise))
    model.train(was_training)
    return done


def _decode(
    policy: Policy, prompts: Sequence[Encoded], group_size: int, sampling: Sampling, noise_RT: Tensor | None
) -> list[list[Completion]]:
    """One batch of R = P x G rows, left-padded."""
    model, device = policy.model, policy.device
    batch = collate(prompts, policy.pad_id, device)
    position_APL = _positions(policy, prompts)
    out = model(**batch, position_ids=_squeezed(position_APL), use_cache=True, logits_to_keep=1)
    kept = "past_key_values" if "past_key_values" in out else "cache_params"  # Mamba's word for it
    cache = out[kept]
    if group_size > 1:
        # by `reorder_cache`, which recurrent states follow too; their layers lack `batch_repeat_interleave`
        cache.reorder_cache(torch.arange(len(prompts), device=device).repeat_interleave(group_size))
    logits_RV = out.logits[:, -1].repeat_interleave(group_size, 0)
    mask_RL = batch["attention_mask"].repeat_interleave(group_size, 0)
    # after the prompt all axes go on from the largest position used in it
    next_P = position_APL.amax((0, 2)) + 1
    next_AR1 = next_P.repeat_interleave(group_size)[None, :, None].expand(len(position_APL), -1, 1)

    eos = torch.tensor(policy.eos_ids, device=device)
    tokens = torch.full((len(logits_RV), sampling.max_new_tokens), policy.pad_id, dtype=torch.long, device=device)
    length_R = torch.full((len(logits_RV),), sampling.max_new_tokens, device=device)
    alive_R = torch.ones(len(logits_RV), dtype=torch.bool, device=device)
    for t in range(sampling.max_new_tokens):
        logits_RV[:, policy.banned_ids] = -torch.inf
        token_R = sample(logits_RV.float(), sampling, None if noise_RT is None else noise_RT[:, t])
        tokens[:, t] = torch.where(alive_R, token_R, policy.pad_id)
        ended_R = alive_R & torch.isin(token_R, eos)
        length_R[ended_R] = t + 1
        alive_R &= ~ended_R
        if t + 1 == sampling.max_new_tokens or not alive_R.any():
            break
        mask_RL = torch.nn.functional.pad(mask_RL, (0, 1), value=1)
        step = model(
            input_ids=tokens[:, t : t + 1],
            attention_mask=mask_RL if kept == "past_key_values" else None,  # a state alone has nothing to mask
            position_ids=_squeezed(next_AR1 + t),
            use_cache=True,
            **{kept: cache},
        )
        logits_RV = step.logits[:, -1]
    rows = [tokens[r, : int(length_R[r])].cpu() for r in range(len(tokens))]
    cut = (alive_R).tolist()
    completions = [Completion(ids, policy.decode(ids), cut[r]) for r, ids in enumerate(rows)]
    return [completions[p * group_size : (p + 1) * group_size] for p in range(len(prompts))]


def _positions(policy: Policy, prompts: Sequence[Encoded]) -> Tensor:
    """long [A, P, L], left-padded with 0: A is 1, or 3 (time, height, width) for multimodal rotary positions."""
    inner = inner_model(policy.model)
    rows = [prompt_positions(inner, prompt.prompt_ids, prompt.media) for prompt in prompts]
    longest = max(row_AL.shape[1] for row_AL in rows)
    padded = [torch.nn.functional.pad(row_AL, (longest - row_AL.shape[1], 0)) for row_AL in rows]
    return torch.stack(padded, dim=1)


def _squeezed(position_APL: Tensor) -> Tensor:
    """A single axis is given to the model as [P, L]."""
    return position_APL[0] if len(position_APL) == 1 else position_APL


def sample(logits_RV: Tensor, sampling: Sampling, uniform_R: Tensor | None) -> Tensor:
    """long [R]: a token a row, by inverting the cumulative distribution at `uniform_R`; the likeliest at temperature 0.

    The distribution is filtered by top-k, top-p and min-p in that order, after the temperature.
    """
    if sampling.temperature == 0 or uniform_R is None:
        return logits_RV.argmax(-1)
    prob_RV = (logits_RV / sampling.temperature).softmax(-1)
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        prob_RV = _filter(prob_RV, sampling)
    cdf_RV = prob_RV.double().cumsum(-1)
    target_R1 = uniform_R[:, None] * cdf_RV[:, -1:]
    token_R = torch.searchsorted(cdf_RV, target_R1, right=True)[:, 0]
    return token_R.clamp(max=logits_RV.shape[-1] - 1)


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
