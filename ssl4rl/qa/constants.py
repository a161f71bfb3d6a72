"""What one answer earns when it is given to every question: the best constant, measured over the whole data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ssl4rl.core.verify import FreeText, Number
from ssl4rl.core.verify.choice import words_of

Array = np.ndarray[Any, np.dtype[Any]]

SAMPLE = 2000
"""Rows, evenly spaced, on which constants are tried where trying takes a while (partial credit, boxes)."""
TRIED = 64
"""Different answers of the data that are tried there, the most frequent first."""


class Facts:
    """The right answers of a data set, row by row, and the constants that earn most there, each found once.

    Args:
        answers: of each row all right ones: numbers, texts, or boxes as shares x0, y0, x1, y1.
    """

    def __init__(self, answers: Sequence[tuple[Any, ...]] = ()) -> None:
        self._answers = answers
        self._found: dict[tuple[Any, ...], Any] = {}

    def best_number(self, verifier: Number) -> float | None:
        """The number that is right in most rows; None where none is in two."""
        found: float | None = self._once(("number", verifier), lambda: _best_number(self._answers, verifier))
        return found

    def best_text(self, verifier: FreeText) -> str | None:
        """The text that earns most; None where none is right, or shares a word, in two rows."""
        found: str | None = self._once(("text", verifier), lambda: _best_text(self._answers, verifier))
        return found

    def best_box(self, correct_iou: float, least_iou: float) -> list[float] | None:
        """The box, in shares, that earns most; None where none earns anything."""
        key = ("box", correct_iou, least_iou)
        found: list[float] | None = self._once(key, lambda: _best_box(self._answers, correct_iou, least_iou))
        return found

    def _once(self, key: tuple[Any, ...], find: Callable[[], Any]) -> Any:
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]


def _best_number(answers: Sequence[tuple[float, ...]], verifier: Number) -> float | None:
    """The most intervals of tolerance that one point lies in: at one of the answers, else at an interval's end."""
    right = np.array([one for row in answers for one in dict.fromkeys(row)], dtype=float)
    if len(right) < 2:
        return None
    slack = verifier.absolute + (verifier.relative + 1e-9) * np.abs(right)
    low, high = np.sort(right - slack), np.sort(right + slack)

    def hits(points: Array) -> Array:
        found: Array = np.searchsorted(low, points, side="right") - np.searchsorted(high, points, side="left")
        return found

    points = np.unique(right)
    inside = hits(points)
    best, most = float(points[inside.argmax()]), int(inside.max())
    if verifier.absolute or verifier.relative:
        ends = np.unique(
            right - 0.999 * (slack - 1e-9 * np.abs(right))
        )  # well inside, so that rounding does not matter
        at_ends = hits(ends)
        if at_ends.max() > most:
            best, most = float(ends[at_ends.argmax()]), int(at_ends.max())
    return best if most > 1 else None


def _best_text(answers: Sequence[tuple[str, ...]], verifier: FreeText) -> str | None:
    said: dict[tuple[str, ...], str] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for row in answers:
        for key, text in {words_of(text): text for text in row}.items():
            said.setdefault(key, text)
            counts[key] += 1
    if not counts:
        return None
    if not verifier.partial:
        ((key, most),) = counts.most_common(1)
        return said[key] if most > 1 else None
    words = Counter(word for key, n in counts.items() for word in {*key} for _ in range(n))
    usual = [word for word, _ in words.most_common(8)]
    tried = [*(key for key, _ in counts.most_common(TRIED)), *(tuple(usual[:n]) for n in range(1, len(usual) + 1))]
    sample = [[words_of(text) for text in row] for row in _sample(answers)]
    earned = [sum(max(verifier.credit(key, right) for right in row) for row in sample) for key in tried]
    best = int(np.argmax(earned))
    return said.get(tried[best], " ".join(tried[best])) if earned[best] > 1 else None


def _best_box(
    answers: Sequence[tuple[Sequence[float], ...]], correct_iou: float, least_iou: float
) -> list[float] | None:
    if not answers:
        return None
    rows = _sample(answers)
    own = np.array([row[0] for row in rows], dtype=float)
    tried = np.concatenate([_usual_boxes(), np.median(own, axis=0)[None], own[:: max(1, len(own) // TRIED)]])
    earned = np.zeros(len(tried))
    for row in rows:
        best = np.max([overlaps(tried, np.asarray(box, dtype=float)) for box in row], axis=0)
        partial = np.clip((best - least_iou) / (1 - least_iou), 0, None) if least_iou < 1 else np.zeros(len(tried))
        earned += np.where(best >= correct_iou + 1e-4, 1.0, partial)
    best_at = int(earned.argmax())
    return [float(edge) for edge in tried[best_at]] if earned[best_at] > 1 else None


def _usual_boxes() -> Array:
    """Boxes of five widths and heights at steps of a tenth."""
    sides = (0.2, 0.4, 0.6, 0.8, 1.0)
    tenths = [k / 10 for k in range(9)]
    boxes = [(x, y, x + w, y + h) for w in sides for h in sides for x in tenths for y in tenths]
    return np.array([box for box in boxes if max(box) <= 1 + 1e-9])


def overlaps(boxes: Array, box: Array) -> Array:
    """The intersections over unions of boxes, float [boxes, 4], with one of them: float [boxes]."""
    sides = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None)
    shared: Array = sides.prod(axis=1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    found: Array = shared / whole
    return found


def _sample(answers: Sequence[Any]) -> Sequence[Any]:
    step = -(-len(answers) // SAMPLE)
    return answers[:: max(1, step)]
