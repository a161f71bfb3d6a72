"""CUDA's autocast for the simulated device: which operators run in half precision, which in float32, which in the wider
of their inputs' (PyTorch's table, https://pytorch.org/docs/stable/amp.html, as far as models here use it)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

LOW = [
    "matmul",
    "linear",
    "mm",
    "bmm",
    "mv",
    "addmm",
    "addmv",
    "addbmm",
    "baddbmm",
    "conv1d",
    "conv2d.default",
    "conv3d.default",
    "prelu",
    "einsum",
]
FULL = [
    "softmax.int",
    "log_softmax.int",
    "cumsum",
    "cumprod",
    "exp",
    "expm1",
    "log",
    "log10",
    "log2",
    "log1p",
    "pow.Tensor_Scalar",
    "pow.Scalar",
    "reciprocal",
    "rsqrt",
    "layer_norm",
    "group_norm",
    "prod",
    "sum",
    "sum.dim_IntList",
    "cross_entropy_loss",
    "nll_loss",
    "mse_loss",
    "softplus",
    "cosine_similarity",
    "dist",
    "norm.Scalar",
    "norm.ScalarOpt_dim",
]
WIDEST = ["cat", "stack", "addcdiv", "addcmul", "dot", "index_put", "scatter_add"]

casts: dict[int, tuple[Tensor, Tensor]] = {}
"""Weights cast already, by identity; `torch.clear_autocast_cache` empties it."""


def register(on_device: Callable[[Any], bool]) -> list[torch.library.Library]:
    """Makes autocast act on the spare backend; the caller keeps it alive. `on_device`: whether a value is there."""
    rest = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel)
    listed = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    for names, rule in ((LOW, _low), (FULL, _full), (WIDEST, _widest)):
        for name in names:
            base, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, base), overload or "default", None)
            if op is not None:
                listed.impl(op, _cast(op, rule, on_device))
    return [rest, listed]


Rule = Callable[[list[Tensor], Any, Any], torch.dtype | None]


def _low(floats: list[Tensor], args: Any, kwargs: Any) -> torch.dtype:
    return torch.get_autocast_dtype("cuda")


def _full(floats: list[Tensor], args: Any, kwargs: Any) -> torch.dtype | None:
    named = kwargs.get("dtype") is not None or any(isinstance(a, torch.dtype) for a in args)
    return None if named else torch.float32


def _widest(floats: list[Tensor], args: Any, kwargs: Any) -> torch.dtype | None:
    return torch.float32 if any(x.dtype == torch.float32 for x in floats) else None


def _cast(op: Any, rule: Rule, on_device: Callable[[Any], bool]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        floats = [x for x in pytree.tree_leaves((args, kwargs)) if on_device(x) and x.is_floating_point()]
        wanted = rule(floats, args, kwargs)

        def one(x: Any) -> Any:
            if wanted is None or not any(x is f for f in floats) or x.dtype in (torch.float64, wanted):
                return x
            kept = x.requires_grad and x.is_leaf and x.dtype == torch.float32 and wanted != torch.float32
            if not (kept and torch.is_autocast_cache_enabled()):
                return x.to(wanted)
            if id(x) not in casts:
                casts[id(x)] = (x, x.to(wanted))
            return casts[id(x)][1]

        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            args, kwargs = pytree.tree_map(one, (args, kwargs))
            return op(*args, **kwargs)

    return run
