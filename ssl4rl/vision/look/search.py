"""All pairs of looks that are twins: a coarse comparison proposes, `alike` decides.

A proposal compares the lowest spatial frequencies (7 x 7 cosines, as perceptual hashes do) of one look, seen through
each of a few maps (as it lies, cropped at the corners and in the middle, turned a little), with those of all others as
they lie. Verdicts on a pair depend on these two looks alone, so that more pictures can only join groups. Pairs that are
in one group already are not looked at again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from ssl4rl.core.near.groups import joined
from ssl4rl.vision.look import alike
from ssl4rl.vision.look.thumb import SIDE, Array, colours_of, grey_of

PROPOSED = 0.9
"""Correlation of low frequencies from which on a pair is looked at."""

_FREQUENCIES = 7
_CROP = 0.1
_TURN = 0.06  # radians
_BLOCK = 1024
_BATCH = 256


def _maps() -> Array:
    """The maps that looks are proposed through, shape (n, 6); the first leaves them as they lie."""
    crops = [(x, -_CROP, 0.0, y, 0.0, -_CROP) for x, y in itertools.product((-_CROP, _CROP), repeat=2)]
    crops.append((0.0, -_CROP, 0.0, 0.0, 0.0, -_CROP))
    turns = [(0.0, -_TURN, -s * _TURN, 0.0, s * _TURN, -_TURN) for s in (-1, 1)]
    return np.array([(0.0,) * 6, *crops, *turns])


MAPS = _maps()


def twins(looks: Array, new: Array | None = None, told: Callable[[int], None] = lambda done: None) -> Array:
    """Pairs of positions of looks that are twins, shape (n, 2), enough of them to join every group.

    Args:
        looks: uint8 of shape (n, LOOK_BYTES).
        new: which are new, bool of shape (n,): only pairs with one of them are looked at. None: all.
        told: called with how many looks more are done.
    """
    grey = alike.smoothed(grey_of(looks))
    usable = grey.std(axis=(1, 2)) >= alike.FLAT_STD
    fresh = np.ones(len(looks), dtype=bool) if new is None else new
    plain = _low(grey)
    plain[~usable] = 0.0
    found = _Found(looks, grey)
    rows = np.flatnonzero(usable)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for number, map_6 in enumerate(MAPS):
            seen = grey[block] if number == 0 else alike._moved(grey[block], np.repeat(map_6[None], len(block), 0))[0]
            for first, second in _proposals(_low(seen), plain, block, fresh, number):
                found.look_at(first, second, number)
        told(len(block))
    found.flat(np.flatnonzero(~usable), fresh)
    return found.pairs()


def _low(thumbs: Array) -> Array:
    """The lowest frequencies of thumbnails, without their mean, of length 1: float32 (n, _FREQUENCIES**2 - 1)."""
    places = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    cosines = np.cos(places * np.arange(_FREQUENCIES)[:, None])
    cosines[0] /= np.sqrt(2)
    low = (cosines @ thumbs @ cosines.T).reshape(len(thumbs), -1)[:, 1:]
    result: Array = (low / np.maximum(np.linalg.norm(low, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return result


def _proposals(low: Array, plain: Array, block: Array, fresh: Array, number: int) -> Iterator[tuple[Array, Array]]:
    """Positions (seen through the map, as it lies) of pairs worth a look, with one of them new, in batches."""
    likeness = low @ plain.T
    rows, others = np.nonzero(likeness >= PROPOSED)
    first = block[rows]
    keep = (first != others) & (fresh[first] | fresh[others])
    if number == 0:
        keep &= first < others  # as they lie it is the same both ways round
    yield first[keep], others[keep]


class _Found:
    """The twins found so far, and the groups that they make."""

    def __init__(self, looks: Array, grey: Array) -> None:
        self._grey, self._raw, self._colours = grey, grey_of(looks), colours_of(looks)
        self._labels = np.arange(len(looks))
        self._pairs: list[Array] = []

    def look_at(self, first: Array, second: Array, number: int) -> None:
        """Decides on pairs that were proposed through map `number`, those in one group already left out."""
        for start in range(0, len(first), _BATCH):
            i, j = first[start : start + _BATCH], second[start : start + _BATCH]
            apart = self._labels[i] != self._labels[j]
            i, j = i[apart], j[apart]
            if len(i):
                self._add(i, j, self._decide(i, j, number))

    def flat(self, rows: Array, fresh: Array) -> None:
        """Takes pictures that hardly vary for twins where their grey levels are the same but for a level or so."""
        levels = self._raw[rows].reshape(len(rows), SIDE * SIDE)
        squares = (levels**2).sum(axis=1)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            apart = squares[block, None] + squares - 2 * levels[block] @ levels.T
            i, j = np.nonzero(apart <= alike.FLAT_RMS**2 * levels.shape[1])
            i, j = rows[i + start], rows[j]
            keep = (i < j) & (fresh[i] | fresh[j]) & alike.same_colours(self._colours[i], self._colours[j])
            self._add(i[keep], j[keep], np.ones(int(keep.sum()), dtype=bool))

    def _decide(self, i: Array, j: Array, number: int) -> Array:
        same = alike.same_colours(self._colours[i], self._colours[j])
        verdict = np.zeros(len(i), dtype=bool)
        if number == 0:
            a, b = (x - x.mean(axis=(1, 2), keepdims=True) for x in (self._raw[i], self._raw[j]))
            norms = np.sqrt((a**2).sum(axis=(1, 2)) * (b**2).sum(axis=(1, 2)))
            verdict = (a * b).sum(axis=(1, 2)) >= alike.STILL * np.maximum(norms, 1e-9)  # in any colours
        rest = np.flatnonzero(same & ~verdict)
        if len(rest):
            # `first` is seen through the map, so it is the one that is moved
            start = np.repeat(MAPS[number][None], len(rest), 0)
            agree = alike.fitted(self._grey[j[rest]], self._grey[i[rest]], start)
            verdict[rest] = agree >= alike.FITTED
        return verdict

    def _add(self, i: Array, j: Array, verdict: Array) -> None:
        if not verdict.any():
            return
        pairs = np.stack([i[verdict], j[verdict]], axis=1)
        self._pairs.append(pairs)
        self._labels = joined(len(self._labels), np.concatenate([pairs, self._spanning()]))

    def _spanning(self) -> Array:
        """Links that hold the present groups together: every look with the first of its group."""
        _, first, label = np.unique(self._labels, return_index=True, return_inverse=True)
        return np.stack([np.arange(len(self._labels)), first[label]], axis=1)

    def pairs(self) -> Array:
        return np.concatenate([np.zeros((0, 2), dtype=np.int64), *self._pairs])
