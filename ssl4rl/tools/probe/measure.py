"""Samples groups of completions of one task at one level, and counts: a row of the probe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, variance
from typing import Any

from ssl4rl.core.curriculum import Outcome
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.record.evaluate import wilson
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, encode
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Score, Ssl4rlError
from ssl4rl.tools.probe.advice import Row

_ROWS = 256  # completions sampled at a time


def measure_all(
    path: str,
    model: str,
    opened: Sequence[tuple[str, TaskDataset] | Row],
    n: int,
    group: int,
    temperature: float,
    asked: Mapping[str, Any],
    note: str,
    say: Callable[[str], None],
) -> tuple[list[Row], int]:
    """Loads a model and measures what could be opened (the rest are rows already); the rows, and its parameters.

    `note` is said once the model is loaded, so that nothing stands before a refusal.
    """
    policy = load_policy(path, name=model, trainable=False, system=asked["system"], **asked["loading"])
    if note:
        say(note)
    sampling = Sampling(temperature=temperature, max_new_tokens=asked["max_new_tokens"])
    rows = [
        one if isinstance(one, Row) else measure(policy, *one, n, group, sampling, asked["max_tokens"])
        for one in opened
    ]
    return rows, sum(p.numel() for p in policy.model.parameters())


def measure(
    policy: Policy, name: str, dataset: TaskDataset, n: int, group: int, sampling: Sampling, max_tokens: int
) -> Row:
    """Samples one task at one level; a row with the reason where source, model or length do not allow it."""
    (component,) = dataset.components
    row: dict[str, Any] = {
        "task": name,
        "id": component.task.id,
        "level": component.level.name,
        "data": component.split.source.uri,
    }
    started = time.perf_counter()
    try:
        prompts = [encode(dataset, policy.encoder, index) for index in range(n)]
    except Ssl4rlError as error:
        return Row(**row, why=str(error))
    lengths = [len(prompt.encoded.prompt_ids) for prompt in prompts]
    fitting = [p for p, length in zip(prompts, lengths, strict=True) if length <= max_tokens]
    if 2 * len(fitting) < n:
        over = n - len(fitting)
        return Row(
            **row, why=f"{over} of {n} prompts are longer than {max_tokens} tokens (the longest: {max(lengths)})"
        )
    texts = _sample(policy, dataset, fitting, group, sampling)
    seconds = time.perf_counter() - started
    scores = [[score for score, _ in replies] for replies in texts]
    rejected = sum(len(prompt.example.meta.get("rejected", ())) for prompt in prompts)
    return Row(
        **row,
        n=len(fitting),
        group=group,
        chance=fmean(dataset.chance(prompt.example) for prompt in fitting),
        unusable=rejected / (rejected + n),
        too_long=n - len(fitting),
        prompt_tokens=max(len(prompt.encoded.prompt_ids) for prompt in fitting),
        completion_tokens=fmean(tokens for replies in texts for _, tokens in replies),
        seconds_per_prompt=seconds / n,
        **_shares(scores),
    )


def _sample(
    policy: Policy, dataset: TaskDataset, prompts: Sequence[Prompt], group: int, sampling: Sampling
) -> list[list[tuple[Score, int]]]:
    """The verdict on each completion of each prompt, and its tokens."""
    component = dataset.components[0]

    def uniforms(p: int, g: int) -> Any:
        key = (component.task.id, component.level.name, dataset.seed, prompts[p].index, g)
        return keyed_rng("probe", *key).random(sampling.max_new_tokens)

    backend = Native(policy, max(_ROWS, group))
    groups = backend.complete([prompt.encoded for prompt in prompts], group, sampling, uniforms)
    return [
        [(dataset.score_answer(c.text, prompt.example, truncated=c.truncated), len(c.ids)) for c in row]
        for prompt, row in zip(prompts, groups, strict=True)
    ]


def _shares(scores: Sequence[Sequence[Score]]) -> dict[str, Any]:
    """The parts of a row that come from verdicts."""
    flat = [score for row in scores for score in row]
    read = [score for score in flat if score.verdict not in ("unparsed", "truncated")]
    groups = [Outcome.of(0, row, chance=0.0, guess=0.0) for row in scores]  # as a curriculum counts them
    rates = [group.success for group in groups]
    low, high = clustered(rates, len(scores[0]))
    return {
        "success": fmean(rates),
        "low": low,
        "high": high,
        "read_success": fmean(score.verdict == "correct" for score in read) if read else None,
        "unparsed": fmean(score.verdict == "unparsed" for score in flat),
        "truncated": fmean(score.verdict == "truncated" for score in flat),
        "zero_variance": fmean(max(s.value for s in row) == min(s.value for s in row) for row in scores),
        "signal": fmean(group.signal for group in groups),
    }


def clustered(rates: Sequence[float], group: int) -> tuple[float, float]:
    """A 95 % interval for the mean of prompts' success rates, `group` completions each.

    Wilson's, on as many observations as the spread between prompts leaves: from one a prompt (completions of a prompt
    all alike) to all of them (alike in no way). With nothing or everything right there is no spread to go by, and a
    prompt counts once.
    """
    n, p = len(rates), fmean(rates)
    effective = float(n)
    if 0 < p < 1:
        between = variance(rates) / n if n > 1 else 0.0
        effective = min(n * group, max(n, p * (1 - p) / between)) if between > 0 else float(n * group)
    return wilson(p * effective, effective)
