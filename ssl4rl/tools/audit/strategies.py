"""What answers earn that are given without understanding: constants, the first, the one mentioned most, naming all.

A strategy is a rule that makes a whole answer of the prompt's surface; nothing is learned (but which constant is best),
and it is scored by the task's own verifier, partial credit included. What it earns is held against `Verifier.expected`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from scipy import stats

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example
from ssl4rl.core.verify import (
    Angle,
    Box,
    Choice,
    EdgeSet,
    FreeText,
    Integer,
    NodeSet,
    Number,
    Path,
    Permutation,
    Several,
    Text,
    Verifier,
)
from ssl4rl.tools.audit import text
from ssl4rl.tools.audit.features import Array
from ssl4rl.tools.audit.guess import Guess, probability
from ssl4rl.tools.audit.options import overlap, picture_distances, shared_words, words_of

FAMILY = {
    "constant": "answer frequency", "first option": "answer frequency", "last option": "answer frequency",
    "most mentioned": "mentions", "least mentioned": "mentions", "hub": "mentions",
    "first mentioned": "mention order", "last mentioned": "mention order",
    "longest": "option length", "shortest": "option length",
    "first by order": "option order", "last by order": "option order",
    "most shared words": "shared words", "fewest shared words": "shared words",
    "most overlap": "option overlap", "least overlap": "option overlap",
    "picture most like the others": "option likeness", "picture least like the others": "option likeness",
    "all": "farming",
}  # fmt: skip
"""To which of the audit's families a strategy belongs (by what its name begins with): a task's `cues` name these."""

MOST_CONSTANTS = 240
MOST_NODES = 64
"""Of so many nodes at most all pairs are named."""
SIDES = range(20, 81, 10)
CENTRED = range(30, 91, 5)
"""In per cent: constant boxes that are tried, squares at every tenth, and those in the middle at every fifth."""

Answers = Mapping[str, Sequence[Any]]
"""By strategy the answers it would give, between which it cannot decide."""


@dataclass(frozen=True)
class Earned:
    """What a strategy earns on n examples: mean reward with its 95 % interval, share of right answers.

    `expected` and `chance`: what the verifier says of guessing. `p`: one-sided, that so much more than `expected` came
    about by chance.
    """

    strategy: str
    n: int
    reward: float
    low: float
    high: float
    right: float
    expected: float
    chance: float
    p: float

    @property
    def family(self) -> str:
        return next(family for start, family in FAMILY.items() if self.strategy.startswith(start))

    def guess(self) -> Guess:
        """As the audit's classifiers report."""
        return Guess(
            self.family, "answer", f"strategy {self.strategy!r}", self.n, self.reward, self.low, self.high,
            self.expected, self.p, self.strategy,
        )  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """What an answer may be, the names or words that stand for it, and the pictures shown with it."""

    answer: Any
    names: Sequence[str]
    text: str
    media: Sequence[int] = ()


def measure(verifier: Verifier, examples: Sequence[Example]) -> list[Earned]:
    """What every strategy that can be followed in all (or nearly all) of the examples earns, the best first."""
    asked = [example for example in examples if example.key is not None]
    fixed = text.fixed_words([example.text("") for example in asked])
    guessed = np.array([verifier.expected(example) for example in asked])
    chance = np.array([verifier.chance(example) for example in asked])
    groups = _groups(asked)
    rows: dict[str, list[tuple[int, float, float]]] = {}
    for number, example in enumerate(asked):
        for name, answers in surface(verifier, example, fixed).items():
            grades = [verifier.grade(answer, example) for answer in answers]
            right = [verifier.correct(answer, example) for answer in answers]
            rows.setdefault(name, []).append((number, float(np.mean(grades)), float(np.mean(right))))
    found = []
    for name, row in rows.items():
        if len(row) >= 0.9 * len(asked):
            at = np.array([number for number, _, _ in row])
            values = np.array([pair for _, *pair in row])
            found.append(_earned(name, values[:, 0], values[:, 1], guessed[at], chance[at], groups[at]))
    found += _constants(verifier, asked, guessed, chance, groups)
    return sorted(found, key=lambda one: one.expected - one.reward)


def _groups(examples: Sequence[Example]) -> Array:
    """The number of the item that each example is about; examples one by one where there are few items."""
    items = [
        example.key.sources[0] if example.key and example.key.sources else str(i) for i, example in enumerate(examples)
    ]
    number = {item: i for i, item in enumerate(dict.fromkeys(items))}
    return np.array([number[item] for item in items]) if len(number) >= 10 else np.arange(len(items))


def _earned(name: str, value: Array, right: Array, guessed: Array, chance: Array, groups: Array) -> Earned:
    p, spread = probability(value - guessed, groups)
    reward, n = float(value.mean()), len(value)
    half = float(stats.t.ppf(0.975, max(1, len(np.unique(groups)) - 1))) * spread / n
    return Earned(
        name, n, reward, max(0.0, reward - half), min(1.0, reward + half), float(right.mean()), float(guessed.mean()),
        float(chance.mean()), p,
    )  # fmt: skip


def _constants(
    verifier: Verifier, examples: Sequence[Example], guessed: Array, chance: Array, groups: Array
) -> list[Earned]:
    """Always one answer: the one that earned most in the other half of the examples."""
    tried = constants(verifier, examples)
    if not tried or len(examples) < 4:
        return []
    each = [np.array([verifier.grade(answer, example) for answer in tried]) for example in examples]
    values = np.stack(each)
    half = np.arange(len(examples)) % 2 == 0
    value, right, said = np.zeros(len(examples)), np.zeros(len(examples)), []
    for learn, test in ((half, ~half), (~half, half)):
        best = int(values[learn].mean(axis=0).argmax())
        said.append(verifier.render(tried[best]))
        value[test] = values[test, best]
        right[test] = [verifier.correct(tried[best], e) for e, own in zip(examples, test, strict=True) if own]
    name = f"constant {' or '.join(dict.fromkeys(said))}"
    return [_earned(name, value, right, guessed, chance, groups)]


@singledispatch
def _fixed_answers(verifier: Verifier) -> Sequence[Any]:
    return ()


_fixed_answers.register(Choice, lambda verifier: verifier.options)
_fixed_answers.register(Angle, lambda verifier: verifier.angles)


@_fixed_answers.register
def _(verifier: Integer) -> Sequence[Any]:
    return range(verifier.low, min(verifier.high, verifier.low + MOST_CONSTANTS) + 1)


@_fixed_answers.register
def _(verifier: Permutation) -> Sequence[Any]:
    """All orders of up to five; of more the orders that come to mind, and turns of them."""
    straight = list(range(1, verifier.n + 1))
    if verifier.n <= 5:
        return [list(order) for order in itertools.permutations(straight)]
    turned = [straight[i:] + straight[:i] for i in range(verifier.n)]
    return [*turned, *(order[::-1] for order in turned)]


@_fixed_answers.register
def _(verifier: Box) -> Sequence[Any]:
    boxes = [[x, y, x + s, y + s] for s in SIDES for x in range(0, 101 - s, 10) for y in range(0, 101 - s, 10)]
    boxes += [*([50 - s // 2, 50 - s // 2, 50 + s // 2, 50 + s // 2] for s in CENTRED), [0, 0, 100, 100]]
    whole, _ = verifier.extent(Example((), None))
    return boxes if whole == 100 else [[edge * whole / 100 for edge in box] for box in boxes]


def constants(verifier: Verifier, examples: Sequence[Example]) -> Sequence[Any]:
    """Answers that may be given whatever is asked."""
    if isinstance(verifier, Choice) and any("options" in example.meta for example in examples):
        return verifier.options[: min(example.meta.get("options", len(verifier.options)) for example in examples)]
    if isinstance(verifier, Number | FreeText):
        said = Counter(example.answer for example in examples)
        return [answer for answer, _ in said.most_common(MOST_CONSTANTS)]
    if isinstance(verifier, Box) and verifier.unit == "pixel":
        return []  # pictures differ in size
    return list(_fixed_answers(verifier))


@singledispatch
def surface(verifier: Verifier, example: Example, fixed: frozenset[str]) -> Answers:
    """By strategy, the answers that the prompt's surface suggests; none for verifiers of a kind unknown here."""
    return {}


@surface.register
def _(verifier: Choice, example: Example, fixed: frozenset[str]) -> Answers:
    labels = verifier.open_options(example)
    shown = text.layout(example, labels)
    if not shown.options:
        return {}
    mentions = text.Mentions(shown.body)
    options = [
        Candidate(label, text.names_in(option.text, mentions, fixed), option.text, option.media)
        for label, option in zip(labels, shown.options, strict=True)
    ]
    ends = {"first option": labels[:1], "last option": labels[-1:]}
    return {**ends, **_by_scores(options, shown.body, fixed, example)}


@surface.register
def _(verifier: Text, example: Example, fixed: frozenset[str]) -> Answers:
    options = [Candidate(name, [name], str(name)) for name in example.meta.get("candidates", ())]
    return _by_scores(options, text.layout(example, ()).text, fixed, example)


@surface.register
def _(verifier: EdgeSet, example: Example, fixed: frozenset[str]) -> Answers:
    edges = example.meta.get("candidates", ())
    if not edges:
        names = sorted(str(node) for node in example.meta["nodes"])
        pairs: Iterable[tuple[str, str]] = itertools.combinations(names, 2)
        if verifier.directed:
            pairs = itertools.permutations(names, 2)
        return {"all": [[list(pair) for pair in pairs]]} if len(names) <= MOST_NODES else {}
    if len(example.answer) != 1:
        return {}
    options = [Candidate([list(edge)], [str(node) for node in edge], " ".join(map(str, edge))) for edge in edges]
    return _by_scores(options, text.layout(example, ()).text, fixed, example)


@surface.register
def _(verifier: NodeSet, example: Example, fixed: frozenset[str]) -> Answers:
    """The first few by some order; where no number is told also all."""
    names = [str(node) for node in example.meta["nodes"]]
    mentions = text.Mentions(text.layout(example, ()).text)
    count = example.meta.get("count")
    sizes = [count] if count else [1, 2, 3, (len(names) + 1) // 2]
    found: dict[str, Sequence[Any]] = {} if count else {"all": [sorted(names)]}
    for rule, score in _orders(mentions, names).items():
        ranked = [names[i] for i in np.argsort([-value for value in score], kind="stable")]
        for size in sizes:
            kept = f"{rule}" if count else f"{rule}, {'half' if size > 3 else size}"
            if size <= len(names):
                found[kept] = [sorted(ranked[:size])]
    return found


@surface.register
def _(verifier: Path, example: Example, fixed: frozenset[str]) -> Answers:
    """From the start over one, two or three nodes to the end, which are mentioned most, first or last."""
    start, *_, end = map(str, example.answer)
    names = [str(node) for node in example.meta["nodes"] if str(node) not in (start, end)]
    mentions = text.Mentions(text.layout(example, ()).text)
    return {
        f"{'hub' if rule == 'most mentioned' else rule}, {over} between": [
            [start, *(names[i] for i in np.argsort([-value for value in score], kind="stable")[:over]), end]
        ]
        for rule, score in _orders(mentions, names).items()
        for over in (1, 2, 3)
        if over <= len(names)
    }


def _orders(mentions: text.Mentions, names: Sequence[str]) -> dict[str, list[float]]:
    """By rule a score for each name; ties fall by a fixed key, since names come in an order that may tell."""
    places = mentions.of(names)
    ties = [float(keyed_rng("ties", name).random()) * 1e-6 for name in names]
    rules: dict[str, Callable[[list[float]], float]] = {
        "most mentioned": len,
        "least mentioned": lambda where: -len(where),
        "first mentioned": lambda where: -(where[0] if where else 1.0),
        "last mentioned": lambda where: where[-1] if where else 0.0,
    }
    return {rule: [score(p) + t for p, t in zip(places, ties, strict=True)] for rule, score in rules.items()}


def _by_scores(options: Sequence[Candidate], body: str, fixed: frozenset[str], example: Example) -> Answers:
    """By strategy the candidates of the highest score."""
    scores: dict[str, Sequence[float]] = {}
    mentions = text.Mentions(body)
    places = [mentions.of(option.names) for option in options]
    if options and all(any(where) for where in places):
        counts = [sum(map(len, where)) for where in places]
        scores |= {"most mentioned": counts, "least mentioned": [-count for count in counts]}
        scores["first mentioned"] = [-min(at for where in own for at in where) for own in places]
        scores["last mentioned"] = [max(at for where in own for at in where) for own in places]
    texts = [option.text for option in options]
    if options and all(texts):
        scores |= {"longest": [len(t) for t in texts], "shortest": [-len(t) for t in texts]}
        ranks = [rank["by alphabet"] for rank in text.option_order(texts)]
        scores |= {"first by order": [-rank for rank in ranks], "last by order": ranks}
        words = [words_of(t) for t in texts]
        alike = [row["mean share"] for row in overlap(words)]
        scores |= {"most overlap": alike, "least overlap": [-share for share in alike]}
        shared = [row["words shared"] for row in shared_words(words, body, fixed)]
        scores |= {"most shared words": shared, "fewest shared words": [-count for count in shared]}
    if options and all(len(option.media) == 1 for option in options):
        apart = picture_distances([example.media[option.media[0]].data for option in options]).sum(axis=1)
        scores |= {"picture least like the others": apart.tolist(), "picture most like the others": (-apart).tolist()}
    return {name: _highest(options, values) for name, values in scores.items()}


def _highest(options: Sequence[Candidate], values: Sequence[float]) -> list[Any]:
    best = max(values)
    return [option.answer for option, value in zip(options, values, strict=True) if value >= best - 1e-12]


def dealt(verifier: Verifier, examples: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    """The same prompts with answers that have nothing to do with them.

    Answers that any example may have are dealt anew among the examples, others are drawn among an example's own. Paths
    stay as they are: their ends stand in the prompt.
    """
    if isinstance(verifier, Path | Several):
        return list(examples)
    own = [_drawn(verifier, example, rng) for example in examples]
    if not any(answer is None for answer in own):
        return [
            replace(e, answer=a, meta={k: v for k, v in e.meta.items() if k != "accepted"})
            for e, a in zip(examples, own, strict=True)
        ]
    order = rng.permutation(len(examples)).tolist()
    return [
        replace(example, answer=examples[j].answer, meta={**example.meta, "accepted": examples[j].accepted[1:]})
        for example, j in zip(examples, order, strict=True)
    ]


def _drawn(verifier: Verifier, example: Example, rng: np.random.Generator) -> Any | None:
    if isinstance(verifier, NodeSet | EdgeSet | Text):
        return verifier.random_answer(example, rng)
    return None


def at_chance(found: Iterable[Earned], alpha: float = 0.01) -> bool:
    """Whether none earns more than expected, Holm's way: the smallest p against alpha over their number."""
    each = list(found)
    return not each or min(one.p for one in each) > alpha / len(each)
