"""Several tasks or levels in one run: what each earned in a step, what the curriculum makes of it, and whether their
gradients point the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.curriculum import Curriculum, Outcome
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.strategies import Arm
from ssl4rl.core.types import Score

_DIGITS = 6


def observe(curriculum: Curriculum, dataset: TaskDataset, rollouts: Rollouts, step: int) -> dict[str, Any]:
    """Shows GRPO step number `step` (from 1) to the curriculum. For the log, where there are several arms: what each
    earned, by which weights it was sampled, and the gradients' agreement where it was measured."""
    if len(curriculum.arms) == 1:
        return {}
    decided = curriculum.log()  # before it learns of this step, which was sampled by these weights
    found = outcomes(dataset, list(zip(rollouts.prompts, rollouts.scores, strict=True)))
    curriculum.observe(found, step)
    cosines = {"agreement": rollouts.agreement} if rollouts.agreement else {}
    return {"arms": by_arm(curriculum.arms, found), **decided, **cosines}


def outcomes(dataset: TaskDataset, scored: Sequence[tuple[Any, Sequence[Score]]]) -> list[Outcome]:
    """What a curriculum learns from: one for each prompt and its completions' scores, in their order."""
    return [
        Outcome.of(prompt.component, scores, dataset.chance(prompt.example), dataset.expected(prompt.example))
        for prompt, scores in scored
    ]


def by_arm(arms: Sequence[Arm], found: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Groups, success, value, signal and chance of each arm that was seen, for the log."""
    parts: dict[int, list[Outcome]] = {}
    for outcome in found:
        parts.setdefault(outcome.arm, []).append(outcome)
    return {
        arms[at].name: {
            "groups": len(part),
            "accuracy": round(fmean(o.success for o in part), _DIGITS),
            "value": round(fmean(o.value for o in part), _DIGITS),
            "signal": round(fmean(o.signal for o in part), _DIGITS),
            "zero_variance": round(fmean(o.signal == 0 for o in part), _DIGITS),
            "chance": float(f"{fmean(o.chance for o in part):.6g}"),
        }
        for at, part in sorted(parts.items())
    }


def compared_parameters(policy: Policy) -> list[Tensor]:
    """Trained parameters that gradients are compared on: the LoRA's, else the last decoder block's, else all."""
    named = [(name, p) for name, p in policy.model.named_parameters() if p.requires_grad]
    lora = [p for name, p in named if "lora_" in name]
    if lora:
        return lora
    layers = getattr(inner_model(policy.model).get_decoder(), "layers", None)
    last = [p for p in layers[-1].parameters() if p.requires_grad] if layers is not None and len(layers) else []
    return last or [p for _, p in named]


def gradient_agreement(
    tasks: Sequence[str], policy: Policy, accumulate: Callable[[Sequence[int]], None]
) -> list[tuple[str, str, float]]:
    """`agreement` of a policy's gradients; `accumulate` adds to them. Leaves no gradient and moves no random number."""

    def set_to(groups: Sequence[int]) -> None:
        policy.model.zero_grad(set_to_none=True)
        accumulate(groups)

    with torch.random.fork_rng():
        found = agreement(tasks, compared_parameters(policy), set_to)
    policy.model.zero_grad(set_to_none=True)
    return found


def agreement(
    tasks: Sequence[str], parameters: Sequence[Tensor], accumulate: Callable[[Sequence[int]], None]
) -> list[tuple[str, str, float]]:
    """Cosines between tasks' gradients, each estimated from two halves of the task's groups.

    A task beside itself is the cosine of its two halves: what noise leaves of perfect agreement. Two tasks: the mean
    over the four pairs of halves. Around 0 between tasks that agree with themselves: they do not help each other;
    below: they fight.

    Args:
        tasks: the task of each group; one with a single group, or with a gradient of 0, is left out.
        parameters: whose gradients are compared.
        accumulate: sets the parameters' `.grad` to the gradient of the groups at some positions.

    Returns:
        (task, task, cosine) for every task and every pair, by name.
    """
    halves: dict[str, list[Tensor]] = {}
    for task in sorted(set(tasks)):
        mine = [i for i, other in enumerate(tasks) if other == task]
        if len(mine) < 2:
            continue
        pair = [_gradient(parameters, accumulate, mine[start::2]) for start in (0, 1)]
        if all(float(g.norm()) > 0 for g in pair):
            halves[task] = pair
    found = [(task, task, _cosine(*pair)) for task, pair in halves.items()]
    for a, b in combinations(halves, 2):
        found.append((a, b, fmean(_cosine(x, y) for x in halves[a] for y in halves[b])))
    return [(a, b, round(cosine, _DIGITS)) for a, b, cosine in sorted(found)]


def _gradient(
    parameters: Sequence[Tensor], accumulate: Callable[[Sequence[int]], None], groups: Sequence[int]
) -> Tensor:
    accumulate(groups)
    flat = [torch.zeros(p.numel()) if p.grad is None else p.grad.detach().float().flatten().cpu() for p in parameters]
    return torch.cat(flat)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))
