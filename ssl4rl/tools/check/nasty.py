"""Texts that a model might write and that a verifier must survive."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np

_INSIDE = (
    *(
        "",
        " ",
        "\n",
        "\0",
        ".",
        "-",
        ",",
        "°",
        "%",
        "()",
        "[]",
        "((((",
        "-0",
        "+",
        "0",
        "-1",
        "00",
        "0x10",
        "1e9",
        "1_0",
        ".5",
    ),
    *(
        "1.5",
        "NaN",
        "inf",
        "None",
        "null",
        "True",
        "½",
        "²",
        "٣",
        "〇",
        "Ⅳ",
        "①",
        "ﬁ",
        "İ",
        "ß",
        "\u202e12",
        "\u200b1",
        "🙂",
    ),
    *(
        "A or B",
        "A, B",
        "not A",
        "AB",
        "1,1,1,1",
        "1,,2",
        "1->",
        "->1",
        "a-b-c",
        "A-A",
        "(A,B",
        "A,B)",
        "{}",
        "%s",
        "{0}",
        "\\",
    ),
    *(
        "9" * 5000,
        "9" * 400,
        "-" * 3000,
        "," * 3000,
        "(" * 3000,
        "(," * 1500,
        "1 " * 1900,
        "1  " * 1300 + "x",
        "1, " * 1300,
    ),
    *(
        "1" + " " * 3990 + "x",
        "90" + " " * 3990 + "x",
        "a" + "\n" * 3990 + "b",
        "a->" * 1300,
        "\ud800",
        "\udfff1",
        "ﷺ" * 3000,
    ),
)
_OUTSIDE = (
    *(
        "",
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "<answer></answer>",
        "</answer><answer>",
        "<answer/>",
        "<ANSWER>1",
    ),
    *("<answer><answer>1</answer></answer>", "<answer>1</answer></think>", "<think><think></think></think><answer>"),
    *(
        "<answer>" * 12_500,
        "</answer>" * 11_000,
        "<answer>1</answer>" * 5500,
        "<answer>1<answer>" * 5500,
        "</think>" * 12_500,
    ),
    *("<think>" * 14_000, "<" * 100_000, "x" * 100_000, " " * 100_000, "\n" * 100_000, "1 " * 50_000, "🙂" * 50_000),
    *(
        "<answer>" + "1  " * 33_000 + "x</answer>",
        "<answer>" + " " * 100_000 + "1</answer>",
        "<answer>" + "(," * 50_000,
    ),
)
_ALPHABET = " ,;:.->()[]{}<>/°%*'\"\n\t0123456789abcABC_" + "éßİﬁ½²٣〇①\u200b\u202e\ud83d\U0001f642"
_PIECES = ("<answer>", "</answer>", "<think>", "</think>")


class TimeUp(Exception):
    """A text took longer than it may."""


def nasty_texts(right: str, rng: np.random.Generator) -> Iterator[str]:
    """Some hundreds of texts: fixed ones, `right` (a right reply) cut short and damaged, and random ones."""
    for text in _INSIDE:
        yield f"<think></think><answer>{text}</answer>"
    yield from _OUTSIDE
    for end in range(0, len(right), max(1, len(right) // 60)):
        yield right[:end]
    yield from (right * 2, right * 500, right[::-1], right.upper(), f"{right}\0", f"\ufeff{right}")
    for _ in range(150):
        at = int(rng.integers(len(right) + 1))
        yield right[:at] + _ALPHABET[int(rng.integers(len(_ALPHABET)))] + right[at + int(rng.integers(3)) :]
    for _ in range(150):
        text = "".join(_random_character(rng) for _ in range(int(rng.integers(40))))
        yield text if rng.random() < 0.3 else f"<answer>{text}</answer>"


def _random_character(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.1:
        return _PIECES[int(rng.integers(len(_PIECES)))]
    return _ALPHABET[int(rng.integers(len(_ALPHABET)))] if kind < 0.7 else chr(int(rng.integers(0x110000)))


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Raises TimeUp in the block after `limit_s` of this process's own time, where the system can (not on Windows).

    Regular expressions look for signals as they backtrack, so that even an exponential one ends here.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
