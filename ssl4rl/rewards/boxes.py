"""A reward by how far a box in the reply covers the right one."""

from __future__ import annotations

from ssl4rl.core.types import Example, Score
from ssl4rl.core.verify.lists import iou


def box_iou(completion: str, score: Score, example: Example) -> float:
    """Intersection over union of the box that was read from the reply with the nearest right one, in [0, 1].

    For tasks whose answer is a box (`ssl4rl.Box`), x0, y0, x1, y1; 0 for a reply without one. Unlike the verifier's own
    accuracy it goes on growing above `correct_iou`.
    """
    if score.parsed is None:
        return 0.0
    return max(iou(score.parsed, box) for box in example.accepted)


box_iou.range = (0.0, 1.0)  # type: ignore[attr-defined]
