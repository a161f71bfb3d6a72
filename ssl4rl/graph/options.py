"""Pairs of nodes that are offered together, any of which could have been the true one of the same set.

What is asked for, in formulas. H is the graph as shown, e the true pair, S the options. If

1. the truth was drawn uniformly (of all edges one was hidden, of all other pairs one was made an edge), once, and
   whatever then failed was thrown away with everything drawn for it;
2. the pairs C that fit were found from H alone, and S was drawn such that P(S | e, H) is one number for all e in S;

then of two options the odds to be the true one are P(graph completed by the one) / P(graph completed by the other):
what graphs are like, which is the question asked, and nothing about how it was put together. In graphs without a
pattern (each of as many edges as probable) every option is true with probability 1 / options, whoever guesses.

`draw_set` sees to the second. Of C it takes `MOST` pairs at random with the truth among them: C' is as probable for
each of its pairs. Its family F are the sets of C' that are balanced and hold no two pairs that a symmetry of H takes
to each other; it depends on H and C' alone. Of the N(e) sets of F that hold e one is drawn, and kept with probability
N(e) / (the largest N of its pairs): P(S | e, H) = 1 / (that largest N), whichever e is.

Balanced means: each option shares as many ends with the others, at ends of the same degree. Up to 8 options this leaves
sets in which any pair can take any other's place (stars, circles, disjoint pairs, copies of one of these). So even
where graphs have a pattern, what the options have in common with each other says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.types import Unusable
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.question import Edge
from ssl4rl.graph.symmetry import colours, same_role

P = TypeVar("P")
T = TypeVar("T")
Ints = NDArray[np.int64]

MOST = 14
"""Of the pairs that fit so many are looked at: of 14 there are 1,001 fours and 3,432 sevens."""
PLACES, DRAWS = 8, 16
"""So many parts of an item are looked at, and in each so many questions tried."""


def first_of(place: Callable[[], P], ask: Callable[[P], T]) -> T:
    """The first question that can be asked, in up to PLACES places and DRAWS tries in each; each drawn anew.

    That a failed draw is drawn again lends the odds of two options a factor: how often one of the tries succeeds, over
    how often one try does, in the graph completed by the one against the other. They differ in one edge, so it is near
    1, and it cannot be known but by trying all questions of all completed graphs.

    Raises:
        Unusable: there is no place, or no question; the last reason.
    """
    for left in reversed(range(PLACES * DRAWS)):
        if (left + 1) % DRAWS == 0:
            found = place()
        try:
            return ask(found)
        except Unusable:
            if not left:
                raise
    raise AssertionError("unreachable")


def draw_set(
    shown: Graph, fits: Sequence[Edge], truth: Edge, options: int, rng: np.random.Generator, *, by_degree: bool = True
) -> list[Edge]:
    """`options` of the pairs `fits`, `truth` first, drawn as the module says.

    Args:
        shown: the graph as shown.
        fits: the pairs of it that agree with the true one in what can be seen of each alone; `truth` is one of them.
        by_degree: they agree in their ends' degrees.

    Raises:
        Unusable: there is no such set, or this draw was thinned out.
    """
    if len(fits) < options:
        raise Unusable("too few pairs match the one drawn")
    others = [pair for pair in fits if pair != truth]
    near = [truth, *(others[i] for i in rng.permutation(len(others))[: MOST - 1].tolist())]
    family = _unlike(shown, near, _balanced(shown, near, options, by_degree))
    count = np.bincount(family.ravel(), minlength=len(near))
    if not count[0]:
        raise Unusable("the pairs that match the one drawn do not balance")
    own = family[(family == 0).any(axis=1)]
    chosen = own[int(rng.integers(len(own)))]
    if rng.random() * count[chosen].max() >= count[0]:
        raise Unusable("thinned out, so that each option is as probable")
    return [near[i] for i in chosen.tolist()]


def alike(shown: Graph, first: Edge, second: Edge) -> bool:
    """Whether a symmetry of the shown graph takes one pair to the other (in either direction where undirected)."""
    turned = (second[1], second[0])
    return same_role(shown, first, second) or (not shown.directed and same_role(shown, first, turned))


@lru_cache(maxsize=64)
def _subsets(n: int, size: int) -> Ints:
    """int [C(n, size), size]: all sets of `size` of 0..n-1, each ascending."""
    return np.array(list(itertools.combinations(range(n), size)), dtype=np.int64).reshape(-1, size)


def _balanced(shown: Graph, pairs: Sequence[Edge], options: int, by_degree: bool) -> Ints:
    """int [sets, options]: the balanced sets of `pairs`, by their numbers.

    Of 7 and 8 options circles are left out: one of three beside one of four or five would be two shapes in a set.
    """
    sets = _subsets(len(pairs), options)
    ends = np.array(pairs, dtype=np.int64)
    degrees = np.diff(np.asarray(shown.indptr))
    two_kinds = shown.directed or (by_degree and bool(degrees[ends[0, 0]] != degrees[ends[0, 1]]))
    if two_kinds and not shown.directed:
        ends = np.take_along_axis(ends, np.argsort(degrees[ends], axis=1, kind="stable"), axis=1)
    named = np.zeros((len(pairs), 2, shown.num_nodes), dtype=np.int64)
    np.put_along_axis(named, ends[:, :, None], 1, axis=2)
    if not two_kinds:
        named = named.sum(axis=1, keepdims=True)
    times = named[sets].sum(axis=1)  # [sets, kinds of end, nodes]
    at = ends[sets].reshape(len(sets), 1, -1)
    taken = np.take_along_axis(times, at, axis=2).reshape(len(sets), -1, options, 2)
    shared = taken.swapaxes(1, 2).reshape(len(sets), options, -1)
    if not two_kinds:
        shared = np.sort(shared, axis=2)
    kept = (shared == shared[:, :1]).all(axis=(1, 2))
    if options > 6:
        named_times = times.sum(axis=1)
        kept &= ((named_times != 0) & (named_times != 2)).any(axis=1)
    if shown.directed:  # a pair and its reverse are one pair of nodes
        flat = np.sort((ends.min(axis=1) * shown.num_nodes + ends.max(axis=1))[sets], axis=1)
        kept &= (np.diff(flat, axis=1) > 0).all(axis=1)
    balanced: Ints = sets[kept]
    return balanced


def _unlike(shown: Graph, pairs: Sequence[Edge], sets: Ints) -> Ints:
    """Those of the sets that hold no two pairs which are alike."""
    if not len(sets):
        return sets
    orbit = np.array(orbits(shown, pairs))
    found = np.sort(orbit[sets], axis=1)
    return sets[(np.diff(found, axis=1) > 0).all(axis=1)]


def orbits(shown: Graph, pairs: Sequence[Edge]) -> list[int]:
    """A number for each pair, equal where a symmetry of the shown graph takes one to the other."""
    colour = colours(shown)
    by_colour: dict[Hashable, list[tuple[Edge, int]]] = {}
    found = []
    for number, pair in enumerate(pairs):
        key = (colour[pair[0]], colour[pair[1]])
        known = by_colour.setdefault(key if shown.directed else tuple(sorted(key)), [])
        same = next((which for other, which in known if alike(shown, other, pair)), number)
        if same == number:
            known.append((pair, number))
        found.append(same)
    return found
