"""Batch norms in training: the averages they came with, whatever is in the batch, and a twin that shows the fault."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.model.norms import keep_averages
from ssl4rl.core.grpo.model.pretrained import Lora, prepare


class Tower(nn.Module):
    """One batch norm over two channels, averages 1 and variances 4 (less eps), under a name that recipes freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.vision_tower = nn.BatchNorm2d(2, eps=2.0**-10)
        self.vision_tower.running_mean.fill_(1.0)
        self.vision_tower.running_var.fill_(4.0 - 2.0**-10)

    def forward(self, x: Tensor) -> Tensor:
        return self.vision_tower(x)


def pictures() -> Tensor:
    return torch.tensor([3.0, 5.0, 7.0, 9.0]).view(2, 2, 1, 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_prepared_for_training_it_uses_and_keeps_its_averages(frozen: bool) -> None:
    model = prepare(Tower(), None, frozen, False).train()
    out = model(pictures())
    assert out.flatten().tolist() == [1.0, 2.0, 3.0, 4.0]  # (x - 1) / 2
    norm = model.vision_tower
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([1.0, 1.0], [4.0 - 2.0**-10] * 2)
    assert int(norm.num_batches_tracked) == 0
    assert out.requires_grad is not frozen


def test_without_it_the_batch_decides_and_the_averages_move() -> None:
    model = Tower().train()
    assert model(pictures()).flatten().tolist() == pytest.approx([-1.0, -1.0, 1.0, 1.0], rel=1e-3)
    assert model.vision_tower.running_mean.tolist() != [1.0, 1.0]


def test_weight_and_bias_train() -> None:
    model = prepare(Tower(), None, False, False).train()
    model(pictures()).sum().backward()
    assert model.vision_tower.weight.grad.tolist() == [4.0, 6.0]  # the sums of (x - 1) / 2 of each channel
    assert model.vision_tower.bias.grad.tolist() == [2.0, 2.0]


def test_copies_keep_theirs_and_a_second_call_adds_nothing() -> None:
    model = Tower()
    keep_averages(model)
    keep_averages(model)
    assert len(model.vision_tower._forward_pre_hooks) == 1
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.train()(pictures())
        assert other.vision_tower.running_mean.tolist() == [1.0, 1.0]


def test_under_an_adapter_too() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = {"model_type": "custom"}
            self.tower = Tower()
            self.head = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.tower(x).flatten(1))

        def prepare_inputs_for_generation(self) -> None: ...

    model = prepare(Whole(), Lora(r=2, target=["head"]), False, False).train()
    model.base_model(pictures())
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.running_mean.tolist() == [1.0, 1.0]
