"""Patch embeddings as one matrix product.

The Qwen vision towers hand each patch to a ``Conv3d`` that is exactly as large as the patch, so there is one output
position and the convolution is a matrix product. Convolution libraries make much more of it: on one CPU core, 2,048
patches of 3 x 2 x 14 x 14 take 80 ms forward and 81 ms backward as a convolution, 10 and 11 ms as a product.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PatchConv3d(nn.Conv3d):
    """A ``Conv3d`` that takes inputs of just its kernel's size by a matrix product: [N, C, T, H, W] to [N, O, 1, 1, 1].

    Other inputs are convolved as ever. Parameters and their names are those of ``Conv3d``.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 5 or tuple(input.shape[2:]) != self.kernel_size:
            return super().forward(input)
        return F.linear(input.flatten(1), self.weight.flatten(1), self.bias)[..., None, None, None]


def multiply_patches(model: nn.Module, on: bool = True) -> None:
    """Turns the convolutions of ``model`` that can be so into ``PatchConv3d``, in place; with ``on`` False, back."""
    before, after = (nn.Conv3d, PatchConv3d) if on else (PatchConv3d, nn.Conv3d)
    for module in model.modules():
        # a subclass may do something else
        if type(module) is before and _is_plain(module):
            module.__class__ = after


def _is_plain(conv: nn.Module) -> bool:
    """No padding, dilation or groups; forward is not patched by somebody else."""
    assert isinstance(conv, nn.Conv3d)
    return (
        conv.groups == 1
        and not isinstance(conv.padding, str)
        and not any(conv.padding)
        and set(conv.dilation) == {1}
        and "forward" not in vars(conv)
    )
