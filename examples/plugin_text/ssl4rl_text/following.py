"""Which text goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl import Choice, Example, Task, Unusable, Verifier
from ssl4rl_text import document
from ssl4rl_text.document import LETTERS, Document

EASY: Mapping[str, Any] = {"options": 2, "shown": 2, "asked": 1, "overlap": True, "ratio": 1.6}


class Next(Task[Document]):
    """Next: which of these goes on where the text breaks off?

    Sees: the beginning of a run of sentences, and lettered continuations, one of which followed it.
    Answers: its letter.
    Reward: exact. Chance: 1 / options.

    Levels: easy (2 options), medium (4), hard (2 that share no word of four letters or more with the text).
    Parameters: `options`, 2 to 4; `shown` and `asked`, how many sentences are shown, and are asked for, 1 to 4;
    `overlap`, whether an option may share such words with the text; `ratio`, how many times the shortest option's
    length the longest has at most.

    Shortcuts and guards: all that options show by themselves (as many texts as there are options are drawn alike, each
    is broken off at one place, and the text asked about is one of these, uniformly: P(option k is right | options) =
    1 / options); length (`ratio`); a text's first and last sentences (never taken).
    Not guarded: words that an option shares with the text are evidence, and there are none at hard.

    Source: next sentence prediction (arXiv 1810.04805) with exchangeable options; RLPT (arXiv 2509.19249).
    Versions: 1, the first.
    """

    name = "text/next"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": EASY,
        "medium": {**EASY, "options": 4, "ratio": 2.0},
        "hard": {**EASY, "overlap": False},
    }
    draws = len(LETTERS)
    data = "descriptions:"
    verifier = Choice(LETTERS[:2])
    cues: ClassVar[Mapping[str, str]] = {
        f"{family}[{level}]": "what goes on is about the same, in words that the text shares with it"
        for level in ("easy", "medium")
        for family in ("shared words", "mentions", "mention order")
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        document.check_between(self.name, params, "options", 2, len(LETTERS))
        document.check_between(self.name, params, "shown", 1, 4)
        document.check_between(self.name, params, "asked", 1, 4)
        document.check_between(self.name, params, "ratio", 1.1, 100)

    def make(self, items: Sequence[Document], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        shown, length = level["shown"], level["shown"] + level["asked"]
        for runs in document.draw_runs(items, level["options"], length, rng):
            texts = [" ".join(run[:shown]) for run in runs]
            options = [" ".join(run[shown:]) for run in runs]
            if document.are_fair(texts, options, level["ratio"], overlap=level["overlap"]):
                return document.question(texts, options, "Which of these comes next?", rng)
        raise Unusable("no continuations are alike in length (and without words of the text)")
