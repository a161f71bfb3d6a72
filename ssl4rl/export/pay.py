"""From a reply and the `info` of its row to the reward a recipe weighs: `ssl4rl.score`, and reward functions on top.

Every consumer's reward file calls this. No source is opened and no picture made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssl4rl.core.reward import Reply, RewardFunction, Rewards, load_reward
from ssl4rl.core.types import Score, Ssl4rlError
from ssl4rl.core.verify import Verifier
from ssl4rl.export.rows import example_of, score

WEIGHTS = {"accuracy": 1.0, "format": 0.1}
"""What a recipe weighs where it says nothing."""

_OF_TOKENS = {"tokens", "truncated", "completion_ids"}


@dataclass(frozen=True)
class Pay:
    """Pays replies.

    Args:
        weights: of a score's parts and of reward functions, by name, as a recipe's `reward` section has them.
        max_new_tokens: the token limit, of which reward functions may ask; a reply as long as that counts as cut.
        parts: the parts that the verifiers of the rows give; all other names are functions.
        tells: what the consumer's call knows, `Consumer.tells`.
        consumer: its name, for messages.
    """

    weights: Mapping[str, float]
    max_new_tokens: int = 256
    parts: Sequence[str] = tuple(Verifier.parts)
    tells: frozenset[str] = frozenset({"tokens", "group"})
    consumer: str = "this consumer"

    def __post_init__(self) -> None:
        for function in self.rewards.functions:
            self._check(function)

    @cached_property
    def rewards(self) -> Rewards:
        """The functions among what is weighed. Raises Ssl4rlError for one that cannot be loaded."""
        return Rewards([load_reward(name) for name in self.weights if name not in self.parts], self.max_new_tokens)

    def _check(self, function: RewardFunction) -> None:
        """Raises Ssl4rlError for a function that asks for what the consumer does not tell."""
        if function.form != "one" and "group" not in self.tells:
            why = "reads the replies to a prompt together, and {} hands over one at a time"
        elif function.takes & _OF_TOKENS and "tokens" not in self.tells:
            why = "counts tokens, and {} does not tell them"
        elif "prompts" in function.takes:
            why = "reads the prompt, which a row's reward does without"
        else:
            return
        raise Ssl4rlError(f"reward {function.name!r} {why.format(self.consumer)}; leave it out here")

    def scores(self, replies: Sequence[Reply], infos: Sequence[str | Mapping[str, Any]]) -> list[Score]:
        """The scores of replies, functions' parts included; those with an equal `info` are of one group.

        Raises:
            RewardFault: a function raised; names it and the example.
        """
        found = [score(reply.text, info) for reply, info in zip(replies, infos, strict=True)]
        if not self.rewards.functions:
            return found
        groups: dict[str, list[int]] = {}
        for at, info in enumerate(infos):
            groups.setdefault(info if isinstance(info, str) else repr(info), []).append(at)
        for members in groups.values():
            together = [replies[at] for at in members]
            example = example_of(infos[members[0]])
            added = self.rewards.added(example, "", together, [found[at] for at in members])
            for at, one in zip(members, added, strict=True):
                found[at] = one
        return found

    def score(self, text: str, info: str | Mapping[str, Any]) -> Score:
        """The score of one reply."""
        return self.scores([Reply(text, ())], [info])[0]

    def reply(self, text: str, ids: Sequence[int] | int = ()) -> Reply:
        """A reply with its token ids, or with their number alone."""
        known = range(ids) if isinstance(ids, int) else ids
        return Reply(text, known, truncated=len(known) >= self.max_new_tokens)

    def figures(self, score: Score, whole: str) -> dict[str, float]:
        """The reward under the name `whole`, and beside it the parts, whether it was right and whether it was read."""
        parts = {short(name): float(value) for name, value in score.parts.items()}
        verdicts = {"correct": float(score.verdict == "correct"), "unparsed": float(score.verdict == "unparsed")}
        return {**parts, **verdicts, whole: self.of(score)}

    def of(self, score: Score) -> float:
        """The weighted sum."""
        return float(score.reward(self.weights))


def short(name: str) -> str:
    """ "brevity" of "./mine.py:brevity"."""
    return name.rpartition(":")[2]
