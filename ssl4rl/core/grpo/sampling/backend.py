"""Who samples: one small interface, so that training and evaluation need not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.model.policy import Encoded, Policy, autocast
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms, generate
from ssl4rl.core.grpo.sampling.sampler import Sampling


class Backend(Protocol):
    """Prompts to completions by the policy as it is now."""

    def complete(
        self,
        prompts: Sequence[Encoded],
        group_size: int,
        sampling: Sampling,
        uniforms: Callable[[int, int], Uniforms] | None = None,
        features: Sequence[MediaFeatures | None] | None = None,
    ) -> list[list[Completion]]:
        """`group_size` completions of each prompt; the arguments are `rollout.generate`'s."""

    def wait_for_others(self) -> None:
        """Told in an evaluation once this process has no prompts left; others may have some."""

    def release(self) -> None:
        """Told before the policy's weights change: memory may be given back, and the next `complete` begins anew."""

    def close(self) -> None:
        """Told at the end."""


@dataclass
class Native:
    """The policy itself, by `rollout.generate`, whose `max_rows`, `shared` and `static` these are."""

    policy: Policy
    max_rows: int = 512
    shared: bool = False
    static: bool = False

    def halve(self, group_size: int) -> tuple[int, int] | None:
        """Fewer rows at a time, but a whole group: how many it took and takes. None where there is nothing to halve."""
        was = self.max_rows
        if was < 2 * group_size:
            return None
        self.max_rows = was // 2
        return was, self.max_rows

    def complete(
        self,
        prompts: Sequence[Encoded],
        group_size: int,
        sampling: Sampling,
        uniforms: Callable[[int, int], Uniforms] | None = None,
        features: Sequence[MediaFeatures | None] | None = None,
    ) -> list[list[Completion]]:
        """As `Backend` says, in the arithmetic of training."""
        with autocast(self.policy):
            return generate(
                self.policy,
                prompts,
                group_size,
                sampling,
                uniforms,
                self.max_rows,
                shared=self.shared,
                static=self.static,
                features=features,
            )

    def wait_for_others(self) -> None:
        """Nothing: each process decodes by itself."""

    def release(self) -> None:
        """Nothing: the policy is always as it is now."""

    def close(self) -> None:
        """Nothing."""
