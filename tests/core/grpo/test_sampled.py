"""How many further prompts a step samples, and which groups it then uses."""

from __future__ import annotations

import pytest
import torch

from ssl4rl.core.grpo.sampled import further_prompts, light, used_groups
from ssl4rl.core.types import Example, Media


@pytest.mark.parametrize(
    ("wanted", "useful", "sampled", "left", "expected"),
    [
        (8, 8, 8, 16, 0),  # enough
        (8, 9, 12, 16, 0),  # more than enough
        (8, 4, 8, 16, 8),  # half of them had variance: 4 missing, 8 needed
        (8, 6, 8, 16, 3),  # 2 missing at 6 of 8: 8/3
        (8, 1, 8, 16, 16),  # 56 needed, 16 allowed
        (8, 0, 8, 16, 8),  # nothing known yet: as many again
        (8, 0, 16, 4, 4),
        (8, 4, 8, 0, 0),  # the cap
    ],
)
def test_further_prompts(wanted: int, useful: int, sampled: int, left: int, expected: int) -> None:
    assert further_prompts(wanted, useful, sampled, left) == expected


def test_used_groups() -> None:
    rewards = torch.tensor([[0.0, 1.0], [1.1, 1.1], [0.5, 0.1], [0.0, 0.0], [0.2, 0.1]])
    assert used_groups(rewards, 2) == [0, 2]
    assert used_groups(rewards, 9) == [0, 2, 4]
    assert used_groups(torch.zeros(3, 2), 2) == []


def test_light_examples_keep_all_but_the_data_of_media() -> None:
    example = Example(("See: ", Media("image", object()), "?"), "A", meta={"options": [1, 2]})
    assert light(example) == Example(("See: ", Media("image", None), "?"), "A", meta={"options": [1, 2]})
