"""Names and texts in prompts: on one line, reversibly, and never mistaken for something else.

A text is always written as a JSON string in double quotes. Beyond what JSON asks for, these are written as \\uXXXX:

- every "<", so neither answer tags ("<answer>", "</think>") nor special tokens ("<image>", "<|im_start|>") survive;
- a "[" that opens a word in brackets, the other form of special tokens ("[INST]", "[MASK]");
- control characters, line and paragraph separators, characters without a width or that turn the reading direction.

A name is written bare where it is one or more plain words, none of which our sentences use, and else likewise in
quotes. GraphML, which has its own way of escaping, does the same with character references (`markup.py`).
"""

from __future__ import annotations

import json
import re
import unicodedata

_SPECIAL = re.compile(r"<|\[(?=/?\w+\])")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_RESERVED = frozenset(["and", "are", "cites", "follows", "is", "no", "none", "points", "wrote"])
_WORD = r"\w(?:[\w.+/'@&#-]*[\w+#])?"
_WORDS = re.compile(rf"{_WORD}(?: {_WORD})*")

QUOTED = r'"(?:[^"\\]|\\.)*"'
NAME = rf"(?:{QUOTED}|{_WORDS.pattern})"
"""A name as it is written, bare or quoted."""


def must_escape(text: str) -> list[bool]:
    """For every character of a text: whether it must not stand in a prompt as it is."""
    odd = [unicodedata.category(char) in _UNSEEN for char in text]
    for found in _SPECIAL.finditer(text):
        odd[found.start()] = True
    return odd


def quote(text: str) -> str:
    """A text as a JSON string on one line, in double quotes."""
    parts = []
    for char, odd in zip(text, must_escape(text), strict=True):
        if odd and char not in "\n\t\r":
            parts.append(json.dumps(char)[1:-1] if ord(char) > 0x7E else f"\\u{ord(char):04x}")
        else:
            parts.append(json.dumps(char, ensure_ascii=False)[1:-1])
    return f'"{"".join(parts)}"'


def unquote(written: str) -> str:
    """What `quote` was given."""
    return str(json.loads(written))


def show(name: str) -> str:
    """A name as it stands in a prompt."""
    return name if _is_plain(name) else quote(name)


def seen(written: str) -> str:
    """What `show` was given."""
    return unquote(written) if written.startswith('"') else written


def is_compact(name: str) -> bool:
    """Whether a name is letters and digits only, so that "A-B" can be nothing but two names."""
    return name.isalnum() and _is_plain(name)


def _is_plain(name: str) -> bool:
    return bool(_WORDS.fullmatch(name)) and _RESERVED.isdisjoint(name.lower().split())


def one_line(text: str, max_chars: int | None = None) -> str:
    """A text with every run of white space one space, cut after a word where it is longer than `max_chars`.

    Not reversible, unlike `quote`; for texts that are meant to be read.
    """
    flat = " ".join(text.split())
    if max_chars is None or len(flat) <= max_chars:
        return flat
    cut = flat[: max_chars - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > max_chars // 2 else cut).rstrip() + "…"
