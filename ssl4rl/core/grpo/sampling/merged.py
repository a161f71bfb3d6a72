"""A LoRA adapter within the weights it adapts, for as long as completions are sampled.

Decoding one token is bound by the number of kernels, and an adapter brings several to every product. Training needs the
two apart, so the unmerged weights are kept and put back as they were: taking the adapter out again by subtraction would
not return to the same bits.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.model.pretrained import is_adapter


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Within this the adapter is part of the weights, where it can be; afterwards all bits are as before.

    It takes a second copy of the adapted weights. Where there is no room for that, a warning says so and the adapter
    stays apart. A model without an adapter is left alone.
    """
    layers = mergeable(model) if is_adapter(model) else []
    kept: list[tuple[Any, Tensor]] = []
    device = next(model.parameters()).device.type
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            _merge(layers, kept)
        yield
    finally:
        _part(kept)


def _merge(layers: list[Any], kept: list[tuple[Any, Tensor]]) -> None:
    try:
        for layer in layers:
            weight = layer.get_base_layer().weight
            kept.append((layer, weight.data))
            weight.data = weight.data.clone()
            layer.merge()
    except torch.OutOfMemoryError:
        _part(kept)
        warnings.warn("no room to merge the adapter while sampling, which is slower so", RuntimeWarning, 4)


def _part(kept: list[tuple[Any, Tensor]]) -> None:
    while kept:
        layer, weight = kept.pop()
        layer.get_base_layer().weight.data = weight
        layer.merged_adapters.clear()


def mergeable(model: nn.Module) -> list[Any]:
    """LoRA on plain linear layers that no other module shares its weight with (an embedding tied to the head does)."""
    from peft.tuners.lora import Linear

    users = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    found: list[Any] = [m for m in model.modules() if type(m) is Linear and not m.merged and not m.disable_adapters]
    return [
        layer for layer in found if users[id(layer.get_base_layer().weight)] == 1 and not any(layer.lora_bias.values())
    ]
