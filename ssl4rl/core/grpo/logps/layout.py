"""Where the prompts and completions of a packed row lie: all prompts first, then each prompt's branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """One group in a row: prompt tokens [prompt_start, prompt_end), branch tokens [start, end) of ``lengths`` each."""

    prompt_start: int
    prompt_end: int
    start: int
    end: int
    lengths: tuple[int, ...]
    gather_GT: Tensor | None = None  # long; token at each padded branch position, from start; None if all are as long
    pad_GT: Tensor | None = None  # bool; True at padding
    pack_N: Tensor | None = None  # long; padded position, flattened, of each of the span's branch tokens


@dataclass(frozen=True)
class Layout:
    """Where the pieces of a row lie; made by ``layout``.

    ``masks``: what an attention made of it, once for all layers.
    """

    spans: tuple[Span, ...]
    prompt_tokens: int
    tokens: int
    masks: dict[torch.device, Any] = field(default_factory=dict, repr=False, compare=False)


def layout(prompts: Sequence[int], branches: Sequence[Sequence[int]], device: torch.device) -> Layout:
    """Lay out prompts of ``prompts[p]`` tokens (0 allowed) and their branches of ``branches[p][g]`` >= 1 tokens."""
    prompt_ends = list(accumulate(prompts))
    branch_ends = list(accumulate(map(sum, branches), initial=sum(prompts)))
    spans = []
    for p, lengths in enumerate(branches):
        ends = (prompt_ends[p] - prompts[p], prompt_ends[p], branch_ends[p], branch_ends[p + 1])
        spans.append(Span(*ends, tuple(lengths), *_padding(lengths, device)))
    return Layout(tuple(spans), prompt_ends[-1], branch_ends[-1])


def _padding(lengths: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
    """gather_GT, pad_GT and pack_N of ``Span``, or Nones if nothing is padded."""
    if len(set(lengths)) == 1:
        return None, None, None
    first_G1 = torch.tensor([0, *accumulate(lengths)][:-1])[:, None]
    step_T = torch.arange(max(lengths))
    keep_GT = step_T < torch.tensor(lengths)[:, None]
    gather_GT = torch.where(keep_GT, first_G1 + step_T, 0)
    return gather_GT.to(device), (~keep_GT).to(device), keep_GT.flatten().nonzero()[:, 0].to(device)
