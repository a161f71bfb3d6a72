"""A reward that knows nothing, as a control: each reply earns 1 or 0 by the toss of a coin."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ssl4rl.core.types import Example


def coin(replies: Sequence[str], example: Example) -> list[float]:
    """1 or 0 for each reply of a group, whatever it says, the same at every resume."""
    tosses = random.Random(str(example.key))
    return [float(tosses.random() < 0.5) for _ in replies]


coin.range = (0.0, 1.0)  # type: ignore[attr-defined]
