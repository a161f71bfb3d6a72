"""Which option is right, which may change places, and what their texts alone tell."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssl4rl.core.benchmark import LETTERS
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.core.verify.choice import words_of
from ssl4rl.qa.labelled import Raw

_LETTER = r"\(?[A-Z]\)?"
_JOINED = rf"(?:\s*(?:,|/|&|(?i:and|or|nor))\s*{_LETTER})"
_NAMES_LETTERS = re.compile(
    rf"(?i:both|neither|either|only|options?|choices?|answers?)\s+{_LETTER}{_JOINED}*(?:\s+(?i:only))?"
    rf"|{_LETTER}{_JOINED}+(?:\s+(?i:only))?|{_LETTER}\s+(?i:only)"
)
_ABOVE = re.compile(
    r"\b(?:all|none|both|any|neither|either|one|two|some|most)\b.{0,12}\b(?:above|preceding|previous)\b", re.IGNORECASE
)
_OF_THE_OTHERS = re.compile(
    r"\b(?:all|none|both|any|neither|either)\b.{0,12}\b(?:these|those|them|others?|options|choices|answers)\b"
    r"|(?:all|none|both|neither)\b\W*",
    re.IGNORECASE,
)
SEEN = 6
"""Other rows in which an option's text must stand before it is said how often it is right there."""


def of_row(row: Raw) -> None:
    """Raises Unusable for options of which one cannot be chosen."""
    if not 2 <= len(row.options) <= len(LETTERS):
        raise Unusable(f"it has {len(row.options)} options; allowed: 2 to {len(LETTERS)}")
    keys = [" ".join(text.split()).casefold() for text in row.options]
    if len({*keys}) < len(keys):
        raise Unusable("two of its options say the same")


def kept(options: Sequence[str]) -> str:
    """Which options stay where they are: "order" (one names others by letters), "last" (all, none of the above), or
    "" (each may stand anywhere)."""
    if any(_NAMES_LETTERS.fullmatch(text.strip(" .")) for text in options):
        return "order"
    above = [bool(_ABOVE.search(text)) for text in options]
    return "" if not any(above) else "last" if above == [False] * (len(options) - 1) + [True] else "order"


def depends(options: Sequence[str]) -> bool:
    """Whether one speaks of the others (none of these), so that none can be left out."""
    return bool(kept(options)) or any(_OF_THE_OTHERS.fullmatch(text.strip(" .")) for text in options)


def positions(uri: str, rows: Sequence[Raw], first: str) -> tuple[Callable[[Raw], int | None], str]:
    """How answers say which option is right, from all rows together: a function of a row, and in words.

    Args:
        first: "0" or "1": what the first option is called where answers are numbers; "": told by them.

    Raises:
        Ssl4rlError: answers are numbers and may count from 0 or from 1.
    """
    if first and first not in ("0", "1"):
        raise Ssl4rlError(f"{uri!r}: first is {first!r}; allowed: 0, 1 (the number of the first option)")
    having = [row for row in rows if len(row.options) > 1]
    ways: dict[str, Callable[[Raw], int | None]] = {"letters": _by_letter, "the options' texts": _by_text}
    hits = {how: sum(at(row) is not None for row in having) for how, at in ways.items()}
    numbers = [number for row in having if (number := _whole(row.answer)) is not None]
    if len(numbers) > max(hits.values()):
        base = int(first) if first else _base(uri, having)
        return (lambda row: _by_number(row, base)), f"numbers from {base}"
    how = max(hits, key=lambda name: hits[name])
    return ways[how], how


def _base(uri: str, rows: Sequence[Raw]) -> int:
    """Whether numbers count from 0 or from 1."""
    zero = any(_whole(row.answer) == 0 for row in rows)
    top = any(_whole(row.answer) == len(row.options) for row in rows)
    if zero == top:
        why = "0 and the number of options are both there" if zero else "neither 0 nor the number of options is there"
        raise Ssl4rlError(f"{uri!r}: answers are numbers, and {why}; say ?first=0 or ?first=1")
    return 0 if zero else 1


def _by_letter(row: Raw) -> int | None:
    said = str(row.answer).strip().strip("().: ").upper() if row.answer is not None else ""
    at = LETTERS.find(said) if len(said) == 1 else -1
    return at if 0 <= at < len(row.options) else None


def _by_text(row: Raw) -> int | None:
    said = _folded(row.answer)
    found = [at for at, text in enumerate(row.options) if said and _folded(text) == said]
    return found[0] if len(found) == 1 else None


def _by_number(row: Raw, base: int) -> int | None:
    number = _whole(row.answer)
    return number - base if number is not None and base <= number < base + len(row.options) else None


def _folded(text: Any) -> str:
    return " ".join(str(text).split()).casefold().rstrip(".") if text is not None else ""


def _whole(answer: Any) -> int | None:
    """A whole number, also as text ("2", "2.0")."""
    if isinstance(answer, bool) or not isinstance(answer, (int, float, str)):
        return None
    found = re.fullmatch(r"\s*(\d{1,3})(?:\.0+)?\s*", str(answer))
    return int(found[1]) if found else None


def leanings(options: Sequence[Sequence[str]], right: Sequence[int]) -> list[tuple[float, ...]]:
    """For each row how often each option's text is right in the other rows that have it; -1 where few have.

    Empty for all rows unless always taking the one that is right most often elsewhere is right more often than chance
    by three standard deviations: of options that come once nothing can be told.

    Args:
        options: of each row the texts.
        right: of each row the position of the right one.
    """
    keys = [[words_of(text) for text in texts] for texts in options]
    there = Counter(key for row in keys for key in row)
    hits = Counter(row[at] for row, at in zip(keys, right, strict=True))
    found: list[tuple[float, ...]] = []
    earned = chance = spread = 0.0
    for row, at in zip(keys, right, strict=True):
        rates = tuple(_rate(key, number == at, there, hits) for number, key in enumerate(row))
        found.append(rates)
        if (guess := best(rates)) is not None:
            earned += guess == at
            chance += 1 / len(row)
            spread += (1 - 1 / len(row)) / len(row)
    told = spread > 0 and earned - chance > 3 * math.sqrt(spread)
    return found if told else [()] * len(found)


def _rate(key: tuple[str, ...], right: bool, there: Mapping[Any, int], hits: Mapping[Any, int]) -> float:
    others = there[key] - 1
    return (hits[key] - right) / others if others >= SEEN else -1.0


def best(rates: Sequence[float]) -> int | None:
    """The option of the highest rate, where one stands out."""
    if not rates or max(rates) < 0 or sum(rate == max(rates) for rate in rates) > 1:
        return None
    return max(range(len(rates)), key=lambda at: rates[at])
