"""Credit assignment: group-relative advantages, pure functions on tensors.

Departs from DeepSeekMath's GRPO (arXiv 2402.03300, eq. 21 onwards) only where told to: `scale="batch"` divides by the
deviation of the whole batch, `scale="task"` by that of the group's task, `scale="none"` by nothing (Dr. GRPO, arXiv
2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "task", "none"]


def group_advantages(reward_PG: Tensor, scale: Scale = "group", eps: float = 1e-4, tasks: Sequence[str] = ()) -> Tensor:
    """Rewards minus their group's mean, scaled.

    Args:
        reward_PG: float [P, G], G completions of each of P prompts.
        scale: "group" divides by each group's standard deviation (unbiased, as TRL), "batch" by that of all centred
            rewards, "task" by that of all centred rewards of the same task, "none" by nothing.
        eps: added to the deviation, TRL's value; a group without variance has advantages of exactly 0.
        tasks: each prompt's task, for "task".

    Returns:
        float [P, G].
    """
    centred_PG = reward_PG - reward_PG.mean(dim=1, keepdim=True)
    if scale == "group":
        return centred_PG / (reward_PG.std(dim=1, keepdim=True) + eps)
    if scale == "batch":
        return centred_PG / (centred_PG.std() + eps)
    if scale == "task":
        for task in set(tasks):
            mine_P = torch.tensor([other == task for other in tasks])
            centred_PG[mine_P] /= centred_PG[mine_P].std() + eps
    return centred_PG


def sequence_mean(value_PGT: Tensor, mask_PGT: Tensor) -> Tensor:
    """[P, G]: the mean over a completion's tokens; 0 for an empty one."""
    return (value_PGT * mask_PGT).sum(-1) / mask_PGT.sum(-1).clamp(min=1)
