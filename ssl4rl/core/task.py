"""What a task is, what its levels are, and where all randomness comes from."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ssl4rl.core.types import Example, Ssl4rlError, Unusable, nearest
from ssl4rl.core.verify import Several, Verifier

__all__ = ["Level", "Task", "Unusable", "keyed_rng"]

S = TypeVar("S")

MOST_QUESTIONS = 16


def keyed_rng(*key: str | int) -> np.random.Generator:
    """A generator that depends on `key` alone.

    The key is hashed (blake2b), so neighbouring seeds or indices share nothing. There is no other source of
    randomness in ssl4rl.
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


@dataclass(frozen=True)
class Level:
    """A level's canonical name ("90deg,original=false"), all its parameters, and how many questions an example asks."""

    name: str
    params: Mapping[str, Any]
    questions: int = 1


class Task(ABC, Generic[S]):
    """Makes examples out of source items of type `S`. A subclass's docstring is the task's card.

    A subclass sets `name` ("vision/rotation"), `version` (raised whenever any of its examples changes), `levels` (from
    easy to hard; each maps every parameter to its value), `draws` (how many source items one example takes),
    `verifier`, `data` (the source used where none is named), and implements `make`. `kinds` names the kinds of its
    modality's sources ("rgbd") that it can read, where it cannot read all of them.

    `cues` is for `ssl4rl audit`: it maps a family of features ("mentions", at one level "mentions[hard]") to the reason
    why what that family tells is this task's evidence rather than a leak, on one line. Only for evidence that the
    prompt shows on purpose.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]]
    draws: ClassVar[int] = 1
    data: ClassVar[str] = ""
    kinds: ClassVar[Sequence[str]] = ()
    verifier: ClassVar[Verifier]
    cues: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def make(self, items: Sequence[S], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        """One example out of `draws` distinct items. All randomness comes from `rng`.

        Raises:
            Unusable: these items cannot give a fair question; core draws again.
        """

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        """The verifier at this level; override where the answer's form depends on the level's parameters."""
        return self.verifier

    def check_level(self, params: Mapping[str, Any]) -> None:
        """Raise Ssl4rlError where parameters, alone or together, make no sense; `level` calls it. None by default."""

    def verifier_at(self, level: Level) -> Verifier:
        """The verifier of the examples at a level, which may ask several questions."""
        each = self.verifier_for(level.params)
        return each if level.questions == 1 else Several(each, level.questions)

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    def level(self, text: str | None = None) -> Level:
        """The level that `text` names, e.g. "90deg" or "90deg,original=false,image_px=32"; None is the first (easiest).

        Besides the level's own parameters there is `questions=k` for every task: k questions (1 to 16), each on items
        of its own, are asked in one prompt, and the answer is right when all are.

        Raises:
            Ssl4rlError: unknown level or parameter, a value of another type than the level's own, or one that
                `check_level` refuses.
        """
        name, *overrides = (text or next(iter(self.levels))).split(",")
        if name not in self.levels:
            raise Ssl4rlError(f"unknown level {name!r} of {self.name}{nearest(name, self.levels)}")
        params = {"questions": 1, **self.levels[name]}
        chosen = {}
        for override in overrides:
            param, found, value = override.partition("=")
            if not found or param not in params:
                raise Ssl4rlError(f"level {text!r} of {self.name}: no parameter {param!r}{nearest(param, params)}")
            chosen[param] = _parse_like(params[param], value, where=f"level {text!r} of {self.name}: {param}")
        changed = {param: value for param, value in chosen.items() if value != params[param]}
        canonical = ",".join([name, *(f"{p}={_show(v)}" for p, v in sorted(changed.items()))])
        params |= changed
        questions = 1 if "questions" in self.levels[name] else params.pop("questions")
        if not 1 <= questions <= MOST_QUESTIONS:
            raise Ssl4rlError(
                f"level {text!r} of {self.name}: questions is {questions}; allowed: 1 to {MOST_QUESTIONS}"
            )
        self.check_level(params)
        return Level(canonical, params, questions)


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_like(default: Any, text: str, where: str) -> Any:
    """`text` read as a value of the default's type."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise Ssl4rlError(f"{where}: got {text!r}; allowed: true, false")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        try:
            number = type(default)(text)
            if not math.isfinite(number):
                raise ValueError(text)
            return number
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise Ssl4rlError(f"{where}: got {text!r}; allowed: {kind}") from None
    return text
