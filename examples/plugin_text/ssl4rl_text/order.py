"""In which order sentences stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl import Example, Permutation, Ssl4rlError, Task, Verifier
from ssl4rl_text import document
from ssl4rl_text.document import Document

EASY: Mapping[str, Any] = {"ends": False, "sentences": 2, "pointing": True, "ratio": 2.5}


class Order(Task[Document]):
    """Order: in which order did these sentences stand?

    Sees: a few sentences that follow each other (at ends: a text's first and its last), numbered in random order.
    Answers: the numbers in the order in which the sentences stood.
    Reward: the share of places that are right, 1 only when all are. Chance: 1 / sentences!.

    Levels: ends (the text's first sentence and its last), easy (2 sentences in a row, which may point back: "It ...",
    "This ..."), medium (3, none of which does), hard (4). Parameters: `ends`; `sentences`, 2 to 6; `pointing`, whether
    a sentence may begin with a word that points back; `ratio`, how many times the shortest sentence's length the
    longest has at most.

    Shortcuts and guards: first and last sentences (taken at ends alone: they greet and sum up); connectives
    (no sentence begins with one of a list, "However", "Finally"); capitals and full stops (every sentence begins with a
    capital letter or digit and ends a sentence); length (`ratio`); the numbers (drawn uniformly).
    Not guarded: at `pointing` the first word tells which is not first; at ends how texts begin and end is what there is
    to learn, and it can be learned from single words.

    Source: ours; sentence ordering after Barzilay and Lapata (2008), as RLPT (arXiv 2509.19249) trains on raw text.
    Versions: 1, the first.
    """

    name = "text/order"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ends": {**EASY, "ends": True},
        "easy": EASY,
        "medium": {**EASY, "sentences": 3, "pointing": False},
        "hard": {**EASY, "sentences": 4, "pointing": False},
    }
    draws = 1
    data = "descriptions:"
    verifier = Permutation(2)
    cues: ClassVar[Mapping[str, str]] = {
        "words[ends]": "how texts begin and how they end is what is asked for",
        "option length[ends]": "first sentences name things: capitals, digits and signs",
        "option order[ends]": "last sentences begin with This more often, which is late in the alphabet",
        "option overlap[medium]": "the sentence in the middle shares words with both others",
        "option overlap[hard]": "sentences in the middle share words with two others",
        "words[easy]": "a sentence that begins with It or This points back at the one before",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Permutation(level["sentences"])

    def check_level(self, params: Mapping[str, Any]) -> None:
        document.check_between(self.name, params, "sentences", 2, 6)
        document.check_between(self.name, params, "ratio", 1.1, 100)
        if params["ends"] and params["sentences"] != 2:
            raise Ssl4rlError(f"{self.name}: ends is true and sentences is {params['sentences']}; allowed: 2")

    def make(self, items: Sequence[Document], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        out = document.CONNECTIVES if level["pointing"] else document.CONNECTIVES | document.POINTING
        fits = [
            run
            for run in (items[0].ends() if level["ends"] else items[0].runs(level["sentences"]))
            if document.are_alike_in_length(run, level["ratio"])
            and not any(document.first_word(sentence) in out for sentence in run)
        ]
        run = document.one_of(fits, rng, "no run of so many sentences whose first words tell nothing")
        shown = document.shuffled(range(len(run)), rng)
        listed = "\n".join(f"{number}: {run[at]}" for number, at in enumerate(shown, start=1))
        asked = "One begins a text, one ends it. In which order?" if level["ends"] else "In which order did they stand?"
        prompt = f"{listed}\n{asked}"
        return Example((prompt,), [shown.index(at) + 1 for at in range(len(run))])
