"""Verifiers of words: a choice among options, a short text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example
from ssl4rl.core.verify import made
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
    example to the first so many; with `by_example` it always does, and the options are not listed once more.
    """

    options: Sequence[str]
    by_example: bool = False
    answers: ClassVar[str] = "one of the options, a text"

    def is_answer(self, answer: Any) -> bool:
        return made.is_plain(answer)

    def require(self, example: Example) -> None:
        super().require(example)
        what = "how many of the options are open, from the first on"
        if self.by_example and "options" not in example.meta:
            made.refuse("meta['options']", None, f"a whole number from 1 to {len(self.options)} ({what})")
        made.whole(example, "options", 1, len(self.options), what)
        made.listed(example, "option_texts", "texts, what the options stand for")

    def open_options(self, example: Example) -> list[str]:
        """The options of this example."""
        meta = example.meta
        return list(self.options[: meta["options"] if self.by_example else meta.get("options", len(self.options))])

    @property
    def instruction(self) -> str:
        if self.by_example:
            return "Answer with the letter of one option."
        short = all(len(o) == 1 for o in self.options)
        kind = "of these" if not short else "number" if all(o.isdigit() for o in self.options) else "letter"
        return f"Answer with one {kind}: {either(self.options)}."

    def parse(self, text: str, example: Example) -> str | None:
        folded = fold(text)
        if not folded:
            return None
        options = _folded(tuple(self.open_options(example)))
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
        letters = self.open_options(example)
        lines = example.text().rstrip().split("\n")[-len(letters) :]
        if len(lines) < len(letters) or any(len(letter) != 1 for letter in letters):
            return {}
        told = [re.fullmatch(rf"\(?{re.escape(x)}[:.)]\s*(\S.*)", line) for x, line in zip(letters, lines, strict=True)]
        return {"option_texts": [found[1] for found in told if found]} if all(told) else {}

    def grade(self, parsed: Any, example: Example) -> float:
        return float(parsed in example.accepted)

    def random_answer(self, example: Example, rng: np.random.Generator) -> str:
        options = self.open_options(example)
        return options[int(rng.integers(len(options)))]

    def chance(self, example: Example) -> float:
        return len(set(example.accepted)) / len(self.open_options(example))


@dataclass(frozen=True)
class Text(Verifier):
    """A short text, compared without regard to case, spacing and enclosing punctuation.

    Reward: exact. Where `meta["candidates"]` lists the possible texts only those are valid and chance is right
    candidates / candidates; otherwise guessing says `meta["guess"]`, and earns nothing where there is none.
    """

    instruction_text: str = "Answer with the text alone."
    answers: ClassVar[str] = "a text"

    def is_answer(self, answer: Any) -> bool:
        return made.is_plain(answer)

    def require(self, example: Example) -> None:
        super().require(example)
        made.listed(example, "candidates", "texts that may be answered", least=1)

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
        return str(rng.choice(candidates)) if candidates else str(example.meta.get("guess", "?"))

    def chance(self, example: Example) -> float:
        if candidates := example.meta.get("candidates"):
            return len({_key(str(answer)) for answer in example.accepted}) / len(candidates)
        return float("guess" in example.meta and self.correct(example.meta["guess"], example))


@dataclass(frozen=True)
class FreeText(Text):
    """A text in words of its own, compared word by word: case, articles (a, an, the) and punctuation do not matter.

    Signs that mean something stay ("C++" is not "C", "-5" not "5"); a number may have thousands commas. Reward: 1 for
    one of the right texts (`meta["accepted"]` lists aliases); else `partial` times the F1 of the words it shares with
    the nearest of them (as SQuAD counts it, arXiv 1606.05250), 0 by default. Guessing says `meta["guess"]`, the text
    that earns most over the whole data, as `Text`.
    """

    instruction_text: str = "Answer with a word or a short phrase."
    partial: float = 0.0

    def parse(self, text: str, example: Example) -> str | None:
        inner = innermost(text)
        return inner if words_of(inner) else None

    def grade(self, parsed: Any, example: Example) -> float:
        said = words_of(str(parsed))
        return max(self.credit(said, words_of(str(answer))) for answer in example.accepted)

    def credit(self, said: Sequence[str], right: Sequence[str]) -> float:
        """What words earn where others are right."""
        if list(said) == list(right):
            return 1.0
        shared = sum((Counter(said) & Counter(right)).values()) if self.partial else 0
        return self.partial * 2 * shared / (len(said) + len(right)) if shared else 0.0


_FREE_WORD = re.compile(
    r"(?:(?<=\s)|^)-(?=[.\d])"  # a minus
    r"|\d+(?:[.,]\d+)*|(?:[^\W\d_]\.){1,8}[^\W\d_](?![^\W\d_])|[぀-ヿ㐀-鿿가-힯]|[^\W_]+(?:'[^\W_]+)*"
    r"|[+#%$€£¥°&@/=<>^]"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_ARTICLES = frozenset(("a", "an", "the"))


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """The words by which `FreeText` compares: "The U.S. Navy's 1,200" is us, navys, 1200."""
    found = [_word(word[0]) for word in _FREE_WORD.finditer(innermost(normalise(text)).casefold())]
    return tuple(word for word in found if word not in _ARTICLES) or tuple(found)


def _word(word: str) -> str:
    if word[0].isdigit():
        return word.replace(",", "") if _THOUSANDS.fullmatch(word) else word
    return word.replace(".", "").replace("'", "")


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """By what texts are compared: an answer's own wrappers count as little as a reply's."""
    return fold(innermost(normalise(text)))
