"""A model's replies to a benchmark's questions, each kept in a file as soon as it is there, so that a run that was
stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl4rl.core.benchmark import Corrupt, Item, Question
from ssl4rl.core.grpo.record.files import parse, read_text, remove, writing
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError, VerifierFault
from ssl4rl.core.verify import Style
from ssl4rl.tools.bench.scores import Answered, Reply

if TYPE_CHECKING:
    from ssl4rl.core.grpo.model.policy import Policy

_BATCH = 16


@dataclass(frozen=True)
class How:
    """How questions are put and replies are drawn; with the model and the file, all that replies depend on."""

    style: Style
    max_new_tokens: int
    temperature: float
    system: str | None
    seed: int
    corrupt: str | None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Told:
    """One reply as it is kept: its text, whether the token limit cut it, and whether nothing was written."""

    text: str
    truncated: bool
    empty: bool


class Answers:
    """The file of one model's replies to one benchmark, asked in one way. Its first line says which and how.

    Args:
        folder: where it lies, or is to lie; None keeps nothing.
        stem: of its name, which a hash of `about` completes.
        about: everything that the replies depend on but the questions, plain values.
        anew: replies that are there already are deleted.
    """

    def __init__(self, folder: Path | None, stem: str, about: Mapping[str, Any], anew: bool = False) -> None:
        told = json.dumps({"about": about}, sort_keys=True)
        name = f"{stem}-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}.jsonl"
        self.file = folder / name if folder is not None else None
        self._known: dict[tuple[int, str], Told] = {}
        if self.file is None:
            return
        with writing(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if anew:
                remove(self.file)
        kept = [record for line in read_text(self.file).split("\n") if (record := parse(line)) is not None]
        for record in kept[1:]:
            self._known[record["row"], record["asked"]] = Told(record["text"], record["truncated"], record["empty"])
        with writing(self.file):  # what a kill left half written goes
            lines = [{"about": about}, *kept[1:]]
            self.file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")

    def get(self, question: Question) -> Told | None:
        return self._known.get((question.row, _asked(question)))

    def add(self, question: Question, told: Told) -> None:
        self._known[question.row, _asked(question)] = told
        if self.file is not None:
            record = {"row": question.row, "asked": _asked(question), **vars(told)}
            with writing(self.file), self.file.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(record)}\n")


def _asked(question: Question) -> str:
    """The letters' texts in order, hashed: by it a question's rotations are told apart."""
    return hashlib.blake2b(json.dumps(question.options).encode(), digest_size=6).hexdigest()


def ask(
    policy: Policy | None,
    items: Sequence[Item],
    how: How,
    corrupt: Corrupt | None,
    answers: Answers,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> list[Answered]:
    """The replies to all questions, scored by each question's verifier; those in `answers` are not asked again.

    `policy` may be None where none is left to ask. `done` is told how many replies there are, and are to be.

    Raises:
        Ssl4rlError: a picture that cannot be decoded, or that the model's processor refuses.
    """
    asked = [question for item in items for question in item.asked]
    open_ = [question for question in asked if answers.get(question) is None]
    done(len(asked) - len(open_), len(asked))
    for start in range(0, len(open_), _BATCH):
        batch = open_[start : start + _BATCH]
        assert policy is not None
        for question, told in zip(batch, _replies(policy, batch, how, corrupt), strict=True):
            answers.add(question, told)
        done(len(asked) - len(open_) + start + len(batch), len(asked))
    return [Answered(item, tuple(_scored(question, answers, how.style) for question in item.asked)) for item in items]


def _replies(policy: Policy, batch: Sequence[Question], how: How, corrupt: Corrupt | None) -> Iterator[Told]:
    """One reply to each of a few questions."""
    from ssl4rl.core.grpo.sampling.backend import Native
    from ssl4rl.core.grpo.sampling.sampler import Sampling

    encoded = []
    for question in batch:
        example = question.example(corrupt, how.seed)
        try:
            encoded.append(policy.encoder.encode(example, question.verifier.ask(how.style)))
        except Ssl4rlError as error:
            raise Ssl4rlError(f"row {question.row}: {error}") from error
    sampling = Sampling(temperature=how.temperature, max_new_tokens=how.max_new_tokens)

    def uniforms(p: int, g: int) -> Any:
        return keyed_rng("bench", how.seed, batch[p].row, _asked(batch[p])).random(how.max_new_tokens)

    for (completion,) in Native(policy).complete(encoded, 1, sampling, uniforms):
        text = completion.text
        yield Told(text, completion.truncated, not text.removeprefix(policy.encoder.opening).strip())


def _scored(question: Question, answers: Answers, style: Style) -> Reply:
    told = answers.get(question)
    assert told is not None
    return reply(question, told, style)


def reply(question: Question, told: Told, style: Style) -> Reply:
    """The verdict on one reply. Raises VerifierFault where the verifier itself raises."""
    try:
        score = question.verifier.score(told.text, question.example_text(), style=style, truncated=told.truncated)
    except Exception as error:
        raise VerifierFault(f"row {question.row}: the verifier raised {type(error).__name__}: {error}") from error
    return Reply(told.text, score, told.empty)
