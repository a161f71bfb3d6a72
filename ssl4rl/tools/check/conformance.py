"""The conformance suite: what every task must hold at every level, as one small function for each promise.

A check takes a `Subject` (a task at a level on its data) and yields what is wrong; nothing yielded means it holds.
Statistical checks are made so that a right task fails about once in 100,000 runs; seeds are fixed, so a verdict stays.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import Sources, TaskSpec, open_mixture
from ssl4rl.core.source import Part
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import VERDICTS, Example, Key, Ssl4rlError
from ssl4rl.core.verify import STYLES, Verifier, tagged
from ssl4rl.tools.catalogue import card
from ssl4rl.tools.check.nasty import TimeUp, nasty_texts, within

CARD_WORDS = ("sees", "answers", "reward", "chance", "shortcut", "source", "version")
SIMULATED = 2000
MAX_S = 1.0
ALMOST_NEVER = 1e-5


class Skip(Exception):
    """This check says nothing about this subject; the reason is its text."""


@dataclass(frozen=True)
class Wrong:
    """What a check found, and the example that shows it."""

    why: str
    key: Key | None = None


@dataclass(frozen=True)
class Subject:
    """A task at one level on one source. Examples are made once and shared by all checks."""

    name: str
    task: Task[Any]
    level: str
    data: str | None
    n: int
    seed: int
    sources: Sources

    def dataset(self, size: int, split: Part = "train", seed_shift: int = 0) -> TaskDataset:
        spec = TaskSpec(self.name, self.level)
        seed = self.seed + seed_shift
        return open_mixture([spec], data=self.data, split=split, seed=seed, size=size, sources=self.sources)

    @cached_property
    def train(self) -> TaskDataset:
        return self.dataset(self.n)

    @cached_property
    def examples(self) -> list[Example]:
        return list(self.train)

    @cached_property
    def verifier(self) -> Verifier:
        return self.task.verifier_at(self.task.level(self.level))

    @cached_property
    def held_out(self) -> list[Example]:
        try:
            return list(self.dataset(max(4, self.n // 4), "held_out"))
        except Ssl4rlError as error:
            raise Skip(str(error)) from error

    @property
    def fingerprints(self) -> list[str]:
        return [fingerprint(example) for example in self.examples]


Check = Callable[[Subject], Iterator[Wrong]]


def fingerprint(example: Example) -> str:
    """What must be the same in every process: content, answers and key."""
    return f"{example.digest()} {json.dumps(example.key.to_json() if example.key else None)}"


def check_same(subject: Subject) -> Iterator[Wrong]:
    """A fresh dataset asked in another order gives the same examples (another process: see `check.check`)."""
    again = subject.dataset(subject.n)
    for index in reversed(range(subject.n)):
        example = subject.examples[index]
        if fingerprint(again[index]) != fingerprint(example):
            yield Wrong("made again in another order, the example differs", example.key)
            return


def check_seeds(subject: Subject) -> Iterator[Wrong]:
    """The next seed's examples are not this seed's, shifted by one or otherwise."""
    from scipy.special import bdtrc

    size = min(subject.n, 48)
    ours = [example.digest() for example in subject.examples[:size]]
    theirs = [example.digest() for example in subject.dataset(size, seed_shift=1)]
    a, b = Counter(ours), Counter(theirs)
    by_chance = sum(a[digest] * b[digest] for digest in a) / size**2
    for shift in (-2, -1, 0, 1, 2):
        pairs = list(zip(ours[max(0, shift) :], theirs[max(0, -shift) :], strict=False))
        same = sum(x == y for x, y in pairs)
        if by_chance < 1 and bdtrc(same - 1, len(pairs), by_chance) < ALMOST_NEVER:
            yield Wrong(f"seeds {subject.seed} and {subject.seed + 1} share {same} of {len(pairs)} examples")
            return


def check_right(subject: Subject) -> Iterator[Wrong]:
    """The right answer, and every other accepted one, is read back and scores 1 in both styles."""
    for example in subject.examples:
        for answer in example.accepted:
            for style in STYLES:
                reply = subject.verifier.complete(answer, style)
                score = subject.verifier.score(reply, example, style=style)
                if (score.value, score.verdict, score.parts.get("format")) != (1.0, "correct", 1.0):
                    yield Wrong(f"{reply!r} gets {score.verdict}, {score.value:g}", example.key)


def check_wrong(subject: Subject) -> Iterator[Wrong]:
    """Wrong answers, two answers, and answers outside the tags do not score 1."""
    rng = keyed_rng("check wrong", subject.seed)
    for example in subject.examples:
        right = subject.verifier.render(example.answer)
        replies = [right, f"<think>{tagged(right, 'answer')}</think>", ""]
        draws = [subject.verifier.random_answer(example, rng) for _ in range(16)]
        wrong = [subject.verifier.render(a) for a in draws if not subject.verifier.correct(a, example)]
        replies += [tagged(text, "answer") for text in wrong]
        replies += [f"{tagged(right, 'answer')}{tagged(text, 'answer')}" for text in wrong[:1]]
        for reply in replies:
            score = subject.verifier.score(reply, example)
            if score.value >= 1 or score.verdict == "correct":
                yield Wrong(f"{reply!r} gets {score.verdict}, {score.value:g}", example.key)


def check_chance(subject: Subject) -> Iterator[Wrong]:
    """A random answerer is as often right as `chance` says, the best guess earns what `expected` says, nothing more.

    A guess that a task took from its data (`meta["guess"]`) is best over all of it, which a few examples do not show.
    """
    rng = keyed_rng("check chance", subject.seed)
    verifier, examples = subject.verifier, subject.examples[:8]
    each = SIMULATED // len(examples)
    right, values, guessed, chances, expected = [], [], [], [], []
    for example in examples:
        chances += [verifier.chance(example)] * each
        expected += [verifier.expected(example)] * each
        for _ in range(each):
            score = verifier.score(tagged(verifier.render(verifier.random_answer(example, rng))), example)
            right.append(score.verdict == "correct")
            values.append(score.value)
            guessed.append(verifier.grade(verifier.best_guess(example, rng), example))
    said = float(np.mean(expected))
    yield from _disagreement("chance", float(np.mean(chances)), np.array(right, dtype=float), "a random answerer")
    yield from _disagreement("expected", said, np.array(guessed), "the best guess")
    if said < np.mean(values) and not any("guess" in example.meta for example in examples):
        yield from _disagreement("expected", said, np.array(values), "a random answerer")


def _disagreement(what: str, said: float, seen: np.ndarray[Any, Any], who: str) -> Iterator[Wrong]:
    """`said` may itself be a mean over as many draws."""
    spread = max(float(seen.var()), said * (1 - said) if what == "chance" else 0.0)
    slack = 4.5 * math.sqrt(2 * spread / len(seen)) + 3 / len(seen)
    if not 0 <= said <= 1 or abs(float(seen.mean()) - said) > slack:
        yield Wrong(f"{what} is said to be {said:.4g}; {who} gets {seen.mean():.4g} +- {slack:.2g}")


def check_texts(subject: Subject) -> Iterator[Wrong]:
    """Whatever a model may write gets a verdict, in time linear in its length, and never an exception."""
    for example in subject.examples[:2]:
        right = subject.verifier.complete(example.answer)
        for text in nasty_texts(right, keyed_rng("check texts", subject.seed)):
            shown = repr(text if len(text) <= 80 else f"{text[:60]}...")
            try:
                with within(MAX_S):
                    score = subject.verifier.score(text, example, style="think", truncated=len(text) % 2 == 1)
            except TimeUp:
                yield Wrong(f"{len(text)} characters take more than {MAX_S:g} s: {shown}", example.key)
                return
            except Exception as error:  # the promise under test
                yield Wrong(f"{shown} raises {type(error).__name__}: {error}", example.key)
                return
            unread = score.verdict in ("unparsed", "truncated")
            if not 0 <= score.value <= 1 or score.verdict not in VERDICTS or unread != (score.parsed is None):
                yield Wrong(f"{shown} gets {score}", example.key)
                return


def check_balance(subject: Subject) -> Iterator[Wrong]:
    """No answer comes up more often than chance: a model that always says the same thing gains nothing."""
    from scipy.special import bdtrc, chdtrc

    verifier, examples = subject.verifier, subject.examples
    rng = keyed_rng("check balance", subject.seed)
    answers = Counter(json.dumps(example.answer) for example in examples)
    possible = {json.dumps(verifier.random_answer(examples[0], rng)) for _ in range(500)} | set(answers)
    alike = len({verifier.chance(example) for example in examples}) == 1  # else some have more options, or a constant
    if alike and len(possible) * 5 <= len(examples):
        usual = len(examples) / len(possible)
        statistic = sum((answers[answer] - usual) ** 2 / usual for answer in possible)
        if chdtrc(len(possible) - 1, statistic) < ALMOST_NEVER:
            yield Wrong(f"answers are not balanced: {dict(answers.most_common(5))}")
        return
    half = len(examples) // 2
    if half < 8:
        raise Skip("too few examples")
    favourite = json.loads(Counter(json.dumps(e.answer) for e in examples[:half]).most_common(1)[0][0])
    scores = [verifier.score(verifier.complete(favourite), example) for example in examples[half:]]
    hits = sum(score.verdict == "correct" for score in scores)
    chance = float(np.mean([verifier.chance(example) for example in examples[half:]]))
    if bdtrc(hits - 1, len(scores), min(1.0, max(chance, 1 / len(examples)))) < ALMOST_NEVER:
        yield Wrong(f"always answering {favourite!r} is right in {hits} of {len(scores)}; chance is {chance:.3g}")


def check_prompt(subject: Subject) -> Iterator[Wrong]:
    """The prompt asks something and leaves the words about the answer's form to the verifier."""
    for example in subject.examples:
        text = example.text()
        for words in ("<answer>", "</answer>", "<think>", "</think>", subject.verifier.instruction):
            if words in text:
                yield Wrong(f"the prompt says {words!r}, which the verifier says too", example.key)
        if not text.strip():
            yield Wrong("the prompt is empty", example.key)


def check_json(subject: Subject) -> Iterator[Wrong]:
    """Answers and meta survive JSON, and so does the key."""
    for example in subject.examples:
        try:
            same = json.loads(json.dumps(example.answer, allow_nan=False)) == example.answer
            json.dumps(dict(example.meta), allow_nan=False)
        except (TypeError, ValueError) as error:
            yield Wrong(f"answer or meta is no JSON: {error}", example.key)
            return
        if not same:
            yield Wrong(f"the answer {example.answer!r} comes back from JSON as something else", example.key)
        if example.key is None or Key.from_json(json.loads(json.dumps(example.key.to_json()))) != example.key:
            yield Wrong("the key does not survive JSON", example.key)


def check_split(subject: Subject) -> Iterator[Wrong]:
    """No source item is in training and held-out examples; a question takes as many items as the task says."""
    trained = {source for example in subject.examples if example.key for source in example.key.sources}
    for example in subject.held_out:
        shared = trained & set(example.key.sources if example.key else ())
        if shared:
            yield Wrong(f"trained on its source item {shared.pop()}", example.key)
    draws, questions = subject.task.draws, subject.task.level(subject.level).questions
    for example in subject.examples:
        sources = example.key.sources if example.key else ()
        asked = [set(sources[i : i + draws]) for i in range(0, len(sources), draws)]
        if [len(items) for items in asked] != [draws] * questions:
            yield Wrong(f"the task draws {draws} different items", example.key)
            return


def check_card(subject: Subject) -> Iterator[Wrong]:
    """The docstring is a card. (Once for a task, at its first level.)"""
    if subject.level != next(iter(subject.task.levels)):
        raise Skip("once for each task")
    text = card(subject.task).lower()
    missing = [word for word in CARD_WORDS if word not in text]
    if missing:
        yield Wrong(f"the card (the task's docstring) lacks: {', '.join(missing)}")


def check_mixture(subject: Subject) -> Iterator[Wrong]:
    """All levels mix, each example is scored by its own level, and a key is enough to make it again."""
    if subject.level != next(iter(subject.task.levels)):
        raise Skip("once for each task")
    specs = [TaskSpec(subject.name, level) for level in subject.task.levels]
    size = len(specs) + 2
    mixture = open_mixture(specs, data=subject.data, seed=subject.seed, size=size, sources=subject.sources)
    for example in mixture:
        verifier = mixture.component_of(example).verifier
        if mixture.score_answer(verifier.complete(example.answer), example).value != 1:
            yield Wrong("in a mixture of all levels the right answer does not score 1", example.key)
        if example.key and example.key.index < 4 and mixture.remake(example.key).digest() != example.digest():
            yield Wrong("made again from its key, the example differs", example.key)


CHECKS: Mapping[str, Check] = {
    "same": check_same,
    "seeds": check_seeds,
    "right": check_right,
    "wrong": check_wrong,
    "chance": check_chance,
    "texts": check_texts,
    "balance": check_balance,
    "prompt": check_prompt,
    "json": check_json,
    "split": check_split,
    "card": check_card,
    "mixture": check_mixture,
}
