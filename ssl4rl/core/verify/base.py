"""What every verifier shares: the answer tag, the verdicts, chance.

Parsing is tolerant where the meaning is plain and strict where it could be gamed: only what stands inside
`<answer>...</answer>` counts, after the reasoning if there is any, and two answers that differ are no answer.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example, Score, Verdict
from ssl4rl.core.verify import made
from ssl4rl.core.verify.plain import layers, normalise
from ssl4rl.core.verify.tags import Style, read_tags, tagged

if TYPE_CHECKING:
    import numpy as np

_ASK = {
    "think": "First reason inside <think> </think>, then give the answer inside <answer> </answer>.",
    "answer": "Reply with nothing but the answer inside <answer> </answer>.",
}
_UNTICKED = re.compile(r"\[\s\]")


class Verifier(ABC):
    """Asks for an answer in one form, reads the reply, scores it, and knows what guessing would earn.

    A subclass gives `instruction` (what to write between the tags), `parse`, `grade`, `render`, `random_answer` and
    `chance`; one with partial credit also `expected`, and `best_guess` where that is another's mean; what it reads of
    an example's answer and `meta` it asks for in `require`. Verifiers are frozen: they hold parameters, never state.
    `parts`: what their scores hold, which a recipe may weigh. `answers`: what an answer is, in words.
    """

    parts: ClassVar[Sequence[str]] = ("accuracy", "format")
    answers: ClassVar[str] = "an answer"

    @property
    @abstractmethod
    def instruction(self) -> str:
        """One sentence that says what to write between the answer tags."""

    @abstractmethod
    def parse(self, text: str, example: Example) -> Any | None:
        """The valid answer (a JSON value) that `text`, the inside of the tags, plainly means, or None.

        The text is normalised, see `plain.normalise`; common wrappers come off outside, see `read`.
        """

    @abstractmethod
    def grade(self, parsed: Any, example: Example) -> float:
        """Accuracy of a parsed answer, in [0, 1]; exactly 1 for every right answer."""

    @abstractmethod
    def random_answer(self, example: Example, rng: np.random.Generator) -> Any:
        """An answer drawn uniformly from the valid ones, without looking at the right one."""

    @abstractmethod
    def chance(self, example: Example) -> float:
        """Probability that `random_answer` is correct."""

    def best_guess(self, example: Example, rng: np.random.Generator) -> Any:
        """An answer as the best strategy draws it that looks at nothing; `random_answer` unless another earns more.

        Where the answers were brought along, one of them may be right more often than others: a task that knows it says
        so in `meta["guess"]`, and that is the best guess.
        """
        return example.meta["guess"] if "guess" in example.meta else self.random_answer(example, rng)

    def expected(self, example: Example) -> float:
        """Mean accuracy of `best_guess`, partial credit included; a reward above it was not earned by guessing.

        Equals `chance` where there is no partial credit. With `meta["guess"]` it is what that earns here, 0 or 1 where
        there is no partial credit: its mean over examples is what counts.
        """
        return self.grade(example.meta["guess"], example) if "guess" in example.meta else self.chance(example)

    def correct(self, parsed: Any, example: Example) -> bool:
        """Whether a parsed answer earns the verdict "correct"."""
        return self.grade(parsed, example) >= 1.0

    def render(self, answer: Any) -> str:
        """The canonical text of an answer; `parse` reads it back."""
        return str(answer)

    def is_answer(self, answer: Any) -> bool:
        """Whether `answer` is of the type that this verifier grades; what it says does not matter."""
        return True

    def require(self, example: Example) -> None:
        """What this verifier reads of an example is there and of its type. Core calls it for each example made.

        Raises:
            Ssl4rlError: `answer` or an entry of `meta` is of another type: what, what was got, what is allowed.
        """
        made.general(example)
        for what, answer in (("answer", example.answer), *(("meta['accepted']", a) for a in example.accepted[1:])):
            if not self.is_answer(answer):
                made.refuse(what, answer, self.answers)
        if "guess" in example.meta and not self.is_answer(example.meta["guess"]):
            made.refuse("meta['guess']", example.meta["guess"], self.answers)

    def notes(self, example: Example) -> dict[str, Any]:
        """What `parse` takes from the prompt, for `example.meta`, where it must do without the prompt later."""
        return {}

    def read(self, text: str, example: Example) -> Any | None:
        """What `parse` makes of a normalised text as it stands, else without its wrappers, one after another.

        None for lists to tick, of which a box is empty.
        """
        for inner in layers(text):
            if _UNTICKED.search(inner):
                return None
            if (parsed := self.parse(inner, example)) is not None:
                return parsed
        return None

    def ask(self, style: Style = "think") -> str:
        """The sentences that end the prompt: the answer's form, then the tags."""
        return f"{self.instruction} {_ASK[style]}"

    def complete(self, answer: Any, style: Style = "think") -> str:
        """A well-formed completion that gives `answer`, with no reasoning in it."""
        return tagged(self.render(answer), style)

    def score(self, completion: str, example: Example, *, style: Style | None = None, truncated: bool = False) -> Score:
        """The verdict on a completion. No text raises.

        Args:
            completion: what the model wrote.
            example: the question it was asked.
            style: the reply format that was asked for; it decides `parts["format"]` alone. None accepts any style.
            truncated: the completion hit the token limit; without an answer it is then "truncated", not "unparsed".
        """
        inner, well_formed = read_tags(completion, style, truncated)
        parsed = None
        for text in dict.fromkeys(normalise(text) for text in inner):
            reading = self.read(text, example) if text else None
            if reading is None or (parsed is not None and reading != parsed):
                parsed = None
                break
            parsed = reading
        well_formed = well_formed and parsed is not None
        if parsed is None:
            value, verdict = 0.0, "truncated" if truncated else "unparsed"
        else:
            value = self.grade(parsed, example)
            verdict = "correct" if self.correct(parsed, example) else "partial" if value > 0 else "wrong"
        return Score(value, _verdict(verdict), parsed, {"accuracy": value, "format": float(well_formed)})


def _verdict(word: str) -> Verdict:
    return word  # type: ignore[return-value]


def either(options: Sequence[str]) -> str:
    """ "A, B or C"."""
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]
