"""A policy that lies in the host's memory, lent to the device to be evaluated there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.grpo.trainer import Trainer


@contextmanager
def lent(trainer: Trainer, device: torch.device) -> Iterator[None]:
    """Within this `trainer` has a copy of its policy on `device`, in bfloat16 on a GPU; none if it is there already.

    The policy itself stays where it is. The copy takes 2 bytes a parameter of the device, and is gone afterwards.
    """
    own = trainer.policy
    if own.device.type == device.type:
        yield
        return
    try:
        ask(trainer, _copied(own, device))
        yield
    finally:
        ask(trainer, own)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def ask(trainer: Trainer, policy: Policy) -> None:
    """From now on `trainer` evaluates this policy: its backend samples from it, too."""
    assert isinstance(trainer.backend, Native), "engine trl samples by itself, and evaluates by the policy"
    trainer.policy, trainer.backend = policy, replace(trainer.backend, policy=policy)


def _copied(policy: Policy, device: torch.device) -> Policy:
    """A policy with the same weights on another device; nothing is copied within the host's memory."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

    def moved(x: Tensor) -> Tensor:
        return x.detach().to(device, dtype if x.is_floating_point() else None)

    model = policy.model
    there: dict[int, object] = {id(p): nn.Parameter(moved(p), requires_grad=False) for p in model.parameters()}
    there |= {id(buffer): moved(buffer) for buffer in model.buffers()}
    return Policy(copy.deepcopy(model, there), policy.encoder, policy.name, policy.origin, device)
