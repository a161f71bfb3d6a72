"""What a set of names earns without reading: naming all, or a few at random.

A set is scored by F1, and where the question does not say how many are asked for, naming all of n has an F1 of
2d / (d + n) with the d right ones, whatever was asked. That pays nothing here: F1 is counted from there on.
"""

from __future__ import annotations

import math
from functools import lru_cache

LARGEST = 8
"""Sets larger than this many times the right one (and than 64) are not tried: the larger, the nearer to naming all."""

WORK = 100_000
"""Every size is tried up to so many right names times sizes."""


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

    A random set holds hypergeometrically many of the right ones. Where there are many not every size is tried.
    """
    if right >= among:
        return among, 1.0
    best = (1, 0.0)
    largest = min(among, max(64, LARGEST * right))
    for said in range(1, largest + 1, max(1, largest * right // WORK)):
        ways = _log_comb(among, said)
        mean = sum(
            math.exp(_log_comb(right, shared) + _log_comb(among - right, said - shared) - ways)
            * credit(shared, said, right, among, False)
            for shared in range(max(1, said + right - among), min(said, right) + 1)
        )
        best = max(best, (said, mean), key=lambda pair: pair[1])
    return best


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
