"""Truncated importance weights, where another engine sampled than the one that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo.logps.prefix import Group, unshared_logps
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import sampler_logps
from ssl4rl.core.grpo.update.loss import importance_weights
from ssl4rl.core.grpo.update.update import Batch, Stats, accumulate, logps_in_rows
from ssl4rl.core.recipe.sections import GrpoSection


def test_a_weight_is_the_ratio_of_probabilities_up_to_the_cap() -> None:
    policy = torch.tensor([[[0.5, 0.9, 0.1]]]).log().requires_grad_()
    sampler = torch.tensor([[[0.4, 0.1, 0.2]]]).log()
    weight, ratio = importance_weights(policy, sampler, 2.0)
    assert weight[0, 0].tolist() == pytest.approx([1.25, 2.0, 0.5])
    assert ratio[0, 0].tolist() == pytest.approx([1.25, 9.0, 0.5])
    assert not weight.requires_grad


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize(("off", "counts"), [(1.5, 1.5), (3.0, 2.0), (0.25, 0.25)])
def test_a_tokens_gradient_counts_so_often(
    tiny: Callable[[str], Path], updates: int, off: float, counts: float
) -> None:
    """Every token was `off` times as likely by the policy as by the sampler."""
    policy = load_policy(str(tiny("llama")), device="cpu")
    groups = [Group(torch.tensor([5, 6, 7]), {}, [torch.tensor([8, 9]), torch.tensor([10])]) for _ in range(2)]
    with torch.no_grad():
        old = unshared_logps(policy.model, groups).logp_PGT
    advantage = torch.tensor([[1.0, -1.0], [0.5, -0.5]])

    def gradient(sampler: torch.Tensor | None) -> tuple[torch.Tensor, Stats]:
        policy.model.zero_grad()
        batch = Batch(groups, advantage, old if updates > 1 else None, sampler_PGT=sampler)
        given = {"sequences": 4, "tokens": 6, "tokens_per_microbatch": 4}
        stats = accumulate(
            policy, logps_in_rows(True, 64), batch, GrpoSection(), temperature=1.0, max_new_tokens=4, **given
        )
        return torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]), stats

    plain, without = gradient(None)
    weighted, stats = gradient(old - math.log(off))
    assert torch.allclose(weighted, counts * plain, rtol=1e-3, atol=1e-6)
    assert without.metrics().keys() == {"loss", "rehearsal", "kl", "clipped"}
    found = {"mean": off, "largest": off, "capped": float(off > 2)}
    assert stats.metrics()["importance"] == {name: pytest.approx(value, rel=1e-4) for name, value in found.items()}


def test_of_several_updates_the_largest_weight_stays() -> None:
    stats = Stats()
    stats.add(Stats(loss=1.0, importance=1.0, capped=0.5, largest=3.0), 2)
    stats.add(Stats(loss=3.0, importance=2.0, capped=0.0, largest=2.0), 2)
    assert (stats.loss, stats.importance, stats.capped, stats.largest) == (2.0, 1.5, 0.25, 3.0)


def test_log_probs_of_samplers_are_padded() -> None:
    def one(*logps: float) -> Completion:
        return Completion(torch.zeros(len(logps), dtype=torch.long), "", False, torch.tensor(logps))

    found = sampler_logps([[one(-1.0, -2.0), one(-3.0)]])
    assert found is not None
    assert found.tolist() == [[[-1.0, -2.0], [-3.0, 0.0]]]
    assert sampler_logps([[Completion(torch.tensor([1]), "", False)]]) is None
