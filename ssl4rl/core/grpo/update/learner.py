"""Gradients into steps: what the trainer asks for once it knows its groups, the same on one process or many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ssl4rl.core.grpo.logps.prefix import Group
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.reference import Reference
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.update.mixing import gradient_agreement
from ssl4rl.core.grpo.update.sharded import ShardedAdamW, open_optimizer
from ssl4rl.core.grpo.update.update import Batch, Logps, Stats, accumulate, frozen_logps, logps_in_rows, supervise
from ssl4rl.core.recipe.recipe import GrpoSection, OptimSection, SamplingSection
from ssl4rl.core.types import Ssl4rlError


@dataclass
class Learner:
    """What learns of a policy: its optimiser, its reference, and the gradients to which every rank adds its part.

    Every rank must make every call. `sampling`: how the completions were sampled (temperature, `max_new_tokens`).
    `row_tokens`: `train.tokens_per_microbatch`. `shared`: completions share their prompt's computation. `shard`:
    `train.shard`.
    """

    policy: Policy
    grpo: GrpoSection
    optim: OptimSection
    sampling: SamplingSection
    row_tokens: int
    shared: bool = True
    shard: str = "none"
    ranks: Ranks = ALONE
    reference: Reference | None = None
    skipped: int = 0
    """Updates so far whose gradient was not finite."""
    optimizer: torch.optim.AdamW | ShardedAdamW = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        self.optimizer = open_optimizer(self.parameters, self.optim, self.ranks, self.shard)

    @property
    def tokens_per_microbatch(self) -> int:
        """The budget in `Group.tokens`, which count a prompt once; unshared it is run for each completion."""
        return self.row_tokens if self.shared else max(1, self.row_tokens // self.grpo.group_size)

    @property
    def logps(self) -> Logps:
        """Log-probs with shared prompts where the model allows it."""
        return logps_in_rows(self.shared, self.row_tokens)

    def accumulate(self, batch: Batch, rows: list[int], sequences: int, tokens: int, rehearsal: float) -> Stats:
        """Adds this rank's part of the gradient of an update; the statistics are those of all ranks together.

        Args:
            batch: this rank's groups, of which those at `rows` are in the update.
            sequences, tokens: the sampled completions of the whole update, dropped groups included, and their tokens.
            rehearsal: weight of the cross-entropy on rehearsed completions.
        """
        G = batch.advantage_PG.shape[1]
        part = batch.cut(rows)
        lengths = [len(ids) for group in part.groups for ids in group.completion_ids[G:]]
        sampled = sum(len(ids) for group in part.groups for ids in group.completion_ids[:G])
        all_sampled, rehearsed = self.ranks.sums([sampled, sum(lengths)])
        stats = Stats()
        if rows:
            stats = accumulate(
                self.policy,
                self.logps,
                part,
                self.grpo,
                temperature=self.sampling.temperature,
                max_new_tokens=self.sampling.max_new_tokens,
                sequences=sequences,
                tokens=tokens,
                sampled_tokens=int(all_sampled),
                rehearsed_tokens=int(rehearsed),
                tokens_per_microbatch=self.tokens_per_microbatch,
                rehearsal=rehearsal,
            )
        together = Stats(*self.ranks.sums(list(vars(stats).values())))
        together.largest = max(self.ranks.gather(stats.largest))
        return together

    def supervise(self, groups: list[Group], weight: float) -> float:
        """`update.supervise` on the groups of all ranks."""
        (tokens,) = self.ranks.sums([sum(len(ids) for group in groups for ids in group.completion_ids)])
        budget = self.tokens_per_microbatch
        loss = supervise(
            self.policy, self.logps, groups, tokens=int(tokens), tokens_per_microbatch=budget, weight=weight
        )
        return self.ranks.sums([loss])[0]

    def agreement(
        self, tasks: list[str], kept: list[int], mine: list[int], batch: Batch
    ) -> list[tuple[str, str, float]]:
        """How far the tasks' gradients of this step point the same way.

        `tasks`: of the groups `kept`, of which `batch` holds those in `mine`.
        """
        G = batch.advantage_PG.shape[1]

        def gradient_of(rows: Sequence[int]) -> None:
            local = [mine.index(kept[row]) for row in rows if kept[row] in mine]
            here = sum(len(ids) for i in local for ids in batch.groups[i].completion_ids[:G])
            (tokens,) = self.ranks.sums([here])
            self.accumulate(batch, local, len(rows) * G, int(tokens), 0.0)
            self.ranks.sum_gradients(self.parameters)

        return gradient_agreement(tasks, self.policy, gradient_of)

    def with_old_logps(self, batch: Batch, reused: bool) -> Batch:
        """With log-probs of the sampling policy, where the batch is used more than once, and of the reference."""
        if self.grpo.beta:
            self.reference = self.reference or Reference(self.policy)
        if not batch.groups:
            return batch
        logps_now = partial(
            frozen_logps,
            self.policy,
            self.logps,
            batch.groups,
            temperature=self.sampling.temperature,
            tokens_per_microbatch=self.tokens_per_microbatch,
        )
        if reused:
            batch.old_PGT = logps_now()
        if self.reference is not None:
            with self.reference.active(self.policy):
                batch.reference_PGT = logps_now()
        return batch

    def update(self, lr: float) -> float:
        """One optimiser step; returns the gradient norm before clipping.

        A gradient that is not finite changes nothing, neither weights nor moments, and counts in `skipped`.
        """
        self.ranks.sum_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.optim.max_grad_norm)
        if not norm.isfinite():
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped += 1
            return float(norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state(self) -> dict[str, Any]:
        """Optimiser and reference; to be called on every rank, and whole on the first."""
        reference = self.reference.state() if self.reference else None
        return {"optimizer": self.optimizer.state_dict(), "reference": reference}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the policy must have been loaded from the same checkpoint.

        Raises:
            Ssl4rlError: it is of another model, or none of ours.
        """
        try:
            self._check_shapes(state["optimizer"]["state"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["reference"] is not None:
                self.reference = Reference(self.policy, state["reference"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:160]
            raise Ssl4rlError(f"state.pt does not fit the policy beside it: {type(error).__name__} {why}") from error

    def _check_shapes(self, known: Mapping[int, Mapping[str, Any]]) -> None:
        """PyTorch takes moments of any shape, and fails or goes wrong in the first step."""
        for place, state in known.items():
            for name, value in state.items():
                if name.startswith("exp_avg") and value.shape != self.parameters[place].shape:
                    wanted = tuple(self.parameters[place].shape)
                    raise ValueError(f"{name} of parameter {place} is {tuple(value.shape)}, the parameter {wanted}")
