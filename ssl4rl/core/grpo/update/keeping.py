"""Which of a step's completions `kind: rejection` trains on. Differs from RAFT (arXiv 2304.06767) in that equal
completions of a prompt count once."""

from __future__ import annotations

from torch import Tensor

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.stream import Prompt
from ssl4rl.core.recipe.stages import RejectionSection


def kept_completions(rollouts: Rollouts, settings: RejectionSection) -> list[list[Completion]]:
    """For each prompt the completions that pass, at most `keep`: those with the highest rewards, the earlier first.

    A completion that the token limit cut never passes: it has no end to learn.
    """
    kept = []
    for row, scores, reward_G in zip(rollouts.completions, rollouts.scores, rollouts.reward_PG, strict=True):
        passed = [
            g
            for g, score in enumerate(scores)
            if not row[g].truncated
            and (score.verdict == "correct" or not settings.correct)
            and all(score.parts.get(part, 0.0) >= least for part, least in settings.at_least.items())
        ]
        passed.sort(key=lambda g: -float(reward_G[g]))  # stable: of equals the earlier comes first
        distinct: dict[tuple[int, ...], Completion] = {}
        for g in passed:
            distinct.setdefault(tuple(row[g].ids.tolist()), row[g])
        kept.append(list(distinct.values())[: settings.keep])
    return kept


def kept_groups(
    rollouts: Rollouts, settings: RejectionSection
) -> tuple[list[tuple[Prompt, list[Tensor], MediaFeatures | None]], dict[str, int]]:
    """The prompts of which something is kept, with its token ids; and for the log how much, of how many prompts."""
    kept = kept_completions(rollouts, settings)
    groups = [
        (prompt, [completion.ids for completion in row], features)
        for prompt, row, features in zip(rollouts.prompts, kept, rollouts.features, strict=True)
        if row
    ]
    return groups, {"kept": sum(len(ids) for _, ids, _ in groups), "kept_prompts": len(groups)}
