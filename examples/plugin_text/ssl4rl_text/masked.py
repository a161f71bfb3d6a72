"""What fills a gap: a word or a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ssl4rl import Choice, Example, Ssl4rlError, Task, Unusable, Verifier
from ssl4rl_text import document
from ssl4rl_text.document import LETTERS, Document

GAP = "____"
EASY: Mapping[str, Any] = {"unit": "word", "options": 2, "sentences": 2, "overlap": True, "ratio": 1.6}
_ENDINGS = ("ing", "ed", "ly", "ion", "s")


class Masked(Task[Document]):
    """Masked: which word, or which sentence, fills the gap?

    Sees: a few sentences of a text with a gap, and lettered words or sentences, one of which stood there.
    Answers: its letter.
    Reward: exact. Chance: 1 / options.

    Levels: word (2 words), words (4 words), sentence (2 sentences), sentence_hard (2 sentences that share no word of
    four letters or more with the rest). Parameters: `unit`, word or sentence; `options`, 2 to 4; `sentences`, how many
    are shown, the one with the gap among them; `overlap`, whether an option may share such words with the text;
    `ratio`, how many times the shortest option's length the longest has at most.

    Shortcuts and guards: all that options show by themselves (as many texts as there are options are drawn alike, each
    gives up a word or sentence, and the text asked about is one of these, uniformly: P(option k is right | options) =
    1 / options); the form of a word (all of a question begin with a small letter and have one ending of a list);
    the word stands elsewhere (in none of the texts drawn); length (`ratio`); a sentence's place (never the text's
    first or last sentence, never a run's first).
    Not guarded: words that an option shares with the text are evidence, and there are none at sentence_hard.

    Source: cloze tests (Taylor 1953) with options; as a reward on raw text after RLPT (arXiv 2509.19249).
    Versions: 1, the first.
    """

    name = "text/masked"
    version = 1
    levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "word": EASY,
        "words": {**EASY, "options": 4},
        "sentence": {**EASY, "unit": "sentence", "sentences": 3},
        "sentence_hard": {**EASY, "unit": "sentence", "sentences": 3, "overlap": False},
    }
    draws = len(LETTERS)
    data = "descriptions:"
    verifier = Choice(LETTERS[:2])
    cues: ClassVar[Mapping[str, str]] = {
        "shared words[sentence]": "sentences of one text are about the same, in words they share",
        "mentions[sentence]": "sentences of one text are about the same, in words mentioned again",
        "mention order[sentence]": "sentences of one text are about the same, in words mentioned again",
    }

    def verifier_for(self, level: Mapping[str, Any]) -> Verifier:
        return Choice(LETTERS[: level["options"]])

    def check_level(self, params: Mapping[str, Any]) -> None:
        if params["unit"] not in ("word", "sentence"):
            raise Ssl4rlError(f"{self.name}: unit is {params['unit']}; allowed: word, sentence")
        document.check_between(self.name, params, "options", 2, len(LETTERS))
        document.check_between(self.name, params, "sentences", 2, 6)
        document.check_between(self.name, params, "ratio", 1.1, 100)

    def make(self, items: Sequence[Document], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        cut = _without_words if level["unit"] == "word" else _without_sentences
        for runs in document.draw_runs(items, level["options"], level["sentences"], rng):
            texts, options = cut(runs, rng)
            if options and document.are_fair(texts, options, level["ratio"], overlap=level["overlap"]):
                return document.question(texts, options, f"Which {level['unit']} fills the gap?", rng)
        raise Unusable(f"no {level['unit']}s of the texts are alike enough")


def _without_words(runs: Sequence[Sequence[str]], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """The texts with a gap each, and the words: of one ending, each standing in one text only, and there once.

    None where the texts have no such words.
    """
    counts = [document.words(" ".join(run).casefold()) for run in runs]
    by_ending: list[dict[str, list[str]]] = []
    for at, run in enumerate(runs):
        elsewhere = {word for other, found in enumerate(counts) if other != at for word in found}
        found: dict[str, list[str]] = {}
        for sentence in run:
            for word in document.words(sentence)[1:]:
                if len(word) >= 4 and word.islower() and counts[at].count(word) == 1 and word not in elsewhere:
                    found.setdefault(_ending(word), []).append(word)
        by_ending.append(found)
    common = sorted(set.intersection(*({*found} for found in by_ending)))
    if not common:
        return [], []
    ending = document.one_of(common, rng, "")
    chosen = [document.one_of(found[ending], rng, "") for found in by_ending]
    texts = [_gapped(" ".join(run), word) for run, word in zip(runs, chosen, strict=True)]
    return texts, chosen


def _ending(word: str) -> str:
    return next((ending for ending in _ENDINGS if word.endswith(ending)), "")


def _gapped(text: str, word: str) -> str:
    """The text with `word`, which stands there once as a word, replaced by the gap."""
    parts = document.words(text)
    at, start = parts.index(word), 0
    for part in parts[:at]:
        start = text.index(part, start) + len(part)
    start = text.index(word, start)
    return f"{text[:start]}{GAP}{text[start + len(word) :]}"


def _without_sentences(runs: Sequence[Sequence[str]], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """The texts with a gap at one place, never the first, and the sentences that stood there."""
    place = int(rng.integers(1, len(runs[0])))
    texts = [" ".join([*run[:place], GAP, *run[place + 1 :]]) for run in runs]
    return texts, [run[place] for run in runs]
