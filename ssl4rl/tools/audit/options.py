"""What options have in common with each other and with the prompt: words, and what pictures look like.

Options that could each have been the right one are told apart by nothing of this kind: which of them shares most or
least with the others, is a duplicate, or lies in their middle, must not tell the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl4rl.tools.audit.features import Array

Features = dict[str, float]

_WORD = re.compile(r"\w+")
SIDE_PX = 8


def words_of(text: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _WORD.findall(text))


def overlap(options: Sequence[frozenset[str]]) -> list[Features]:
    """For each option, what its words share with the other options' (Jaccard's index), and how many are the same."""
    found: list[Features] = []
    for i, own in enumerate(options):
        others = [other for j, other in enumerate(options) if j != i]
        shares = [len(own & other) / max(1, len(own | other)) for other in others] or [0.0]
        found.append(
            {
                "mean share": float(np.mean(shares)),
                "largest share": max(shares),
                "least share": min(shares),
                "words of its own": len(own.difference(*others)) / max(1, len(own)),
                "duplicates": float(sum(own == other for other in others)),
            }
        )
    return found


def shared_words(options: Sequence[frozenset[str]], body: str, fixed: frozenset[str]) -> list[Features]:
    """For each option, how many of its words stand in the prompt before the options, and which share of them."""
    said = words_of(body) - {word.casefold() for word in fixed}
    return [
        {"words shared": float(len(own & said)), "share of words shared": len(own & said) / max(1, len(own))}
        for own in options
    ]


def picture_distances(pictures: Sequence[Any]) -> Array:
    """float [N, N]: how far pictures are apart, the root mean square of grey levels of small copies."""
    small = [np.asarray(picture.convert("RGB").resize((SIDE_PX, SIDE_PX)), dtype=np.float64) for picture in pictures]
    rows = np.stack(small).reshape(len(small), -1)
    apart: Array = np.sqrt(np.square(rows[:, None] - rows[None]).mean(axis=2))
    return apart


def picture_likeness(pictures: Sequence[Any]) -> list[Features]:
    """For each option's picture, how far the others are: in the mean, the nearest, the farthest; and duplicates."""
    apart = picture_distances(pictures)
    found: list[Features] = []
    for i, row in enumerate(apart):
        others = np.delete(row, i)
        found.append(
            {
                "mean distance": float(others.mean()),
                "nearest": float(others.min()),
                "farthest": float(others.max()),
                "duplicates": float((others < 1).sum()),
            }
        )
    return found
