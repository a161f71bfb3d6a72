"""AdamW whose state is divided over the ranks (stages 1 and 2 of ZeRO, Rajbhandari et al. 2020, arXiv 1910.02054).

Each rank keeps the moments of its share of the parameters, updates those, and hands them to the others. Gradients stay
whole on every rank, or are divided likewise (`reduced`). Parameters stay whole, since ranks run different numbers of
forward passes (prompts of their own, as many micro-batches as their groups need), and parameters gathered layer by
layer (FSDP) ask for the same number. Where they are bfloat16, the owner's float32 ones are what is updated (`masters`).

Parameters are not cut: AdamW is elementwise, so the weights are those of AdamW on every rank bit for bit, and the state
that is saved is AdamW's own, whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.pretrained import is_adapter
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.update.reduced import Reduced
from ssl4rl.core.recipe.sections import OptimSection
from ssl4rl.core.types import Ssl4rlError

_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for what has a parameter's shape


def open_optimizer(
    parameters: Sequence[Tensor],
    settings: OptimSection,
    ranks: Ranks,
    shard: str,
    masters: Mapping[int, Tensor] | None = None,
) -> torch.optim.AdamW | ShardedAdamW:
    """AdamW as the recipe has it; where there are several ranks its state, and gradients, divided as `shard` says.

    `masters`: as `ShardedAdamW` takes them.

    Raises:
        Ssl4rlError: more ranks than parameters.
    """
    options: dict[str, Any] = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if parameters and parameters[0].device.type == "cuda":
        options["fused"] = True  # one kernel for all tensors, and no copy of them
    if shard != "none" and ranks.size > 1:
        return ShardedAdamW(parameters, ranks, options, gradients=shard == "gradients", masters=masters)
    return torch.optim.AdamW(parameters, **options)


def owners(sizes: Sequence[int], ranks: int) -> list[int]:
    """The rank that keeps each parameter's state: the largest first, each to the rank with the least so far."""
    load = [0] * ranks
    found = [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        found[i] = load.index(min(load))
        load[found[i]] += sizes[i]
    return found


def keep_masters(policy: Policy, ranks: Ranks) -> None:
    """From now on the model is bfloat16 and each rank keeps its share of what is trained in float32, as rank 0 has it.

    That is for a model that is trained whole, in half precision, by several ranks; any other is left alone. Frozen
    parts become bfloat16 too, buffers do not.
    """
    if not policy.half or ranks.size == 1 or is_adapter(policy.model):
        return
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    ranks.share_weights(trained)
    mine = owners([p.numel() for p in trained], ranks.size)
    policy.masters = {
        i: p.detach().to(torch.float32, copy=True) for i, p in enumerate(trained) if mine[i] == ranks.rank
    }
    for p in policy.model.parameters():
        if p.is_floating_point():
            p.data = p.data.to(torch.bfloat16)


class ShardedAdamW:
    """What the trainer needs of an optimiser. Every rank must make every call; alone it is not of use.

    Args:
        parameters: all that is trained, in the same order on every rank, with the same gradients when `step` is called.
        options: AdamW's.
        gradients: they are divided too: `reduced` collects them, and `step` takes them from there.
        masters: this rank's share in float32, by place in `parameters`, where those are of lower precision; they are
            updated, and `parameters` are rounded from them.

    Raises:
        Ssl4rlError: more ranks than parameters.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        ranks: Ranks,
        options: Mapping[str, Any],
        *,
        gradients: bool = False,
        masters: Mapping[int, Tensor] | None = None,
    ) -> None:
        if len(parameters) < ranks.size:
            raise Ssl4rlError(
                f"train.shard={'gradients' if gradients else 'optimizer'}: {len(parameters)} trained tensors cannot be "
                f"divided over {ranks.size} processes; use train.shard=none"
            )
        self.parameters, self.ranks = list(parameters), ranks
        self.owners = owners([p.numel() for p in self.parameters], ranks.size)
        self._mine = [i for i, owner in enumerate(self.owners) if owner == ranks.rank]
        self.masters = None if masters is None else dict(masters)
        self._updated = {i: self.parameters[i] if masters is None else masters[i] for i in self._mine}
        self.reduced = Reduced(self.parameters, self.owners, ranks) if gradients else None
        self._adam = torch.optim.AdamW(list(self._updated.values()), **options)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """This rank's; settings changed here act on its share, so every rank must change them alike."""
        return self._adam.param_groups

    @property
    def state(self) -> dict[Any, Any]:
        """This rank's part of the state, by parameter."""
        return self._adam.state

    def clip(self, most: float) -> Tensor:
        """The norm of all gradients that `reduced` has, each of which is then what its owner's step takes.

        They are scaled as `torch.nn.utils.clip_grad_norm_` does, to the bit: the same norm of the same norms.
        """
        assert self.reduced is not None
        used = self.reduced.agree()
        for i, total in self.reduced.sums.items():
            self._updated[i].grad = total.to(self._updated[i].dtype)
        held = {i: p for i, p in self._updated.items() if p.grad is not None}
        norms = [torch.linalg.vector_norm(p.grad) for p in held.values()]
        here = dict(zip(held, torch.stack(norms).tolist() if norms else [], strict=True))
        everywhere = self.ranks.sums([here.get(i, 0.0) for i in range(len(self.parameters))])
        norm: Tensor = torch.linalg.vector_norm(torch.tensor([everywhere[i] for i in used]))
        torch.nn.utils.clip_grads_with_norm_(list(held.values()), most, norm)
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter that has a gradient, each on the rank that owns it, and hands it to the others."""
        self._adam.step()
        if self.reduced is not None:
            moved = self.reduced.used
        else:
            moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        if self.masters is not None:
            for i in self.masters.keys() & set(moved):
                self.parameters[i].copy_(self.masters[i])
        self.ranks.share([self.parameters[i] for i in moved], [self.owners[i] for i in moved])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As every optimiser's, on all parameters."""
        if self.reduced is not None:
            self.reduced.clear()
        for p in [*self.parameters, *(self.masters or {}).values()]:
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """On the first rank what AdamW of all parameters would return, on the CPU; on the others no state.

        One parameter's state at a time is in the memory of ranks that do not keep it.
        """
        mine = {i: self.state[p] for i, p in self._updated.items() if p in self.state}
        steps = self.ranks.sums(
            [float(mine[i]["step"]) if i in mine else 0.0 for i in range(len(self.parameters))]
        )  # AdamW counts each parameter's, and none has a state before its first
        state: dict[int, dict[str, Tensor]] = {}
        for i, step in enumerate(steps):
            if not step:
                continue
            found = mine.get(i) or {name: self._like(i) for name in _MOMENTS}
            moments = [found[name].detach() for name in _MOMENTS]
            self.ranks.share(moments, [self.owners[i]] * len(moments))
            if self.ranks.first:
                state[i] = {"step": torch.tensor(step), **dict(zip(_MOMENTS, (m.cpu() for m in moments), strict=True))}
        settings = self._adam.state_dict()["param_groups"][0]
        return {"state": state, "param_groups": [{**settings, "params": list(range(len(self.parameters)))}]}

    def whole_masters(self) -> dict[int, Tensor] | None:
        """On the first rank all float32 weights, on the CPU, by place; on the others none. None where there are none.

        As with `state_dict`, one at a time is in the memory of ranks that do not keep it.
        """
        if self.masters is None:
            return None
        found: dict[int, Tensor] = {}
        for i, owner in enumerate(self.owners):
            one = self.masters[i].detach() if i in self.masters else self._like(i)
            self.ranks.share([one], [owner])
            if self.ranks.first:
                found[i] = one.cpu()
        return found

    def _like(self, place: int) -> Tensor:
        """Room for what the owner of a parameter keeps of it."""
        return torch.empty_like(self.parameters[place], dtype=None if self.masters is None else torch.float32)

    def load_state_dict(self, whole: Mapping[str, Any]) -> None:
        """Takes this rank's part of a state of AdamW, or of this class on any number of ranks."""
        state = {place: whole["state"][i] for place, i in enumerate(self._mine) if i in whole["state"]}
        settings = {**whole["param_groups"][0], "params": list(range(len(self._mine)))}
        self._adam.load_state_dict({"state": state, "param_groups": [settings]})
