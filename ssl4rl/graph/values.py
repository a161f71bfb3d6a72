"""Options out of a column's values, such that how common a value is says nothing about whether it is right."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Unusable
from ssl4rl.graph.graph import Graph

COUNTED = 200_000
"""Nodes whose values are counted; of a larger graph so many are drawn, by a fixed key."""

_SHARES: WeakKeyDictionary[Graph, dict[tuple[str, str, str, bool], dict[str, float]]] = WeakKeyDictionary()


def known(value: Any) -> str | None:
    """A value as a word; None where there is none (None, NaN, blank)."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    text = "" if missing else " ".join(str(value).split())
    return text or None


def shares(
    graph: Graph, column: str, only: str = "", *, text: str = "", neighbours: bool = False
) -> Mapping[str, float]:
    """How common each value of a column is, among the nodes that can be asked about.

    These have one of the values `only` ("a|b|c"; "": any value), where `text` names a column something in it, and
    with `neighbours` at least one neighbour. Counted once for a graph and kept as long as it.
    """
    kept = _SHARES.setdefault(graph, {})
    key = (column, only, text, neighbours)
    if key not in kept:
        nodes = np.arange(graph.num_nodes)
        if graph.num_nodes > COUNTED:
            nodes = np.sort(keyed_rng("shares", column, graph.num_nodes).integers(graph.num_nodes, size=COUNTED))
        if neighbours:
            nodes = nodes[np.asarray(graph.indptr)[nodes + 1] > np.asarray(graph.indptr)[nodes]]
        allowed = split_values(only)
        asked = (node for node in nodes.tolist() if not text or known(graph.value(text, node)))
        found = Counter(known(graph.value(column, node)) for node in asked)
        counts = {value: n for value, n in found.items() if value is not None and (not allowed or value in allowed)}
        total = sum(counts.values())
        kept[key] = {value: counts[value] / total for value in sorted(counts)}
    return kept[key]


def split_values(only: str) -> list[str]:
    return [value.strip() for value in only.split("|") if value.strip()]


def draw_options(found: Mapping[str, float], right: str, options: int, rng: np.random.Generator) -> list[str]:
    """`right` and other values, in random order, so that every value offered is equally often the right one.

    Whoever knows how common the values are, and which are offered, still guesses right with probability 1 / options.
    A value can be right in at most 1 / options of the questions: where it is more common its questions are thinned
    out (`right_shares`). Then a set of values is drawn in which every value appears `options` times as often as it is
    right: systematic sampling with these probabilities over a random order of the values, on condition that `right` is
    in it.

    Raises:
        Unusable: fewer values than options, or this question is one of those thinned out.
    """
    if len(found) < options:
        helps = f"; options={len(found)} asks for as many" if len(found) > 1 else ""
        raise Unusable(f"{len(found)} values where {options} options are asked for{helps}")
    if right not in found:  # of a large graph not every node is counted
        raise Unusable(f"the value {right!r} is too rare to be balanced")
    wanted, raised = right_shares(found, options)
    if rng.random() >= wanted[right] / (raised * found[right]):
        raise Unusable("a common value, left out to keep the answers balanced")
    values = list(found)
    order = [values[i] for i in rng.permutation(len(values)).tolist()]
    ends = np.cumsum([wanted[value] * options for value in order])
    at = order.index(right)
    start = float(ends[at - 1]) if at else 0.0
    point = (start + float(rng.random()) * wanted[right] * options) % 1.0
    hits = np.searchsorted(ends, point + np.arange(options), side="right")
    chosen = {order[min(int(hit), len(order) - 1)] for hit in hits} | {right}
    if len(chosen) != options:  # rounding, at an interval's end
        raise Unusable("the options could not be balanced")
    return [sorted(chosen)[i] for i in rng.permutation(options).tolist()]


def right_shares(found: Mapping[str, float], options: int) -> tuple[dict[str, float], float]:
    """How often each value is right, and by how much rare values' shares are raised by thinning out common ones.

    min(raised * share, 1 / options), with `raised` such that they sum to 1.
    """
    cap = 1 / options
    by_share = sorted(found.values(), reverse=True)
    rest = sum(by_share)
    raised = 1.0 / rest
    for above, share in enumerate(by_share):
        raised = (1 - above * cap) / rest
        if above == options or raised * share <= cap * (1 + 1e-12):
            break
        rest -= share
    if len(found) == options:
        raised = cap / by_share[-1]
    return {value: min(raised * share, cap) for value, share in found.items()}, raised


def masked(text: str, values: Sequence[str]) -> str:
    """`text` with every value that stands in it as a word (whatever its case) replaced by "___"."""
    words = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    return re.sub(rf"(?<![^\W\d_])(?:{words})(?![^\W\d_])", "___", text, flags=re.IGNORECASE)
