"""Which tensors are alive, in bytes by part, and what there was at the most."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ssl4rl.tools.plan.weightless import Weightless, run

_CAST = torch.ops.aten._to_copy.default


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered every storage that an operator makes is booked until it is freed.

    `now`: bytes alive by part. `peak`: the same when they were most, since `restart`. Memory is what tensors hold, each
    storage rounded up to 512 bytes as CUDA's allocator does; what the allocator keeps in reserve is not in it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: Counter[str] = Counter()
        self.vocabulary = 0  # a tensor with as many columns holds logits
        self.peak: dict[str, int] = {}
        self._most = 0
        self._total = 0
        self._part = "activations"
        self._alive: dict[int, tuple[Any, int, str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = run(func, args, kwargs or {}) if Weightless in types else func(*args, **(kwargs or {}))
        part = self._part
        if func is _CAST and part == "activations" and self._part_of(args[0]) == "weights":
            part = "bfloat16 copies"
        for x in out if isinstance(out, (list, tuple)) else (out,):
            if isinstance(x, Tensor):
                self._book(x, part)
        return out

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within this what is made belongs to that part."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def assign(self, tensors: Iterable[Tensor], part: str) -> None:
        """These belong to that part, whatever they were made as."""
        for x in tensors:
            key = self._book(x, part)
            if key is None:
                continue
            ref, size, was = self._alive[key]
            if was != part:
                self.now[was] -= size
                self.now[part] += size
                self._alive[key] = ref, size, part

    def restart(self) -> None:
        """The most from now on."""
        self._most, self.peak = self._total, dict(self.now)

    def _book(self, x: Tensor, part: str) -> int | None:
        with torch._C._DisableTorchDispatch():
            storage = x.untyped_storage()
        key: int = storage._cdata
        if key in self._alive:
            return key
        if part == "activations" and x.ndim > 1 and x.shape[-1] == self.vocabulary:
            part = "logits"
        size = -(-storage.nbytes() // 512) * 512
        if not size:
            return None
        self._alive[key] = weakref.ref(storage, lambda _: self._free(key)), size, part
        self.now[part] += size
        self._total += size
        if self._total > self._most:
            self._most, self.peak = self._total, dict(self.now)
        return key

    def _part_of(self, x: Tensor) -> str:
        with torch._C._DisableTorchDispatch():
            known = self._alive.get(x.untyped_storage()._cdata)
        return known[2] if known else ""

    def _free(self, key: int) -> None:
        _, size, part = self._alive.pop(key)
        self.now[part] -= size
        self._total -= size
