"""The learning rate over a run, a pure function of the step."""

from __future__ import annotations

import torch

from ssl4rl.core.recipe.sections import OptimSection


def learning_rate(settings: OptimSection, done: int, steps: int) -> float:
    """That of the GRPO step after `done` of `steps`: linear warm-up, then constant or cosine to a tenth."""
    if done < settings.warmup_steps:
        return settings.lr * (done + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.lr
    left = max(1, steps - settings.warmup_steps)
    cosine = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (done - settings.warmup_steps) / left))))
    return settings.lr * (0.1 + 0.9 * cosine)
