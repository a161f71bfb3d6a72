"""The gradient of an update, each parameter's summed over the ranks on the one that owns it, and nowhere else.

A whole gradient lies on no rank: as a backward pass makes a parameter's, all ranks send theirs to its owner and forget
it (`reduce`, once a run of parameters). The owner adds up in float32, over ranks and micro-batches.

Ranks have different numbers of micro-batches, their passes end at different times, and not every pass reaches every
parameter (a prompt without pictures, memory that ran out half way). So what is sent is fixed: every rank sends every
run once a round, in the same order, zeros where it has nothing, and there are as many rounds as the rank with the most
micro-batches needs. The order is the reverse of the parameters', about that of a backward pass; a run that is ready
early waits for those before it.

With a single round the sums are those of `Ranks.sum_gradients`, bit for bit. With several they are taken in another
order (over ranks first, then over micro-batches), and differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ssl4rl.core.grpo.ranks import Ranks

T = TypeVar("T")
BUCKET = 2**26  # elements that wait to be sent together, 256 MiB in float32


class Run(NamedTuple):
    """Parameters at these places, whose gradients go to `owner` together."""

    owner: int
    places: list[int]


def runs(parameters: Sequence[Tensor], owners: Sequence[int], bucket: int) -> Iterator[Run]:
    """All places from the last, in buckets of `bucket` elements or of a single larger one, each cut by owner."""
    waiting: list[int] = []

    def cut() -> Iterator[Run]:
        kinds: dict[tuple[int, torch.dtype, torch.device], list[int]] = {}
        for i in waiting:
            kinds.setdefault((owners[i], parameters[i].dtype, parameters[i].device), []).append(i)
        for (owner, *_), places in kinds.items():
            yield Run(owner, places)

    for i in reversed(range(len(parameters))):
        if waiting and sum(parameters[j].numel() for j in [*waiting, i]) > bucket:
            yield from cut()
            waiting = []
        waiting.append(i)
    yield from cut()


class Reduced:
    """Where gradients go. Every rank must make every call, but `backward`.

    Args:
        parameters: in the same order on every rank.
        owners: the rank that owns each.

    `sums`: what this rank owns of the gradient, by place, in float32 (or wider). `used`: places with a gradient on some
    rank, once they `agree`.
    """

    def __init__(self, parameters: Sequence[Tensor], owners: Sequence[int], ranks: Ranks, bucket: int = BUCKET) -> None:
        self.parameters, self.owners, self.ranks = list(parameters), list(owners), ranks
        self.sums: dict[int, Tensor] = {}
        self.used: list[int] = []
        self._runs = list(runs(parameters, owners, bucket))
        self._touched: set[int] = set()
        self._ready: set[int] = set()
        self._next = 0  # the run to send
        self._left = 0  # rounds
        for i, p in enumerate(parameters):
            p.register_post_accumulate_grad_hook(partial(self._made, i))  # type: ignore[no-untyped-call]

    def rounds(self, n: int, attempt: Callable[[], T]) -> T:
        """What `attempt` returns, which calls `backward` up to `n` times; on some rank `n` times.

        Raises:
            torch.OutOfMemoryError: it was raised by `attempt`, after the other ranks got all that they wait for. What
                they then have is of no use: all of them must `clear`.
        """
        found: list[T] = []
        self._left = n
        with suppress(torch.OutOfMemoryError):  # what its traceback holds is free then, and zeros need room too
            found.append(attempt())
        if not found:
            self._forget()
        while self._left:
            self._finish()
        # a parameter that a pass came back to after it was sent; no pass that is known does
        if self.ranks.any(any(p.grad is not None for p in self.parameters)):
            self._left = 1
            self._finish()
        if not found:
            raise torch.OutOfMemoryError("memory ran out in an earlier round")
        return found[0]

    def backward(self, loss: Tensor) -> None:
        """The loss's backward pass, and one round."""
        loss.backward()  # type: ignore[no-untyped-call]
        self._finish()

    def agree(self) -> list[int]:
        """Places with a gradient on some rank; what is kept for the others is dropped."""
        found = self.ranks.sums([float(i in self._touched) for i in range(len(self.parameters))])
        self.used = [i for i, n in enumerate(found) if n]
        self.sums = {i: total for i, total in self.sums.items() if found[i]}
        return self.used

    def show(self, parameters: Sequence[Tensor]) -> None:
        """Gives every rank the whole gradient of some parameters, as their `.grad`."""
        used, places = set(self.agree()), {id(p): i for i, p in enumerate(self.parameters)}
        for p in parameters:
            i = places[id(p)]
            if i in used:
                total = self.sums[i] if i in self.sums else torch.empty_like(p, dtype=_wide(p))
                self.ranks.share([total], [self.owners[i]])
                p.grad = total.to(p.dtype)

    def fill(self) -> None:
        """Zeros for what there is no gradient of, as if a backward pass had reached every parameter."""
        for i, p in enumerate(self.parameters):
            if self.owners[i] == self.ranks.rank and i not in self.sums:
                self.sums[i] = torch.zeros_like(p, dtype=_wide(p))
        self._touched.update(range(len(self.parameters)))

    def clear(self) -> None:
        """As if there had been no backward pass."""
        self.sums, self.used = {}, []
        self._touched.clear()
        self._forget()

    def _forget(self) -> None:
        for p in self.parameters:
            p.grad = None
        self._ready.clear()

    def _made(self, place: int, _: Tensor) -> None:
        """A backward pass has made this parameter's gradient."""
        if not self._left:
            return
        self._touched.add(place)
        self._ready.add(place)
        while self._next < len(self._runs) and self._ready.issuperset(self._runs[self._next].places):
            self._send()

    def _finish(self) -> None:
        while self._next < len(self._runs):
            self._send()
        self._next = 0
        self._left -= 1
        self._ready.clear()

    @torch.no_grad()
    def _send(self) -> None:
        """Sends the next run. If there is no room for that, nothing was done."""
        owner, places = self._runs[self._next]
        members = [self.parameters[i] for i in places]
        flat = torch.empty(sum(p.numel() for p in members), dtype=_wide(members[0]), device=members[0].device)
        parts = torch.split(flat, [p.numel() for p in members])
        for p, part in zip(members, parts, strict=True):
            if p.grad is None:
                part.zero_()
            else:
                part.copy_(p.grad.flatten())
                p.grad = None
        self.ranks.reduce(flat, owner)
        self._next += 1
        if owner != self.ranks.rank:
            return
        for i, p, part in zip(places, members, parts, strict=True):
            if i in self.sums:
                self.sums[i] += part.view_as(p)
            else:
                self.sums[i] = part.view_as(p)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
