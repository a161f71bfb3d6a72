"""About how long a step takes: reckoned by hand for the paper's setting on eight cards."""

from __future__ import annotations

import pytest

from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.tools.plan.pace import paces

WORK = {"prompts": 512, "group_size": 5, "reply_tokens": 2048, "chunks": 2, "frozen_passes": 2}
PEAKS = {"sampling": {"weights": 6 * 10**9, "prompts and replies": 12 * 10**9}}


def _paces(trained: int, checkpointing: bool = True) -> tuple[float, ...]:
    model = {"path": "somewhere", "gradient_checkpointing": checkpointing}
    recipe = make_recipe({"name": "x", "model": model, "tasks": [{"task": "vision/rotation"}], "train": {"steps": 200}})
    a100, h100 = paces(recipe, WORK, PEAKS, 240.0, 3 * 10**9, trained, 8)
    assert (a100.card, h100.card, h100.steps) == ("A100 80 GB", "H100 SXM", 200)
    return h100.sampling, h100.update, h100.hours


def test_the_papers_setting_by_hand() -> None:
    # 64 prompts a card: 64 x 240 + 64 x 5 x 2048 = 670,720 tokens. Decoding reads 2 x 2048 x (6 + 12 / 2) GB = 49,152
    # GB at half of 3,350 GB/s. The update does 2 x 670,720 x (4 x 3 + 3 + 3) x 10^9 operations at .4 of 989 x 10^12.
    sampling, update, hours = _paces(trained=3 * 10**9)
    assert sampling == pytest.approx(29.345, abs=1e-3)
    assert update == pytest.approx(61.037, abs=1e-3)
    assert hours == pytest.approx(5.021, abs=1e-3)


def test_an_adapter_needs_no_gradient_of_the_rest_and_no_checkpoint_no_second_pass() -> None:
    assert _paces(trained=0)[1] == pytest.approx(61.037 * 15 / 18, abs=1e-3)
    assert _paces(trained=3 * 10**9, checkpointing=False)[1] == pytest.approx(61.037 * 15 / 18, abs=1e-3)
