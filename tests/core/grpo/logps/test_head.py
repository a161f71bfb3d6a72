"""The head against log_softmax by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.logps import head as head_module
from ssl4rl.core.grpo.logps.head import head_logps, logits_logps


def reference(logits: Tensor, label: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    every = (logits / temperature).log_softmax(-1)
    return every.gather(1, label[:, None])[:, 0], -(every.exp() * every).sum(-1)


def test_two_tokens_by_hand() -> None:
    # -inf is a token that cannot be drawn.
    logits = torch.tensor([[0.0, 0.0], [float("-inf"), 1.0]], requires_grad=True)
    logp, entropy = logits_logps(logits, torch.tensor([1, 1]), entropy=True)
    torch.testing.assert_close(logp, torch.tensor([0.5, 1.0]).log())
    torch.testing.assert_close(entropy, torch.tensor([2.0, 1.0]).log())
    torch.autograd.backward(logp.sum() + entropy.sum())
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, 0.5], [0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("entropy", [True, False])
@pytest.mark.parametrize("logits", [2**25, 22])
def test_equals_autograd(temperature: float, entropy: bool, logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "LOGITS", logits)  # 22 logits of 11 tokens are two rows a chunk
    torch.manual_seed(0)
    head = nn.Linear(6, 11, dtype=torch.float64)
    hidden = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, 11, (7,))
    weight = torch.randn(2, 7, dtype=torch.float64)
    if not entropy:
        weight[1] = 0
    values, gradients = [], []
    for ours in (True, False):
        logp, ent = (
            head_logps(head, hidden, label, temperature=temperature, entropy=entropy)
            if ours
            else reference(head(hidden), label, temperature)
        )
        assert (ent is not None) == (entropy or not ours)
        ent = torch.zeros(7, dtype=torch.float64) if ent is None or not entropy else ent
        values.append(torch.stack([logp, ent]))
        gradients.append(torch.autograd.grad((weight * values[-1]).sum(), [hidden, *head.parameters()]))
    torch.testing.assert_close(values[0], values[1])
    for ours_gradient, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_gradient, theirs)


def test_half_precision_logits_are_read_in_single() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 50).bfloat16().requires_grad_()
    label = torch.arange(5)
    logp, _ = logits_logps(logits, label, 0.5)
    assert logp.dtype == torch.float32
    torch.testing.assert_close(logp, reference(logits.detach().float(), label, 0.5)[0])
    torch.autograd.backward(logp.sum())
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
