"""What a prompt's text shows without being understood: lengths, words, where and how often a name is mentioned.

A name's mentions in the text of a graph are its degree. Names are words and numbers; what stands after an option's
label ("A: 3 - 5") is the option's text, and its names are looked for in what comes before.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl4rl.core.types import Example

Features = dict[str, float]

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MARK = "\ufffc"
"""Stands for a medium."""
VOCABULARY = 150
TABLE = 8


@dataclass(frozen=True)
class Option:
    """What stands after an option's label: its text, and the numbers of the media in it."""

    text: str
    media: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A prompt's text, media marked; `body` is what comes before the options (all of it where there are none)."""

    text: str
    body: str
    options: tuple[Option, ...]


def layout(example: Example, labels: Sequence[str]) -> Layout:
    """Where the options stand. Without a label for each of them there are none.

    The last run of labels in order is taken, each followed by a colon, full stop or bracket: in the text of a graph,
    letters and numbers may be names too, but the options come after it.
    """
    text = "".join(part if isinstance(part, str) else _MARK for part in example.prompt)
    if len(labels) < 2 or len(labels) > 40:
        return Layout(text, text, ())
    found = [[(m.start(), m.end()) for m in _label(label).finditer(text)] for label in labels]
    for first in reversed(found[0]):
        chain = [first]
        for places in found[1:]:
            at = bisect_left(places, (chain[-1][1], 0))
            if at == len(places):
                break
            chain.append(places[at])
        if len(chain) == len(labels):
            return Layout(text, text[: first[0]], tuple(_options(text, chain)))
    return Layout(text, text, ())


def _label(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?<=\s)|(?<=^)|\()(?:\w+ )?\(?{re.escape(label)}[):.][ ]?")


def _options(text: str, chain: Sequence[tuple[int, int]]) -> list[Option]:
    ends = [start for start, _ in chain[1:]] + [len(text)]
    found = []
    for (_, start), end in zip(chain, ends, strict=True):
        piece = text[start:end].split("\n", 1)[0]
        before = text[:start].count(_MARK)
        found.append(Option(piece.replace(_MARK, "").strip(" ,;"), tuple(range(before, before + piece.count(_MARK)))))
    return found


def lengths(text: str) -> Features:
    """How much there is of what."""
    words = _WORD.findall(text)
    return {
        "characters": len(text),
        "words": len(words),
        "lines": text.count("\n"),
        "numbers": len(_NUMBER.findall(text)),
        "pictures": text.count(_MARK),
        "digits": sum(character.isdigit() for character in text),
        "capitals": sum(character.isupper() for character in text),
        "signs": sum(not character.isalnum() and not character.isspace() for character in text),
    }


def bags(texts: Sequence[str]) -> list[Features]:
    """How many different words a prompt has, and how often those that some prompts have and others have not."""
    counts = [Counter(word.casefold() for word in _WORD.findall(text)) for text in texts]
    common = Counter(word for count in counts for word in count)
    varied = {word for count in counts for word in count if len({c[word] for c in counts[:50]}) > 1}
    words = [word for word, n in common.most_common() if n >= max(3, len(texts) // 100) and word in varied][:VOCABULARY]
    return [{"different words": len(count), **{f"{word!r}": count[word] for word in words}} for count in counts]


class Mentions:
    """Where each word of a text stands, as the share of the words before it."""

    def __init__(self, body: str) -> None:
        self.words = _WORD.findall(body)
        self.places: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            self.places.setdefault(word, []).append(place)

    def of(self, names: Sequence[str]) -> list[list[float]]:
        """For each name, of one word or several, its places in ascending order."""
        scale = 1 / max(1, len(self.words))
        found = []
        for name in names:
            parts = _WORD.findall(name)
            starts = self.places.get(parts[0], []) if parts else []
            if len(parts) > 1:
                starts = [at for at in starts if self.words[at : at + len(parts)] == parts]
            found.append([(at + 0.5) * scale for at in starts])
        return found


def names_in(text: str, mentions: Mentions, fixed: frozenset[str]) -> list[str]:
    """The words of a text that the body mentions and that are not the prompt's fixed wording."""
    return [word for word in dict.fromkeys(_WORD.findall(text)) if word not in fixed and word in mentions.places]


def mention_order(options: Sequence[Sequence[Sequence[float]]]) -> list[Features]:
    """Whether an option's names come early or late, beside the options that are mentioned as often.

    A name that is mentioned often is mentioned early and late: only among equals the place is not a count as well. An
    option without its equal gets 0.

    Args:
        options: for each option the places of each of its names, at least one in all.
    """
    counts = [sum(map(len, places)) for places in options]
    found: list[Features] = []
    for places in options:
        known = [where for where in places if where]
        found.append(
            {
                "mean place": float(np.mean([np.mean(where) for where in known])),
                "first mention": float(np.mean([where[0] for where in known])),
                "last mention": float(np.mean([where[-1] for where in known])),
            }
        )
    equals = [[i for i, other in enumerate(counts) if other == count] for count in counts]
    return [
        {name: value - float(np.mean([found[i][name] for i in own])) for name, value in features.items()}
        for features, own in zip(found, equals, strict=True)
    ]


def mention_counts(places: Sequence[Sequence[float]]) -> Features:
    """How often names are mentioned."""
    counts = [len(where) for where in places] or [0]
    return {
        "mentions": sum(counts),
        "fewest mentions": min(counts),
        "most mentions": max(counts),
        "never mentioned": sum(count == 0 for count in counts),
    }


def mention_table(mentions: Mentions, fixed: frozenset[str]) -> Features:
    """The counts of the words mentioned most, in descending order, and how many are mentioned once."""
    counts = sorted((len(at) for word, at in mentions.places.items() if word not in fixed), reverse=True)
    table: Features = {f"mentions of word {i + 1} by rank": counts[i] if i < len(counts) else 0 for i in range(TABLE)}
    return table | {"words mentioned once": counts.count(1)}


def option_order(options: Sequence[str]) -> list[Features]:
    """The rank of each option's text among the options: by alphabet, by its first, last, least and largest number."""
    numbers = [[float(number) for number in _NUMBER.findall(option)] or [0.0] for option in options]
    keys: dict[str, list[Any]] = {
        "by alphabet": [option.casefold() for option in options],
        "by first number": [n[0] for n in numbers],
        "by last number": [n[-1] for n in numbers],
        "by least number": [min(n) for n in numbers],
        "by largest number": [max(n) for n in numbers],
        "by difference": [n[-1] - n[0] for n in numbers],
    }
    return [{name: _rank(key, i) for name, key in keys.items()} for i in range(len(options))]


def _rank(values: Sequence[Any], i: int) -> float:
    """The i-th value's place in ascending order; equal values share the mean of theirs."""
    ordered = sorted(values)
    return (ordered.index(values[i]) + len(ordered) - 1 - ordered[::-1].index(values[i])) / 2


def fixed_words(texts: Sequence[str]) -> frozenset[str]:
    """The wording: words that nearly all prompts have, other than numbers and single letters, which are names."""
    counts = Counter(word for text in texts for word in {*_WORD.findall(text)})
    return frozenset(
        word for word, n in counts.items() if n > 0.9 * len(texts) and not word.isdigit() and len(word) > 1
    )
