"""A step's phases, run on weightless tensors at the sizes of a recipe: what each would hold at most.

The code is the engine's own: the decoder's prefill and steps, `frozen_logps`, `accumulate`, the optimiser. Only loops
whose rounds are alike are cut short: one chunk of prompts is sampled, its rows' memory is skipped to where it is
largest, and of an update's micro-batches the first and the largest of the others are computed.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.prefix import Group, fixed_features, has_dropout, inner_model
from ssl4rl.core.grpo.logps.structure import why_unshareable
from ssl4rl.core.grpo.model.policy import Encoded, Policy, autocast
from ssl4rl.core.grpo.model.pretrained import is_adapter
from ssl4rl.core.grpo.ranks import Ranks, buckets
from ssl4rl.core.grpo.sampling.merged import merged
from ssl4rl.core.grpo.sampling.prefill import prefill, prefill_shared
from ssl4rl.core.grpo.sampling.sampler import Sampling, sample, sample_together
from ssl4rl.core.grpo.update.learner import Learner
from ssl4rl.core.grpo.update.sharded import keep_masters
from ssl4rl.core.grpo.update.update import Batch, frozen_features, micro_batches
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.tools.plan.fit import PARTS, PHASES
from ssl4rl.tools.plan.ledger import Ledger
from ssl4rl.tools.plan.weightless import empty

T = TypeVar("T")
ALIKE = 0.9  # a later micro-batch of that share of the first takes more than it, for gradients are there
HELD_OUT_AT_ONCE = 64  # prompts that `record.evaluate` gives to the sampler together
FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes an NF4 weight, with its block's constant and that one's


class Planned(Ranks):
    """The first of several processes, the others of which are not there: what they exchange lies in memory here too."""

    def sums(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def gather(self, value: T) -> list[T]:
        return [value]

    def reduce(self, flat: Tensor, owner: int) -> None:
        pass

    def share(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        for bucket in buckets(tensors):
            torch.cat([x.flatten() for x in bucket])

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        self.share([p.grad for p in parameters if p.grad is not None], [])


@dataclass
class Step:
    """What a step of the recipe works on, and the books that are kept of it.

    `prompts`: some of the data's own, of which a chunk or a micro-batch takes as many as it needs, again from the
    first where there are fewer. `gpu`: half-precision arithmetic and the steps of one shape, as on a GPU.
    """

    recipe: Recipe
    policy: Policy
    prompts: Sequence[Encoded]
    processes: int = 1
    gpu: bool = True
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        recipe, model = self.recipe, self.policy.model
        self.policy.half = self.gpu
        ranks = Planned(0, self.processes)
        if recipe.train.shard == "gradients":
            keep_masters(self.policy, ranks)
        switch = recipe.train.shared
        self.why_unshared = "train.shared=off" if switch == "off" else why_unshareable(model)
        self.shared = self.why_unshared is None
        if self.shared:
            install(inner_model(model))
        graphs = recipe.train.cuda_graphs
        self.static = self.shared and (graphs == "on" or (graphs == "auto" and self.gpu))
        self.learner = Learner(
            self.policy,
            recipe.grpo,
            recipe.optim,
            recipe.sampling,
            recipe.train.tokens_per_microbatch,
            shared=self.shared,
            shard=recipe.train.shard,
            keep=recipe.model.reference,
            ranks=ranks,
        )
        self.fixed = fixed_features(model)
        self.apart = has_dropout(model)
        self.ledger.vocabulary = inner_model(model).get_output_embeddings().weight.shape[0]
        _books_kept(self.ledger, self.policy)

    @property
    def prompts_here(self) -> int:
        """Prompts of a step on one process."""
        return math.ceil(self.recipe.grpo.prompts_per_step / self.processes)

    def peaks(self, only: Sequence[str] = PHASES) -> dict[str, dict[str, int]]:
        """Bytes by part when they are most, for each phase of `only` that the recipe has."""
        found = {}
        model = self.policy.model
        with self.ledger:
            trained = [p for p in model.parameters() if p.requires_grad]
            self.ledger.assign(model.parameters(), "weights")
            self.ledger.assign(model.buffers(), "weights")
            self.ledger.assign(trained, "adapter" if is_adapter(model) else "weights")
            self.ledger.assign((self.policy.masters or {}).values(), "master weights")
            self._open(trained)
            for name, run in zip(PHASES, (self.sampling, self.logps, self.update, self.evaluation), strict=True):
                if name not in only or (name == "log-probs" and not self.frozen_passes):
                    continue
                gc.collect()  # a decoder whose memory is booked is a circle
                self.ledger.restart()
                model.train()
                run()
                found[name] = {part: self.ledger.peak.get(part, 0) for part in PARTS if self.ledger.peak.get(part)}
                if self.gpu and name != "log-probs" and self.recipe.model.reference.device == "cpu":
                    found[name].pop("reference", None)  # it is in the host's memory then
                if self.recipe.model.quantize:
                    _quantized(found[name], inner_model(model))
        return found

    @property
    def frozen_passes(self) -> int:
        """Passes over the completions without gradient: of the policy that sampled, and of the reference."""
        return (self.recipe.grpo.updates_per_step > 1) + (self.recipe.grpo.beta > 0)

    def _open(self, trained: list[Tensor]) -> None:
        """A run that is under way: moments and reference are there."""
        with self.ledger.part("gradients"):
            self._gradients()
        self.learner.update(0.0)
        moments = [x for state in self.learner.optimizer.state.values() for x in state.values()]
        self.ledger.assign([x for x in moments if isinstance(x, Tensor)], "optimizer")
        if self.recipe.grpo.beta:
            with self.ledger.part("reference"):
                self.learner.open_reference()

    def _gradients(self) -> None:
        if self.learner.reduced is not None:
            self.learner.reduced.fill()
            return
        for p in self.learner.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad

    def tokens(self, n: int) -> list[int]:
        """`n` tokens that may be sampled, different where the vocabulary has as many."""
        stand_for_media = {*self.policy.banned_ids}
        free = [i for i in range(min(self.ledger.vocabulary, n + len(stand_for_media))) if i not in stand_for_media]
        return [free[i % len(free)] for i in range(n)]

    def chunk(self, n: int) -> list[Encoded]:
        return [self.prompts[i % len(self.prompts)] for i in range(n)]

    def features(self, prompts: Sequence[Encoded]) -> list[MediaFeatures | None]:
        """Of a tower that is not trained, which are kept for the whole step."""
        if not self.fixed:
            return [None] * len(prompts)
        at_once = max(1, self.recipe.train.rollout_rows // self.recipe.grpo.group_size)
        groups = [Group(p.prompt_ids, p.media, [p.prompt_ids]) for p in prompts]
        with self.ledger.part("pictures"):
            return frozen_features(self.policy, groups, at_once)

    def sampling(self) -> None:
        """A chunk of prompts with all their completions, as long as they may be."""
        recipe, G = self.recipe, self.recipe.grpo.group_size
        at_once = max(1, recipe.train.rollout_rows // G)
        kept = self.features(self.chunk(min(self.prompts_here, 4 * at_once)))
        n = min(at_once, self.prompts_here)
        self._decode(self.chunk(n), kept[:n], G, recipe.sampling.temperature)

    def evaluation(self) -> None:
        """Prompts that are all different, with a reply each."""
        settings = self.recipe.eval
        most = math.ceil(max(settings.n, settings.n_during if settings.every else 0) / self.processes)
        n = min(HELD_OUT_AT_ONCE, self.recipe.train.rollout_rows, most)
        self._decode(self.chunk(n), [None] * n, 1, settings.temperature)

    @torch.no_grad()
    def _decode(self, prompts: list[Encoded], kept: list[MediaFeatures | None], G: int, temperature: float) -> None:
        self.policy.model.eval()
        settings = Sampling(**{**self.recipe.sampling.model_dump(exclude={"backend"}), "temperature": temperature})
        with autocast(self.policy), ExitStack() as stack:
            with self.ledger.part("merged adapter"):
                stack.enter_context(merged(self.policy.model))
            logits = (self._rows if self.shared else self._copies)(prompts, kept, G, settings.max_new_tokens - 1)
            noise = torch.zeros(len(logits), dtype=torch.float64)
            if self.gpu and temperature:  # all rows together, which a CPU takes a few at a time
                sample_together(logits.float(), settings, noise[:, None])
            else:
                sample(logits.float(), settings, noise)

    def _rows(self, prompts: list[Encoded], kept: list[MediaFeatures | None], G: int, tokens: int) -> Tensor:
        """Logits of the last token, by the decoder that keeps prompts once."""
        inner = inner_model(self.policy.model)
        cascade, logits_PV, next_AP = prefill_shared(
            self.policy.model, prompts, kept, self.policy.pad_id, static=self.static
        )
        books(self.ledger, cascade)
        number_N = torch.arange(len(prompts)).repeat_interleave(G)
        cascade.select(number_N)
        if not tokens:
            return logits_PV[number_N]
        position_AN, token_N = next_AP[:, number_N], torch.zeros_like(number_N)
        logits = cascade.step(inner, token_N, position_AN)
        room = cascade.get_room()
        done = 1
        while 2 * room <= tokens:
            room *= 2
        if room < tokens:  # the memory of the rows doubles, a layer at a time
            cascade.skip(room - done)
            logits = cascade.step(inner, token_N, position_AN)
            done = room + 1
        if done + 1 < tokens:
            cascade.skip(tokens - 1 - done)
            logits = cascade.step(inner, token_N, position_AN)
        return logits

    def _copies(self, prompts: list[Encoded], kept: list[MediaFeatures | None], G: int, tokens: int) -> Tensor:
        """Logits of the last token by the model's own forward, with a copy of the prompt for each completion."""
        model = self.policy.model
        start = prefill(model, prompts, kept, self.policy.pad_id)
        number_N = torch.arange(len(prompts)).repeat_interleave(G)
        if start.cache is None or not tokens:
            return start.logits_PV[number_N]
        with self.ledger.part("prompts and replies"):
            start.cache.reorder_cache(number_N)
            for i, layer in enumerate(getattr(start.cache, "layers", ())):
                if isinstance(getattr(layer, "keys", None), Tensor) and layer.keys.ndim == 4:
                    N, K = layer.keys.shape[:2]
                    new = [empty(N, K, tokens - 1, x.shape[3], dtype=x.dtype) for x in (layer.keys, layer.values)]
                    start.cache.update(*new, i)
        mask = torch.ones(len(number_N), start.mask_PL.shape[1] + tokens, dtype=torch.long)
        next_AN1 = start.next_AP[:, number_N].unsqueeze(-1) + tokens
        logits: Tensor = model(
            input_ids=torch.full((len(number_N), 1), self.tokens(1)[0]),
            attention_mask=mask,
            position_ids=next_AN1[0] if len(next_AN1) == 1 else next_AN1,
            use_cache=True,
            **{start.cache_name: start.cache},
        ).logits[:, -1]
        return logits

    def work(self) -> dict[str, int]:
        """Tokens and passes of a step, at most."""
        recipe, G = self.recipe, self.recipe.grpo.group_size
        replies = recipe.grpo.prompts_per_step * G
        return {
            "prompts": recipe.grpo.prompts_per_step,
            "group_size": G,
            "reply_tokens": recipe.sampling.max_new_tokens,
            "sampled_tokens": replies * recipe.sampling.max_new_tokens,
            "chunks": math.ceil(self.prompts_here / max(1, recipe.train.rollout_rows // G)),
            "microbatches": len(self._cuts()[1]) * recipe.grpo.updates_per_step,
            "frozen_passes": self.frozen_passes,
            "updates": recipe.grpo.updates_per_step,
        }

    def _cuts(self) -> tuple[list[Group], list[list[int]]]:
        """The groups of an update with completions as long as they may be, and the micro-batches that they make."""
        recipe = self.recipe
        here = max(1, self.prompts_here // recipe.grpo.updates_per_step)
        extra = int(recipe.warmup.rehearsal > 0)
        T, G = recipe.sampling.max_new_tokens, recipe.grpo.group_size
        every = [
            Group(
                p.prompt_ids, p.media, [torch.full((T,), token) for token in self.tokens(G + extra)], None, self.apart
            )
            for p in self.chunk(here)
        ]
        return every, list(micro_batches(every, self.learner.tokens_per_microbatch))

    def _batch(self, groups: list[Group]) -> Batch:
        G = self.recipe.grpo.group_size
        kept = self.features([Encoded(g.prompt_ids, g.media) for g in groups])
        known = [replace(g, features=f) for g, f in zip(groups, kept, strict=True)]
        return Batch(known, torch.ones(len(groups), G))

    def logps(self) -> None:
        """Log-probs of the policy that sampled, and of the reference, in the largest micro-batch."""
        every, cuts = self._cuts()
        largest = max(cuts, key=lambda cut: _size(every, cut))
        self.learner.with_old_logps(self._batch([every[i] for i in largest]), self.recipe.grpo.updates_per_step > 1)

    def update(self) -> None:
        """The first micro-batch, the largest of the later ones, which finds gradients, and the optimiser's step."""
        every, (first, *others) = self._cuts()
        later = max(others, key=lambda cut: _size(every, cut), default=[])
        if _size(every, later) < ALIKE * _size(every, first):
            self._accumulate([every[i] for i in first])
        if later:
            with self.ledger.part("gradients"):
                self._gradients()
            self._accumulate([every[i] for i in later])
        self.learner.update(0.0)

    def _accumulate(self, groups: list[Group]) -> None:
        recipe, batch = self.recipe, self._batch(groups)
        T = recipe.sampling.max_new_tokens
        if recipe.grpo.beta:
            batch.reference_PGT = torch.zeros(*batch.advantage_PG.shape, T)
        n = batch.advantage_PG.numel()
        self.learner.accumulate(batch, list(range(len(groups))), n, n * T, recipe.warmup.rehearsal)


def _size(groups: Sequence[Group], cut: Sequence[int]) -> int:
    return sum(groups[i].tokens for i in cut)


def books(ledger: Ledger, cascade: Any) -> None:
    """The memory of a decoder's rows is booked as what it is, now and when it grows."""
    ledger.assign(cascade.tensors(), "prompts and replies")

    def booked(function: Any) -> Any:
        @wraps(function)
        def run(*args: Any, **more: Any) -> Any:
            with ledger.part("prompts and replies"):
                return function(*args, **more)

        return run

    for name in ("update", "skip", "remember"):
        if hasattr(cascade, name):
            setattr(cascade, name, booked(getattr(cascade, name)))


def _quantized(parts: dict[str, int], inner: torch.nn.Module) -> None:
    """Takes off what 4 bits save of the base model's linear layers, its head apart; one at a time is widened again."""
    head = inner.get_output_embeddings()  # type: ignore[operator]
    kept = [m.weight for m in inner.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    base = [weight for weight in kept if not weight.requires_grad]
    parts["weights"] -= int(sum(weight.numel() * (weight.element_size() - FOUR_BITS) for weight in base))
    widest = max((weight.numel() * weight.element_size() for weight in base), default=0)
    parts["activations"] = parts.get("activations", 0) + widest


def _books_kept(ledger: Ledger, policy: Policy) -> None:
    """What the vision tower makes is booked as pictures."""
    base = inner_model(policy.model).base_model
    for name in ("get_image_features", "get_video_features"):
        if hasattr(base, name):
            setattr(base, name, _booked(ledger, getattr(base, name)))


def _booked(ledger: Ledger, seen: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(seen)
    def run(*args: Any, **more: Any) -> Any:
        with ledger.part("pictures"):
            return seen(*args, **more)

    return run
