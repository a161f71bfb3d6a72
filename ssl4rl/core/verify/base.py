"""What every verifier shares: the answer tag, the verdicts, chance.

Parsing is tolerant where the meaning is plain and strict where it could be gamed: only what stands inside
`<answer>...</answer>` counts, after the reasoning if there is any, and two answers that differ are no answer.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ssl4rl.core.types import Example, Score, Verdict

if TYPE_CHECKING:
    import numpy as np

Style = Literal["think", "answer"]
STYLES: tuple[Style, ...] = ("think", "answer")

_ASK = {
    "think": "First reason inside <think> </think>, then give the answer inside <answer> </answer>.",
    "answer": "Reply with nothing but the answer inside <answer> </answer>.",
}
_MAX_ANSWER_CHARS = 4000
_SPACES = re.compile(r"\s+")


class Verifier(ABC):
    """Asks for an answer in one form, reads the reply, scores it, and knows what guessing would earn.

    A subclass gives `instruction` (what to write between the tags), `parse`, `grade`, `render`, `random_answer` and
    `chance`; a graded one also `expected`. Verifiers are frozen: they hold parameters, never state. `parts`: what their
    scores hold, which a recipe may weigh.
    """

    parts: ClassVar[Sequence[str]] = ("accuracy", "format")

    @property
    @abstractmethod
    def instruction(self) -> str:
        """One sentence that says what to write between the answer tags."""

    @abstractmethod
    def parse(self, text: str, example: Example) -> Any | None:
        """The valid answer (a JSON value) that `text`, the inside of the tags, plainly means, or None."""

    @abstractmethod
    def grade(self, parsed: Any, example: Example) -> float:
        """Accuracy of a parsed answer, in [0, 1]; exactly 1 for every right answer."""

    @abstractmethod
    def random_answer(self, example: Example, rng: np.random.Generator) -> Any:
        """An answer drawn uniformly from the valid ones, without looking at the right one."""

    @abstractmethod
    def chance(self, example: Example) -> float:
        """Probability that `random_answer` is correct."""

    def expected(self, example: Example) -> float:
        """Mean accuracy of `random_answer`, partial credit included. Equals `chance` where there is none."""
        return self.chance(example)

    def correct(self, parsed: Any, example: Example) -> bool:
        """Whether a parsed answer earns the verdict "correct"."""
        return self.grade(parsed, example) >= 1.0

    def render(self, answer: Any) -> str:
        """The canonical text of an answer; `parse` reads it back."""
        return str(answer)

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
        inner, well_formed = _read_tags(completion, style)
        texts = list(dict.fromkeys(_normalise(text) for text in inner))
        readings = [self.parse(text, example) if text else None for text in texts]
        parsed = readings[0] if readings and all(r == readings[0] for r in readings) else None
        well_formed = well_formed and parsed is not None
        if parsed is None:
            value, verdict = 0.0, "truncated" if truncated else "unparsed"
        else:
            value = self.grade(parsed, example)
            verdict = "correct" if self.correct(parsed, example) else "partial" if value > 0 else "wrong"
        return Score(value, _verdict(verdict), parsed, {"accuracy": value, "format": float(well_formed)})


def tagged(text: str, style: Style = "think") -> str:
    """A completion in the asked form with `text` between the answer tags and no reasoning."""
    return f"<think></think><answer>{text}</answer>" if style == "think" else f"<answer>{text}</answer>"


def _verdict(word: str) -> Verdict:
    return word  # type: ignore[return-value]


def _normalise(text: str) -> str:
    """Compatibility forms folded (fullwidth digits, ligatures), each run of white space one space or line break.

    A text beyond the length limit gives "", which means nothing: cut short it might mean something else. Single spaces
    also keep the parsers' regular expressions linear.
    """
    text = text.strip()
    if len(text) > _MAX_ANSWER_CHARS:
        return ""
    text = unicodedata.normalize("NFKC", text).strip()
    return _SPACES.sub(lambda run: "\n" if "\n" in run[0] else " ", text)


def _read_tags(completion: str, style: Style | None) -> tuple[list[str], bool]:
    """The insides of all answer tags after the reasoning, and whether the completion has exactly the asked form.

    Linear in the length of the text, whatever it holds.
    """
    reasoning, closed, rest = completion.rpartition("</think>")
    inner = []
    position = 0
    outside = []
    while (start := rest.find("<answer>", position)) >= 0:
        end = rest.find("</answer>", start)
        if end < 0:
            break
        outside.append(rest[position:start])
        inner.append(rest[start + len("<answer>") : end])
        position = end + len("</answer>")
    outside.append(rest[position:])
    alone = len(inner) == 1 and not "".join(outside).strip()
    thought = bool(closed) and reasoning.lstrip().startswith("<think>") and reasoning.count("think>") == 1
    if style == "answer":
        return inner, alone and not closed
    if style == "think":
        return inner, alone and thought
    return inner, alone and (thought or not closed)
