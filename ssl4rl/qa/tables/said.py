"""What a cell says once the wrappers of its file are off: lists, texts between answer tags, what follows "####"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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
    found = [answer] if not made.is_list(answer) else list(answer)
    found = [untagged(one.get("answer", one.get("text")) if isinstance(one, Mapping) else one) for one in found]
    return [one for one in found if one is not None and str(one).strip()]


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
