"""Accuracy on held-out items, never without chance and an interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.room import give_back, nothing_left
from ssl4rl.core.grpo.sampling.backend import Backend, Native
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import light
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, PromptStream
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Score

_BATCH = 64


@dataclass(frozen=True)
class Answered:
    """One evaluated example."""

    example: Example
    completion: Completion
    score: Score
    chance: float


@dataclass(frozen=True)
class Evaluation:
    """What a policy got right. `accuracy` counts fully correct answers, `value` adds partial credit."""

    answered: Sequence[Answered] = field(repr=False)

    @property
    def n(self) -> int:
        return len(self.answered)

    @property
    def accuracy(self) -> float:
        return self._share("correct")

    def _share(self, verdict: str) -> float:
        return sum(a.score.verdict == verdict for a in self.answered) / max(1, self.n)

    def to_json(self) -> dict[str, Any]:
        """accuracy, ci95 (Wilson), chance, value (mean accuracy part), unparsed, truncated, n."""
        correct = sum(a.score.verdict == "correct" for a in self.answered)
        return {
            "accuracy": round(self.accuracy, 4),
            "ci95": [round(bound, 4) for bound in wilson(correct, self.n)],
            "chance": float(f"{sum(a.chance for a in self.answered) / max(1, self.n):.6g}"),
            "value": round(sum(a.score.value for a in self.answered) / max(1, self.n), 4),
            "unparsed": round(self._share("unparsed"), 4),
            "truncated": round(self._share("truncated"), 4),
            "n": self.n,
        }

    def by_task(self) -> dict[str, dict[str, Any]]:
        """The same for each "task@version[level]", in a mixture."""
        parts: dict[str, list[Answered]] = {}
        for a in self.answered:
            key = a.example.key
            parts.setdefault(f"{key.task}[{key.level}]" if key else "?", []).append(a)
        return {name: Evaluation(part).to_json() for name, part in parts.items()}

    def answers(self) -> Counter[str]:
        """How often each answer was given: a policy that always says the same shows here."""
        return Counter(str(a.score.parsed) for a in self.answered)


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share (Wilson 1927); (0, 1) without observations."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def evaluate(
    policy: Policy,
    dataset: TaskDataset,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    workers: int = 0,
    backend: Backend | None = None,
    at_once: int = 512,
    ranks: Ranks = ALONE,
    between: Callable[[], None] = lambda: None,
    step: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """One completion of every example of a bounded dataset (greedy at temperature 0), scored.

    `backend`: who samples; None is the policy itself. `at_once`: prompts at a time, 64 at most. Several
    ranks divide the examples, and each gets the whole evaluation; all must call it. `between`: called before each
    batch (ranks may have different numbers of them); what it raises ends the evaluation. `step`: of the run. `say`:
    told where memory ran out, so that half as many prompts are taken at a time.

    Raises:
        OutOfRoom: memory ran out for a single prompt, on some rank.
    """
    backend = backend or Native(policy)
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
    found: list[tuple[int, Answered]] = []
    rows, short = min(_BATCH, at_once), False
    with closing(PromptStream(dataset, policy.encoder, workers=workers, ranks=ranks)) as stream:
        waiting: list[Prompt] = []
        while not short and (waiting or (waiting := stream.take(min(_BATCH, at_once) * ranks.size))):
            between()
            prompts = waiting[:rows]

            def uniforms(p: int, g: int, prompts: list[Prompt] = prompts) -> Any:
                return keyed_rng("evaluate", dataset.seed, prompts[p].index, g).random(max_new_tokens)

            groups = None
            with suppress(torch.OutOfMemoryError):
                groups = backend.complete([prompt.encoded for prompt in prompts], 1, sampling, uniforms)
            if groups is None:
                give_back()
                short, rows = len(prompts) < 2, len(prompts) // 2
                if not short:
                    say(f"evaluation: out of memory with {len(prompts)} prompts at a time; {rows} from here on")
                continue
            waiting = waiting[rows:]
            for prompt, (completion,) in zip(prompts, groups, strict=True):
                score = dataset.score_answer(completion.text, prompt.example, truncated=completion.truncated)
                example = prompt.example if ranks.size == 1 else light(prompt.example)
                found.append((prompt.index, Answered(example, completion, score, dataset.chance(prompt.example))))
    backend.wait_for_others()
    if ranks.any(short):
        raise nothing_left(step, "evaluation", "prompts are taken one at a time already")
    everywhere = [pair for part in ranks.gather(found) for pair in part]
    return Evaluation([answer for _, answer in sorted(everywhere, key=lambda pair: pair[0])])
