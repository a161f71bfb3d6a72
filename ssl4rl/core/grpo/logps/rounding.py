"""How far rounding alone moves a model's numbers: the same computation, rounded another way.

Two right ways to compute one thing in half precision differ by their rounding, and layers amplify it: by 0.003 nats in
one healthy model of 24 layers, by 0.05 in another. So no fixed tolerance tells rounding from a fault. Monte Carlo
arithmetic does (Parker, Pierce and Eggert 2000, https://doi.org/10.1109/5992.852391): let every product and norm come
out up to half a last place higher or lower, at random, and see what becomes of the result.

What else was tried as a yardstick (docs/log.md): another padding moves almost nothing on a CPU, whose matrix products
round each row alike whatever lies beside it; float32 is exact, but a bfloat16 base model under an adapter would have to
be copied for it. Where float32 could be had, the two yardsticks agreed within a factor of 1.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_LOW = (torch.bfloat16, torch.float16)


def half_precision(model: nn.Module) -> torch.dtype | None:
    """The half precision that the model's products are rounded to now, by autocast or its weights; None in float32."""
    device = next(model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        wanted = torch.get_autocast_dtype(device)
        return wanted if wanted in _LOW else None
    return next((weight.dtype for weight in model.parameters() if weight.dtype in _LOW), None)


@contextmanager
def rounded_otherwise(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Within this, outputs of products, embeddings and norms are moved by up to half a last place of half precision.

    Gradient checkpointing draws the same numbers when it runs a layer again. The random state is put back. In float32
    nothing is moved.
    """
    dtype = half_precision(model)
    half_place = 0.0 if dtype is None else torch.finfo(dtype).eps / 2

    def moved(module: nn.Module, inputs: Any, out: Any) -> Any:
        if not isinstance(out, Tensor) or not out.is_floating_point():
            return None
        shift = torch.empty(out.shape, dtype=torch.float32, device=out.device).uniform_(-half_place, half_place)
        return torch.addcmul(out.float(), out.float(), shift).to(out.dtype)

    rounding = [m for m in model.modules() if _rounds(m)] if half_place else []
    hooks = [module.register_forward_hook(moved) for module in rounding]
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _rounds(module: nn.Module) -> bool:
    products = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return isinstance(module, products) or "Norm" in type(module).__name__  # each family has a norm of its own
