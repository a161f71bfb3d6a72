"""A GPU that is not there: tensors that say they are on cuda:0, hold real numbers in CPU memory and obey CUDA's rules.

With a CPU-only PyTorch, `with simulated() as gpu:` makes `device="cuda"` mean a `SimTensor`. Every operator runs on the
CPU, so code that depends on numbers goes its true way, but

- an operator that mixes tensors of the device and of the CPU raises, as on CUDA (CPU scalars and CPU indices pass);
- every operator that makes Python wait for the device is noted with our file and line (`gpu.waits`); copies that are
  asked not to block are none, and an event is one only if nothing was launched since it was recorded;
- operators are counted (`gpu.launches`): each is a kernel or more on a GPU, views and allocations are free;
- while `torch.cuda.graph` records, what waits or allocates from Python's numbers is refused.

A SimTensor shares the storage of a CPU tensor. To C++ its device is PyTorch's spare backend, `sim:0`, so the autograd
engine and autocast work (`precision`); to Python it is cuda:0. Not simulated: CUDA's own kernels, streams, memory,
replay, nccl, timings; SDPA runs as its meaning.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.core.grpo.simulated import precision
from tests.core.grpo.simulated.kernels import attention

CUDA0 = torch.device("cuda", 0)
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
    "equal",
    "is_nonzero",
    "histc",
    "repeat_interleave.Tensor",
}
INDEXING = {"index", "_unsafe_index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index_put"}
FREE = {
    "empty",
    "new_empty",
    "empty_strided",
    "empty_like",
    "detach",
    "_local_scalar_dense",
    "new_empty_strided",
    "lift_fresh",
    "is_same_size",
    "_unsafe_view",
    "alias",
}
_registered: list[Any] = []


def _sim() -> torch.device:
    """The spare backend, set up once a process."""
    if not _registered:
        from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

        class Module(_DummyBackendModule):  # type: ignore[misc]
            def get_amp_supported_dtype(self) -> list[torch.dtype]:
                return [torch.bfloat16, torch.float16]

            def is_initialized(self) -> bool:
                return True

            def get_rng_state(self, device: Any = None) -> Tensor:
                return torch.zeros(8, dtype=torch.uint8)

            def set_rng_state(self, state: Tensor, device: Any = None) -> None:
                pass

            def current_device(self) -> int:
                return 0

        _setup_privateuseone_for_python_backend("sim", backend_module=Module())
        _registered.extend(precision.register(lambda x: isinstance(x, SimTensor)))
    return torch.device("sim", 0)


class SimTensor(Tensor):
    """A tensor on the simulated device."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @staticmethod
    def __new__(cls: Any, elem: Tensor, requires_grad: bool = False) -> Any:
        assert elem.device.type == "cpu"
        return torch.Tensor._make_subclass(
            cls, elem, requires_grad, dispatch_device=True, device_for_backend_keys=_sim()
        )

    @property
    def device(self) -> torch.device:
        return CUDA0

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"Sim({on_cpu(self)!r})"

    def tolist(self) -> Any:
        SimGpu.active.wait("D2H", "tolist")
        return on_cpu(self).tolist()

    def record_stream(self, stream: Any) -> None:
        pass

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return _sim()
        with SimGpu.active:
            return func(*args, **(kwargs or {}))


def on_cpu(x: Tensor) -> Tensor:
    """The same memory as a plain CPU tensor."""
    with torch._C._DisableTorchDispatch():
        storage = x.untyped_storage()
    return torch.empty(0, dtype=x.dtype).set_(storage, x.storage_offset(), x.size(), x.stride())


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Those among an operator's arguments, which nest lists, tuples and dicts alone."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple, dict)):
        for one in given.values() if isinstance(given, dict) else given:
            yield from tensors_in(one)


def all_on_cpu(given: Any) -> Any:
    """An operator's arguments with plain CPU tensors in place of the device's."""
    if isinstance(given, SimTensor):
        return on_cpu(given)
    if isinstance(given, dict):
        return {name: all_on_cpu(one) for name, one in given.items()}
    if isinstance(given, list):
        return [all_on_cpu(one) for one in given]
    return tuple(all_on_cpu(one) for one in given) if isinstance(given, tuple) else given


def ours(device: Any) -> bool:
    return device is not None and torch.device(device).type in ("cuda", "sim")


class Stream:
    def __init__(self, device: Any = None, **_: Any) -> None:
        self.device = CUDA0

    def wait_stream(self, other: Any) -> None:
        pass


class Event:
    """Waiting for one is a wait only where the device has nothing else to do meanwhile."""

    def record(self, stream: Any = None) -> None:
        self._launched = SimGpu.active.launches.total()

    def synchronize(self) -> None:
        if SimGpu.active.launches.total() == self._launched:
            SimGpu.active.wait("wait", "Event.synchronize")


class Graph:
    """What may be recorded is simulated; replaying is not."""

    def replay(self) -> None:
        raise RuntimeError("simulated graphs are not replayed")


@contextlib.contextmanager
def recording(graph: Any, *_: Any, **__: Any) -> Iterator[None]:
    """In place of `torch.cuda.graph`: what CUDA would refuse raises."""
    gpu = SimGpu.active
    gpu.capturing, gpu.captures = True, gpu.captures + 1
    try:
        yield
    finally:
        gpu.capturing = False


class Moves(TorchFunctionMode):
    """ "cuda" without a number, which C++ would ask a device guard about."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if "device" in kwargs and ours(kwargs["device"]):
            kwargs["device"] = CUDA0
        name = getattr(func, "__name__", "")
        if name == "pin_memory":
            return args[0]
        if name == "tensor" and isinstance(args[0], (list, tuple)):
            args = (pytree.tree_map_only(SimTensor, lambda x: x.item(), args[0]), *args[1:])
        if name == "to":
            args = tuple(CUDA0 if isinstance(a, (str, torch.device)) and ours(a) else a for a in args)
            if len(args) > 1 and isinstance(args[1], SimTensor):  # .to(other)
                return func(args[0], CUDA0, args[1].dtype)
        elif name == "cuda":
            return args[0].to(CUDA0)
        return func(*args, **kwargs)


class SimGpu(TorchDispatchMode):
    """Runs every operator on the CPU and keeps the books."""

    active: ClassVar[SimGpu]

    def __init__(self) -> None:
        super().__init__()
        self.counting, self.capturing, self.captures = True, False, 0
        self.launches: Counter[str] = Counter()
        self.waits: Counter[tuple[str, str, str]] = Counter()

    def __enter__(self) -> Any:
        SimGpu.active = self
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.prim.device.default:
            return _sim()
        flat = [*tensors_in((args, kwargs))]
        here, to = any(isinstance(x, SimTensor) for x in flat), kwargs.get("device")
        if not here and not ours(to):
            return func(*args, **kwargs)
        self._check(func, flat, args, kwargs)
        raw = {**kwargs, **({"device": torch.device("cpu")} if to is not None else {})}
        if to is not None:
            raw.pop("pin_memory", None)
        raw_args, raw = all_on_cpu(args), all_on_cpu(raw)
        out = func(*raw_args, **raw)
        if func is torch.ops.aten._local_scalar_dense.default:
            return out
        return _wrapped(func, args, kwargs, out, ours(to) or (here and to is None))

    def _check(self, func: Any, flat: list[Tensor], args: Any, kwargs: Any) -> None:
        name, full = func._schema.name.removeprefix("aten::"), str(func).removeprefix("aten.")
        here, to = [x for x in flat if isinstance(x, SimTensor)], kwargs.get("device")
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if self.counting and not is_view and name not in FREE:
            self.launches[name] += 1
        if name in WAITS or full in WAITS:
            self.wait("wait", full)
        blocks = not (kwargs.get("non_blocking") or (name == "copy_" and any(a is True for a in args[2:3])))
        if name == "_to_copy" and to is not None and ours(to) != bool(here) and blocks:
            self.wait("H2D" if ours(to) else "D2H", full)
        if name == "copy_" and isinstance(args[0], SimTensor) != isinstance(args[1], SimTensor) and blocks:
            self.wait("H2D" if isinstance(args[0], SimTensor) else "D2H", full)
        off = self._elsewhere(name, full, flat, args, bool(here))
        if off:
            shapes = [(tuple(x.shape), str(x.dtype).removeprefix("torch."), str(x.device)) for x in flat]
            raise RuntimeError(f"Expected all tensors to be on the same device: {full}: {shapes}, {self._where()}")

    def _elsewhere(self, name: str, full: str, flat: list[Tensor], args: Any, here: bool) -> list[Tensor]:
        """The tensors that stand on the wrong device; notes what indexing waits for."""
        if name in ("copy_", "_to_copy") or not here:
            return []
        if name not in INDEXING:
            return [x for x in flat if not isinstance(x, SimTensor) and x.dim() > 0]
        given = [index for index in args[1] if index is not None]
        if not isinstance(args[0], SimTensor):
            return [index for index in given if isinstance(index, SimTensor)]
        for index in given:
            if index.dtype in (torch.bool, torch.uint8):
                self.wait("wait", full + " by mask")
            if not isinstance(index, SimTensor):
                self.wait("H2D", full + " CPU index")
        return [x for x in args[2:3] if isinstance(x, Tensor) and not isinstance(x, SimTensor) and x.dim()]

    def wait(self, kind: str, full: str) -> None:
        if self.capturing:
            raise RuntimeError(f"operation not permitted when stream is capturing: {full}")
        self.waits[(kind, full, self._where())] += 1

    def _where(self) -> str:
        """Our line that asked, or the library's where none of ours is on the stack."""
        frame, first = sys._getframe(2), ""
        while frame is not None:
            file = frame.f_code.co_filename
            if "/ssl4rl/" in file and "/tests/" not in file:
                return f"{file.split('/ssl4rl/')[-1]}:{frame.f_lineno}" + (f" via {first}" if first else "")
            if not first and any(part in file for part in ("transformers/", "peft/", "optim/", "nn/")):
                first = f"{file.split('site-packages/')[-1]}:{frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]
        return first


def _wrapped(func: Any, args: Any, kwargs: Any, out: Any, on_device: bool) -> Any:
    """What an operator returns: its own argument where it wrote there, else a tensor of the device if it ran there."""
    returns = func._schema.returns
    if not returns:
        return out
    made = []
    for ret, value in zip(returns, list(out) if len(returns) > 1 else [out], strict=True):
        if ret.alias_info is not None and ret.alias_info.is_write:
            place, name = next(
                (i, a.name)
                for i, a in enumerate(func._schema.arguments)
                if a.alias_info is not None
                and a.alias_info.is_write
                and a.alias_info.before_set == ret.alias_info.before_set
            )
            value = kwargs[name] if name in kwargs else args[place]
        elif on_device:
            value = pytree.tree_map_only(Tensor, lambda x: x if isinstance(x, SimTensor) else SimTensor(x), value)
        made.append(value)
    return tuple(made) if len(returns) > 1 else made[0]


_enter, _exit = torch.autocast.__enter__, torch.autocast.__exit__


def _autocast_on(self: Any) -> Any:
    out = _enter(self)
    if self.device == "cuda":
        self._sim = torch.is_autocast_enabled("sim"), torch.get_autocast_dtype("sim")
        torch.set_autocast_enabled("sim", self._enabled)
        torch.set_autocast_dtype("sim", self.fast_dtype)
    return out


def _autocast_off(self: Any, *error: Any) -> Any:
    if self.device == "cuda":
        torch.set_autocast_enabled("sim", self._sim[0])
        torch.set_autocast_dtype("sim", self._sim[1])
    return _exit(self, *error)


@contextlib.contextmanager
def simulated() -> Iterator[SimGpu]:
    """Within this torch believes that there is one GPU."""
    _sim()
    gpu = SimGpu()
    nothing = contextlib.nullcontext
    cuda = {
        "get_device_name": lambda device=None: "a GPU that is not there",
        "is_available": lambda: True,
        "_lazy_init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_capability": lambda *_, **__: (9, 0),
        "get_rng_state": lambda *_, **__: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda *_, **__: None,
        "synchronize": lambda *_, **__: None,
        "device": lambda *_, **__: nothing(),
        "stream": lambda stream: nothing(),
        "current_stream": Stream,
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": recording,
    }
    with contextlib.ExitStack() as stack:
        for name, stand_in in cuda.items():
            stack.enter_context(mock.patch(f"torch.cuda.{name}", stand_in))
        stack.enter_context(mock.patch("torch.clear_autocast_cache", precision.casts.clear))
        stack.enter_context(mock.patch.object(torch.autocast, "__enter__", _autocast_on))
        stack.enter_context(mock.patch.object(torch.autocast, "__exit__", _autocast_off))
        stack.enter_context(mock.patch("torch.nn.functional.scaled_dot_product_attention", attention(gpu)))
        swapped = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)  # keeps tied weights tied
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swapped)
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        stack.enter_context(gpu)
        stack.enter_context(Moves())
        stack.callback(precision.casts.clear)
        yield gpu
