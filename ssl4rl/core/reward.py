"""What a recipe weighs beside the verifier's own parts: shipped functions, and the user's by "./my.py:function".

A function is asked by the names of its parameters, any of these:

- one reply at a time, if it has `completion`: `completion` (the text), `tokens`, `truncated`, `score` (the verifier's),
  `example`, `max_new_tokens`. It returns a number;
- the replies to one prompt together, if it has `replies`: `replies` (their texts), and `tokens`, `truncated`, `scores`
  as lists beside it, `example`, `max_new_tokens`. It returns as many numbers;
- TRL's way, if it has `completions`: `prompts`, `completions` (chat messages), `completion_ids` and columns `answer`,
  `task`, `level`, `key`, each with an entry a reply. It returns as many numbers, None for "does not apply".

What it returns becomes a further part of each reply's `Score`, under the name by which the recipe weighs it. A function
may say in an attribute `range` what it returns at least and at most; what lies outside is counted and said.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.prompt import messages
from ssl4rl.core.types import Example, Score, Ssl4rlError, nearest
from ssl4rl.core.verify import Verifier

_FORMS = {"completion": "one", "replies": "group", "completions": "trl"}
_ONE = {"completion", "tokens", "truncated", "score", "example", "max_new_tokens"}
_GROUP = {"replies", "tokens", "truncated", "scores", "example", "max_new_tokens"}


class RewardFault(Ssl4rlError):
    """A reward function raised, or returned what is no number; names it and the example."""


@dataclass(frozen=True)
class Reply:
    """One completion as reward functions see it: its text, its token ids, and whether the token limit cut it."""

    text: str
    ids: Sequence[int]
    truncated: bool = False


@dataclass(frozen=True)
class RewardFunction:
    """One function by its name in the recipe, and the way it is asked (`_FORMS`)."""

    name: str
    call: Callable[..., Any]
    form: str
    takes: frozenset[str]
    takes_all: bool

    @property
    def range(self) -> tuple[float, float]:
        low, high = getattr(self.call, "range", (-math.inf, math.inf))
        return float(low), float(high)

    def chosen(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """What of `offered` the function has parameters for."""
        return {name: value for name, value in offered.items() if self.takes_all or name in self.takes}


def load_reward(name: str) -> RewardFunction:
    """The function behind a name: a shipped one's or a package's, "./my.py:function" or "module:function".

    Raises:
        Ssl4rlError: there is none, or its parameters name nothing that a reward is asked about.
    """
    call = registry.named_function(name, registry.REWARDS)
    known = [*Verifier.parts, *registry.names(registry.REWARDS)]
    if call is None:
        raise Ssl4rlError(
            f"reward: unknown part {name!r}{nearest(name, known)}; allowed: {', '.join(known)}, or './my.py:function'"
        )
    if not callable(call):
        raise Ssl4rlError(f"reward {name!r} is a {type(call).__name__}; allowed: a function")
    parameters = inspect.signature(call).parameters.values()
    takes = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    form = next((kind for first, kind in _FORMS.items() if first in takes), None)
    if form is None:
        raise Ssl4rlError(
            f"reward {name!r} takes {', '.join(sorted(takes)) or 'nothing'}; it needs a parameter 'completion' (one "
            "reply), 'replies' (those to one prompt) or 'completions' (as TRL's)"
        )
    offered = {"one": _ONE, "group": _GROUP}.get(form, takes)
    needed = {p.name for p in parameters if p.default is p.empty and p.name in takes} - offered
    if needed:
        raise Ssl4rlError(
            f"reward {name!r} asks for {', '.join(sorted(needed))}; allowed: {', '.join(sorted(offered))}"
        )
    return RewardFunction(name, call, form, takes, any(p.kind is p.VAR_KEYWORD for p in parameters))


@dataclass
class Rewards:
    """The functions that a recipe's `reward` section weighs. `outside`: values out of their range, by function."""

    functions: Sequence[RewardFunction]
    max_new_tokens: int
    outside: Counter[str] = field(default_factory=Counter)
    _said: set[str] = field(default_factory=set)

    @staticmethod
    def of(weights: Mapping[str, float], verifiers: Iterable[Verifier], max_new_tokens: int) -> Rewards:
        """Loads what `weights` names beyond the parts that the verifiers give.

        Raises:
            Ssl4rlError: as `load_reward`.
        """
        parts = {part for verifier in verifiers for part in verifier.parts}
        return Rewards([load_reward(name) for name in weights if name not in parts], max_new_tokens)

    def added(self, example: Example, ask: str, replies: Sequence[Reply], scores: Sequence[Score]) -> list[Score]:
        """The scores of the replies to one example, each with the functions' values among its parts.

        Args:
            ask: the sentences about the answer's form, which TRL-style functions see in the prompt.

        Raises:
            RewardFault: a function raised, or returned other than a finite number for each reply.
        """
        found = list(scores)
        for function in self.functions:
            values = self._values(function, example, ask, replies, scores)
            found = [
                replace(score, parts={**score.parts, function.name: value})
                for score, value in zip(found, values, strict=True)
            ]
        return found

    def _values(
        self, function: RewardFunction, example: Example, ask: str, replies: Sequence[Reply], scores: Sequence[Score]
    ) -> list[float]:
        try:
            raw = self._called(function, example, ask, replies, scores)
            given = None if isinstance(raw, str) or not hasattr(raw, "__len__") else [_number(value) for value in raw]
        except Exception as error:
            raise RewardFault(
                f"reward {function.name!r} raised {type(error).__name__} on {example.key}: {error}"
            ) from error
        if given is None or len(given) != len(replies):
            got = type(raw).__name__ if given is None else f"{len(given)} values"
            raise RewardFault(f"reward {function.name!r} returned {got} for {len(replies)} replies on {example.key}")
        values = [0.0 if value is None else value for value in given]
        low, high = function.range
        for value in values:
            if not math.isfinite(value):
                raise RewardFault(
                    f"reward {function.name!r} returned {value} on {example.key}; allowed: finite numbers"
                )
            self.outside[function.name] += not low <= value <= high
        return values

    def _called(
        self, function: RewardFunction, example: Example, ask: str, replies: Sequence[Reply], scores: Sequence[Score]
    ) -> Any:
        common = {"example": example, "max_new_tokens": self.max_new_tokens}
        if function.form == "one":
            found = []
            for reply, score in zip(replies, scores, strict=True):
                own = {"completion": reply.text, "tokens": len(reply.ids), "truncated": reply.truncated, "score": score}
                found.append(function.call(**function.chosen(common | own)))
            return found
        if function.form == "group":
            texts, tokens = [reply.text for reply in replies], [len(reply.ids) for reply in replies]
            together = {"replies": texts, "tokens": tokens, "truncated": [r.truncated for r in replies]}
            return function.call(**function.chosen(common | together | {"scores": list(scores)}))
        return function.call(**function.chosen(_as_trl(example, ask, replies)))

    def news(self) -> list[str]:
        """A line for each function that has left its range, the first time this is asked after it did."""
        new = [f for f in self.functions if self.outside[f.name] and f.name not in self._said]
        self._said |= {f.name for f in new}
        return [f"reward {f.name!r}: values outside its range {f.range[0]:g} to {f.range[1]:g}" for f in new]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _as_trl(example: Example, ask: str, replies: Sequence[Reply]) -> dict[str, list[Any]]:
    """The keyword arguments that TRL's GRPOTrainer gives a reward function, for conversational prompts."""
    G = len(replies)
    key = example.key.to_json() if example.key else {}
    return {
        "prompts": [messages(example, ask) for _ in replies],
        "completions": [[{"role": "assistant", "content": reply.text}] for reply in replies],
        "completion_ids": [list(reply.ids) for reply in replies],
        "answer": [example.answer] * G,
        "task": [key.get("task")] * G,
        "level": [key.get("level")] * G,
        "key": [key] * G,
    }
