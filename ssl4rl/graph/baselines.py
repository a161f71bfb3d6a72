"""What simple rules get on the downstream tasks, to stand beside a model's accuracy.

All read what tasks leave in an example's `meta`, never the answer; where a rule is undecided between several options it
earns the share that guessing among them would.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.graph.question import LETTERS

_WORD = re.compile(r"[^\W_]+")
Scores = Sequence[float]


@dataclass(frozen=True)
class Baseline:
    """A rule's mean accuracy on `n` examples, its 95 % (Wilson) interval, and what guessing gets."""

    name: str
    accuracy: float
    ci95: tuple[float, float]
    chance: float
    n: int


def majority_vote(examples: Iterable[Example], n: int | None = None) -> Baseline:
    """The option most common among the neighbours' values (whether shown or not): needs the graph alone."""

    def votes(example: Example) -> Scores:
        found = Counter(example.meta["neighbour_values"])
        return [found[value] for value in example.meta["values"]]

    return _run("majority of neighbours", votes, _checked(examples, n, "neighbour_values"))


def common_neighbours(examples: Iterable[Example], n: int | None = None) -> Baseline:
    """The option that shares most neighbours with the node: needs the graph alone."""

    def shared(example: Example) -> Scores:
        return [float(count) for count in example.meta["common_neighbours"]]

    return _run("common neighbours", shared, _checked(examples, n, "common_neighbours"))


def alike_words(examples: Iterable[Example], n: int | None = None) -> Baseline:
    """The option whose text shares the largest part of its words with the node's: needs no graph."""

    def overlap(example: Example) -> Scores:
        own = _words(example.meta["text"])
        others = [_words(text) for text in example.meta["option_texts"]]
        return [len(own & other) / max(1, len(own | other)) for other in others]

    return _run("alike words", overlap, _checked(examples, n, "option_texts"))


def words_alone(
    train: Iterable[Example], test: Iterable[Example], n: int | None = None, n_train: int = 2000
) -> Baseline:
    """Naive Bayes (multinomial, add-one) on the words of the node's own text: needs no graph.

    Learned from `n_train` training examples and their answers, tested on `n`.
    """
    words: dict[str, Counter[str]] = {}
    times: Counter[str] = Counter()
    for example in _checked(train, n_train, "values"):
        value = example.meta["values"][_names(example, len(example.meta["values"])).index(example.answer)]
        words.setdefault(value, Counter()).update(_words(example.meta["text"]))
        times[value] += 1
    vocabulary = {word for counts in words.values() for word in counts}

    def likelihood(example: Example) -> Scores:
        own = _words(example.meta["text"]) & vocabulary
        scores = []
        for value in example.meta["values"]:
            counts = words.get(value, Counter())
            total = counts.total() + len(vocabulary)
            scores.append(sum(math.log((counts[word] + 1) / total) for word in sorted(own)))
        return scores

    return _run("words alone", likelihood, _checked(test, n, "values"))


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _names(example: Example, options: int) -> list[str]:
    """What an answer calls the options: letters, or the values themselves."""
    letters = list(LETTERS[:options])
    return letters if example.answer in letters else [str(value) for value in example.meta["values"]]


def _checked(examples: Iterable[Example], n: int | None, key: str) -> list[Example]:
    """The first `n` examples.

    Raises:
        Ssl4rlError: there is none, or they do not carry what the rule reads.
    """
    taken = list(islice(examples, n))
    if not taken:
        raise Ssl4rlError("a baseline needs at least one example")
    for example in taken:
        if key not in example.meta:
            task = example.key.task if example.key else "this task"
            raise Ssl4rlError(f"this baseline reads {key!r}, which examples of {task} do not carry")
    return taken


def _run(name: str, score: Callable[[Example], Scores], examples: Sequence[Example]) -> Baseline:
    earned = chance = 0.0
    for example in examples:
        scores = score(example)
        names = _names(example, len(scores))
        best = [name for name, value in zip(names, scores, strict=True) if math.isclose(value, max(scores))]
        earned += sum(name in example.accepted for name in best) / len(best)
        chance += len(set(example.accepted)) / len(scores)
    n = len(examples)
    return Baseline(name, earned / n, _wilson(earned / n, n), chance / n, n)


def _wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of `n`."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)
