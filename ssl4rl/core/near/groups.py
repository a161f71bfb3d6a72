"""Groups of near-twins, joined transitively and named by their smallest member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def group_ids(ids: Sequence[str], pairs: Array | Sequence[tuple[int, int]]) -> list[str]:
    """The group of every item: the smallest id among all that it is near to, directly or through others.

    Adding items or pairs can only join groups, never part one; a group keeps its name unless it is joined to a smaller
    one. Items with equal ids are one item.

    Args:
        ids: the items' content ids.
        pairs: positions of two items that are near, shape (n, 2).
    """
    unique, member_of = np.unique(np.asarray(ids, dtype=np.str_), return_inverse=True)
    links = member_of[np.asarray(pairs, dtype=np.int64).reshape(-1, 2)]
    labels = joined(len(unique), links)
    first = np.full(len(unique), len(unique))  # the ids are sorted, so the first position is the smallest id
    np.minimum.at(first, labels, np.arange(len(unique)))
    return [str(name) for name in unique[first[labels]][member_of]]


def joined(n: int, pairs: Array) -> Array:
    """A label for each of `n` items, equal where pairs, shape (m, 2), connect them; int array of shape (n,)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels: Array = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def moved(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of the ids in both, those whose group has another name now: id -> (before, now)."""
    return {item: (old, now[item]) for item, old in before.items() if item in now and now[item] != old}
