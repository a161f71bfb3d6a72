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
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.advantage import group_advantages, has_variance
from ssl4rl.core.grpo.policy import Policy
from ssl4rl.core.grpo.prefix import Group, TokenLogps, shared_logps, unshared_logps
from ssl4rl.core.grpo.reference import Reference
from ssl4rl.core.grpo.rollout import Completion, Sampling, generate
from ssl4rl.core.grpo.stream import Prompt, PromptStream
from ssl4rl.core.grpo.update import Batch, Logps, Stats, accumulate, autocast, frozen_logps, supervise
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Score, Ssl4rlError


@dataclass
class Rollouts:
    """What one step sampled: P prompts, G completions each, with their scores and rewards."""

    prompts: list[Prompt]
    completions: list[list[Completion]]
    scores: list[list[Score]]
    reward_PG: Tensor

    def share(self, *verdicts: str) -> float:
        """The share of completions with one of these verdicts."""
        flat = [score.verdict for row in self.scores for score in row]
        return sum(verdict in verdicts for verdict in flat) / max(1, len(flat))

    def mean(self, part: str) -> float:
        """The mean of one part of the scores ("accuracy", "format")."""
        flat = [score.parts[part] for row in self.scores for score in row]
        return sum(flat) / max(1, len(flat))

    @property
    def tokens(self) -> int:
        return sum(len(c.ids) for row in self.completions for c in row)


@dataclass
class Trainer:
    """Everything that changes while a run goes on. `step` counts warm-up steps first, then GRPO steps."""

    recipe: Recipe
    policy: Policy
    dataset: TaskDataset
    shared: bool = True
    step: int = 0
    reference: Reference | None = None
    optimizer: torch.optim.AdamW = field(init=False)
    stream: PromptStream = field(init=False)

    def __post_init__(self) -> None:
        settings = self.recipe.optim
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )
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
        )

    @property
    def total_steps(self) -> int:
        return self.recipe.warmup.steps + self.recipe.train.steps

    @property
    def warming_up(self) -> bool:
        return self.step < self.recipe.warmup.steps

    @property
    def tokens_per_microbatch(self) -> int:
        """The budget in tokens of `update.group_tokens`, which counts a prompt once; unshared it is run G times."""
        tokens, group = self.recipe.train.tokens_per_microbatch, self.recipe.grpo.group_size
        return tokens if self.shared else max(1, tokens // group)

    @property
    def logps(self) -> Logps:
        """Log-probs with shared prompts where the model allows it."""

        def shared(model: Any, groups: Sequence[Group], temperature: float) -> TokenLogps:
            row_tokens = self.recipe.train.tokens_per_microbatch
            return shared_logps(model, groups, temperature=temperature, row_tokens=row_tokens)

        def unshared(model: Any, groups: Sequence[Group], temperature: float) -> TokenLogps:
            return unshared_logps(model, groups, temperature=temperature)

        return shared if self.shared else unshared

    def run_step(self) -> tuple[dict[str, Any], Rollouts | None]:
        """One warm-up or GRPO step: its metrics, and what was sampled."""
        torch.manual_seed(int(keyed_rng("step", self.recipe.train.seed, self.step).integers(2**62)))
        self.policy.model.train()
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

    def _warm_up(self) -> dict[str, Any]:
        settings = self.recipe.warmup
        prompts = self.stream.take(settings.prompts_per_step)
        groups = [Group(p.encoded.prompt_ids, p.encoded.media, [self._random_answer(p)]) for p in prompts]
        loss = supervise(self.policy, self.logps, groups, tokens_per_microbatch=self.tokens_per_microbatch, weight=1.0)
        norm = self._update(settings.lr)
        return {"phase": "warmup", "loss": round(loss, 6), "grad_norm": round(norm, 6), "lr": settings.lr}

    def _grpo(self) -> tuple[dict[str, Any], Rollouts]:
        clock = [time.perf_counter()]
        prompts = self.stream.take(self.recipe.grpo.prompts_per_step)
        clock.append(time.perf_counter())
        rollouts = self.sample(prompts)
        clock.append(time.perf_counter())
        lr = self.learning_rate()
        stats, norm, useful = self._learn(rollouts, lr)
        clock.append(time.perf_counter())
        phases = {
            name: round(b - a, 4) for name, a, b in zip(("data", "rollout", "update"), clock, clock[1:], strict=False)
        }
        chance = sum(self.dataset.chance(p.example) for p in prompts) / len(prompts)
        metrics = {
            "phase": "train",
            "reward": round(float(rollouts.reward_PG.mean()), 6),
            "accuracy": round(rollouts.share("correct"), 6),
            "value": round(rollouts.mean("accuracy"), 6),
            "chance": round(chance, 6),
            "format": round(rollouts.mean("format"), 6),
            "unparsed": round(rollouts.share("unparsed"), 6),
            "truncated": round(rollouts.share("truncated"), 6),
            "zero_variance": round(1 - useful / len(prompts), 6),
            "loss": round(stats.loss, 8),
            "rehearsal": round(stats.rehearsal, 6),
            "kl": round(stats.kl, 8),
            "clipped": round(stats.clipped, 6),
            "grad_norm": round(norm, 6),
            "lr": lr,
            "completion_tokens": rollouts.tokens,
            "tokens_per_s": round(rollouts.tokens / (clock[-1] - clock[0]), 1),
            "too_long": self.stream.too_long,
            "time": phases,
        }
        return metrics, rollouts

    def sample(self, prompts: list[Prompt]) -> Rollouts:
        """A group of completions for each prompt, scored."""
        recipe = self.recipe
        sampling = Sampling(**recipe.sampling.model_dump())

        @cache
        def uniforms_of(p: int) -> Any:
            # drawn row by row, so sample g's do not depend on how many there are
            rng = keyed_rng("sample", recipe.train.seed, self.step, prompts[p].index)
            return rng.random((recipe.grpo.group_size, sampling.max_new_tokens))

        def uniforms(p: int, g: int) -> Any:
            return uniforms_of(p)[g]

        with autocast(self.policy):
            completions = generate(
                self.policy,
                [prompt.encoded for prompt in prompts],
                recipe.grpo.group_size,
                sampling,
                uniforms,
                recipe.train.rollout_rows,
                shared=self.shared,
            )
        weights = recipe.reward.model_dump()
        scores = [self._scores(prompt, row) for prompt, row in zip(prompts, completions, strict=True)]
        reward_PG = torch.tensor([[score.reward(weights) for score in row] for row in scores])
        return Rollouts(prompts, completions, scores, reward_PG)

    def _scores(self, prompt: Prompt, row: list[Completion]) -> list[Score]:
        """Equal completions are scored once."""

        @cache
        def score(text: str, truncated: bool) -> Score:
            return self.dataset.score_answer(text, prompt.example, truncated=truncated)

        return [score(c.text, c.truncated) for c in row]

    def _learn(self, rollouts: Rollouts, lr: float) -> tuple[Stats, float, int]:
        """The step's optimiser updates. Returns their mean statistics, the last gradient norm, groups with variance."""
        recipe, settings = self.recipe, self.recipe.grpo
        useful = has_variance(rollouts.reward_PG)
        # exactly 0 where only rounding tells the rewards apart
        advantage_PG = group_advantages(rollouts.reward_PG, settings.advantage_scale) * useful[:, None]
        updates = settings.updates_per_step
        size = len(rollouts.prompts) // updates
        rehearse = recipe.warmup.rehearsal > 0
        groups = []
        for prompt, row in zip(rollouts.prompts, rollouts.completions, strict=True):
            ids = [c.ids for c in row] + ([self._random_answer(prompt)] if rehearse else [])
            groups.append(Group(prompt.encoded.prompt_ids, prompt.encoded.media, ids))
        whole = Batch(groups, advantage_PG)
        # with a KL term groups without variance have a gradient too
        kept = list(range(len(groups))) if settings.beta else useful.nonzero()[:, 0].tolist()
        kept_batch = self._with_old_logps(whole, kept, updates > 1)
        stats, norm = Stats(), 0.0
        for u in range(updates):
            rows = [i for i, p in enumerate(kept) if u * size <= p < (u + 1) * size]
            if rows:
                part = accumulate(
                    self.policy,
                    self.logps,
                    kept_batch.cut(rows),
                    settings,
                    temperature=recipe.sampling.temperature,
                    max_new_tokens=recipe.sampling.max_new_tokens,
                    sequences=size * settings.group_size,
                    tokens=sum(len(c.ids) for row in rollouts.completions[u * size : (u + 1) * size] for c in row),
                    tokens_per_microbatch=self.tokens_per_microbatch,
                    rehearsal=recipe.warmup.rehearsal,
                )
            elif rehearse:
                # every group alike, perhaps all unparsed: the format alone is rehearsed, on a quarter of the prompts
                alone = [Group(g.prompt_ids, g.media, g.completion_ids[-1:]) for g in groups[: max(1, size // 4)]]
                tokens = self.tokens_per_microbatch
                weight = recipe.warmup.rehearsal
                part = Stats(
                    rehearsal=supervise(self.policy, self.logps, alone, tokens_per_microbatch=tokens, weight=weight)
                )
            else:
                continue
            norm = self._update(lr)
            for name in vars(stats):
                setattr(stats, name, getattr(stats, name) + getattr(part, name) / updates)
        return stats, norm, int(useful.sum())

    def _with_old_logps(self, batch: Batch, kept: list[int], reused: bool) -> Batch:
        """The kept groups; log-probs of the sampling policy only where the batch is used more than once."""
        batch = batch.cut(kept)
        if not kept:
            return batch
        settings = {
            "temperature": self.recipe.sampling.temperature,
            "tokens_per_microbatch": self.tokens_per_microbatch,
        }
        if reused:
            batch.old_PGT = frozen_logps(self.policy, self.logps, batch.groups, **settings)  # type: ignore[arg-type]
        if self.recipe.grpo.beta:
            self.reference = self.reference or Reference(self.policy)
            with self.reference.active(self.policy):
                batch.reference_PGT = frozen_logps(self.policy, self.logps, batch.groups, **settings)  # type: ignore[arg-type]
        return batch

    def _update(self, lr: float) -> float:
        """One optimiser step; returns the gradient norm before clipping."""
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

    def learning_rate(self) -> float:
        """The learning rate of the GRPO step about to run: linear warm-up, then constant or cosine to a tenth."""
        settings = self.recipe.optim
        done = self.step - self.recipe.warmup.steps
        if done < settings.warmup_steps:
            return settings.lr * (done + 1) / settings.warmup_steps
        if settings.schedule == "constant":
            return settings.lr
        left = max(1, self.recipe.train.steps - settings.warmup_steps)
        cosine = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (done - settings.warmup_steps) / left))))
        return settings.lr * (0.1 + 0.9 * cosine)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the policy's weights."""
        reference = self.reference.state() if self.reference else None
        return {
            "step": self.step,
            "next_index": self.stream.next_index,
            "too_long": self.stream.too_long,
            "optimizer": self.optimizer.state_dict(),
            "reference": reference,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the policy must have been loaded from the same checkpoint."""
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.open_stream(state["next_index"])
        self.stream.too_long = state["too_long"]
        if state["reference"] is not None:
            self.reference = Reference(self.policy, state["reference"])
