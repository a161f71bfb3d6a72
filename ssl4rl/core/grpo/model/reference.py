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

    Args:
        state: the weights by name; None is the policy's own as they are.
        dtype: in which they are kept, None as the policy's. bfloat16 halves them, and rounds once: under autocast the
            passes are those of the rounded weights, elsewhere they are widened for the pass.
        on_cpu: they lie in the host's memory, and are copied over for each pass.
    """

    def __init__(
        self,
        policy: Policy,
        state: Mapping[str, Tensor] | None = None,
        *,
        dtype: torch.dtype | None = None,
        on_cpu: bool = False,
    ) -> None:
        trained = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
        self._apart = dtype is not None or on_cpu
        self._dtypes = {name: p.dtype for name, p in trained.items()}
        self._frozen = {
            name: (p.detach() if state is None else state[name])
            .to("cpu" if on_cpu else p.device, dtype or p.dtype, copy=True)
            .detach()
            for name, p in trained.items()
        }

    @contextmanager
    def active(self, policy: Policy) -> Iterator[None]:
        """Within this the policy's weights are the reference's."""
        others = {name: self._as_the_policy(policy, name) for name in self._frozen} if self._apart else self._frozen
        _swap(policy, others)
        try:
            yield
        finally:
            _swap(policy, others)

    def _as_the_policy(self, policy: Policy, name: str) -> Tensor:
        """On the policy's device, and in its precision where no autocast casts."""
        kept = self._frozen[name]
        return kept.to(policy.device, kept.dtype if policy.half else self._dtypes[name])

    def state(self) -> dict[str, Tensor]:
        """The frozen weights by name."""
        return self._frozen


@torch.no_grad()
def _swap(policy: Policy, others: dict[str, Tensor]) -> None:
    for name, parameter in policy.model.named_parameters():
        if name in others:
            parameter.data, others[name] = others[name], parameter.data
