"""The learning rate, worked out by hand."""

from __future__ import annotations

import pytest

from ssl4rl.core.grpo.update.schedule import learning_rate
from ssl4rl.core.recipe.sections import OptimSection


def test_linear_warm_up_then_cosine_to_a_tenth() -> None:
    settings = OptimSection(lr=1.0, warmup_steps=2, schedule="cosine")
    rates = [learning_rate(settings, done, 6) for done in range(7)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.8682, 0.55, 0.2318, 0.1], abs=1e-4)


def test_constant_after_the_warm_up() -> None:
    settings = OptimSection(lr=0.5, warmup_steps=2)
    assert [learning_rate(settings, done, 3) for done in range(4)] == [0.25, 0.5, 0.5, 0.5]
