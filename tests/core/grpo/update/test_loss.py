"""Values worked out by hand: one prompt, two completions of 2 and 1 tokens."""

import math

import pytest
import torch

from ssl4rl.core.grpo.update.loss import KINDS, kl_k3, policy_loss, token_weights

MASK = torch.tensor([[[1, 1], [1, 0]]])
OLD = torch.zeros(1, 2, 2)
ADVANTAGE = torch.tensor([[1.0, -1.0]])


def log(*ratios: float) -> torch.Tensor:
    return torch.tensor([math.log(r) for r in ratios])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("grpo", [[0.25, 0.25], [0.5, 0.0]]),
        ("gspo", [[0.25, 0.25], [0.5, 0.0]]),
        ("dapo", [[1 / 3, 1 / 3], [1 / 3, 0.0]]),
        ("cispo", [[1 / 3, 1 / 3], [1 / 3, 0.0]]),
        ("dr_grpo", [[0.05, 0.05], [0.05, 0.0]]),
    ],
)
def test_token_weights(kind: str, expected: list[list[float]]) -> None:
    weights = token_weights(MASK, kind, max_tokens=10)  # type: ignore[arg-type]
    torch.testing.assert_close(weights[0], torch.tensor(expected))


def test_dropped_groups_count_in_the_average() -> None:
    assert token_weights(MASK, "grpo", 10, sequences=4).tolist() == [[[0.125, 0.125], [0.25, 0.0]]]


def test_clipping_by_hand() -> None:
    logp = torch.stack([log(1.5, 0.5), log(1.5, 1.0)])[None]
    loss, clipped = policy_loss(logp, OLD, ADVANTAGE, MASK, "grpo", clip_low=0.2, clip_high=0.2)
    # A = 1: min(1.5, 1.2) = 1.2 and min(0.5, 0.8) = 0.5. A = -1: min(-1.5, -1.2) = -1.5
    torch.testing.assert_close(loss[0], torch.tensor([[-1.2, -0.5], [1.5, 1.0]]))
    assert clipped == pytest.approx(1 / 3)


def test_clip_higher_lets_good_tokens_grow() -> None:
    logp = torch.stack([log(1.25, 1.0), log(1.0, 1.0)])[None]
    low, _ = policy_loss(logp, OLD, ADVANTAGE, MASK, "dapo", clip_high=0.2)
    high, _ = policy_loss(logp, OLD, ADVANTAGE, MASK, "dapo", clip_high=0.28)
    assert low[0, 0, 0] == pytest.approx(-1.2)
    assert high[0, 0, 0] == pytest.approx(-1.25)


def test_gspo_uses_the_sequence_ratio_for_every_token() -> None:
    logp = torch.stack([log(2.0, 0.5), log(0.9, 1.0)])[None].requires_grad_()
    loss, _ = policy_loss(logp, OLD, ADVANTAGE, MASK, "gspo")
    # the geometric mean of 2 and 0.5 is 1, so nothing is clipped
    torch.testing.assert_close(loss[0, 0], torch.tensor([-1.0, -1.0]))
    assert loss[0, 1, 0].item() == pytest.approx(0.9)
    loss[0, 0, 0].backward()
    assert logp.grad is not None
    assert logp.grad[0, 0].tolist() == pytest.approx([-1.0, 0.0])


def test_cispo_keeps_the_gradient_of_clipped_tokens() -> None:
    logp = torch.stack([log(3.0, 1.0), log(1.0, 1.0)])[None].requires_grad_()
    loss, clipped = policy_loss(logp, OLD, ADVANTAGE, MASK, "cispo", clip_high=0.2)
    loss[0, 0, 0].backward()
    assert logp.grad is not None
    assert logp.grad[0, 0, 0].item() == pytest.approx(-1.2)
    assert clipped == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_on_policy_gradient_is_the_policy_gradient(kind: str) -> None:
    """At ratio 1 every loss has gradient -advantage on each token: REINFORCE with the group's baseline."""
    logp = torch.zeros(1, 2, 2, requires_grad=True)
    loss, clipped = policy_loss(logp, logp.detach(), ADVANTAGE, MASK, kind)  # type: ignore[arg-type]
    (loss * MASK).sum().backward()
    assert logp.grad is not None
    if kind != "gspo":
        assert logp.grad.tolist() == [[[-1.0, -1.0], [1.0, 0.0]]]
    assert logp.grad.sum().item() == pytest.approx(-1.0)
    assert clipped == 0


def test_k3_by_hand() -> None:
    # d = ln 2: 2 - ln 2 - 1
    assert kl_k3(torch.tensor([0.0]), log(2.0)).item() == pytest.approx(2 - math.log(2) - 1)
    assert kl_k3(torch.tensor([0.3]), torch.tensor([0.3])).item() == 0
