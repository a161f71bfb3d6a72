import torch

from ssl4rl.core.grpo.sampling.sampled import has_variance
from ssl4rl.core.grpo.update.advantage import group_advantages, sequence_mean

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5]])


def test_group_scale_by_hand() -> None:
    # mean 0.5, unbiased deviation sqrt(4 * 0.25 / 3) = 0.57735
    expected = 0.5 / (0.5773503 + 1e-4)
    got = group_advantages(REWARDS, "group")
    torch.testing.assert_close(got[0], torch.tensor([expected, -expected, -expected, expected]))
    assert got[1].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_batch_scale_by_hand() -> None:
    # centred rewards are four of +-0.5 and four of 0: unbiased deviation sqrt(1 / 7) = 0.377964
    got = group_advantages(REWARDS, "batch")
    torch.testing.assert_close(got[0, 0], torch.tensor(0.5 / (0.3779645 + 1e-4)))
    assert got[1].abs().max() == 0


def test_no_scale() -> None:
    assert group_advantages(REWARDS, "none").tolist() == [[0.5, -0.5, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]


def test_groups_without_variance_are_found() -> None:
    assert has_variance(REWARDS).tolist() == [True, False]


def test_mean_over_tokens_skips_padding_and_empty_completions() -> None:
    value = torch.tensor([[[1.0, 3.0, 9.0], [5.0, 5.0, 5.0]]])
    mask = torch.tensor([[[1, 1, 0], [0, 0, 0]]])
    assert sequence_mean(value, mask).tolist() == [[2.0, 0.0]]


def test_each_task_by_its_own_deviation() -> None:
    reward_PG = torch.tensor([[0.0, 1.0], [0.0, 10.0], [1.0, 0.0]])
    found = group_advantages(reward_PG, "task", eps=0.0, tasks=["a", "b", "a"])
    alone = group_advantages(reward_PG[[0, 2]], "batch", eps=0.0)
    assert torch.allclose(found[[0, 2]], alone)
    assert torch.allclose(found[1], torch.tensor([-(0.5**0.5), 0.5**0.5]))
