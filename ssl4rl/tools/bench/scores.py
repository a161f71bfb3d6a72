"""From verdicts on replies to figures: by group, with intervals and chance, and two models compared question by
question. Plain arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.core.benchmark import Item
from ssl4rl.core.types import Score

OVERALL = "overall"
_Z = 1.959964


@dataclass(frozen=True)
class Reply:
    """What a model said to one question, and the verdict. `empty`: it wrote nothing at all."""

    text: str
    score: Score
    empty: bool = False

    @property
    def right(self) -> bool:
        return self.score.verdict == "correct"


@dataclass(frozen=True)
class Answered:
    """An item and the replies to its questions, in their order."""

    item: Item
    replies: tuple[Reply, ...]

    @property
    def right(self) -> bool:
        """Whether all rotations were answered right (VLMEvalKit's `mcq_circular_eval`)."""
        return all(reply.right for reply in self.replies)


def figures(answered: Sequence[Answered]) -> dict[str, Any]:
    """accuracy, ci95 (Wilson, over questions), chance, n; of the replies: unparsed, truncated and empty shares, and
    `by_reply`, how many are right where rotations need not all be.
    """
    from ssl4rl.core.grpo.record.evaluate import wilson

    n, right = len(answered), sum(one.right for one in answered)
    replies = [reply for one in answered for reply in one.replies]

    def share(count: int) -> float:
        return round(count / max(1, len(replies)), 4)

    verdicts = [reply.score.verdict for reply in replies]
    return {
        "accuracy": round(right / max(1, n), 4),
        "ci95": [round(bound, 4) for bound in wilson(right, n)],
        "chance": float(f"{sum(one.item.chance for one in answered) / max(1, n):.4g}"),
        "by_reply": share(sum(reply.right for reply in replies)),
        "unparsed": share(verdicts.count("unparsed")),
        "truncated": share(verdicts.count("truncated")),
        "empty": share(sum(reply.empty for reply in replies)),
        "n": n,
    }


def by_group(answered: Sequence[Answered]) -> dict[str, dict[str, dict[str, Any]]]:
    """`figures` for each value of each of the file's groupings: {"category": {"action": ...}}, values in order."""
    parts: dict[str, dict[str, list[Answered]]] = {}
    for one in answered:
        for group, value in one.item.main.groups.items():
            parts.setdefault(group, {}).setdefault(value, []).append(one)
    if len(parts.get("split", {})) == 1:  # of which a file mostly has one
        del parts["split"]
    return {group: {value: figures(found[value]) for value in sorted(found)} for group, found in parts.items()}


def paired(first: Sequence[bool], second: Sequence[bool]) -> dict[str, Any]:
    """Two models on the same questions: who alone was right how often, the difference, and McNemar's exact test.

    The p-value is two-sided: how probable so uneven a division of the questions that one model alone got right would
    be, if each were as likely to fall to either (McNemar 1947). The interval of the difference is Bonett and Price's
    (2012): Wald's, after one more of each of the two.

    Args:
        first, second: whether each question was answered right.

    Returns:
        n, first_alone, second_alone, difference (second - first), ci95, p.
    """
    from scipy.stats import binomtest

    n = len(first)
    b = sum(x and not y for x, y in zip(first, second, strict=True))
    c = sum(y and not x for x, y in zip(first, second, strict=True))
    p = float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    one, two = (b + 1) / (n + 2), (c + 1) / (n + 2)
    spread = _Z * math.sqrt((one + two - (two - one) ** 2) / (n + 2))
    return {
        "n": n,
        "first_alone": b,
        "second_alone": c,
        "difference": round((c - b) / max(1, n), 4),
        "ci95": [round(max(-1.0, two - one - spread), 4), round(min(1.0, two - one + spread), 4)],
        "p": float(f"{p:.4g}"),
    }


def rows(record: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """A result's figures as lines: (grouping, value, figures), all together first."""
    lines = [("", OVERALL, record[OVERALL])]
    for group, values in record["groups"].items():
        lines += [(group, value, found) for value, found in values.items()]
    return lines
