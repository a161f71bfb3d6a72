"""Tensors with sizes and no memory, for running our own code to see what it would hold.

Numbers with a fraction are weightless: shape, dtype and strides are kept (PyTorch's meta kernels work them out), values
are not. Whole numbers and booleans stay what they are, since lengths, positions and masks decide shapes. Where a whole
number depends on a weightless one (a sampled token), 0, 1, 2, ... stand for it, so that rows differ, and a truth is
true. To C++ the device is the CPU, so autograd and autocast work as they do there.

The same trick as PyTorch's FakeTensor, which has no values for whole numbers either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_CPU, _META = torch.device("cpu"), torch.device("meta")
_aten = torch.ops.aten
_FLASH = 1  # SDPBackend.FLASH_ATTENTION, which needs no scores in memory


class Weightless(Tensor):
    """A tensor of fractions without memory; see the module's docstring."""

    @staticmethod
    def __new__(cls, on_meta: Tensor, requires_grad: bool = False) -> Weightless:
        return torch.Tensor._make_subclass(
            cls, on_meta, requires_grad, dispatch_device=True, device_for_backend_keys=_CPU
        )

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return _CPU

    is_cpu = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Weightless({tuple(self.shape)}, {self.dtype})"

    def tolist(self) -> Any:
        return torch.zeros(self.shape).tolist()

    def __deepcopy__(self, memo: Any) -> Weightless:
        return Weightless(torch.empty_like(_on_meta(self)), self.requires_grad)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operator returns that was given weightless tensors."""
    special = _SPECIAL.get(func)
    if special is not None:
        return special(*args)
    kind, place = _kind(func)
    if kind == "writes":
        return kwargs[place[1]] if place[1] in kwargs else args[place[0]]
    if func is _aten.index.Tensor:
        args = (args[0], _places(args[1]), *args[2:])
    if kind == "views":
        return _of_its_kind(_on_meta_all(func, args, kwargs))
    key = (func, _shape(args), _shape(tuple(kwargs.values())))
    if key not in _KNOWN:
        _KNOWN[key] = _shape(_on_meta_all(func, args, kwargs))
    return _made(_KNOWN[key])


_KNOWN: dict[Any, Any] = {}
"""What comes out of an operator, by what goes in: a model's layers are alike, and working it out takes time."""


def _on_meta_all(func: Any, args: Any, kwargs: Any) -> Any:
    more = {name: _raw(x) for name, x in kwargs.items() if name != "pin_memory"}
    if more.get("device") is not None:
        more["device"] = _META
    return func(*[_raw(x) for x in args], **more)


def _raw(x: Any) -> Any:
    if isinstance(x, Tensor):
        return _on_meta(x)
    if isinstance(x, (list, tuple)):
        return type(x)(_raw(one) for one in x)
    return x


def _shape(x: Any) -> Any:
    """All that shapes depend on, hashable."""
    if isinstance(x, Tensor):
        return _Sizes(x.dtype, tuple(x.shape), x.stride())
    if isinstance(x, (list, tuple)):
        return tuple(_shape(one) for one in x)
    return type(x), x  # or 1, 1.0 and True would be the same


class _Sizes(NamedTuple):
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _made(sizes: Any) -> Any:
    if isinstance(sizes, _Sizes):
        return _of_its_kind(torch.empty_strided(sizes.shape, sizes.stride, dtype=sizes.dtype, device=_META))
    if sizes and isinstance(sizes[0], type):
        return sizes[1]
    return tuple(_made(one) for one in sizes)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Weightless:
    """A weightless tensor of that shape."""
    return Weightless(torch.empty(shape, dtype=dtype, device=_META))


def weightless(model: nn.Module) -> nn.Module:
    """The model with weightless parameters and fractional buffers in place of its own; tied ones stay tied."""
    made: dict[int, Any] = {}

    def of(x: Tensor) -> Any:
        if id(x) not in made:
            light = empty(*x.shape, dtype=x.dtype)
            made[id(x)] = nn.Parameter(light, x.requires_grad) if isinstance(x, nn.Parameter) else light
        return made[id(x)]

    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = of(parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device == _META:
                module._buffers[name] = (
                    of(buffer) if buffer.is_floating_point() else torch.zeros_like(buffer, device=_CPU)
                )
    return model


def _on_meta(x: Tensor) -> Tensor:
    if not isinstance(x, Weightless):
        return x if x.device == _META else torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=_META)
    with torch._C._DisableTorchDispatch():
        storage = x.untyped_storage()
    return torch.empty(0, dtype=x.dtype, device=_META).set_(storage, x.storage_offset(), x.size(), x.stride())


def _places(indices: Any) -> list[Any]:
    """Indices with masks as the places where they are true, of which there is no telling on meta."""
    found: list[Any] = []
    for index in indices:
        mask = index is not None and index.dtype in (torch.bool, torch.uint8)
        found.extend(index.nonzero().unbind(1) if mask else [index])
    return found


@cache
def _kind(func: Any) -> tuple[str, tuple[int, str]]:
    """Whether an operator makes new tensors, views, or writes to an argument, whose place and name are given."""
    (*_, last) = func._schema.returns or (None,)
    alias = None if last is None else last.alias_info
    if alias is None:
        return ("makes", (0, "")) if last is not None else ("writes", (0, func._schema.arguments[0].name))
    if not alias.is_write:
        return "views", (0, "")
    for i, a in enumerate(func._schema.arguments):
        if a.alias_info is not None and a.alias_info.is_write and a.alias_info.before_set == alias.before_set:
            return "writes", (i, a.name)
    raise AssertionError(func)


def _of_its_kind(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return type(x)(_of_its_kind(one) for one in x) if isinstance(x, (list, tuple)) else x
    if isinstance(x, Weightless):
        return x
    if x.is_floating_point() or x.is_complex():
        return Weightless(x)
    if x.dtype == torch.bool:
        return torch.ones(x.shape, dtype=torch.bool)
    return torch.arange(x.numel(), dtype=x.dtype).view(x.shape)


def _chosen(x: Tensor, mask: Tensor) -> Weightless:
    return empty(int(mask.expand(x.shape).sum()), dtype=x.dtype)


_SPECIAL: dict[Any, Callable[..., Any]] = {
    torch.ops.prim.device.default: lambda *_: _CPU,
    _aten._local_scalar_dense.default: lambda *_: 0.0,
    _aten._fused_sdp_choice.default: lambda *_: _FLASH,
    _aten.masked_select.default: _chosen,
}
