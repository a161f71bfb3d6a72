"""Texts that are near-copies of each other, by the runs of words that they share.

A text is the set of its shingles (Broder 1997): `WORDS` words in a row, letters and digits alone, in lower case. Two
texts are near when at least `SHARE` of the smaller set lies in the larger one: copies, excerpts, reformatted and
slightly edited texts. The count is exact. Which pairs are counted is told by the rarest shingles: two sets that share s
of the smaller one's n share one of any n - s + 1 of it, so those that the fewest texts hold are looked up (prefix
filtering, Chaudhuri 2006).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from ssl4rl.core.near.groups import Array, group_ids

WORDS = 5
SHARE = 0.5

_WORD = re.compile(r"[^\W_]+")


def shingles(text: str, words: int = WORDS) -> Array:
    """The hashes of a text's shingles, ascending, each once: uint64 of shape (n,). A shorter text is one shingle."""
    said = _WORD.findall(text.lower())
    runs = {" ".join(said[i : i + words]) for i in range(max(1, len(said) - words + 1))} if said else set()
    hashes = [int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), "big") for run in runs]
    return np.sort(np.array(hashes, dtype=np.uint64))


def overlap(one: Array, other: Array) -> float:
    """The share of the smaller set that lies in the other; 0 where one is empty."""
    smaller = min(len(one), len(other))
    return len(np.intersect1d(one, other, assume_unique=True)) / smaller if smaller else 0.0


def near_texts(texts: Sequence[str], words: int = WORDS, share: float = SHARE) -> list[tuple[int, int]]:
    """Pairs of positions of near texts, enough of them to join every group (of three near ones, two pairs).

    Args:
        texts: any number; memory goes with all their words together.
        words: how many make a shingle.
        share: of the smaller text's shingles that near texts have in common, in (0, 1].
    """
    sets = [shingles(text, words) for text in texts]
    parent = list(range(len(sets)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    pairs = []
    for i, j in _candidates(sets, share):
        if root(i) != root(j) and overlap(sets[i], sets[j]) >= share:
            parent[root(j)] = root(i)
            pairs.append((i, j))
    return pairs


def text_groups(ids: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The group of every text, for a source's `groups`: the smallest id among those it is near to."""
    return group_ids(ids, near_texts(texts))


def _candidates(sets: Sequence[Array], share: float) -> Iterator[tuple[int, int]]:
    """All pairs that may be near: (the smaller set, one of at least its size that holds one of its rarest shingles)."""
    if not any(len(found) for found in sets):
        return
    sizes = np.array([len(found) for found in sets])
    values = np.concatenate(sets)
    owners = np.repeat(np.arange(len(sets)), sizes)
    order = np.argsort(values, kind="stable")
    values, owners = values[order], owners[order]
    known, starts, counts = np.unique(values, return_index=True, return_counts=True)
    for i, found in enumerate(sets):
        at = np.searchsorted(known, found)
        rarest = at[np.argsort(counts[at], kind="stable")][: len(found) - math.ceil(share * len(found)) + 1]
        if not len(rarest):
            continue
        holders = np.unique(np.concatenate([owners[starts[k] : starts[k] + counts[k]] for k in rarest]))
        others = holders[(sizes[holders] > len(found)) | ((sizes[holders] == len(found)) & (holders > i))]
        yield from ((i, int(j)) for j in others)
