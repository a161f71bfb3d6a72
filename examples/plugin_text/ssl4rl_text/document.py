"""A text as tasks see it: paragraphs of sentences, and what questions about sentences share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sentencex

from ssl4rl import Example, Ssl4rlError, Unusable

LETTERS = "ABCD"
TRIES = 32
"""So many sets of runs are tried of the texts drawn."""
CONNECTIVES = frozenset(
    """
    accordingly additionally after afterwards also alternatively and as besides but consequently conversely currently
    e.g. either eventually finally first firstly for furthermore hence however i.e. in instead last lastly later
    likewise meanwhile moreover namely nevertheless next nonetheless now optionally or otherwise overall second secondly
    similarly since so specifically still subsequently then therefore third thirdly though thus together yet
    """.split()  # noqa: SIM905
)
"""First words that tell a sentence's place without what it says."""
POINTING = frozenset("another both each he her his it its she such that their them these they this those".split())  # noqa: SIM905
"""First words that point back at a sentence before."""

_BRACKETS = str.maketrans("<>[]{}", "()()()")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CONTENT = 4
"""Letters from which a word counts as one that says something."""
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Document:
    """A text: `paragraphs`, divided by empty lines. Read when it is asked for its sentences."""

    text: str
    language: str = "en"

    @cached_property
    def paragraphs(self) -> tuple[tuple[str, ...], ...]:
        """The sentences of each paragraph, on one line each, brackets round: nothing in them looks like a tag."""
        blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", self.text))
        return tuple(
            tuple(plain(part) for part in sentencex.segment(self.language, block) if part.strip())
            for block in blocks
            if block
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(sentence for paragraph in self.paragraphs for sentence in paragraph)

    def ends(self) -> list[tuple[str, ...]]:
        """Its first sentence and its last, where both are whole and different."""
        found = self.sentences
        pair = (found[0], found[-1]) if len(found) > 1 else ()
        return [pair] if len({*pair}) == 2 and all(map(is_whole, pair)) else []

    def content_free(self, rng: np.random.Generator) -> Document:
        """As many sentences of as many words, in another order, and the words mean nothing: the audit's twin."""
        lengths = iter(rng.permutation([max(3, len(sentence.split())) for sentence in self.sentences]).tolist())

        def sentence() -> str:
            made = ["".join(rng.choice(_SYLLABLES, int(rng.integers(1, 5)))) for _ in range(next(lengths))]
            return " ".join(made).capitalize().ljust(20, "a") + "."

        paragraphs = [" ".join(sentence() for _ in paragraph) for paragraph in self.paragraphs]
        return Document("\n\n".join(paragraphs), self.language)

    def runs(self, length: int) -> list[tuple[str, ...]]:
        """All runs of `length` whole sentences that follow each other, across paragraphs too; no sentence twice.

        The text's first sentence and its last are left out: they greet and sum up.
        """
        found = self.sentences[1:-1]
        runs = (found[at : at + length] for at in range(len(found) - length + 1))
        return [run for run in runs if all(map(is_whole, run)) and len({*run}) == length]


def plain(text: str) -> str:
    """On one line, brackets round, without what cannot be printed."""
    return "".join(c for c in " ".join(text.translate(_BRACKETS).split()) if c.isprintable())


def is_whole(sentence: str) -> bool:
    """Whether it begins with a capital letter or a digit and ends with a full stop, so that neither tells its place."""
    return (sentence[:1].isupper() or sentence[:1].isdigit()) and sentence[-1:] in ".!?" and len(sentence) >= 20


def first_word(sentence: str) -> str:
    return sentence.split(maxsplit=1)[0].strip(",;:").casefold()


def content_words(text: str) -> set[str]:
    """Its words of `_CONTENT` and more letters, without case."""
    return {word.casefold() for word in _WORD.findall(text) if len(word) >= _CONTENT}


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def are_alike_in_length(texts: Sequence[str], ratio: float) -> bool:
    """Whether the longest has at most `ratio` times the characters of the shortest."""
    lengths = [len(text) for text in texts]
    return max(lengths) <= ratio * min(lengths)


def draw_runs(
    items: Sequence[Document], count: int, length: int, rng: np.random.Generator
) -> Iterator[list[tuple[str, ...]]]:
    """`TRIES` times a run of each of the first `count` items that have any: every item's drawn alike.

    Raises:
        Unusable: fewer items have runs of `length` sentences.
    """
    having = [runs for item in items if (runs := item.runs(length))][:count]
    if len(having) < count:
        raise Unusable(f"fewer than {count} texts have {length} whole sentences in a row")
    for _ in range(TRIES):
        yield [one_of(runs, rng, "") for runs in having]


def one_of(things: Sequence[Any], rng: np.random.Generator, why: str) -> Any:
    """A random one.

    Raises:
        Unusable: there is none; `why`.
    """
    if not things:
        raise Unusable(why)
    return things[int(rng.integers(len(things)))]


def are_fair(texts: Sequence[str], options: Sequence[str], ratio: float, *, overlap: bool) -> bool:
    """Whether options are different, alike in length, in no text, and (unless `overlap`) share no word with any.

    What is asked of one option and one text is asked of all, so that it does not tell which belong together.
    """
    longest, shortest = max(map(len, options)), min(map(len, options))
    apart = len({*options, *texts}) == len(options) + len({*texts}) and len({*options}) == len(options)
    if longest > ratio * shortest or not apart:
        return False
    return overlap or content_words(" ".join(texts)).isdisjoint(content_words(" ".join(options)))


def question(texts: Sequence[str], options: Sequence[str], asked: str, rng: np.random.Generator) -> Example:
    """Which option belongs to one of the texts, drawn uniformly; `options[i]` is that of `texts[i]`, shown shuffled."""
    right = int(rng.integers(len(texts)))
    order = shuffled(range(len(options)), rng)
    listed = lettered([options[at] for at in order])
    prompt = f"{texts[right]}\n{asked}\n{listed}"
    return Example((prompt,), LETTERS[order.index(right)], meta={"text": texts[right]})


def shuffled(things: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    return [things[at] for at in rng.permutation(len(things)).tolist()]


def lettered(options: Sequence[str]) -> str:
    return "\n".join(f"{letter}: {option}" for letter, option in zip(LETTERS, options, strict=False))


def check_between(task: str, params: Mapping[str, Any], name: str, low: float, high: float) -> None:
    """Refuse a level's parameter outside [low, high].

    Raises:
        Ssl4rlError: it is.
    """
    if not low <= params[name] <= high:
        raise Ssl4rlError(f"{task}: {name} is {params[name]}; allowed: {low} to {high}")
