"""Rewards by the number of tokens."""

from __future__ import annotations

SHARE = 0.2
"""Of the token limit, the part over which `overlong` falls: DAPO's 4,096 of 20,480."""


def length(tokens: int, completion: str) -> float:
    """A completion's tokens, the end of turn included; meant for a small negative weight."""
    return float(tokens)


def overlong(tokens: int, max_new_tokens: int, truncated: bool, completion: str) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), in [-1, 0].

    0 up to the limit less a fifth, then linearly to -1 at the limit; -1 for what was cut.
    """
    if truncated:
        return -1.0
    room = SHARE * max_new_tokens
    return -min(1.0, max(0.0, (tokens - (max_new_tokens - room)) / room))


length.range = (0.0, float("inf"))  # type: ignore[attr-defined]
overlong.range = (-1.0, 0.0)  # type: ignore[attr-defined]
