"""Log-probs and gradients of one way of computing, in passes no larger than training's, and how far two ways differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.logps.prefix import Group, rows_of, shared_logps, unshared_logps

ELEMENTS = 50_000_000  # parameters whose gradients are compared, smallest tensors first


@dataclass(frozen=True)
class Numbers:
    """What one way of computing gives for some groups: log-probs [N] in order of group, completion and token, and the
    gradient of their random weighting, a tensor a parameter; all on the CPU, where they take no room from training."""

    logp_N: Tensor
    gradients: list[Tensor]

    @staticmethod
    def of(model: nn.Module, groups: Sequence[Group], row_tokens: int, *, shared: bool) -> Numbers:
        """By ``shared_logps`` or ``unshared_logps``; the same function of the log-probs, however the passes are cut."""
        weights = _weights(model)
        total = [torch.zeros(weight.shape) for weight in weights]
        generator = torch.Generator().manual_seed(0)
        factors = [[torch.randn(len(ids), generator=generator) for ids in g.completion_ids] for g in groups]
        found = []
        for part, factor_N in _parts(groups, factors, row_tokens, shared):
            with torch.enable_grad():
                result = shared_logps(model, part) if shared else unshared_logps(model, part)
                logp_N = result.logp_PGT[result.mask_PGT]
                score = (factor_N.to(logp_N) * logp_N).sum()
                gradients = torch.autograd.grad(score, weights, allow_unused=True) if weights else ()
            found.append(logp_N.detach().cpu())
            for sum_, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    sum_ += gradient.cpu()
        return Numbers(torch.cat(found), total)


def _parts(
    groups: Sequence[Group], factors: Sequence[Sequence[Tensor]], row_tokens: int, shared: bool
) -> Iterator[tuple[list[Group], Tensor]]:
    """Groups for one pass each, and the factors of their tokens: whole ones with the prompt shared, else completions
    of one prompt, as many as fit beside it when it is repeated."""
    if shared:
        for row in rows_of(groups, row_tokens):
            yield list(groups[row]), torch.cat([x for own in factors[row] for x in own])
        return
    for group, own in zip(groups, factors, strict=True):
        longest = max(map(len, group.completion_ids))
        rows = max(1, row_tokens // (len(group.prompt_ids) + longest))
        for at in range(0, len(own), rows):
            some = replace(group, completion_ids=group.completion_ids[at : at + rows])
            yield [some], torch.cat(list(own[at : at + rows]))


def _weights(model: nn.Module) -> list[nn.Parameter]:
    chosen: list[nn.Parameter] = []
    total = 0
    for weight in sorted((weight for weight in model.parameters() if weight.requires_grad), key=torch.Tensor.numel):
        total += weight.numel()
        if chosen and total > ELEMENTS:
            break
        chosen.append(weight)
    return chosen


def gradient_distance(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """|left - right| / |left|, all tensors as one vector. 0 if there are none."""
    off = math.hypot(*(float((a.double() - b.double()).norm()) for a, b in zip(left, right, strict=True)))
    size = math.hypot(*(float(a.double().norm()) for a in left))
    return off / size if size else off


def gradient_difference(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The worst tensor's |left - right| / |left|.

    A tensor whose root mean square is below a thousandth of the tensors' average counts as having that much: the
    gradient of a key bias, say, is zero but for rounding, and its direction means nothing.
    """
    if not left:
        return 0.0
    sizes = [float(tensor.double().square().mean().sqrt()) for tensor in left]
    least = max(1e-3 * sum(sizes) / len(sizes), torch.finfo(torch.float32).tiny)
    off = [float((a.double() - b.double()).square().mean().sqrt()) for a, b in zip(left, right, strict=True)]
    # max() would pass over a nan
    ratios = [difference / max(size, least) for difference, size in zip(off, sizes, strict=True)]
    return math.nan if any(map(math.isnan, ratios)) else max(ratios)
