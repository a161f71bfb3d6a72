"""Gradients that lie on their owners alone. What two processes do with them is in test_ranks.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.update.reduced import Reduced, Run, runs
from ssl4rl.core.grpo.update.sharded import ShardedAdamW

T = TypeVar("T")
OPTIONS = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}
OWNERS = [0, 0, 1, 1]  # of parameters of 2, 5, 3 and 4 elements


@dataclass
class Table:
    """Where two threads exchange what two processes would by gloo; a rank that stays away is an error in 20 s."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=20))
    slots: list[Any] = field(default_factory=lambda: [None, None])

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class Thread(Ranks):
    table: Table = field(default_factory=Table)

    def gather(self, value: T) -> list[T]:
        return self.table.exchange(self.rank, value)

    def sums(self, values: Sequence[float]) -> list[float]:
        return [sum(pair) for pair in zip(*self.gather(list(values)), strict=True)]

    def reduce(self, flat: Tensor, owner: int) -> None:
        pair = self.gather((owner, flat.clone()))
        assert pair[0][0] == pair[1][0], "both send to the same owner"
        flat.copy_(pair[0][1] + pair[1][1])

    def share(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        told = self.gather([x.detach().clone() for x in tensors])
        for i, (x, owner) in enumerate(zip(tensors, owners, strict=True)):
            with torch.no_grad():
                x.copy_(told[owner][i])


def on_two(work: Callable[[Ranks], T]) -> list[T]:
    table = Table()
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda rank: work(Thread(rank, 2, table)), range(2)))


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=generator).requires_grad_() for n in (2, 5, 3, 4)]


def losses(ps: Sequence[Tensor], rank: int) -> list[Callable[[], Tensor]]:
    """Micro-batches of a rank: three and one. The first parameter is in the second rank's alone, the last in none."""
    if rank:
        return [lambda: (ps[0] ** 3).sum() + (ps[1] * ps[2].sum()).sum()]
    return [lambda: (ps[1] ** 2).sum(), lambda: ps[2].prod(), lambda: (ps[1].exp() * ps[2][0]).sum()]


def whole_gradient() -> list[Tensor | None]:
    ps = parameters()
    for rank in (0, 1):
        for loss in losses(ps, rank):
            loss().backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in ps]


def test_runs_by_hand() -> None:
    ps = parameters()
    assert list(runs(ps, OWNERS, 7)) == [Run(1, [3, 2]), Run(0, [1, 0])]
    assert list(runs(ps, OWNERS, 12)) == [Run(1, [3, 2]), Run(0, [1]), Run(0, [0])]
    assert list(runs(ps, [0, 1, 0, 1], 100)) == [Run(1, [3, 1]), Run(0, [2, 0])]
    assert list(runs(ps, OWNERS, 1)) == [Run(1, [3]), Run(1, [2]), Run(0, [1]), Run(0, [0])]


@pytest.mark.parametrize("bucket", [1, 100])
def test_every_gradient_ends_on_its_owner_alone(bucket: int) -> None:
    def work(ranks: Ranks) -> tuple[dict[int, Tensor], list[int], list[Tensor | None]]:
        ps = parameters()
        reduced = Reduced(ps, OWNERS, ranks, bucket)

        def attempt() -> int:
            for loss in losses(ps, ranks.rank):
                reduced.backward(loss())
                assert all(p.grad is None for p in ps)
            return 7

        assert reduced.rounds(3, attempt) == 7
        used = reduced.agree()
        kept = dict(reduced.sums)
        reduced.show([ps[1], ps[2], ps[3]])
        return kept, used, [p.grad for p in ps]

    wanted = whole_gradient()
    for rank, (sums, used, shown) in enumerate(on_two(work)):
        assert used == [0, 1, 2]
        assert sums.keys() == ({0, 1}, {2})[rank]
        for i, total in sums.items():
            torch.testing.assert_close(total, wanted[i])
        assert shown[0] is None
        assert shown[3] is None
        for i in (1, 2):
            torch.testing.assert_close(shown[i], wanted[i])


@pytest.mark.parametrize("half_way", [False, True])
def test_a_rank_without_memory_leaves_no_other_waiting(half_way: bool) -> None:
    """In its last micro-batch, or within the backward pass of it; all begin anew then."""

    def work(ranks: Ranks) -> dict[int, Tensor]:
        ps = parameters()
        reduced = Reduced(ps, OWNERS, ranks, 1)
        short = [ranks.rank == 0]

        def lacking(grad: Tensor) -> Tensor:
            if short and short.pop():
                raise torch.OutOfMemoryError("none left")
            return grad

        def attempt() -> None:
            for at, loss in enumerate(losses(ps, ranks.rank)):
                made = loss()
                if at == 2 and half_way:
                    ps[1].register_hook(lacking)  # type: ignore[no-untyped-call]
                elif at == 2:
                    lacking(made)
                reduced.backward(made)

        if ranks.rank == 0:
            with pytest.raises(torch.OutOfMemoryError):
                reduced.rounds(3, attempt)
        else:
            reduced.rounds(3, attempt)
        reduced.clear()
        assert not reduced.sums
        reduced.rounds(3, attempt)
        reduced.agree()
        return reduced.sums

    wanted = whole_gradient()
    for sums in on_two(work):
        for i, total in sums.items():
            torch.testing.assert_close(total, wanted[i])


def test_clipped_steps_are_those_of_adamw_to_the_bit() -> None:
    def loss(ps: Sequence[Tensor], rank: int) -> Tensor:
        return (ps[2] ** 2).sum() * ps[0].sum() if rank else (ps[0] ** 3).sum() + (ps[1] * 3).exp().sum()

    reference = parameters()
    adam = torch.optim.AdamW(reference, **OPTIONS)  # type: ignore[arg-type]
    norms = []
    for _ in range(2):
        parts = [torch.autograd.grad(loss(reference, rank), reference[:3], allow_unused=True) for rank in (0, 1)]
        for p, a, b in zip(reference, *parts, strict=False):
            p.grad = (torch.zeros_like(p) if a is None else a) + (torch.zeros_like(p) if b is None else b)
        norms.append(float(torch.nn.utils.clip_grad_norm_(reference, 0.5)))
        adam.step()

    def work(ranks: Ranks) -> tuple[list[Tensor], list[float]]:
        ps, found = parameters(), []
        optimizer = ShardedAdamW(ps, ranks, OPTIONS, gradients=True)
        reduced = optimizer.reduced
        assert reduced is not None
        for _ in range(2):
            reduced.rounds(1, lambda: reduced.backward(loss(ps, ranks.rank)))
            found.append(float(optimizer.clip(0.5)))
            optimizer.step()
            optimizer.zero_grad()
        return ps, found

    for ps, found in on_two(work):
        assert found == norms
        assert all(torch.equal(p, q) for p, q in zip(ps, reference, strict=True))


def test_what_is_not_finite_on_one_rank_is_so_on_all_and_leaves_nothing() -> None:
    def work(ranks: Ranks) -> tuple[float, list[Tensor], int]:
        ps = parameters()
        optimizer = ShardedAdamW(ps, ranks, OPTIONS, gradients=True)
        reduced = optimizer.reduced
        assert reduced is not None
        reduced.rounds(1, lambda: reduced.backward((ps[2] * (float("nan") if ranks.rank else 1.0)).sum()))
        norm = float(optimizer.clip(1.0))
        optimizer.zero_grad()
        return norm, ps, len(reduced.sums)

    for norm, ps, left in on_two(work):
        assert norm != norm
        assert left == 0
        assert all(p.grad is None for p in ps)


def test_small_steps_are_not_lost_in_bfloat16() -> None:
    """A step of 1e-4 at a weight of 1 is less than half a last place there (2**-9), and 60 are more."""

    def work(ranks: Ranks) -> tuple[list[Tensor], Tensor, dict[int, Tensor] | None]:
        ps = [torch.ones(3, dtype=torch.bfloat16, requires_grad=True) for _ in range(2)]
        masters = {ranks.rank: torch.ones(3)}
        optimizer = ShardedAdamW(ps, ranks, {**OPTIONS, "lr": 1e-4}, gradients=True, masters=masters)
        reduced = optimizer.reduced
        assert reduced is not None
        for _ in range(60):
            reduced.rounds(1, lambda: reduced.backward((ps[0] + ps[1]).float().sum()))
            optimizer.clip(1.0)
            optimizer.step()
            optimizer.zero_grad()
        return ps, masters[ranks.rank], optimizer.whole_masters()

    (ps, mine, whole), (others, theirs, nothing) = on_two(work)
    assert torch.all(mine < 0.995)
    for rounded in (ps, others):
        assert torch.equal(rounded[0], mine.bfloat16())
        assert torch.equal(rounded[1], theirs.bfloat16())
    assert whole is not None
    assert torch.equal(whole[0], mine)
    assert torch.equal(whole[1], theirs)
    assert nothing == {}
