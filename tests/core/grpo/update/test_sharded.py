"""Which rank keeps what of AdamW's state. What two processes do with it is in test_ranks.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.update.sharded import ShardedAdamW, open_optimizer, owners
from ssl4rl.core.recipe.sections import OptimSection
from ssl4rl.core.types import Ssl4rlError

OPTIONS = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}


class Deaf(Ranks):
    """One of two ranks that hears nothing of the other."""

    def share(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        pass

    def sums(self, values: Sequence[float]) -> list[float]:
        return list(values)


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(n, generator=generator).requires_grad_() for n in (2, 5, 3, 4)]
    for p in made[:3]:  # the last one has no gradient
        p.grad = torch.randn(p.shape, generator=generator)
    return made


def test_owners_by_hand() -> None:
    assert owners([2, 5, 3, 4], 2) == [0, 0, 1, 1]
    assert owners([1, 1, 1, 1, 9], 2) == [1, 1, 1, 1, 0]
    assert owners([4, 4], 1) == [0, 0]
    assert owners([], 3) == []


def test_a_rank_updates_its_share_as_adamw_does_and_nothing_else() -> None:
    whole = parameters()
    reference = torch.optim.AdamW(whole, **OPTIONS)  # type: ignore[arg-type]
    reference.step()
    for rank, mine in ((0, {0, 1}), (1, {2, 3})):
        ours, before = parameters(), parameters()
        optimizer = ShardedAdamW(ours, Deaf(rank, 2), OPTIONS)
        optimizer.step()
        for i, (p, old, new) in enumerate(zip(ours, before, whole, strict=True)):
            assert torch.equal(p, new if i in mine else old)
        assert {i for i, p in enumerate(ours) if p in optimizer.state} == mine - {3}


def test_the_state_of_one_rank_goes_into_two_and_on() -> None:
    whole = parameters()
    reference = torch.optim.AdamW(whole, **OPTIONS)  # type: ignore[arg-type]
    reference.step()
    saved = reference.state_dict()
    saved["param_groups"][0]["lr"] = 0.01
    reference.load_state_dict(saved)
    parts = []
    for rank in range(2):
        ours = [p.detach().clone().requires_grad_() for p in whole]
        for p, q in zip(ours, whole, strict=True):
            p.grad = None if q.grad is None else q.grad.clone()
        parts.append((ours, ShardedAdamW(ours, Deaf(rank, 2), OPTIONS)))
        parts[-1][1].load_state_dict(saved)
        parts[-1][1].step()
    reference.step()
    for i, owner in enumerate(owners([p.numel() for p in whole], 2)):
        assert torch.equal(parts[owner][0][i], whole[i])
    first = parts[0][1].state_dict()
    expected = reference.state_dict()
    assert first["param_groups"] == expected["param_groups"]
    assert first["state"].keys() == {0, 1}, "the other rank's are not heard here"
    for i in (0, 1):
        assert all(torch.equal(first["state"][i][name], tensor) for name, tensor in expected["state"][i].items())
    assert parts[1][1].state_dict()["state"] == {}, "the first rank writes"


def test_gradients_are_dropped_on_all_ranks() -> None:
    ours = parameters()
    ShardedAdamW(ours, Deaf(1, 2), OPTIONS).zero_grad()
    assert all(p.grad is None for p in ours)


def test_alone_there_is_nothing_to_divide() -> None:
    assert type(open_optimizer(parameters(), OptimSection(), ALONE, "optimizer")) is torch.optim.AdamW
    assert type(open_optimizer(parameters(), OptimSection(), Deaf(0, 2), "none")) is torch.optim.AdamW
    assert type(open_optimizer(parameters(), OptimSection(), Deaf(0, 2), "optimizer")) is ShardedAdamW


def test_more_ranks_than_parameters() -> None:
    with pytest.raises(Ssl4rlError, match="4 trained tensors cannot be divided over 5 processes; use train"):
        ShardedAdamW(parameters(), Ranks(0, 5), OPTIONS)
