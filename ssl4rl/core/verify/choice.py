"""Verifiers of words: a choice among options, a short text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ssl4rl.core.types import Example
from ssl4rl.core.verify.base import Verifier, either
from ssl4rl.core.verify.plain import fold, innermost, normalise

if TYPE_CHECKING:
    import numpy as np

_CALLED = re.compile(r"(?:the )?(?:option|choice|letter|number|answer|candidate) [(\[]?(.+)")
_PLACED = re.compile(
    r"(?:(?:in|at|on) )?(?:the )?(.+?)(?: (?:corner|quadrant|quarter|part|region|area|cell|section|side|half))?"
)
_WITH_TEXT = re.compile(r"(?:(?:option|choice|letter|number|answer|candidate)[\W_]+)?(\w+)[\W_]+(\S.*)", re.I | re.S)
_MINUS = re.compile(r"[\W_]*-\d")


@lru_cache(maxsize=1024)
def _folded(options: tuple[str, ...]) -> Mapping[str, str]:
    """Each option by its folded text; the first of those that fold alike."""
    return {fold(option): option for option in reversed(options)}


@dataclass(frozen=True)
class Choice(Verifier):
    """One of a few options: letters ("ABCD") or words (("top left", "top right")).

    A letter may carry brackets or a full stop, words any case and hyphens; "Option B", "the top left corner", and "B:
    robots" where robots is what B stands for in this example (see `notes`). Reward: exact. Chance: 1 / options, or
    right options / options where `meta["accepted"]` names several. `meta["options"]` can narrow the options of one
    example to the first so many.
    """

    options: Sequence[str]

    def _open(self, example: Example) -> list[str]:
        return list(self.options[: example.meta.get("options", len(self.options))])

    @property
    def instruction(self) -> str:
        short = all(len(o) == 1 for o in self.options)
        kind = "of these" if not short else "number" if all(o.isdigit() for o in self.options) else "letter"
        return f"Answer with one {kind}: {either(self.options)}."

    def parse(self, text: str, example: Example) -> str | None:
        folded = fold(text)
        if not folded:
            return None
        options = _folded(tuple(self._open(example)))
        if _MINUS.match(text) and all(option.isdigit() for option in options):
            return None
        if folded in options:
            return options[folded]
        for wrapped in (_CALLED, _PLACED):
            if (found := wrapped.fullmatch(folded)) and found[1] in options:
                return options[found[1]]
        return self._with_its_text(text, options, example)

    def _with_its_text(self, text: str, options: Mapping[str, str], example: Example) -> str | None:
        """The option in "B: robots" where robots is what B stands for."""
        found = _WITH_TEXT.fullmatch(text.lstrip(" ([{*\"'`#-"))
        option = options.get(found[1].casefold()) if found else None
        if found is None or option is None:
            return None
        texts = self.notes(example).get("option_texts", ())
        number = list(self.options).index(option)
        said = fold(innermost(found[2]))
        return option if number < len(texts) and said and said == fold(normalise(str(texts[number]))) else None

    def notes(self, example: Example) -> dict[str, Any]:
        """`option_texts`: what the options stand for, as `meta` has it, or as the prompt's last lines say ("A: ...").

        Empty where neither does.
        """
        if "option_texts" in example.meta:
            return {"option_texts": list(example.meta["option_texts"])}
        letters = self._open(example)
        lines = example.text().rstrip().split("\n")[-len(letters) :]
        if len(lines) < len(letters) or any(len(letter) != 1 for letter in letters):
            return {}
        told = [re.fullmatch(rf"\(?{re.escape(x)}[:.)]\s*(\S.*)", line) for x, line in zip(letters, lines, strict=True)]
        return {"option_texts": [found[1] for found in told if found]} if all(told) else {}

    def grade(self, parsed: Any, example: Example) -> float:
        return float(parsed in example.accepted)

    def random_answer(self, example: Example, rng: np.random.Generator) -> str:
        options = self._open(example)
        return options[int(rng.integers(len(options)))]

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / len(self._open(example))


@dataclass(frozen=True)
class Text(Verifier):
    """A short text, compared without regard to case, spacing and enclosing punctuation.

    Reward: exact. Where `meta["candidates"]` lists the possible texts only those are valid and chance is right
    candidates / candidates; otherwise guessing is taken to earn nothing.
    """

    instruction_text: str = "Answer with the text alone."

    @property
    def instruction(self) -> str:
        return self.instruction_text

    def parse(self, text: str, example: Example) -> str | None:
        if "candidates" not in example.meta:
            inner = innermost(text) if fold(text) else ""
            return inner if fold(inner) else None
        folded = fold(text)
        return next((c for c in example.meta["candidates"] if folded and _key(str(c)) == folded), None)

    def grade(self, parsed: Any, example: Example) -> float:
        return float(_key(str(parsed)) in {_key(str(answer)) for answer in example.accepted})

    def random_answer(self, example: Example, rng: np.random.Generator) -> str:
        candidates = example.meta.get("candidates")
        return str(rng.choice(candidates)) if candidates else "?"

    def chance(self, example: Example) -> float:
        candidates = example.meta.get("candidates")
        return len({_key(str(answer)) for answer in example.accepted}) / len(candidates) if candidates else 0.0


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """By what texts are compared: an answer's own wrappers count as little as a reply's."""
    return fold(innermost(normalise(text)))
