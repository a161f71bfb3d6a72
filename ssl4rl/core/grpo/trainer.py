"""The GRPO loop. Departs from the paper (arXiv 2402.03300) in this:

- prompts and pictures are computed once a group, in sampling and in the update (`rollout`, `prefix`);
- groups without variance are left out of the update's computation (they have no gradient), not out of its averages;
- an optional supervised warm-up and rehearsal on random valid answers teach the answer's format and nothing else;
- every random number comes from a key (seed, step, prompt, sample), so a resumed run repeats itself exactly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.curriculum import Curriculum, open_curriculum
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.features import ImageFeatures
from ssl4rl.core.grpo.logps.prefix import Group, fixed_features, has_dropout
from ssl4rl.core.grpo.model.policy import Policy, autocast
from ssl4rl.core.grpo.model.reference import Reference
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampled import Rollouts, gathered, has_variance, keyed_uniforms, sample_until, scored
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, PromptStream, encode
from ssl4rl.core.grpo.update.advantage import group_advantages
from ssl4rl.core.grpo.update.mixing import gradient_agreement, observe
from ssl4rl.core.grpo.update.schedule import learning_rate
from ssl4rl.core.grpo.update.sharded import ShardedAdamW, open_optimizer
from ssl4rl.core.grpo.update.update import (
    Batch,
    Logps,
    Stats,
    accumulate,
    frozen_features,
    frozen_logps,
    logps_in_rows,
    supervise,
)
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError


@dataclass
class Trainer:
    """Everything that changes while a run goes on. `step` counts warm-up steps first, then GRPO steps.

    `shared` and `static` are `rollout.generate`'s.
    """

    recipe: Recipe
    policy: Policy
    dataset: TaskDataset
    shared: bool = True
    static: bool = False
    step: int = 0
    reference: Reference | None = None
    ranks: Ranks = ALONE
    curriculum: Curriculum = field(init=False)
    optimizer: torch.optim.AdamW | ShardedAdamW = field(init=False)
    stream: PromptStream = field(init=False)

    def __post_init__(self) -> None:
        self.curriculum = open_curriculum(self.recipe.curriculum, self.dataset, self.recipe.train.steps)
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        self.optimizer = open_optimizer(self.parameters, self.recipe.optim, self.ranks, self.recipe.train.shard)
        self._fixed_features = fixed_features(self.policy.model)
        self._apart = has_dropout(self.policy.model)
        self.open_stream(0)

    def open_stream(self, start: int) -> None:
        """Makes the next prompt the one at index `start`."""
        recipe = self.recipe
        self.stream = PromptStream(
            self.dataset,
            self.policy.encoder,
            start=start,
            workers=recipe.train.workers,
            max_tokens=recipe.prompt.max_tokens,
            weights=self.weights,
            ranks=self.ranks,
        )

    @property
    def weights(self) -> list[float]:
        """Of the dataset's components, in the step about to run."""
        return self.curriculum.start if self.warming_up else self.curriculum.weights

    @property
    def total_steps(self) -> int:
        return self.recipe.warmup.steps + self.recipe.train.steps

    @property
    def warming_up(self) -> bool:
        return self.step < self.recipe.warmup.steps

    @property
    def tokens_per_microbatch(self) -> int:
        """The budget in `Group.tokens`, which count a prompt once; unshared it is run for each completion."""
        tokens, group = self.recipe.train.tokens_per_microbatch, self.recipe.grpo.group_size
        return tokens if self.shared else max(1, tokens // group)

    @property
    def logps(self) -> Logps:
        """Log-probs with shared prompts where the model allows it."""
        return logps_in_rows(self.shared, self.recipe.train.tokens_per_microbatch)

    def run_step(self) -> tuple[dict[str, Any], Rollouts | None]:
        """One warm-up or GRPO step: its metrics, and what was sampled."""
        place = (self.ranks.rank,) * (self.ranks.rank > 0)  # dropout differs between ranks
        torch.manual_seed(int(keyed_rng("step", self.recipe.train.seed, self.step, *place).integers(2**62)))
        self.policy.model.train()
        self.stream.weights = self.weights
        started = time.perf_counter()
        if self.warming_up:
            metrics, rollouts = self._warm_up(), None
        else:
            metrics, rollouts = self._grpo()
        self.step += 1
        metrics["step_s"] = round(time.perf_counter() - started, 4)
        return {"step": self.step, **metrics}, rollouts

    def _random_answer(self, prompt: Prompt) -> Tensor:
        """A well-formed completion with an answer drawn from the valid ones: it teaches the format, not the task."""
        component = self.dataset.component_of(prompt.example)
        rng = keyed_rng("random answer", self.recipe.train.seed, self.step, prompt.index)
        answer = component.verifier.random_answer(prompt.example, rng)
        return self.policy.tokens(component.verifier.complete(answer, self.dataset.style))

    def _group(self, prompt: Prompt, completion_ids: list[Tensor], features: ImageFeatures | None) -> Group:
        return Group(prompt.encoded.prompt_ids, prompt.encoded.media, completion_ids, features, self._apart)

    def _image_features(self, prompts: list[Prompt]) -> list[ImageFeatures | None]:
        """Of a frozen tower, for all passes of a step, and without dropout; else Nones."""
        if not self._fixed_features:
            return [None] * len(prompts)
        groups = [self._group(p, [p.encoded.prompt_ids], None) for p in prompts]
        return frozen_features(
            self.policy, groups, max(1, self.recipe.train.rollout_rows // self.recipe.grpo.group_size)
        )

    def _warm_up(self) -> dict[str, Any]:
        settings = self.recipe.warmup
        prompts = self.stream.take(settings.prompts_per_step)
        groups = [self._group(p, [self._random_answer(p)], None) for p in prompts]
        loss = self._supervise(groups, 1.0)
        norm = self._update(settings.lr)
        return {"phase": "warmup", "loss": round(loss, 6), "grad_norm": round(norm, 6), "lr": settings.lr}

    def _grpo(self) -> tuple[dict[str, Any], Rollouts]:
        clock = [time.perf_counter()]
        rollouts, data_s = self._sample_step()
        clock.append(time.perf_counter())
        lr = learning_rate(self.recipe.optim, self.step - self.recipe.warmup.steps, self.recipe.train.steps)
        stats, norm = self._learn(rollouts, lr)
        clock.append(time.perf_counter())
        sampling_s, update_s = clock[1] - clock[0], clock[2] - clock[1]
        phases = {"data": data_s, "rollout": sampling_s - data_s, "update": update_s}
        metrics = {
            "phase": "train",
            **rollouts.metrics(self.dataset),
            **rollouts.refill_metrics(self.recipe.grpo.prompts_per_step),
            "loss": round(stats.loss, 8),
            "rehearsal": round(stats.rehearsal, 6),
            "kl": round(stats.kl, 8),
            "clipped": round(stats.clipped, 6),
            "grad_norm": round(norm, 6),
            "lr": lr,
            "completion_tokens": rollouts.tokens,
            "tokens_per_s": round(rollouts.tokens / (clock[-1] - clock[0]), 1),
            "too_long": self.stream.too_long,
            "time": {name: round(seconds, 4) for name, seconds in phases.items()},
            **observe(self.curriculum, self.dataset, rollouts, self.step + 1 - self.recipe.warmup.steps),
        }
        return metrics, rollouts

    def _sample_step(self) -> tuple[Rollouts, float]:
        """The step's groups, those of all ranks, and the seconds spent waiting for prompts."""
        data_s = 0.0

        def sample(n: int) -> Rollouts | None:
            nonlocal data_s
            started, before = time.perf_counter(), self.stream.taken
            prompts = self.stream.take(n)
            data_s += time.perf_counter() - started
            return None if self.stream.taken == before else gathered(self.ranks, self.sample(prompts))

        rollouts = sample_until(sample, self.recipe.grpo.prompts_per_step, self.recipe.grpo.refill)
        return rollouts, data_s

    def sample(self, prompts: list[Prompt]) -> Rollouts:
        """A group of completions for each prompt, scored. `prompts` may be none, on a rank that got none."""
        recipe, G = self.recipe, self.recipe.grpo.group_size
        sampling = Sampling(**recipe.sampling.model_dump())
        features = self._image_features(prompts)
        with autocast(self.policy):
            completions = generate(
                self.policy,
                [prompt.encoded for prompt in prompts],
                G,
                sampling,
                keyed_uniforms(recipe.train.seed, self.step, prompts, G, sampling.max_new_tokens),
                recipe.train.rollout_rows,
                shared=self.shared,
                static=self.static,
                features=features,
            )
        weights = recipe.reward.model_dump()
        scores = [scored(self.dataset, prompt, row) for prompt, row in zip(prompts, completions, strict=True)]
        rewards = [[score.reward(weights) for score in row] for row in scores]
        reward_PG = torch.tensor(rewards).reshape(len(rewards), G)
        return Rollouts(prompts, completions, scores, reward_PG, features)

    def _learn(self, rollouts: Rollouts, lr: float) -> tuple[Stats, float]:
        """The step's optimiser updates. Returns their mean statistics and the last gradient norm."""
        settings, chosen = self.recipe.grpo, rollouts.chosen()
        useful = has_variance(chosen.reward_PG)
        tasks = [self.dataset.components[p.component].task.id for p in chosen.prompts]
        # exactly 0 where only rounding tells the rewards apart
        advantage_PG = torch.zeros_like(chosen.reward_PG)
        if useful.any():
            advantage_PG = group_advantages(chosen.reward_PG, settings.advantage_scale, tasks=tasks) * useful[:, None]
        # with a KL term groups without variance have a gradient too
        kept = [p for p in range(len(tasks)) if settings.beta or useful[p]]
        updates = settings.updates_per_step
        spans = [range(u * len(tasks) // updates, (u + 1) * len(tasks) // updates) for u in range(updates)]
        shares = [self._share(chosen, [p for p in kept if p in span]) for span in spans]
        mine = [p for share in shares for p in share]
        batch = self._with_old_logps(self._batch(chosen, mine, advantage_PG), updates > 1)
        every = self.recipe.train.gradient_agreement_every
        if every and (self.step - self.recipe.warmup.steps) % every == 0:
            rollouts.agreement = self._agreement([tasks[p] for p in kept], kept, mine, batch)
        stats, norm = Stats(), 0.0
        for span, share in zip(spans, shares, strict=True):
            whole = [p for p in kept if p in span]
            if whole:
                completions = [c for p in span for c in chosen.completions[p]]
                rows = [mine.index(p) for p in share]
                part = self._accumulate(
                    batch, rows, len(completions), sum(len(c.ids) for c in completions), self.recipe.warmup.rehearsal
                )
            elif self.recipe.warmup.rehearsal:
                part = self._rehearse(rollouts)
            else:
                continue
            norm = self._update(lr)
            for name in vars(stats):
                setattr(stats, name, getattr(stats, name) + getattr(part, name) / updates)
        return stats, norm

    def _share(self, chosen: Rollouts, positions: list[int]) -> list[int]:
        """Which of the groups at `positions` this rank computes."""
        owners = [chosen.prompts[p].index % self.ranks.size for p in positions]
        return [positions[i] for i in self.ranks.divide(owners)]

    def _batch(self, chosen: Rollouts, positions: list[int], advantage_PG: Tensor) -> Batch:
        """The groups at `positions`, with a rehearsed completion each where the recipe rehearses."""
        groups = []
        for p in positions:
            prompt = chosen.prompts[p]
            if not self.ranks.own(prompt.index):  # sampled elsewhere
                prompt = encode(self.dataset, self.policy.encoder, prompt.index, prompt.component)
            rehearsed = [self._random_answer(prompt)] if self.recipe.warmup.rehearsal else []
            ids = [*(c.ids for c in chosen.completions[p]), *rehearsed]
            groups.append(self._group(prompt, ids, chosen.features[p]))
        return Batch(groups, advantage_PG[torch.tensor(positions, dtype=torch.long)])

    def _accumulate(self, batch: Batch, rows: list[int], sequences: int, tokens: int, rehearsal: float) -> Stats:
        """Adds this rank's part of the gradient of an update; the statistics are those of all ranks together."""
        recipe, G = self.recipe, batch.advantage_PG.shape[1]
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
                recipe.grpo,
                temperature=recipe.sampling.temperature,
                max_new_tokens=recipe.sampling.max_new_tokens,
                sequences=sequences,
                tokens=tokens,
                sampled_tokens=int(all_sampled),
                rehearsed_tokens=int(rehearsed),
                tokens_per_microbatch=self.tokens_per_microbatch,
                rehearsal=rehearsal,
            )
        return Stats(*self.ranks.sums(list(vars(stats).values())))

    def _rehearse(self, rollouts: Rollouts) -> Stats:
        """Every group alike, perhaps all unparsed: a quarter of an update's prompts rehearse the format alone."""
        at_most = max(1, self.recipe.grpo.prompts_per_step // self.recipe.grpo.updates_per_step // 4)
        some = [
            (prompt, features)
            for prompt, features in zip(rollouts.prompts[:at_most], rollouts.features, strict=False)
            if self.ranks.own(prompt.index)
        ]
        groups = [self._group(prompt, [self._random_answer(prompt)], features) for prompt, features in some]
        return Stats(rehearsal=self._supervise(groups, self.recipe.warmup.rehearsal))

    def _supervise(self, groups: list[Group], weight: float) -> float:
        """`supervise` on the groups of all ranks."""
        (tokens,) = self.ranks.sums([sum(len(ids) for group in groups for ids in group.completion_ids)])
        budget = self.tokens_per_microbatch
        loss = supervise(
            self.policy, self.logps, groups, tokens=int(tokens), tokens_per_microbatch=budget, weight=weight
        )
        return self.ranks.sums([loss])[0]

    def _agreement(
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
            self._accumulate(batch, local, len(rows) * G, int(tokens), 0.0)
            self.ranks.sum_gradients(self.parameters)

        return gradient_agreement(tasks, self.policy, gradient_of)

    def _with_old_logps(self, batch: Batch, reused: bool) -> Batch:
        """With log-probs of the sampling policy, where the batch is used more than once, and of the reference."""
        if self.recipe.grpo.beta:
            self.reference = self.reference or Reference(self.policy)
        if not batch.groups:
            return batch
        logps_now = partial(
            frozen_logps,
            self.policy,
            self.logps,
            batch.groups,
            temperature=self.recipe.sampling.temperature,
            tokens_per_microbatch=self.tokens_per_microbatch,
        )
        if reused:
            batch.old_PGT = logps_now()
        if self.reference is not None:
            with self.reference.active(self.policy):
                batch.reference_PGT = logps_now()
        return batch

    def _update(self, lr: float) -> float:
        """One optimiser step; returns the gradient norm before clipping."""
        self.ranks.sum_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.optim.max_grad_norm)
        if not norm.isfinite():
            raise Ssl4rlError(
                f"step {self.step + 1}: the gradient is not finite, so the weights are left as they are; a lower "
                f"optim.lr (now {lr:g}) or model.dtype=float32 may help"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the policy's weights; to be called on every rank, and whole on the first."""
        reference = self.reference.state() if self.reference else None
        return {
            "step": self.step,
            "next_index": self.stream.next_index,
            "too_long": self.stream.too_long,
            "curriculum": self.curriculum.state(),
            "optimizer": self.optimizer.state_dict(),
            "reference": reference,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the policy must have been loaded from the same checkpoint."""
        self.step = state["step"]
        self.curriculum.load(state["curriculum"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.open_stream(state["next_index"])
        self.stream.too_long = state["too_long"]
        if state["reference"] is not None:
            self.reference = Reference(self.policy, state["reference"])
