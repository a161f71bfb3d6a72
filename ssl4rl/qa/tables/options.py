"""Which option is right, which may change places, and what their texts alone tell."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssl4rl.core.benchmark import LETTERS
from ssl4rl.core.types import Ssl4rlError, Unusable, shortened
from ssl4rl.core.verify.choice import words_of
from ssl4rl.qa.labelled import Raw
from ssl4rl.qa.tables.columns import Columns
from ssl4rl.qa.tables.said import listed, several, text

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
_SAID = re.compile(
    r"(?:option |choice )?\(?([A-Z])\)?(?:\s*[.:)]?|\s*(?:[.:)]|(?<=\)))\s*(\S.*))", re.IGNORECASE | re.DOTALL
)
FIRST = ("0", "1", "text")
TEXTS = "the options' texts"
SURE = 0.9
"""Such a share of answers must fit, read in one way, for that reading to be one."""
SEEN = 6
"""Other rows in which an option's text must stand before it is said how often it is right there."""


def options_of(columns: Columns, cells: Mapping[str, Any]) -> list[str]:
    """A row's options, without their labels; those that are empty at the end are left out, others stay, as ""."""
    if len(columns.options) != 1:
        values: list[Any] = [cells.get(name) for name in columns.options]
    else:
        value = cells.get(columns.options[0])
        value = listed(value) if isinstance(value, str) and value.startswith("[") else value
        if isinstance(value, dict):  # {"A": ..., "B": ...}, or {"text": [...], "label": [...]} as in ARC
            value = value["text"] if isinstance(value.get("text"), list) else list(value.values())
        if isinstance(value, str):
            value = value.split("|" if "|" in value else "\n")
        values = value if isinstance(value, list) else []
    texts = [text(value) for value in values]
    while texts and not texts[-1]:
        texts.pop()
    return unlabelled(texts)


def given(options: Sequence[str]) -> tuple[str, ...]:
    """The options that say something: VLMEvalKit's files leave cells between others empty."""
    return tuple(text for text in options if text)


def choose_from(row: Raw, at: Callable[[Raw], int | None]) -> int:
    """The place of the right option among those `given`. Raises Unusable for a row of which one cannot be chosen."""
    left = given(row.options)
    if not 2 <= len(left) <= len(LETTERS):
        alone = f" ({shortened(repr(left[0]), 40)}: write a list, or | between them)" if len(left) == 1 else ""
        raise Unusable(f"it has {len(left)} options{alone}; allowed: 2 to {len(LETTERS)}")
    if len({" ".join(text.split()).casefold() for text in left}) < len(left):
        raise Unusable("two of its options say the same")
    if len(left) < len(row.options) and kept(left) == "order":
        raise Unusable("an option names others by their letters, and one between them is empty")
    found = at(row)
    if found is None:
        if isinstance(row.answer, (list, str)) and len(right := several(row.answer)) > 1:
            raise Unusable(f"its answer {shortened(repr(row.answer), 40)} names {len(right)} options; one can be right")
        raise Unusable(f"its answer {shortened(repr(row.answer), 40)} is none of its {len(left)} options")
    return len(given(row.options[:found]))


def unlabelled(texts: Sequence[str]) -> list[str]:
    """Options without their letters or numbers in front ("A. cat", "(2) dog"), where each has that of its place.

    They are shown in another order, with letters of their own.
    """
    for first in ("A", "a", "1"):
        names = [re.escape(chr(ord(first) + n)) if first != "1" else str(n + 1) for n in range(len(texts))]
        labels = [rf"(?:\({name}\)\s*|{name}\)\s*|{name}[.:]\s+)(\S.*)" for name in names]  # "1.5" has none
        found = [re.fullmatch(label, text, re.DOTALL) for label, text in zip(labels, texts, strict=True)]
        if len(given(texts)) > 1 and all(bool(one) == bool(text) for one, text in zip(found, texts, strict=True)):
            return [one[1] if one else "" for one in found]
    return list(texts)


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
        first: "0" or "1": what the first option is called where answers are numbers; "text": numbers are options'
            texts; "": told by them.

    Raises:
        Ssl4rlError: answers are numbers and may count from 0 or from 1, or be options' texts.
    """
    if first and first not in FIRST:
        raise Ssl4rlError(
            f"{uri!r}: first is {first!r}; allowed: 0, 1 (the number of the first option), text (of numbers that are "
            "options' texts)"
        )
    having = [row for row in rows if len(given(row.options)) > 1]
    letters, texts = ([at(row) for row in having] for at in (_by_letter, _by_text))
    hits = {"letters": _hits(letters), TEXTS: _hits(texts)}
    numbers = sum(_whole(row.answer) is not None for row in having)
    if numbers and not first and hits[TEXTS] >= SURE * len(having) > 0:
        for places in ([_by_number(row, base) for row in having] for base in (0, 1)):
            if _hits(places) >= SURE * len(having) and any(
                a != b for a, b in zip(texts, places, strict=True) if a is not None and b is not None
            ):
                raise Ssl4rlError(
                    f"{uri!r}: answers are numbers that may be options' texts or options' places; say ?first=text, "
                    "?first=0 or ?first=1"
                )
        numbers = 0
    if first != "text" and numbers > max(hits.values()):
        base = int(first) if first else _base(uri, having)
        return (lambda row: _by_number(row, base)), f"numbers from {base}"
    if min(hits.values()) and not any(len(text) == 1 and text.isalpha() for row in having for text in row.options):
        return (lambda row: _by_text(row) if (at := _by_letter(row)) is None else at), f"letters and {TEXTS}"
    return (_by_letter, "letters") if hits["letters"] >= hits[TEXTS] else (_by_text, TEXTS)


def _hits(places: Sequence[int | None]) -> int:
    return sum(at is not None for at in places)


def _base(uri: str, rows: Sequence[Raw]) -> int:
    """Whether numbers count from 0 or from 1."""
    zero = any(_whole(row.answer) == 0 for row in rows)
    top = any(_whole(row.answer) == len(row.options) for row in rows)
    if zero == top:
        why = "0 and the number of options are both there" if zero else "neither 0 nor the number of options is there"
        raise Ssl4rlError(f"{uri!r}: answers are numbers, and {why}; say ?first=0 or ?first=1")
    return 0 if zero else 1


def _by_letter(row: Raw) -> int | None:
    """The option of "B", "(b)", "B: cat" where cat is what B stands for, "Option B"."""
    found = _SAID.fullmatch(unicodedata.normalize("NFKC", _said(row)))
    at = LETTERS.find(found[1].upper()) if found else -1
    if found is None or not 0 <= at < len(row.options) or not row.options[at]:
        return None
    return at if not found[2] or _folded(found[2]) == _folded(row.options[at]) else None


def _by_text(row: Raw) -> int | None:
    said = _folded(_said(row))
    found = [at for at, text in enumerate(row.options) if said and _folded(text) == said]
    return found[0] if len(found) == 1 else None


def _by_number(row: Raw, base: int) -> int | None:
    number = _whole(row.answer)
    within = number is not None and base <= number < base + len(row.options)
    return number - base if within and number is not None and row.options[number - base] else None


def _said(row: Raw) -> str:
    """The row's answer as a text; of a list of one that one."""
    if isinstance(row.answer, str) and row.answer in row.options:
        return row.answer
    said = several(row.answer)
    return str(said[0]).strip() if len(said) == 1 else ""


def _folded(text: Any) -> str:
    return " ".join(str(text).split()).casefold().rstrip(".") if text is not None else ""


def _whole(answer: Any) -> int | None:
    """A whole number, also as text ("2", "2.0") and in a list of one."""
    said = several(answer)
    answer = said[0] if len(said) == 1 else None
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
