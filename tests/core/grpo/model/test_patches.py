"""Patch embeddings by a matrix product: values and gradients of the convolution, and only where it is the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.model.patches import PatchConv3d, multiply_patches
from tests.core.grpo.cases import load

Tiny = Callable[[str], Path]


def run(conv: nn.Module, seed_N: Tensor) -> list[Tensor]:
    """The output and all gradients."""
    x = seed_N.clone().requires_grad_()
    out = conv(x)
    weight = torch.arange(out.numel(), dtype=out.dtype).view_as(out).sin()
    return [out, *torch.autograd.grad((out * weight).sum(), [x, *conv.parameters()])]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 2, 4, 4), (5, 3, 4, 8, 4), (1, 3, 2, 4, 5)])
def test_values_and_gradients_are_those_of_the_convolution(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 6, (2, 4, 4), stride=(2, 4, 4), bias=bias).double()
    x = torch.randn(shape, dtype=torch.float64)
    expected = run(conv, x)
    multiply_patches(nn.Sequential(conv))
    assert type(conv) is PatchConv3d
    for got, right in zip(run(conv, x), expected, strict=True):
        assert got.shape == right.shape
        torch.testing.assert_close(got, right, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("odd", [{"padding": 1}, {"padding": "same", "stride": 1}, {"dilation": 2}, {"groups": 3}])
def test_other_convolutions_stay(odd: dict[str, int | str]) -> None:
    conv = nn.Conv3d(3, 6, 3, **odd)  # type: ignore[arg-type]
    multiply_patches(conv)
    assert type(conv) is nn.Conv3d


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_installing_turns_the_towers_and_taking_it_back_restores_them(kind: str, tiny: Tiny) -> None:
    model = load(kind, tiny(kind))
    names = list(model.state_dict())
    before = install(model)
    (conv,) = [module for module in model.modules() if isinstance(module, nn.Conv3d)]
    assert type(conv) is PatchConv3d
    twin = copy.deepcopy(conv)
    assert twin.weight is not conv.weight
    assert list(model.state_dict()) == names
    install(model, before)
    assert type(conv) is nn.Conv3d
