"""The reference policy of the KL term: the policy as it was when GRPO started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from ssl4rl.core.grpo.model.policy import Policy


class Reference:
    """A LoRA policy's reference is itself with the adapter's first weights; a full one's its first weights.

    Only what is trained is kept twice: the reference is swapped in for its forward pass, so a LoRA run pays for a copy
    of its adapter alone. (Switching the adapter off instead would be the model before any format warm-up.)
    """

    def __init__(self, policy: Policy, state: Mapping[str, Tensor] | None = None) -> None:
        trained = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
        self._frozen = {
            name: (p.detach() if state is None else state[name].to(p.device)).clone() for name, p in trained.items()
        }

    @contextmanager
    def active(self, policy: Policy) -> Iterator[None]:
        """Within this the policy's weights are the reference's."""
        self._swap(policy)
        try:
            yield
        finally:
            self._swap(policy)

    @torch.no_grad()
    def _swap(self, policy: Policy) -> None:
        for name, parameter in policy.model.named_parameters():
            if name in self._frozen:
                parameter.data, self._frozen[name] = self._frozen[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        """The frozen weights by name."""
        return self._frozen
