"""A penalty for saying the same again."""

from __future__ import annotations

WORDS = 3


def repetition(completion: str) -> float:
    """Minus the share of a reply's trigrams of words that stood in it before, in [-1, 0]; 0 for fewer than two of them.

    The usual n-gram penalty (Yeo et al. 2025, arXiv 2502.03373, appendix).
    """
    words = completion.lower().split()
    grams = list(zip(*(words[at:] for at in range(WORDS)), strict=False))
    if len(grams) < 2:
        return 0.0
    return len(set(grams)) / len(grams) - 1.0


repetition.range = (-1.0, 0.0)  # type: ignore[attr-defined]
