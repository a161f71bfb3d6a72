"""What a set of names earns without reading: naming all, or a few at random.

A set is scored by F1, and where the question does not say how many are asked for, naming all of n has an F1 of
2d / (d + n) with the d right ones, whatever was asked. That pays nothing here: F1 is counted from there on.
"""

from __future__ import annotations

from functools import lru_cache

LARGEST = 8
"""Sets larger than this many times the right one (and than 64) are not tried: the larger, the nearer to naming all."""


def credit(shared: int, said: int, right: int, among: int, told: bool) -> float:
    """What `said` names earn of which `shared` are among the `right` ones, of `among` that could be named.

    F1 where the number asked for is `told` (and has to be kept to), else max(0, (F1 - b) / (1 - b)) with b that of
    naming all. Exactly 1 for the right set.
    """
    f1 = 2 * shared / (said + right)
    if told or f1 >= 1:
        return f1
    floor = 2 * right / (right + among)
    return max(0.0, (f1 - floor) / (1 - floor)) if floor < 1 else 0.0


@lru_cache(maxsize=4096)
def best_size(right: int, among: int) -> tuple[int, float]:
    """How many names to say at random where no number is told, so that they earn most; and how much that is.

    Exact: a random set holds hypergeometrically many of the right ones.
    """
    import numpy as np
    from scipy.stats import hypergeom

    if right >= among:
        return among, 1.0
    said = np.arange(1, min(among, max(64, LARGEST * right)) + 1)[:, None]
    shared = np.arange(right + 1)[None, :]
    floor = 2 * right / (right + among)
    earned = np.clip((2 * shared / (said + right) - floor) / (1 - floor), 0, None)
    means = (earned * hypergeom.pmf(shared, among, right, said)).sum(axis=1)
    return int(means.argmax()) + 1, float(means.max())
