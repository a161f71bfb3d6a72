"""Tasks that each break one promise of the conformance suite; a plugin file, `tests/bad_tasks.py:TASKS`."""

import random
import re
import time

from ssl4rl import Choice, Example
from tests import fakes
from tests.fakes import Letter


class HashSeed(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((f"Is {items[0]} {hash(items[0])}?",), "AB"[int(rng.integers(2))])


class GlobalRandom(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((f"Is {items[0]} {random.random()}?",), "AB"[int(rng.integers(2))])


class NotAnOption(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((items[0],), "top")


class AlwaysB(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((items[0],), "B")


class Talkative(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((f"{items[0]}? Write <answer>A</answer> or so.",), "AB"[int(rng.integers(2))])


class NoJson(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        return Example((items[0],), "AB"[int(rng.integers(2))], meta={"set": {1, 2}})


class NoCard(Letter):
    """A letter."""


class Raises(Letter):
    __doc__ = Letter.__doc__

    def make(self, items, level, rng):
        raise KeyError("oh")


class Optimist(Choice):
    def chance(self, example):
        return 0.9


class Generous(Choice):
    def grade(self, parsed, example):
        return 0.5 + super().grade(parsed, example) / 2


class Fragile(Choice):
    def parse(self, text, example):
        return super().parse(text, example) if text.isprintable() else 1 / 0


class Slow(Choice):
    def parse(self, text, example):
        if len(text) > 1000:
            started = time.process_time()
            while time.process_time() < started + 30:
                re.fullmatch(r"(a|aa)+b", "a" * 25)
        return super().parse(text, example)


class Anywhere(Choice):
    def score(self, completion, example, *, style=None, truncated=False):
        found = re.findall(r"\b[AB]\b", completion)
        return super().score(f"<think></think><answer>{found[-1] if found else ''}</answer>", example, style=style)


def with_verifier(kind):
    class Special(Letter):
        __doc__ = Letter.__doc__

        def verifier_for(self, level):
            return kind("AB")

    return Special


TASKS = {
    "same": GlobalRandom,
    "hash": HashSeed,
    "right": NotAnOption,
    "wrong": with_verifier(Anywhere),
    "chance": with_verifier(Optimist),
    "generous": with_verifier(Generous),
    "texts": with_verifier(Fragile),
    "slow": with_verifier(Slow),
    "balance": AlwaysB,
    "prompt": Talkative,
    "json": NoJson,
    "card": NoCard,
    "make": Raises,
}
SOURCES = fakes.SOURCES
