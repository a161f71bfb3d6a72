"""Prompts run once: their keys and values, and what comes first after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.features import MediaFeatures, joined
from ssl4rl.core.grpo.logps.prefix import inner_model, prompt_positions
from ssl4rl.core.grpo.model.policy import Encoded
from ssl4rl.core.grpo.sampling.cascade import Cascade
from ssl4rl.core.grpo.sampling.static import StaticCascade


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
    """Prompts through the model, left-padded to the longest; pictures and clips with `features` are not computed."""
    inner = inner_model(model)
    batch: dict[str, Any] = collate(prompts, pad_id, inner.device)
    if seen := joined(features):
        batch = {name: value for name, value in batch.items() if not name.startswith("pixel_")}
        batch["mm_encoder_outputs"] = seen
    position_APL = _positions(inner, prompts)
    out = model(**batch, position_ids=squeezed(position_APL), use_cache=True, logits_to_keep=1)
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


def _positions(inner: PreTrainedModel, prompts: Sequence[Encoded]) -> Tensor:
    """long [A, P, L], left-padded with 0: A is 1, or 3 (time, height, width) for multimodal rotary positions."""
    rows = [prompt_positions(inner, prompt.prompt_ids, prompt.media) for prompt in prompts]
    longest = max(row_AL.shape[1] for row_AL in rows)
    padded = [torch.nn.functional.pad(row_AL, (longest - row_AL.shape[1], 0)) for row_AL in rows]
    return torch.stack(padded, dim=1)


def squeezed(position_APL: Tensor) -> Tensor:
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
