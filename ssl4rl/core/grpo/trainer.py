"""The GRPO loop. Departs from the paper (arXiv 2402.03300) in this:

- prompts and pictures are computed once a group, in sampling and in the update (`rollout`, `prefix`);
- groups without variance are left out of the update's computation (they have no gradient), not out of its averages;
- an optional supervised warm-up and rehearsal on random valid answers teach the answer's format and nothing else;
- every random number comes from a key (seed, step, prompt, sample), so a resumed run repeats itself exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.curriculum import open_curriculum
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.prefix import Group, fixed_features, has_dropout
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.room import Shortage, in_smaller_pieces, nothing_left
from ssl4rl.core.grpo.sampling.backend import Backend, Native
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import (
    Rollouts,
    gathered,
    has_variance,
    keyed_uniforms,
    sample_until,
    sampler_logps,
    scored,
)
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, PromptStream, encode
from ssl4rl.core.grpo.update.advantage import group_advantages
from ssl4rl.core.grpo.update.keeping import kept_groups
from ssl4rl.core.grpo.update.learner import Learner, finite
from ssl4rl.core.grpo.update.mixing import observe
from ssl4rl.core.grpo.update.schedule import learning_rate
from ssl4rl.core.grpo.update.update import Batch, Stats, frozen_features
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.reward import Rewards
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError


def rewards_of(recipe: Recipe, dataset: TaskDataset) -> Rewards:
    """The reward functions that the recipe names. Raises Ssl4rlError for one that there is not."""
    verifiers = [component.verifier for component in dataset.components]
    return Rewards.of(recipe.reward.model_dump(), verifiers, recipe.sampling.max_new_tokens)


class Trainer:
    """Everything that changes while a run goes on. `step` counts warm-up steps first, then GRPO steps.

    Args:
        recipe: the run's; `learner` and `backend` have their sections of it.
        shared: completions share their prompt's computation in the update, and in sampling by the default backend.
        backend: who samples; None is the policy itself.
        rewards: the functions that the recipe weighs beside the verifiers' parts; None loads them.
        step: how many are done.
    """

    def __init__(
        self,
        recipe: Recipe,
        policy: Policy,
        dataset: TaskDataset,
        *,
        shared: bool = True,
        backend: Backend | None = None,
        rewards: Rewards | None = None,
        step: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.policy, self.dataset, self.step, self.ranks = recipe, policy, dataset, step, ranks
        self.learner = Learner(
            policy,
            recipe.grpo,
            recipe.optim,
            recipe.sampling,
            recipe.train.tokens_per_microbatch,
            shared=shared,
            shard=recipe.train.shard,
            keep=recipe.model.reference,
            ranks=ranks,
        )
        self.rewards = rewards or rewards_of(recipe, dataset)
        self.backend = backend or Native(policy, recipe.train.rollout_rows, shared)
        self.ways: dict[str, Any] = {"report": {}}  # how prompts are shared, and why, where that was found out
        self.bad_steps = 0  # in a row, up to now
        self.shortages: list[Shortage] = []
        self.on_shortage: Callable[[Shortage], None] = lambda shortage: None
        self.learner.on_shortage = partial(self._short, "train.tokens_per_microbatch")
        self.curriculum = open_curriculum(recipe.curriculum, dataset, recipe.train.steps)
        self._began: dict[str, Any] | None = None  # where the step in progress began
        self._fixed_features = fixed_features(policy.model)
        self._apart = has_dropout(policy.model)
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

    def run_step(self) -> tuple[dict[str, Any], Rollouts | None]:
        """One warm-up or GRPO step: its metrics, and what was sampled.

        Raises:
            OutOfRoom: memory ran out, and there is nothing left to halve.
        """
        self._began, self.learner.step = self._place(), self.step + 1
        short = len(self.shortages)
        place = (self.ranks.rank,) * (self.ranks.rank > 0)  # dropout differs between ranks
        torch.manual_seed(int(keyed_rng("step", self.recipe.train.seed, self.step, *place).integers(2**62)))
        self.policy.model.train()
        self.stream.weights = self.weights
        started, skipped, rollouts = time.perf_counter(), self.learner.skipped, None
        if self.warming_up:
            warmup = self.recipe.warmup
            metrics = self._supervised("warmup", warmup.prompts_per_step, self._random_answer, warmup.lr)
        elif self.recipe.kind == "supervised":
            n = self.recipe.grpo.prompts_per_step
            metrics = self._supervised("supervised", n, self._right_answer, self._lr())
        else:
            metrics, rollouts = self._grpo()
        self.step += 1
        self._began = None
        if len(self.shortages) > short:
            metrics["out_of_memory"] = [one.to_json() for one in self.shortages[short:]]
        if self.learner.skipped > skipped:
            self.bad_steps += 1
            keys = [str(prompt.example.key) for prompt in (rollouts.prompts if rollouts else ())]
            metrics = {**finite(metrics), "skipped": self.learner.skipped - skipped, "skipped_keys": keys}
        else:
            self.bad_steps = 0
        metrics["step_s"] = round(time.perf_counter() - started, 4)
        return {"step": self.step, **metrics}, rollouts

    def check_bad_steps(self) -> None:
        """Raises Ssl4rlError where `optim.max_bad_steps` steps in a row had a gradient that was not finite."""
        if self.bad_steps >= self.recipe.optim.max_bad_steps:
            raise Ssl4rlError(
                f"step {self.step}: the gradient was not finite in {self.bad_steps} steps in a row "
                f"(optim.max_bad_steps), so the weights are as they were before them; a lower optim.lr (now "
                f"{self.recipe.optim.lr:g}) or model.dtype=float32 may help"
            )

    def _random_answer(self, prompt: Prompt) -> Tensor:
        """A well-formed completion with an answer drawn from the valid ones: it teaches the format, not the task."""
        component = self.dataset.component_of(prompt.example)
        rng = keyed_rng("random answer", self.recipe.train.seed, self.step, prompt.index)
        answer = component.verifier.random_answer(prompt.example, rng)
        return self.policy.tokens(component.verifier.complete(answer, self.dataset.style))

    def _right_answer(self, prompt: Prompt) -> Tensor:
        """A well-formed completion with the right answer and no reasoning."""
        verifier = self.dataset.component_of(prompt.example).verifier
        return self.policy.tokens(verifier.complete(prompt.example.answer, self.dataset.style))

    def _group(self, prompt: Prompt, completion_ids: list[Tensor], features: MediaFeatures | None) -> Group:
        return Group(prompt.encoded.prompt_ids, prompt.encoded.media, completion_ids, features, self._apart)

    def _image_features(self, prompts: list[Prompt]) -> list[MediaFeatures | None]:
        """Of a frozen tower, for all passes of a step, and without dropout; else Nones."""
        if not self._fixed_features:
            return [None] * len(prompts)
        groups = [self._group(p, [p.encoded.prompt_ids], None) for p in prompts]
        rows = getattr(self.backend, "max_rows", self.recipe.train.rollout_rows)
        return frozen_features(self.policy, groups, max(1, rows // self.recipe.grpo.group_size))

    def _supervised(self, phase: str, n: int, answer: Callable[[Prompt], Tensor], lr: float) -> dict[str, Any]:
        """One update by the cross-entropy of `answer` to each of `n` prompts: random answers, or the right ones."""
        self.backend.release()
        groups = [self._group(p, [answer(p)], None) for p in self.stream.take(n)]
        loss = self.learner.supervise(groups, 1.0)
        norm = self.learner.update(lr)
        return {"phase": phase, "loss": round(loss, 6), "grad_norm": round(norm, 6), "lr": lr}

    def _lr(self) -> float:
        """Of the step after the warm-up that is about to run."""
        return learning_rate(self.recipe.optim, self.step - self.recipe.warmup.steps, self.recipe.train.steps)

    def _grpo(self) -> tuple[dict[str, Any], Rollouts]:
        clock = [time.perf_counter()]
        rollouts, data_s = self._sample_step()
        clock.append(time.perf_counter())
        lr, learn = self._lr(), self._imitate if self.recipe.kind == "rejection" else self._learn
        stats, norm = learn(rollouts, lr)
        clock.append(time.perf_counter())
        sampling_s, update_s = clock[1] - clock[0], clock[2] - clock[1]
        phases = {"data": data_s, "rollout": sampling_s - data_s, "update": update_s}
        metrics = {
            "phase": "train",
            **rollouts.metrics(self.dataset),
            **rollouts.refill_metrics(self.recipe.grpo.prompts_per_step),
            **rollouts.kept,
            **stats.metrics(),
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

        refill = self.recipe.grpo.refill if self.recipe.kind == "grpo" else 0
        rollouts = sample_until(sample, self.recipe.grpo.prompts_per_step, refill)
        return rollouts, data_s

    def sample(self, prompts: list[Prompt]) -> Rollouts:
        """A group of completions for each prompt, scored. `prompts` may be none, on a rank that got none."""
        recipe, G = self.recipe, self.recipe.grpo.group_size
        sampling = Sampling(**recipe.sampling.model_dump(exclude={"backend"}))
        uniforms = keyed_uniforms(recipe.train.seed, self.step, prompts, G, sampling.max_new_tokens)
        encoded = [prompt.encoded for prompt in prompts]

        def complete() -> tuple[list[MediaFeatures | None], list[list[Completion]]]:
            features = self._image_features(prompts)
            return features, self.backend.complete(encoded, G, sampling, uniforms, features)

        features, completions = in_smaller_pieces(self.ranks, complete, self.policy.model.train, self._fewer_rows)
        weights = recipe.reward.model_dump()
        pairs = zip(prompts, completions, strict=True)
        scores = [scored(self.dataset, prompt, row, self.rewards) for prompt, row in pairs]
        rewards = [[score.reward(weights) for score in row] for row in scores]
        reward_PG = torch.tensor(rewards).reshape(len(rewards), G)
        return Rollouts(prompts, completions, scores, reward_PG, features)

    def _fewer_rows(self, failed: bool) -> None:
        """Half the completions at a time from now on, on every rank."""
        halve = getattr(self.backend, "halve", None)
        if halve is None:
            raise nothing_left(self.step + 1, "sampling", "its backend takes all completions by itself")
        halved = halve(self.recipe.grpo.group_size)
        if halved is None:
            raise nothing_left(self.step + 1, "sampling", "a single prompt's completions are sampled at a time already")
        self._short("train.rollout_rows", "sampling", *halved)

    def _short(self, key: str, phase: str, was: int, now: int) -> None:
        shortage = Shortage(self.step + 1, phase, key, was, now)
        self.shortages.append(shortage)
        self.on_shortage(shortage)

    @property
    def untouched(self) -> bool:
        """Whether weights and moments are those of the last step done, so that `state` can be kept."""
        return self._began is None or self._began["updates"] == self.learner.updates

    def _place(self) -> dict[str, Any]:
        return {
            "next_index": self.stream.next_index,
            "too_long": self.stream.too_long,
            "updates": self.learner.updates,
        }

    def _learn(self, rollouts: Rollouts, lr: float) -> tuple[Stats, float]:
        """The step's optimiser updates. Returns their mean statistics and the last gradient norm."""
        settings, chosen = self.recipe.grpo, rollouts.chosen()
        self.backend.release()
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
        batch = self.learner.with_old_logps(self._batch(chosen, mine, advantage_PG), updates > 1)
        every = self.recipe.train.gradient_agreement_every
        if every and (self.step - self.recipe.warmup.steps) % every == 0:
            rollouts.agreement = self.learner.agreement([tasks[p] for p in kept], kept, mine, batch)
        stats, norm = Stats(), 0.0
        for span, share in zip(spans, shares, strict=True):
            whole = [p for p in kept if p in span]
            if whole:
                completions = [c for p in span for c in chosen.completions[p]]
                rows = [mine.index(p) for p in share]
                part = self.learner.accumulate(
                    batch, rows, len(completions), sum(len(c.ids) for c in completions), self.recipe.warmup.rehearsal
                )
            elif self.recipe.warmup.rehearsal:
                part = self._rehearse(rollouts)
            else:
                continue
            norm = self.learner.update(lr)
            stats.add(part, updates)
        return stats, norm

    def _imitate(self, rollouts: Rollouts, lr: float) -> tuple[Stats, float]:
        """A step of `kind: rejection`: the cross-entropy of the kept completions; nothing moves where none is."""
        self.backend.release()
        kept, rollouts.kept = kept_groups(rollouts, self.recipe.rejection)
        if not rollouts.kept["kept"]:
            return Stats(), 0.0
        groups = [self._group(*one) for one in kept if self.ranks.own(one[0].index)]
        loss = self.learner.supervise(groups, 1.0)
        return Stats(loss=loss), self.learner.update(lr)

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
        sampler_PGT = sampler_logps([chosen.completions[p] for p in positions])
        advantage_PG = advantage_PG[torch.tensor(positions, dtype=torch.long)]
        return Batch(groups, advantage_PG, sampler_PGT=sampler_PGT)

    def _rehearse(self, rollouts: Rollouts) -> Stats:
        """Every group alike, perhaps all unparsed: a quarter of an update's prompts rehearse the format alone."""
        at_most = max(1, self.recipe.grpo.prompts_per_step // self.recipe.grpo.updates_per_step // 4)
        some = [
            (prompt, features)
            for prompt, features in zip(rollouts.prompts[:at_most], rollouts.features, strict=False)
            if self.ranks.own(prompt.index)
        ]
        groups = [self._group(prompt, [self._random_answer(prompt)], features) for prompt, features in some]
        return Stats(rehearsal=self.learner.supervise(groups, self.recipe.warmup.rehearsal))

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the policy's weights; to be called on every rank, and whole on the first.

        Within a step that is `untouched` it is the state before it.
        """
        place = self._began or self._place()
        return {
            "step": self.step,
            "next_index": place["next_index"],
            "too_long": place["too_long"],
            "shortages": [one.to_json() for one in self.shortages],
            "curriculum": self.curriculum.state(),
            "ways": self.ways,
            **self.learner.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; the policy must have been loaded from the same checkpoint."""
        self.step = state["step"]
        self.curriculum.load(state["curriculum"])
        self.learner.restore(state)
        self.open_stream(state["next_index"])
        self.stream.too_long = state["too_long"]
        self.shortages = [Shortage(**one) for one in state.get("shortages", ())]
        for one in self.shortages:  # or a resumed run would round in other places than the straight one
            if one.key == "train.rollout_rows" and hasattr(self.backend, "max_rows"):
                self.backend.max_rows = one.now
            elif one.key == "train.tokens_per_microbatch":
                self.learner.row_tokens = one.now
