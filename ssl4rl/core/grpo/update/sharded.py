"""AdamW whose state is divided over the ranks (stage 1 of ZeRO, Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054).

Each rank keeps the moments of its share of the parameters, updates those, and hands them to the others. Parameters and
gradients stay whole on every rank, since ranks run different numbers of forward passes (prompts of their own, as many
micro-batches as their groups need), and parameters gathered layer by layer (FSDP) ask for the same number.

Parameters are not cut: AdamW is elementwise, so the weights are those of AdamW on every rank bit for bit, and the state
that is saved is AdamW's own, whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.recipe.recipe import OptimSection
from ssl4rl.core.types import Ssl4rlError

_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for what has a parameter's shape


def open_optimizer(
    parameters: Sequence[Tensor], settings: OptimSection, ranks: Ranks, shard: str
) -> torch.optim.AdamW | ShardedAdamW:
    """AdamW as the recipe has it; its state divided over the ranks if `shard` is "optimizer" and there are several.

    Raises:
        Ssl4rlError: more ranks than parameters.
    """
    options: dict[str, Any] = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if parameters and parameters[0].device.type == "cuda":
        options["fused"] = True  # one kernel for all tensors, and no copy of them
    if shard == "optimizer" and ranks.size > 1:
        return ShardedAdamW(parameters, ranks, options)
    return torch.optim.AdamW(parameters, **options)


def owners(sizes: Sequence[int], ranks: int) -> list[int]:
    """The rank that keeps each parameter's state: the largest first, each to the rank with the least so far."""
    load = [0] * ranks
    found = [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        found[i] = load.index(min(load))
        load[found[i]] += sizes[i]
    return found


class ShardedAdamW:
    """What the trainer needs of an optimiser. Every rank must make every call; alone it is not of use.

    Args:
        parameters: all that is trained, in the same order on every rank, with the same gradients when `step` is called.
        options: AdamW's.

    Raises:
        Ssl4rlError: more ranks than parameters.
    """

    def __init__(self, parameters: Sequence[Tensor], ranks: Ranks, options: Mapping[str, Any]) -> None:
        if len(parameters) < ranks.size:
            raise Ssl4rlError(
                f"train.shard=optimizer: {len(parameters)} trained tensors cannot be divided over {ranks.size} "
                "processes; use train.shard=none"
            )
        self.parameters, self.ranks = list(parameters), ranks
        self.owners = owners([p.numel() for p in self.parameters], ranks.size)
        self._mine = [i for i, owner in enumerate(self.owners) if owner == ranks.rank]
        self._adam = torch.optim.AdamW([self.parameters[i] for i in self._mine], **options)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """This rank's; settings changed here act on its share, so every rank must change them alike."""
        return self._adam.param_groups

    @property
    def state(self) -> dict[Any, Any]:
        """This rank's part of the state, by parameter."""
        return self._adam.state

    def step(self) -> None:
        """Updates every parameter that has a gradient, each on the rank that owns it, and hands it to the others."""
        self._adam.step()
        moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        self.ranks.share([self.parameters[i] for i in moved], [self.owners[i] for i in moved])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As every optimiser's, on all parameters."""
        for p in self.parameters:
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """On the first rank what AdamW of all parameters would return, on the CPU; on the others no state.

        One parameter's state at a time is in the memory of ranks that do not keep it.
        """
        steps = self.ranks.sums(
            [float(self.state[p]["step"]) if p in self.state else 0.0 for p in self.parameters]
        )  # AdamW counts each parameter's, and none has a state before its first
        state: dict[int, dict[str, Tensor]] = {}
        for i, (p, step) in enumerate(zip(self.parameters, steps, strict=True)):
            if not step:
                continue
            found = self.state.get(p) or {name: torch.empty_like(p) for name in _MOMENTS}
            moments = [found[name].detach() for name in _MOMENTS]
            self.ranks.share(moments, [self.owners[i]] * len(moments))
            if self.ranks.first:
                state[i] = {"step": torch.tensor(step), **dict(zip(_MOMENTS, (m.cpu() for m in moments), strict=True))}
        settings = self._adam.state_dict()["param_groups"][0]
        return {"state": state, "param_groups": [{**settings, "params": list(range(len(self.parameters)))}]}

    def load_state_dict(self, whole: Mapping[str, Any]) -> None:
        """Takes this rank's part of a state of AdamW, or of this class on any number of ranks."""
        state = {place: whole["state"][i] for place, i in enumerate(self._mine) if i in whole["state"]}
        settings = {**whole["param_groups"][0], "params": list(range(len(self._mine)))}
        self._adam.load_state_dict({"state": state, "param_groups": [settings]})
