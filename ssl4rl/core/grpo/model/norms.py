"""Batch norms that keep the averages they came with.

In training mode a batch norm divides by what happens to be in the batch, and moves its averages, frozen or not. Then a
completion's log-prob would depend on the prompts beside it, differ from the one it was sampled with, and drift in a
tower that nobody trains. So the averages are the pretrained ones in every pass, as in detectors that are fine-tuned.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_averages(model: nn.Module) -> None:
    """Makes the batch norms of ``model`` use their averages in training mode too; weight and bias train as ever."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and _evaluates not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_evaluates)


def _evaluates(module: nn.Module, _: Any) -> None:
    module.training = False
