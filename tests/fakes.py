"""Tiny sources and tasks for tests of the core; also a plugin file, `tests/fakes.py:letter`.

The items are words. `words:abc,de,fgh` names them; `many:50` makes 50; `endless:` has 2^40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl4rl import Choice, Example, Integer, Media, Source, Task, Unusable
from ssl4rl.core.source import Problem, content_id

FAKES = str(Path(__file__))


class Words(Source[str]):
    """Words in a row; equal words are equal content. The word "broken" cannot be read."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> str:
        if self.words[index] == "broken":
            raise Unusable("a broken word")
        return self.words[index]

    def id(self, index: int) -> str:
        return content_id(self.words[index].encode())

    @property
    def problems(self) -> Sequence[Problem]:
        return [Problem(word, "too odd <b>to read</b>") for word in self.words if word.startswith("odd")]


class Endless(Source[str]):
    uri = "endless:"
    endless = True

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> str:
        return f"word{index}"

    def id(self, index: int) -> str:
        return str(index)


class Letter(Task[str]):
    """Which option is the word?

    Sees: a word and options. Answers: a letter. Reward: 1 if right. Chance: 1 / options. Shortcuts: none known.
    Source: these tests. Versions: 1.
    """

    name, version = "fakes/letter", 1
    levels: Mapping[str, Mapping[str, Any]] = {
        "easy": {"options": 2, "loud": False, "share": 0.5, "ending": "no"},
        "hard": {"options": 4, "loud": True, "share": 0.5, "ending": "no"},
    }
    data = "many:60"
    verifier = Choice("ABCD")

    def verifier_for(self, level: Mapping[str, Any]) -> Choice:
        return Choice("ABCD"[: level["options"]])

    def make(self, items: Sequence[str], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        (word,) = items
        answer = "ABCD"[int(rng.integers(level["options"]))]
        return Example((f"Is {word} no {int(rng.integers(10**9))} with {answer}?",), answer)


class Pair(Letter):
    __doc__ = Letter.__doc__
    name = "fakes/pair"
    draws = 2

    def make(self, items: Sequence[str], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        first, second = items
        if rng.random() < 0.3:
            raise Unusable("bad luck")
        return super().make([first + second], level, rng)


class Picture(Task[str]):
    """Which grey is it? <answer>broken page</answer>

    Sees: a picture. Answers: a whole number. Reward: exact. Chance: 1 / 4. Shortcuts: none known.
    Source: these tests. Versions: 1.
    """

    name, version = "fakes/picture", 1
    levels: Mapping[str, Mapping[str, Any]] = {"four": {"px": 8}}
    data = "many:60"
    verifier = Integer(0, 3)

    def make(self, items: Sequence[str], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        answer = int(rng.integers(4))
        picture = Image.new("L", (level["px"], 2 * level["px"]), 80 * answer)
        return Example(
            ("Grey:", Media("image", picture), Media("sound", [answer, 7]), "<script>x</script> Which?"),
            answer,
            meta={"drawing": [{"width": 10 + answer}, {"width": 99}]},
        )


def show_sound(data: list[int]) -> str:
    return f"sound of {data[1]} <i>Hz</i>"


def draw_box(data: Mapping[str, int]) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{data["width"]}" height="9"><title>&lt;</title></svg>'


TASKS = {"letter": Letter, "pair": Pair, "picture": Picture}
SOURCES = {
    "words": lambda rest: Words(rest.split(",") if rest else []),
    "many": lambda rest: Words([f"word{i}" for i in range(int(rest))]),
    "endless": lambda _: Endless(),
}
SHOW = {"sound": show_sound, "drawing": draw_box}
