"""Drawing tokens, against arithmetic."""

from __future__ import annotations

import pytest
import torch

from ssl4rl.core.grpo.sampling import sampler
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample


def test_sampling_inverts_the_cumulative_distribution() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(5, 4)
    at = torch.tensor([0.0, 0.0999, 0.1001, 0.5999, 0.6001], dtype=torch.float64)
    assert sample(logits, Sampling(), at).tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=2), {2, 3}),
        (Sampling(top_p=0.65), {2, 3}),
        (Sampling(top_p=0.4), {3}),
        (Sampling(min_p=0.49), {1, 2, 3}),
        (Sampling(min_p=0.51), {2, 3}),
        (Sampling(temperature=0.0), {3}),
    ],
)
def test_filters(sampling: Sampling, kept: set[int]) -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(1000, 4)
    at = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert set(sample(logits, sampling, at).tolist()) == kept


def test_sampled_shares_agree_with_the_probabilities() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(1000, 4)
    at = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert sample(logits, Sampling(), at).bincount().tolist() == [100, 200, 300, 400]
    sharper = sample(logits, Sampling(temperature=0.5), at).bincount() / 1000  # squares: 1, 4, 9, 16 of 30
    torch.testing.assert_close(sharper, torch.tensor([1, 4, 9, 16]) / 30, atol=2e-3, rtol=0)


def test_rows_are_sampled_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(100, 37, generator=generator)
    at = torch.rand(100, 3, dtype=torch.float64, generator=generator)
    for sampling in (Sampling(temperature=0.7), Sampling(top_p=0.8, top_k=9)):
        whole = sampler._sample_each(logits, sampling, at)
        with monkeypatch.context() as patch:
            patch.setattr(sampler, "_CACHED", 37 * 7)
            assert torch.equal(sampler._sample_each(logits, sampling, at), whole)
