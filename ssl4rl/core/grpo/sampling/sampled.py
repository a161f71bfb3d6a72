"""What a step samples: the random numbers, the groups with their scores, how they travel between processes, and how
many are sampled and used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.model.policy import Encoded
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms
from ssl4rl.core.grpo.stream import Prompt
from ssl4rl.core.reward import Reply, Rewards
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media, Score


@dataclass
class Rollouts:
    """P prompts in order of index, G completions each, with their scores and rewards.

    `features`: the prompts' image features, where the policy's are fixed and they were sampled here. `used`: positions
    of the groups that the update is made of; None is all. `agreement`: `mixing.agreement`, where due.
    `kept`: with `kind: rejection`, how many completions, of how many prompts, the update is made of.
    """

    prompts: list[Prompt]
    completions: list[list[Completion]]
    scores: list[list[Score]]
    reward_PG: Tensor
    features: list[MediaFeatures | None]
    used: list[int] | None = None
    agreement: list[tuple[str, str, float]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)

    def share(self, *verdicts: str) -> float:
        """The share of completions with one of these verdicts."""
        flat = [score.verdict for row in self.scores for score in row]
        return sum(verdict in verdicts for verdict in flat) / max(1, len(flat))

    def mean(self, part: str) -> float:
        """The mean of one part of the scores ("accuracy", "format")."""
        flat = [score.parts.get(part, 0.0) for row in self.scores for score in row]
        return sum(flat) / max(1, len(flat))

    @property
    def tokens(self) -> int:
        return sum(len(c.ids) for row in self.completions for c in row)

    @property
    def useful(self) -> int:
        """Groups with variance."""
        return int(has_variance(self.reward_PG).sum())

    def metrics(self, dataset: TaskDataset) -> dict[str, Any]:
        """Means over everything sampled, for the log."""
        chance = sum(dataset.chance(prompt.example) for prompt in self.prompts) / len(self.prompts)
        means = {
            "reward": float(self.reward_PG.mean()),
            "accuracy": self.share("correct"),
            "value": self.mean("accuracy"),
            "chance": chance,
            "format": self.mean("format"),
            "unparsed": self.share("unparsed"),
            "truncated": self.share("truncated"),
            "zero_variance": 1 - self.useful / len(self.prompts),
        }
        known = {name for row in self.scores for score in row for name in score.parts}
        weighed = {name: round(self.mean(name), 6) for name in sorted(known - {"accuracy", "format"})}
        return {**{name: round(value, 6) for name, value in means.items()}, **({"parts": weighed} if weighed else {})}

    def refill_metrics(self, wanted: int) -> dict[str, int]:
        """With dynamic sampling: prompts sampled, groups dropped, used, and of these from prompts beyond `wanted`."""
        if self.used is None:
            return {}
        return {
            "sampled": len(self.prompts),
            "dropped": len(self.prompts) - self.useful,
            "groups": len(self.used),
            "refilled": sum(p >= wanted for p in self.used),
        }

    def chosen(self) -> Rollouts:
        """The groups that are used, alone."""
        keep = range(len(self.prompts)) if self.used is None else self.used

        def at(row: list[Any]) -> list[Any]:
            return [row[i] for i in keep]

        rewards = self.reward_PG[torch.tensor(list(keep), dtype=torch.long)]
        return Rollouts(at(self.prompts), at(self.completions), at(self.scores), rewards, at(self.features))


def has_variance(reward_PG: Tensor) -> Tensor:
    """bool [P]: groups whose completions did not all earn the same; only these give a gradient."""
    return (reward_PG.max(dim=1).values - reward_PG.min(dim=1).values) > 1e-6


def keyed_uniforms(
    seed: int, step: int, prompts: Sequence[Prompt], group_size: int, tokens: int
) -> Callable[[int, int], Uniforms]:
    """(prompt, sample) -> float [tokens], the numbers that draw a completion; a function of seed, step and index."""

    @cache
    def of_prompt(p: int) -> Uniforms:
        # drawn row by row, so sample g's do not depend on how many there are
        return keyed_rng("sample", seed, step, prompts[p].index).random((group_size, tokens))

    def uniforms(p: int, g: int) -> Uniforms:
        row: Uniforms = of_prompt(p)[g]
        return row

    return uniforms


def scored(dataset: TaskDataset, prompt: Prompt, row: Sequence[Completion], rewards: Rewards) -> list[Score]:
    """The scores of a prompt's completions, reward functions' parts included; the verifier scores equal ones once."""

    @cache
    def score(text: str, truncated: bool) -> Score:
        return dataset.score_answer(text, prompt.example, truncated=truncated)

    scores = [score(c.text, c.truncated) for c in row]
    if not rewards.functions:
        return scores
    replies = [Reply(c.text, c.ids.tolist(), c.truncated) for c in row]
    return rewards.added(prompt.example, dataset.ask(prompt.example), replies, scores)


def joined(parts: Sequence[Rollouts]) -> Rollouts:
    """Several samples of one step as one, in order of index."""
    together = Rollouts(
        [prompt for part in parts for prompt in part.prompts],
        [row for part in parts for row in part.completions],
        [row for part in parts for row in part.scores],
        torch.cat([part.reward_PG for part in parts]),
        [one for part in parts for one in part.features],
    )
    together.used = sorted(range(len(together.prompts)), key=lambda p: together.prompts[p].index)
    return together.chosen()


def gathered(ranks: Ranks, own: Rollouts) -> Rollouts:
    """What all ranks sampled. The prompts of other ranks come without tensors and pictures."""
    if ranks.size == 1:
        return own
    sent = replace(own, prompts=[_abroad(p) for p in own.prompts], features=[None] * len(own.prompts), completions=[])
    parts = ranks.gather((sent, [_packed(row) for row in own.completions]))
    return joined(
        [
            own if r == ranks.rank else replace(part, completions=[_unpacked(*row) for row in rows])
            for r, (part, rows) in enumerate(parts)
        ]
    )


def sampler_logps(completions: Sequence[Sequence[Completion]]) -> Tensor | None:
    """float [P, G, T]: log-probs of P x G completions by who sampled them, 0 after their ends; None for the policy."""
    rows = [[c.logp for c in row] for row in completions]
    known = [logp for row in rows for logp in row if logp is not None]
    if not known:
        return None
    assert len(known) == sum(map(len, rows)), "some completions have their sampler's log-probs and some have not"
    flat = torch.nn.utils.rnn.pad_sequence(known, batch_first=True)
    return flat.reshape(len(rows), -1, flat.shape[1])


def light(example: Example) -> Example:
    """The example without the data of its media, which can be made again from its key."""
    parts = tuple(Media(part.kind, None) if isinstance(part, Media) else part for part in example.prompt)
    return replace(example, prompt=parts)


def _abroad(prompt: Prompt) -> Prompt:
    return replace(prompt, example=light(prompt.example), encoded=Encoded(torch.empty(0, dtype=torch.long)))


_Plain = tuple[list[int], str, bool, list[float] | None]


def _packed(row: list[Completion]) -> tuple[list[_Plain], list[int]]:
    """A row's distinct completions as plain values (a tensor each would be pickled as a file), and where they stand."""
    number: dict[int, int] = {}
    places = [number.setdefault(id(c), len(number)) for c in row]
    distinct = {id(c): (c.ids.tolist(), c.text, c.truncated, None if c.logp is None else c.logp.tolist()) for c in row}
    return [distinct[key] for key in number], places


def _unpacked(distinct: list[_Plain], places: list[int]) -> list[Completion]:
    made = [
        Completion(torch.tensor(ids), text, truncated, None if logp is None else torch.tensor(logp))
        for ids, text, truncated, logp in distinct
    ]
    return [made[place] for place in places]


def sample_until(sample: Callable[[int], Rollouts | None], wanted: int, refill: int) -> Rollouts:
    """A step's groups: `wanted`, and with `refill` further ones until enough have variance (dynamic sampling).

    That is DAPO's (arXiv 2503.14476), capped: at most `refill` x `wanted` further prompts. The update is then made of
    the first `wanted` groups with variance alone.

    Args:
        sample: the groups of so many further prompts; None at the end of a bounded dataset.
    """
    parts: list[Rollouts] = []
    n, left = wanted, refill * wanted
    while n and (part := sample(n)) is not None:
        left -= n if parts else 0
        parts.append(part)
        useful, sampled = sum(part.useful for part in parts), sum(len(part.prompts) for part in parts)
        n = further_prompts(wanted, useful, sampled, left)
    rollouts = joined(parts)
    if refill:
        rollouts.used = used_groups(rollouts.reward_PG, wanted)
    return rollouts


def further_prompts(wanted: int, useful: int, sampled: int, left: int) -> int:
    """How many prompts to sample next, when `useful` of `sampled` groups had variance and `wanted` must have.

    As many as should suffice by the share so far, at most the `left` that may still be sampled; 0 when there are
    enough.
    """
    missing = wanted - useful
    if missing <= 0:
        return 0
    expected = math.ceil(missing * sampled / useful) if useful else sampled
    return min(left, expected)


def used_groups(reward_PG: Tensor, wanted: int) -> list[int]:
    """Positions of the first `wanted` groups with variance."""
    found: list[int] = has_variance(reward_PG).nonzero()[:, 0].tolist()
    return found[:wanted]
