"""The records everything else passes around. Light: the standard library only."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Verdict = Literal["correct", "partial", "wrong", "unparsed", "truncated"]
VERDICTS: tuple[Verdict, ...] = ("correct", "partial", "wrong", "unparsed", "truncated")


class Ssl4rlError(Exception):
    """Something the user can mend. The message is one line: what, where, got, allowed, nearest match."""


class Unusable(Exception):
    """Raised by `Task.make` or `Source.__getitem__`: this draw cannot become an example.

    Not an error: core draws again under a new keyed generator and counts the reason.
    """


class VerifierFault(RuntimeError):
    """A verifier raised. A fault of ours (or a plugin's), never a reward of 0; the message names the example's key."""


_COMPARED = 200


def nearest(got: str, allowed: Iterable[str]) -> str:
    """The tail of an error message: "; did you mean 'x'?", else "; allowed: a, b, c"."""
    options = list(allowed)
    got = got[:_COMPARED]  # difflib takes the square of it
    close = difflib.get_close_matches(got, options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(options)}" if options else ""


def shortened(text: str, most: int = 80) -> str:
    """A text of the user's as an error message may repeat it: its middle is left out beyond `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-(most // 4) :]}"


@dataclass(frozen=True, slots=True)
class Media:
    """A part of a prompt that is not text.

    `kind="image"` holds a PIL image, "video" a tuple of them, at least two, all RGB of one size and at even times;
    other kinds are a plugin's own.
    """

    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class Key:
    """All that is needed to make an example again, given the source.

    `task` is "name@version", `level` the level's canonical text, `index` the position in the dataset, `attempt` how
    many draws before this one were unusable, `sources` the content ids of the items drawn.
    """

    task: str
    level: str
    seed: int
    index: int
    attempt: int = 0
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.task}[{self.level}] seed={self.seed} index={self.index} attempt={self.attempt}"

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "level": self.level,
            "seed": self.seed,
            "index": self.index,
            "attempt": self.attempt,
            "sources": list(self.sources),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Key:
        return Key(
            task=record["task"],
            level=record["level"],
            seed=record["seed"],
            index=record["index"],
            attempt=record["attempt"],
            sources=tuple(record["sources"]),
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its checkable answer.

    `prompt` holds text and media in reading order, without the sentence about the answer format (the verifier adds
    it). `answer` is a JSON value. `meta` is what the verifier or a page may need: `accepted` lists further answers
    that are just as right, `rejected` (written by core) the unusable draws before this one. `key` is core's to write.
    """

    prompt: tuple[str | Media, ...]
    answer: Any
    key: Key | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(part for part in self.prompt if isinstance(part, Media))

    @property
    def pictures(self) -> tuple[Any, ...]:
        """Every PIL image shown, in order; a clip's frames one by one."""
        return tuple(medium.data for medium in self.spread().media if medium.kind == "image")

    def spread(self) -> Example:
        """The same with each clip as its frames: pictures in order."""
        parts: list[str | Media] = []
        for part in self.prompt:
            if isinstance(part, Media) and part.kind == "video":
                parts += [Media("image", frame) for frame in part.data]
            else:
                parts.append(part)
        return replace(self, prompt=tuple(parts))

    @property
    def accepted(self) -> tuple[Any, ...]:
        """Every right answer, `answer` first."""
        return (self.answer, *self.meta.get("accepted", ()))

    def text(self, marker: str = "<{kind}>") -> str:
        """The prompt as text, each medium replaced by `marker`."""
        return "".join(p if isinstance(p, str) else marker.format(kind=p.kind) for p in self.prompt)

    def digest(self) -> str:
        """32 hex digits over prompt (pixels included) and answers: two examples are equal exactly when these are."""
        h = hashlib.blake2b(digest_size=16)
        for part in self.prompt:
            kind, content = ("text", part.encode()) if isinstance(part, str) else (part.kind, _media_bytes(part.data))
            h.update(f"{kind}:{len(content)}:".encode() + content)
        h.update(json.dumps([self.answer, list(self.accepted)], sort_keys=True).encode())
        return h.hexdigest()


def _media_bytes(data: Any) -> bytes:
    """Pictures and arrays by their form and raw bytes, a clip by its pictures', everything else as JSON."""
    if isinstance(data, tuple) and all(hasattr(one, "getbands") for one in data):
        return b"".join(_media_bytes(one) for one in data)
    if hasattr(data, "getbands"):
        return f"{data.mode}{data.size}".encode() + bytes(data.tobytes())
    if hasattr(data, "tobytes"):
        return f"{getattr(data, 'dtype', '')}{getattr(data, 'shape', '')}".encode() + bytes(data.tobytes())
    return json.dumps(data, sort_keys=True, default=repr).encode()


@dataclass(frozen=True, slots=True)
class Score:
    """What a reply earned. `value` in [0, 1] is the accuracy part; `parts` also holds `format` (0 or 1)."""

    value: float
    verdict: Verdict
    parsed: Any = None
    parts: Mapping[str, float] = field(default_factory=dict)

    def reward(self, weights: Mapping[str, float]) -> float:
        """The weighted sum of the parts that `weights` names."""
        return sum(weight * self.parts.get(part, 0.0) for part, weight in weights.items())
