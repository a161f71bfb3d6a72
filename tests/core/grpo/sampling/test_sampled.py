"""What a step draws by, how many further prompts it samples, and which groups it then uses."""

from __future__ import annotations

import pytest
import torch

from ssl4rl.core.grpo.model.policy import Encoded
from ssl4rl.core.grpo.sampling.sampled import (
    Rollouts,
    further_prompts,
    keyed_uniforms,
    light,
    sample_until,
    used_groups,
)
from ssl4rl.core.grpo.stream import Prompt
from ssl4rl.core.types import Example, Media


def prompt(index: int) -> Prompt:
    return Prompt(index, Example(("?",), "A"), Encoded(torch.tensor([1])))


def test_the_numbers_of_a_sample_depend_on_its_own_place_alone() -> None:
    two, four = (keyed_uniforms(7, 3, [prompt(20), prompt(21)], size, 5) for size in (2, 4))
    assert two(1, 1).tolist() == four(1, 1).tolist() == keyed_uniforms(7, 3, [prompt(21)], 4, 5)(0, 1).tolist()
    assert len({float(four(p, g)[0]) for p in (0, 1) for g in range(4)}) == 8
    assert two(0, 0).tolist() != keyed_uniforms(7, 4, [prompt(20)], 2, 5)(0, 0).tolist(), "another step"


@pytest.mark.parametrize(
    ("refill", "bound", "asked", "used"),
    [
        (0, 99, [4], None),
        (2, 99, [4, 4, 3], [1, 3, 7, 10]),  # 2 of 4 had variance, so 4 more; then 3 of 8, so 8/3
        (1, 99, [4, 4], [1, 3, 7]),  # the cap
        (2, 6, [4, 4, 4], [1, 3]),  # the dataset ends
    ],
)
def test_groups_are_sampled_until_enough_have_variance(
    refill: int, bound: int, asked: list[int], used: list[int] | None
) -> None:
    """Groups 1, 3, 7 and 10 have variance; `bound` prompts there are."""
    calls: list[int] = []
    begun = 0

    def sample(n: int) -> Rollouts | None:
        nonlocal begun
        calls.append(n)
        places = range(begun, min(begun + n, bound))
        begun = places.stop
        rewards = torch.tensor([[0.0, float(p in (1, 3, 7, 10))] for p in places])
        empty: list[list[None]] = [[] for _ in places]
        return Rollouts([prompt(p) for p in places], empty, empty, rewards, [None] * len(places)) if places else None

    found = sample_until(sample, 4, refill)
    assert calls == asked
    assert found.used == used
    assert [p.index for p in found.prompts] == list(range(begun))


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
