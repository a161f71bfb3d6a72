"""Where raw items come from: random access, identity by content, and a split by that identity."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from ssl4rl.core.limits import LIMITS, limit, variable
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Ssl4rlError, nearest

S = TypeVar("S")
Part = Literal["train", "held_out", "all"]
Way = Literal["look", "content", "folder"]
_ASKED = 64  # items of an endless source that stand for all
PARTS: tuple[Part, ...] = ("train", "held_out", "all")


@dataclass(frozen=True)
class Problem:
    """An item of a source that cannot be used: its name and why, in a few words."""

    name: str
    why: str


def too_many_problems(uri: str, first: Problem) -> Ssl4rlError:
    """The error for a source more of which cannot be used than the limit "problems" allows."""
    return Ssl4rlError(
        f"{uri}: more than {limit('problems')} {LIMITS['problems'][1]} ({first.name}: {first.why}); set "
        f"{variable('problems')} for more"
    )


class Source(ABC, Generic[S]):
    """Random access to raw items.

    Items are cheap handles where decoding is dear (a picture is decoded when a task asks for it). `id(i)` is a hash
    of the item's content, never its name or row. An `endless` source makes its items from their index; its length is
    how many indices there are. `benchmark`: of which one these are the items, by name, where models are measured on
    them; a recipe trains on them only if it names it. `licence`: of the items, where it is known.
    """

    uri: str = ""
    benchmark: str = ""
    licence: str = ""
    endless: ClassVar[bool] = False
    ways: ClassVar[tuple[Way, ...]] = ("content",)
    """What it can be split by, its default first: "look" (near-twins stay together), "content", "folder"."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> S:
        """The item. Raises Unusable when it turns out to be broken."""

    @abstractmethod
    def id(self, index: int) -> str:
        """Content id: equal for equal content wherever it lies."""

    def name(self, index: int) -> str:
        """What a person finds the item by: a file, a node, a row. Nothing depends on it; "" where there is nothing."""
        return ""

    def groups(self, way: Way) -> Sequence[str] | None:
        """The group of every item when split by `way`, for finite sources; items of one group fall on one side.

        A group is named by the smallest id of its members (`core.near.groups`), so that adding items joins groups at
        most; None where every content is a group of its own.
        """
        return None

    def moved(self, way: Way) -> Mapping[str, tuple[str, str]]:
        """Items whose group has another name than when the source was last opened: id -> (before, now)."""
        return {}

    def for_task(self, task: Task[Any]) -> Source[Any]:
        """What this source holds for a task: itself, or a source of those items that the task can use.

        Asked once for each task where a mixture is opened; equal tasks get the same object.

        Raises:
            Ssl4rlError: it holds nothing for the task.
        """
        return self

    @property
    def problems(self) -> Sequence[Problem]:
        """What was found unusable while opening; not counted in the length."""
        return ()

    @property
    def taken(self) -> str:
        """What was read and how, in one line: what was guessed, dropped, and how much there is; "": nothing to say."""
        return ""


def content_id(data: bytes) -> str:
    """The usual content id: 16 hex digits of a blake2b hash."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def is_held_out(item_id: str, share: float) -> bool:
    """Whether an item belongs to the held-out part: decided by its content alone, so adding items moves none."""
    digest = hashlib.blake2b(f"held out:{item_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class Split(Generic[S]):
    """One part of a source: the items whose group's hash falls in it, each content once.

    Args:
        source: where the items come from.
        part: "train", "held_out" or "all".
        held_out: the share of groups that is held out, in (0, 1).
        by: one of the source's `ways`; None is its default.

    Raises:
        Ssl4rlError: an unknown part or way, or a share out of its bounds.
    """

    def __init__(self, source: Source[S], part: Part = "train", held_out: float = 0.2, by: Way | None = None) -> None:
        if part not in PARTS:
            raise Ssl4rlError(f"unknown split {part!r}{nearest(part, PARTS)}")
        if not 0 < held_out < 1:
            raise Ssl4rlError(f"held_out is {held_out}; allowed: a share between 0 and 1")
        if by is not None and by not in source.ways:
            raise Ssl4rlError(f"{source.uri}: split_by is {by!r}; allowed: {', '.join(source.ways)}")
        self.source, self.part, self.held_out = source, part, held_out
        self.by: Way = by or source.ways[0]
        self._orders: dict[tuple[int, int], np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def _holds(self, item_id: str) -> bool:
        return self.part == "all" or is_held_out(item_id, self.held_out) == (self.part == "held_out")

    @cached_property
    def _indices(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Source indices of this part, one for each content, ordered by content id: names and rows do not matter."""
        first: dict[str, int] = {}
        for index in range(len(self.source)):
            first.setdefault(self.source.id(index), index)
        groups = None if self.part == "all" else self.source.groups(self.by)
        ordered = [first[item_id] for item_id in sorted(first)]
        return np.array([i for i in ordered if self._holds(groups[i] if groups else self.source.id(i))], dtype=np.int64)

    @cached_property
    def _kin(self) -> Sequence[str] | None:
        """Each item's near-twins, by the name of their group: those of one group never meet in an example."""
        return self.source.groups("look") if "look" in self.source.ways else None

    @cached_property
    def _kinds(self) -> int:
        """How many items of this part have no near-twin among each other."""
        return len(self._indices) if self._kin is None else len({self._kin[int(i)] for i in self._indices})

    def prepare(self, draws: int) -> None:
        """Does once, before workers are started, what drawing `draws` items at a time will need."""
        if not self.source.endless and len(self._indices) and draws > 1:  # the length makes the groups of the split
            _ = self._kinds

    @property
    def helps(self) -> str:
        """Why a part of a finite source is small, where copies or groups make it so, and what helps."""
        ids = {self.source.id(index) for index in range(len(self.source))}
        groups = None if self.part == "all" else self.source.groups(self.by)
        kinds = len(set(groups)) if groups else len(ids)
        why = [f"{len(self.source)} items have {len(ids)} contents"] if len(ids) < len(self.source) else []
        why += [f"split_by={self.by} makes {kinds} group{'s'[: kinds > 1]} of them"] if kinds < len(ids) else []
        share = " or another held_out share" if kinds > 1 and self.part != "all" else ""
        other = ""
        if len(ids) > kinds == 1:
            wider = self.by == "folder" and "look" in self.source.ways
            other = f" or split_by={'look' if wider else 'content (near-twins may then be on both sides)'}"
        return "".join(f"{reason}; " for reason in why) + f"give more data{share}{other}"

    @property
    def moved(self) -> str:
        """What changed sides since the source was last opened, because files were added or gone; "": nothing."""
        sides = [
            is_held_out(after, self.held_out)
            for before, after in self.source.moved(self.by).values()
            if is_held_out(before, self.held_out) != is_held_out(after, self.held_out)
        ]
        if not sides:
            return ""
        out = sum(sides)
        return (
            f"{len(sides)} items changed sides since {self.source.uri!r} was last opened ({out} are held out now, "
            f"{len(sides) - out} are trained on now): what was added or removed looks like them"
        )

    @cached_property
    def fingerprint(self) -> tuple[int, str]:
        """How many items this part has, and a hash of their contents' ids: equal wherever the same contents lie in it.

        Of an endless source only a few indices, evenly spaced, are asked for.
        """
        if self.source.endless:
            shown = np.linspace(0, len(self.source) - 1, _ASKED).astype(np.int64)
            ids = [f"{self.part} {self.held_out}", *(self.source.id(int(index)) for index in shown)]
        else:
            ids = [self.source.id(int(index)) for index in self._indices]
        return len(self), content_id("\n".join(ids).encode())

    def __len__(self) -> int:
        """Different items in this part (for an endless source: indices, of which this part holds a share)."""
        return len(self.source) if self.source.endless else len(self._indices)

    def _order(self, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """This epoch's order; the last two asked for are kept."""
        order = self._orders.get((seed, epoch))
        if order is None:
            while len(self._orders) > 1:
                self._orders.pop(next(iter(self._orders)), None)
            order = self._orders[seed, epoch] = keyed_rng("order", seed, epoch).permutation(self._indices)
        return order

    def draw(self, n: int, seed: int, index: int, rng: np.random.Generator, attempt: int = 0) -> list[int]:
        """Source indices of `n` different items for the example at `index`.

        The first item walks through the whole part, in a new order each epoch; the others, and all of a later
        attempt, are drawn with `rng`. No two are near-twins, where the source can tell.

        Raises:
            Ssl4rlError: the part has fewer than `n` items that differ so.
        """
        if self.source.endless:
            return self._draw_endless(n, rng)
        size = len(self._indices)
        if size < n or (n > 1 and self._kinds < n):
            unlike = "" if size < n else f" ({self._kinds} without near-twins)"
            helps = self.helps if size < n else "give more data that differ: no example holds two near-twins"
            raise Ssl4rlError(
                f"{self.source.uri}: the {self.part} part has {size} of {len(self.source)} items{unlike}, {n} are "
                f"needed for one example; {helps}"
            )
        if attempt > 0:
            drawn = [int(i) for i in rng.choice(self._indices, n, replace=False)]
        else:
            drawn = [int(self._order(seed, index // size)[index % size])]
        chosen: list[int] = []
        while len(chosen) < n:
            candidate = drawn.pop(0) if drawn else int(self._indices[rng.integers(size)])
            if not any(self._near(candidate, other) for other in chosen):
                chosen.append(candidate)
        return chosen

    def _near(self, one: int, other: int) -> bool:
        return one == other or (self._kin is not None and self._kin[one] == self._kin[other])

    def _draw_endless(self, n: int, rng: np.random.Generator) -> list[int]:
        chosen: list[int] = []
        for _ in range(20_000 * n):
            candidate = int(rng.integers(len(self.source)))
            if candidate not in chosen and self._holds(self.source.id(candidate)):
                chosen.append(candidate)
            if len(chosen) == n:
                return chosen
        raise Ssl4rlError(
            f"{self.source.uri}: the {self.part} part holds too few items for one example, which takes {n}"
        )

    def locate(self, item_id: str) -> int:
        """The source index of the item with this id (finite sources).

        Raises:
            Ssl4rlError: the source no longer holds it.
        """
        for index in range(len(self.source)):
            if self.source.id(index) == item_id:
                return index
        raise Ssl4rlError(f"{self.source.uri} holds no item with id {item_id}")
