"""The group's own vote, in place of a label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from ssl4rl.core.types import Score


def agreement(replies: Sequence[str], scores: Sequence[Score]) -> list[float]:
    """1 for a reply whose parsed answer is the group's most frequent one, else 0 (TTRL, arXiv 2504.16084).

    Replies without a readable answer have no vote and earn 0. Of answers equally frequent the one given first counts.
    """
    said = [None if s.parsed is None else json.dumps(s.parsed, sort_keys=True, default=str) for s in scores]
    votes = Counter(answer for answer in said if answer is not None)
    if not votes:
        return [0.0] * len(replies)
    winner = votes.most_common(1)[0][0]
    return [float(answer == winner) for answer in said]


agreement.range = (0.0, 1.0)  # type: ignore[attr-defined]
