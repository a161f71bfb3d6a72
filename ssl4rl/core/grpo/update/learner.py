"""Gradients into steps: what the trainer asks for once it knows its groups, the same on one process or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl4rl.core.grpo.logps.prefix import Group
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.reference import Reference
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.room import in_smaller_pieces, nothing_left
from ssl4rl.core.grpo.update.mixing import compared_parameters, gradient_agreement
from ssl4rl.core.grpo.update.reduced import Reduced
from ssl4rl.core.grpo.update.sharded import ShardedAdamW, open_optimizer
from ssl4rl.core.grpo.update.update import (
    Batch,
    Logps,
    Stats,
    accumulate,
    frozen_logps,
    logps_in_rows,
    micro_batches,
    supervise,
)
from ssl4rl.core.recipe.sections import GrpoSection, OptimSection, ReferenceSection, SamplingSection
from ssl4rl.core.types import Ssl4rlError

T = TypeVar("T")


@dataclass
class Learner:
    """What learns of a policy: its optimiser, its reference, and the gradients to which every rank adds its part.

    Every rank must make every call. `sampling`: how the completions were sampled (temperature, `max_new_tokens`).
    `row_tokens`: `train.tokens_per_microbatch`. `shared`: completions share their prompt's computation. `shard`:
    `train.shard`. `keep`: `model.reference`. `on_shortage`: called with (phase, `row_tokens` before, and now) where
    memory ran out; `step` is the number that an error then names.
    """

    policy: Policy
    grpo: GrpoSection
    optim: OptimSection
    sampling: SamplingSection
    row_tokens: int
    shared: bool = True
    shard: str = "none"
    ranks: Ranks = ALONE
    keep: ReferenceSection = field(default_factory=ReferenceSection)
    reference: Reference | None = None
    on_shortage: Callable[[str, int, int], None] = lambda phase, was, now: None
    step: int = 0
    updates: int = 0
    skipped: int = 0
    """Updates so far whose gradient was not finite."""
    optimizer: torch.optim.AdamW | ShardedAdamW = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        self.optimizer = open_optimizer(self.parameters, self.optim, self.ranks, self.shard, self.policy.masters)

    @property
    def reduced(self) -> Reduced | None:
        """Where gradients go, if ranks divide them."""
        return self.optimizer.reduced if isinstance(self.optimizer, ShardedAdamW) else None

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

        def mine() -> Stats:
            return accumulate(
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
                backward=self._backward,
            )

        stats = self._backwards(part.groups, lambda: mine() if rows else Stats())
        together = Stats(*self.ranks.sums(list(vars(stats).values())))
        together.largest = max(self.ranks.gather(stats.largest))
        return together

    def supervise(self, groups: list[Group], weight: float) -> float:
        """`update.supervise` on the groups of all ranks."""
        (tokens,) = self.ranks.sums([sum(len(ids) for group in groups for ids in group.completion_ids)])

        def mine() -> float:
            budget = self.tokens_per_microbatch
            return supervise(
                self.policy,
                self.logps,
                groups,
                tokens=int(tokens),
                tokens_per_microbatch=budget,
                weight=weight,
                backward=self._backward,
            )

        return self.ranks.sums([self._backwards(groups, mine)])[0]

    def _backward(self, loss: Tensor) -> None:
        (self.reduced or Tensor).backward(loss)

    def _backwards(self, groups: Sequence[Group], attempt: Callable[[], T]) -> T:
        """`attempt`, which adds the gradient of each micro-batch where there is none yet."""
        reduced = self.reduced
        if reduced is None:
            return self._in_pieces("the update", groups, attempt)

        def in_rounds() -> T:
            here = len(list(micro_batches(groups, self.tokens_per_microbatch)))
            return reduced.rounds(max(self.ranks.gather(here)), attempt)

        return self._in_pieces("the update", groups, in_rounds, together=True)

    def _in_pieces(self, phase: str, groups: Sequence[Group], attempt: Callable[[], T], together: bool = False) -> T:
        """`attempt`, which finds no gradients, in smaller micro-batches if it must be."""

        def undo() -> None:
            self.policy.model.train()
            self.optimizer.zero_grad(set_to_none=True)

        def smaller(failed: bool) -> None:
            was = self.row_tokens
            largest = self._largest(groups)
            if self.ranks.any(failed and largest < 2):
                raise nothing_left(self.step, phase, "a micro-batch is a single prompt's completions already")
            while self.ranks.any(failed and self._largest(groups) == largest):
                self.row_tokens //= 2
            self.on_shortage(phase, was, self.row_tokens)

        return in_smaller_pieces(self.ranks, attempt, undo, smaller, together)

    def _largest(self, groups: Sequence[Group]) -> int:
        """Groups in the fullest micro-batch."""
        return max(map(len, micro_batches(groups, self.tokens_per_microbatch)), default=0)

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
            self.optimizer.zero_grad()
            self.accumulate(batch, local, len(rows) * G, int(tokens), 0.0)
            if self.reduced is None:
                self.ranks.sum_gradients(self.parameters)
            else:
                self.reduced.show(compared_parameters(self.policy))

        found = gradient_agreement(tasks, self.policy, gradient_of)
        self.optimizer.zero_grad()
        return found

    def open_reference(self) -> None:
        """The policy as it is now is the reference, unless there is one."""
        self.reference = self.reference or self._reference()

    def _reference(self, state: Mapping[str, Tensor] | None = None) -> Reference:
        dtype = None if self.keep.dtype == "same" else getattr(torch, self.keep.dtype)
        return Reference(self.policy, state, dtype=dtype, on_cpu=self.keep.device == "cpu")

    def with_old_logps(self, batch: Batch, reused: bool) -> Batch:
        """With log-probs of the sampling policy, where the batch is used more than once, and of the reference."""
        if self.grpo.beta:
            self.open_reference()
        if reused:
            batch.old_PGT = self._frozen_logps(batch.groups)
        if self.reference is not None:
            with self.reference.active(self.policy):
                batch.reference_PGT = self._frozen_logps(batch.groups)
        return batch

    def _frozen_logps(self, groups: Sequence[Group]) -> Tensor | None:
        """Under the policy as it is now; None of no groups."""

        def mine() -> Tensor | None:
            budget = self.tokens_per_microbatch
            temperature = self.sampling.temperature
            if not groups:
                return None
            return frozen_logps(self.policy, self.logps, groups, temperature=temperature, tokens_per_microbatch=budget)

        return self._in_pieces("the log-probs", groups, mine)

    def update(self, lr: float) -> float:
        """One optimiser step; returns the gradient norm before clipping.

        A gradient that is not finite changes nothing, neither weights nor moments, and counts in `skipped`.
        """
        if isinstance(self.optimizer, ShardedAdamW) and self.optimizer.reduced is not None:
            norm = self.optimizer.clip(self.optim.max_grad_norm)
        else:
            self.ranks.sum_gradients(self.parameters)
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.optim.max_grad_norm)
        if not norm.isfinite():
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped += 1
            return float(norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.updates += 1
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            raise nothing_left(self.step, "the optimiser's step", "it cannot be cut in pieces") from None
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state(self) -> dict[str, Any]:
        """Optimiser and reference; to be called on every rank, and whole on the first.

        "masters", where there are some: the trained weights before they were rounded to what the policy holds.
        """
        reference = self.reference.state() if self.reference else None
        masters = self.optimizer.whole_masters() if isinstance(self.optimizer, ShardedAdamW) else None
        found = {"optimizer": self.optimizer.state_dict(), "reference": reference}
        return found if masters is None else {**found, "masters": masters}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the policy must have been loaded from the same checkpoint.

        Raises:
            Ssl4rlError: it is of another model, or none of ours.
        """
        try:
            self._check_shapes(state["optimizer"]["state"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._restore_masters(state.get("masters") or {})
            if state["reference"] is not None:
                self.reference = self._reference(state["reference"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:160]
            raise Ssl4rlError(f"state.pt does not fit the policy beside it: {type(error).__name__} {why}") from error

    @torch.no_grad()
    def _restore_masters(self, saved: Mapping[int, Tensor]) -> None:
        """Weights as they were before they were rounded; none where the policy's own never were."""
        for i, weight in saved.items():
            for p in (self.parameters[i], (self.policy.masters or {}).get(i)):
                if p is not None:
                    if p.shape != weight.shape:
                        raise ValueError(f"weight {i} is {tuple(weight.shape)}, the parameter {tuple(p.shape)}")
                    p.copy_(weight)

    def _check_shapes(self, known: Mapping[int, Mapping[str, Any]]) -> None:
        """PyTorch takes moments of any shape, and fails or goes wrong in the first step."""
        for place, state in known.items():
            for name, value in state.items():
                if name.startswith("exp_avg") and value.shape != self.parameters[place].shape:
                    wanted = tuple(self.parameters[place].shape)
                    raise ValueError(f"{name} of parameter {place} is {tuple(value.shape)}, the parameter {wanted}")


def finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """None for a number that JSON does not have."""
    return {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in metrics.items()}
