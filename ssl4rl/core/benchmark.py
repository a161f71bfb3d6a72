"""What a multiple-choice benchmark is, whoever reads it: questions with lettered options, rotations of them, groups.

A plugin's table `BENCHMARKS` maps a kind of file ("tsv") to what opens it: `opener(path) -> Benchmark`; its table
`CORRUPTIONS` maps a kind of media ("image") to what reads a corruption's name: `reader("noise:3") -> Corrupt`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media
from ssl4rl.core.verify import Choice

LETTERS = string.ascii_uppercase
Corrupt = Callable[[Media, np.random.Generator], Media]
"""One medium and the random numbers that its corruption may take, to the medium corrupted."""


@dataclass(frozen=True)
class Question:
    """One row: what is asked, the options by their letters, and which letter is right.

    `row`: its number in the file, from 1. `index`: the file's name for it. `groups`: what it is counted under beside
    everything ("category" -> "action"). `media`: reads what it shows, in order, anew each time.
    """

    row: int
    index: str
    text: str
    options: Mapping[str, str]
    answer: str
    hint: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    media: Callable[[], Sequence[Media]] = tuple

    @property
    def verifier(self) -> Choice:
        """The one that asks for a letter and reads it."""
        return Choice("".join(self.options))

    @property
    def chance(self) -> float:
        return 1 / len(self.options)

    def example(self, corrupt: Corrupt | None = None, seed: int = 0) -> Example:
        """The question as a prompt: what it shows, the hint, the question, a line an option.

        `corrupt` changes each medium before it is shown, with random numbers of the question and the medium's place, so
        that all rotations of a question show the same.
        """
        media = list(self.media())
        if corrupt is not None:
            media = [corrupt(m, keyed_rng("corrupt", seed, self.index, i)) for i, m in enumerate(media)]
        return self.example_text(media)

    def example_text(self, media: Sequence[Media] = ()) -> Example:
        """The question with these media in place of its own: enough to score a reply by."""
        hint = f"Hint: {self.hint}\n" if self.hint else ""
        lines = "".join(f"{letter}. {text}\n" for letter, text in self.options.items())
        words = f"{hint}Question: {self.text}\nOptions:\n{lines}"
        return Example((*media, words), self.answer, meta={"option_texts": list(self.options.values())})

    def rearranged(self, order: Sequence[int]) -> Question:
        """The same letters with the texts of the options in another order: the i-th gets that of `order[i]`."""
        letters, texts = list(self.options), list(self.options.values())
        options = {letter: texts[order[i]] for i, letter in enumerate(letters)}
        return replace(self, options=options, answer=letters[list(order).index(letters.index(self.answer))])


@dataclass(frozen=True)
class Item:
    """What counts as one: a question, or a question with its rotations, which must all be answered right."""

    asked: tuple[Question, ...]

    @property
    def main(self) -> Question:
        return self.asked[0]

    @property
    def chance(self) -> float:
        """Of guessing each rotation by itself."""
        return float(np.prod([question.chance for question in self.asked]))


@dataclass(frozen=True)
class Benchmark:
    """A file's questions. `circular`: it brings rotations of its own. `digest`: of the file's bytes.

    `notes`: what a reader should know, a line each (rotations whose question is missing).
    """

    name: str
    uri: str
    digest: str
    items: Sequence[Item]
    circular: bool
    notes: Sequence[str] = ()


def chosen(items: Sequence[Item], n: int | None, seed: int) -> list[Item]:
    """`n` of the items by `seed`, in the file's order; all where n is None or there are no more."""
    if n is None or n >= len(items):
        return list(items)
    picked = keyed_rng("benchmark", seed).choice(len(items), n, replace=False)
    return [items[i] for i in sorted(int(i) for i in picked)]


def arranged(item: Item, circular: bool, shuffle: bool, seed: int) -> Item:
    """An item as it is to be asked.

    Circular: the file's own rotations, else one for each option, the texts moved on by one letter at a time (MMBench's
    CircularEval, arXiv 2307.06281, section 4.1). With `shuffle` the options are first put in an order that the seed and
    the question give, and rotations are made anew.
    """
    if circular and len(item.asked) > 1 and not shuffle:
        return item
    main, n = item.main, len(item.main.options)
    if shuffle:
        main = main.rearranged([int(i) for i in keyed_rng("options", seed, main.index).permutation(n)])
    if not circular:
        return Item((main,))
    return Item(tuple(main.rearranged([(i - k) % n for i in range(n)]) for k in range(n)))
