"""Several processes that train one policy: who is who, and what they agree on.

Data parallel. Every rank holds the whole policy (the optimiser's state may be divided, see `sharded`) and makes the
same decisions from the same numbers; what is divided is sampling and scoring (by prompt) and the gradient (by group).
Gradients are summed once an optimiser step, over flat buckets. `DistributedDataParallel` would hook into each backward
pass, but a step has several (one a micro-batch, as many as a rank's groups need), not the same number on all ranks, and
its mean over ranks is not the sum that the loss's normalisation over the whole batch asks for.

Started by `torchrun` or `accelerate launch`, which tell each process its place in the environment.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ssl4rl.core.types import Ssl4rlError

T = TypeVar("T")
_BUCKET = 2**26  # gradient elements summed at a time, 256 MiB in float32
_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of `size`. Alone, every method returns what it was given."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def own(self, index: int) -> bool:
        """Whether the prompt at `index` of the data is sampled here."""
        return index % self.size == self.rank

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the ranks."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def any(self, flag: bool) -> bool:
        """Whether it is true on some rank."""
        return self.sums([float(flag)])[0] > 0

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in order of rank. It is pickled; hand over little."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, pickle.dumps(value))
        return [pickle.loads(one) for one in found]

    def by_first(self, decide: Callable[[], T]) -> T:
        """What `decide` returns on rank 0, or the Ssl4rlError that it raises there, on every rank."""
        if self.size == 1:
            return decide()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = decide()
            except Ssl4rlError as error:
                told[1] = str(error)
        dist.broadcast_object_list(told)
        if told[1] is not None:
            raise Ssl4rlError(told[1])
        return told[0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def share(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        """Gives every rank each tensor as it is on the rank `owners` names for it, in place."""
        if self.size == 1:
            return
        for owner in range(self.size):
            for bucket in buckets([x for x, rank in zip(tensors, owners, strict=True) if rank == owner]):
                flat = torch.cat([x.flatten() for x in bucket])
                dist.broadcast(flat, owner)
                if owner != self.rank:
                    for x, told in zip(bucket, torch.split(flat, [x.numel() for x in bucket]), strict=True):
                        x.copy_(told.view_as(x))

    def share_weights(self, parameters: Sequence[Tensor]) -> None:
        """Gives every rank the parameters of rank 0."""
        self.share(parameters, [0] * len(parameters))

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sums `.grad` over the ranks. A parameter without one stays without, if no rank has one."""
        if self.size == 1:
            return
        found = self.sums([float(p.grad is not None) for p in parameters])
        used = [p for p, n in zip(parameters, found, strict=True) if n]
        for bucket in buckets(used):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            dist.all_reduce(flat)
            sums = torch.split(flat, [p.numel() for p in bucket])
            for p, grad, total in zip(bucket, grads, sums, strict=True):
                p.grad = grad.copy_(total.view_as(grad))

    def divide(self, owners: Sequence[int]) -> list[int]:
        """Of some groups, the positions that this rank computes: as many as any other, give or take one.

        Args:
            owners: the rank that sampled each group. A group stays there unless that rank has more than its share.
        """
        shares: list[list[int]] = [[] for _ in range(self.size)]
        for position, owner in enumerate(owners):
            shares[owner].append(position)
        # the ranks with the most groups already get the remainder, so that the fewest move
        ranked = sorted(range(self.size), key=lambda r: (-len(shares[r]), r))
        even, more = divmod(len(owners), self.size)
        wanted = {r: even + (place < more) for place, r in enumerate(ranked)}
        spare = sorted(p for r in ranked for p in shares[r][wanted[r] :])
        shares = [share[: wanted[r]] for r, share in enumerate(shares)]
        for share, r in zip(shares, range(self.size), strict=True):
            missing = wanted[r] - len(share)
            share += spare[:missing]
            spare = spare[missing:]
        return sorted(shares[self.rank])


ALONE = Ranks()


def buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of parameters of one kind and at most `_BUCKET` elements, or of a single larger one."""
    for _, run in groupby(parameters, key=lambda p: (p.device, p.dtype)):
        bucket: list[Tensor] = []
        for p in run:
            if bucket and sum(q.numel() for q in bucket) + p.numel() > _BUCKET:
                yield bucket
                bucket = []
            bucket.append(p)
        yield bucket


@contextmanager
def open_ranks(processes: int | None, device: str) -> Iterator[tuple[Ranks, str]]:
    """This process among those that a launcher started, and its device; leaves the process group at the end.

    Args:
        processes: how many there ought to be; None for any number.
        device: the recipe's. "auto" and "cuda" become the GPU of this process's number on its machine.

    Raises:
        Ssl4rlError: the launcher told half of what is needed, or there are not as many processes as there ought to be,
            or as accelerate was asked for.
    """
    size = _world_size()
    if processes is not None and processes != size:
        raise Ssl4rlError(
            f"train.processes={processes}, but {size} of them run; start it with "
            f"`torchrun --nproc_per_node={processes} -m ssl4rl train ...`"
        )
    if processes is None and _left_alone():
        raise Ssl4rlError(
            "accelerate launch was asked for several processes and started one (it starts several on GPUs, or with "
            "--multi_gpu also without); train.processes=1 goes on with one"
        )
    if size == 1:
        yield ALONE, device
        return
    missing = [name for name in _TOLD if name not in os.environ]
    if missing:
        raise Ssl4rlError(
            f"WORLD_SIZE={size} without {', '.join(missing)}: no launcher started this process; use torchrun or "
            "accelerate launch, or unset WORLD_SIZE"
        )
    gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    # what is pickled or counted goes by gloo, gradients on a GPU by nccl
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        if ranks.size != size:
            raise Ssl4rlError(f"WORLD_SIZE={size}, but {ranks.size} processes met")
        yield ranks, device
    finally:
        dist.destroy_process_group()


def _left_alone() -> bool:
    """Whether accelerate's launcher was asked for several processes and started this one by itself.

    It then names an address to meet at, and neither a rank nor how many will come (accelerate 1.15's simple launcher:
    one GPU or none, whatever --num_processes says). Under MPI, which it may hand over to, this counts too: nothing here
    asks MPI for its ranks, so each process would take itself for the only one.
    """
    told = os.environ
    return "ACCELERATE_MIXED_PRECISION" in told and "MASTER_ADDR" in told and "WORLD_SIZE" not in told


def _world_size() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or int(text) < 1:
        raise Ssl4rlError(f"WORLD_SIZE={text!r} in the environment; allowed: a whole number from 1")
    return int(text)
