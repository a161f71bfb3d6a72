"""What a cell says once the wrappers of its file are off: lists, texts between answer tags, what follows "####"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.core.types import Unusable
from ssl4rl.core.verify import made
from ssl4rl.core.verify.tags import read_tags
from ssl4rl.vision.sources.tsv import parts_of

_WORKED_OUT = re.compile(r"(?:^|\n)#### ?(\S[^\n]*)\s*$")
"""The last line of a GSM8K solution."""


def several(answer: Any) -> list[Any]:
    """An answer as a list of one or several: lists, lists written as JSON or Python, {"answer": ...} of each."""
    answer = untagged(answer)
    if isinstance(answer, str) and answer.startswith("[") and answer.endswith("]"):
        answer = listed(answer)
    found = _flat(answer) if made.is_list(answer) else [_within(answer)]
    found = [untagged(one) for value in found for one in (_flat(value) if made.is_list(value) else [value])]
    return [one for one in found if one is not None and str(one).strip()]


def _flat(values: Sequence[Any]) -> list[Any]:
    return [_within(one) for one in values]


def _within(one: Any) -> Any:
    """What {"answer": ...} says, or {"text": [...]} as in SQuAD."""
    return one.get("answer", one.get("text")) if isinstance(one, Mapping) else one


def listed(text: str) -> list[Any]:
    """The values of a list in a cell, as JSON or as Python writes it."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        try:
            values = [part.decode("utf-8", "replace") for part in parts_of(text.encode())]
        except Unusable:
            values = [text]
    return values if isinstance(values, list) else [values]


def untagged(answer: Any) -> Any:
    """The one answer of a solution that is written as a reply, "<think>...</think><answer>7</answer>", or that ends in
    "#### 7"; all else as it is."""
    if not isinstance(answer, str):
        return answer
    if "<answer" in answer:
        inner = {text.strip() for text in read_tags(answer, None, False)[0]}
        return inner.pop() if len(inner) == 1 else answer
    found = _WORKED_OUT.search(answer) if "####" in answer else None
    return found[1].strip() if found else answer


@dataclass(frozen=True)
class Left:
    """A long text that is left in the file: it is base64, or too long for a question."""

    head: str


def text(value: Any) -> str:
    """A cell as text."""
    if value is None or isinstance(value, (list, dict, bytes, Left)):
        return ""
    return clean(str(value)).strip()


def clean(said: str) -> str:
    """A text that UTF-8 can hold: JSON may bring halves of letters."""
    return said if said.isascii() else said.encode("utf-8", "replace").decode("utf-8")
