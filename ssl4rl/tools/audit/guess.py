"""Shallow classifiers that guess an answer, cross-validated by source item, and how surely they beat chance."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression

from ssl4rl.core.task import keyed_rng
from ssl4rl.tools.audit.answers import MOST_CLASSES, Pick
from ssl4rl.tools.audit.features import Array
from ssl4rl.tools.audit.records import Features, Record, matrix

FOLDS = 5
MIN_GROUPS = 10
"""With fewer items than this examples are folded one by one: there is nothing to hold out."""
MODELS = ("linear", "boosting")


@dataclass(frozen=True)
class Guess:
    """How one classifier guesses one part of the answer from one family.

    `chance` is what the same guesses earn when the answers are dealt anew; `p` the one-sided probability of so much
    more than that without a leak, not corrected for how many were tried. `telling` is the feature that says most.
    """

    family: str
    target: str
    model: str
    n: int
    accuracy: float
    low: float
    high: float
    chance: float
    p: float
    telling: str


@dataclass(frozen=True)
class Folds:
    """For each fold the examples to learn from and those to guess; the latter's first item is in none of the former."""

    parts: tuple[tuple[Array, Array], ...]
    groups: Array

    @staticmethod
    def of(found: Sequence[Record]) -> Folds:
        items = sorted({item for record in found for item in record.sources[:1]})
        rng = keyed_rng("folds", len(found))
        if len(items) < MIN_GROUPS:
            groups = np.arange(len(found))
            fold = rng.permutation(len(found)) % FOLDS
            return Folds(tuple((np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)), groups)
        fold_of = dict(zip(items, (rng.permutation(len(items)) % FOLDS).tolist(), strict=True))
        number = {item: i for i, item in enumerate(items)}
        groups = np.array([number[record.sources[0]] for record in found])
        parts = []
        for k in range(FOLDS):
            test = [i for i, record in enumerate(found) if fold_of[record.sources[0]] == k]
            free = [i for i, r in enumerate(found) if not any(fold_of.get(item) == k for item in r.sources)]
            parts.append((np.array(free, dtype=int), np.array(test, dtype=int)))
        return Folds(tuple(parts), groups)


def guess_all(found: Sequence[Record]) -> list[Guess]:
    """Every family x classifier x part of the answer, on examples of one task and level.

    The parts of `Record.whole` are tried one by one, never together.
    """
    guesses: list[Guess] = []
    for target in dict.fromkeys(name for record in found for name in record.picks):
        chosen = [record for record in found if target in record.picks]
        if len(chosen) < 20 * FOLDS:
            continue
        asked = [record.picks[target] for record in chosen]
        folds = Folds.of(chosen)
        if len({pick.candidates for pick in asked}) == 1 and len(asked[0].candidates) <= MOST_CLASSES:
            guesses += _frequency(target, asked, folds)
            for part in dict.fromkeys(name for record in chosen for name in record.whole):
                rows = [record.whole.get(part, {}) for record in chosen]
                guesses += _from_whole(part, target, rows, asked, folds)
        for family in dict.fromkeys(name for r, p in zip(chosen, asked, strict=True) for name in _own(r, p)):
            kept = [i for i, r in enumerate(chosen) if family in _own(r, asked[i])]
            if len(kept) < 20 * FOLDS:
                continue
            parts = folds if len(kept) == len(chosen) else Folds.of([chosen[i] for i in kept])
            options = [_own(chosen[i], asked[i])[family] for i in kept]
            guesses += _from_options(family, target, options, [asked[i] for i in kept], parts)
    return guesses


def _own(record: Record, pick: Pick) -> dict[str, list[Features]]:
    return record.each.get(pick.candidates, {})


def _frequency(target: str, asked: Sequence[Pick], folds: Folds) -> list[Guess]:
    """Always the answer that was right most often among the others, against the declared chance."""
    if not asked[0].fair:
        return []
    names = asked[0].candidates
    right = np.array([[name in pick.right for name in names] for pick in asked], dtype=float)
    hits, chance = np.zeros(len(asked)), right.mean(axis=1)
    said = []
    for train, test in folds.parts:
        best = int(right[train].sum(axis=0).argmax())
        said.append(names[best])
        hits[test] = right[test, best]
    telling = f"{max(said, key=said.count)!r} is right most often"
    return [_judged("answer frequency", target, "constant", hits, chance, folds.groups, telling)]


def _from_whole(family: str, target: str, rows: Sequence[Features], asked: Sequence[Pick], folds: Folds) -> list[Guess]:
    x, names = matrix(rows)
    kept = x.std(axis=0) > 1e-9 if len(names) else np.zeros(0, dtype=bool)
    if not kept.any():
        return []
    x, names = x[:, kept], [name for name, keep in zip(names, kept, strict=True) if keep]
    candidates = asked[0].candidates
    right = np.array([[name in pick.right for name in candidates] for pick in asked], dtype=float)
    y = right.argmax(axis=1)
    guesses = []
    for model in MODELS:
        hits, chance = np.zeros(len(y)), np.zeros(len(y))
        for train, test in folds.parts:
            if not len(train) or not len(test):
                continue
            said = _fit(model, x[train], y[train])(x[test], labels=True).astype(int)
            hits[test] = right[test, said]
            chance[test] = right[test].mean(axis=0)[said]
        guesses.append(_judged(family, target, model, hits, chance, folds.groups, _telling(x, y, names)))
    return guesses


def _from_options(
    family: str,
    target: str,
    options: Sequence[Sequence[Features]],
    asked: Sequence[Pick],
    folds: Folds,
) -> list[Guess]:
    """A classifier says of each candidate how right it looks beside the others; the best ones are taken.

    It must also find the right ones better than the others on average. Taking the best alone would not do: of pictures
    of which one is unlike the others that one is most often the extreme, whatever is measured.
    """
    sizes = [len(own) for own in options]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    raw, names = matrix([row for own in options for row in own])
    x = np.concatenate([_beside(raw[a:b]) for a, b in itertools.pairwise(starts)])
    names = [*names, *(f"rank in {name}" for name in names)]
    kept = x.std(axis=0) > 1e-9
    if not kept.any():
        return []
    x, names = x[:, kept], [name for name, keep in zip(names, kept, strict=True) if keep]
    y = np.array([name in pick.right for pick in asked for name in pick.candidates], dtype=int)
    ties = keyed_rng("ties", family, target).random(len(y)) * 1e-9
    chance = np.array([pick.chance for pick in asked])
    guesses = []
    for model in MODELS:
        hits, score, margin = np.zeros(len(asked)), np.zeros(len(y)), np.zeros(len(asked))
        for train, test in folds.parts:
            if not len(train) or not len(test):
                continue
            rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in train])
            asked_of = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in test])
            score[asked_of] = _fit(model, x[rows], y[rows])(x[asked_of], labels=False) + ties[asked_of]
            for i in test:
                own, right = score[starts[i] : starts[i + 1]], y[starts[i] : starts[i + 1]] == 1
                hits[i] = right[np.argsort(-own)[: asked[i].take]].mean()
                margin[i] = own[right].mean() - own[~right].mean() if 0 < right.sum() < len(right) else 0.0
        found = _judged(family, target, f"{model}, by option", hits, chance, folds.groups, _telling(x, y, names))
        guesses.append(replace(found, p=max(found.p, probability(margin, folds.groups)[0])))
    return guesses


def _beside(own: Array) -> Array:
    """Candidates' features less their mean, and their ranks (ties share one) in [-1/2, 1/2]."""
    below = (own[:, None] > own[None]).sum(axis=1)
    same = (own[:, None] == own[None]).sum(axis=1) - 1
    ranks = (below + same / 2) / max(1, len(own) - 1) - 0.5
    return np.concatenate([own - own.mean(axis=0), ranks], axis=1)


def _fit(model: str, x: Array, y: Array) -> Callable[..., Array]:
    """A fitted classifier as a function: of rows either the classes or, for two classes, how likely the second is."""
    classes = np.unique(y)
    if len(classes) == 1:
        return lambda rows, labels: np.full(len(rows), classes[0] if labels else 0.0)
    if model == "linear":
        mean, spread = x.mean(axis=0), x.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)

        def scaled(rows: Array) -> Array:
            clipped: Array = np.clip((rows - mean) / spread, -6, 6)
            return clipped

        made: Any = LogisticRegression(C=0.3, max_iter=200, tol=1e-3)
    else:

        def scaled(rows: Array) -> Array:
            return rows

        made = HistGradientBoostingClassifier(
            learning_rate=0.2,
            max_iter=20 if len(classes) <= 4 else 12 if len(classes) <= 9 else 6,
            max_leaf_nodes=8,
            early_stopping=False,
            random_state=0,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made.fit(scaled(x), y)

    def guess(rows: Array, labels: bool) -> Array:
        found: Array = made.predict(scaled(rows)) if labels else made.decision_function(scaled(rows))
        return found

    return guess


def _telling(x: Array, y: Array, names: Sequence[str]) -> str:
    """The feature in which the answers differ most for its spread."""
    classes, counts = np.unique(y, return_counts=True)
    rows = np.isin(y, classes[counts > 1])
    if len(classes[counts > 1]) < 2:
        return names[0]
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f, _ = f_classif(x[rows], y[rows])
    return names[int(np.nan_to_num(f, nan=-1.0, posinf=np.inf).argmax())]


def _judged(family: str, target: str, model: str, hits: Array, chance: Array, groups: Array, telling: str) -> Guess:
    """Accuracy, its 95 % interval and p."""
    n, accuracy = len(hits), float(hits.mean())
    p, spread = probability(hits - chance, groups)
    half = float(stats.t.ppf(0.975, max(1, len(np.unique(groups)) - 1))) * spread / n
    low, high = max(0.0, accuracy - half), min(1.0, accuracy + half)
    return Guess(
        family.partition(" of picture")[0], target, model, n, accuracy, low, high, float(chance.mean()), p, telling
    )


def probability(excess: Array, groups: Array) -> tuple[float, float]:
    """One-sided p that the excess is 0 in the mean, and the standard deviation of its sum.

    It is summed by item, as examples of one item may be alike; of that variance and the one that takes examples for
    independent the larger counts. Student's t with as many degrees of freedom as items, less one.
    """
    items = len(np.unique(groups))
    by_item = np.bincount(groups, weights=excess - excess.mean())
    variance = max(float(np.square(excess).sum()), float(np.square(by_item).sum()) * items / max(1, items - 1))
    spread = math.sqrt(variance) if variance > 0 else 1.0
    return float(stats.t.sf(excess.sum() / spread, max(1, items - 1))), spread
