"""What the nodes of a small graph are called in a prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.graph.graph import Graph

_ANY = ("integers", "letters", "given", "own")
NAME_STYLES = (*_ANY, "letters12")
_TWELVE = 12

_GIVEN = """
    Abe Ada Alex Amy Ana Andy Ann Ari Ash Ava Bea Ben Beth Bob Bree Cal Cara Cleo Cody Cora Dan Dara Dean Dee Dora
    Drew Eda Eli Ella Elsa Emil Emma Enzo Eric Eva Ezra Fay Finn Flo Fred Gabe Gia Gina Gus Hal Hana Hope Hugo Ian
    Ida Iris Ivan Ivy Jack Jade Jane Jay Jean Jess Joan Joel John Jon June Kai Kara Kate Kay Ken Kim Kira Kit Kurt
    Lana Lars Lea Lee Leo Liam Lily Lola Luca Lucy Luke Luna Maja Marc Mary Max May Mia Mila Milo Nell Nick Nina
    Noah Nora Olga Omar Otto Owen Pam Paul Pia Ray Remy Rita Rosa Ruby Ruth Sam Sara Sean Sky Tara Ted Tess Theo
    Tim Tina Tom Uma Vera Yuri Zoe
"""
GIVEN = tuple(_GIVEN.split())

_MAX_NAME_CHARS = 60
_CUTS = re.compile(r"->|→|—|[\x00-\x1f\x7f,;<>()\[\]{}\"`=:|\\]+")


def node_names(graph: Graph, style: str, rng: np.random.Generator) -> list[str]:
    """A name for every node, no two the same even without regard to case.

    Args:
        style: "integers" (0 to N - 1, shuffled), "letters" (A to Z, AA, AB, ..., shuffled), "given" (first names,
            drawn; with a number where there are more nodes than names), "letters12" (drawn from A to L, or from as many
            letters as there are nodes, so that small graphs use all the names of larger ones), "own" (the graph's own
            names, at most 60 characters, without what the answer parsers read as punctuation; integers where it has
            none, because a node's place in a sample would give away the root). "letters|given" draws one of several,
            "any" one of all but "letters12".

    Raises:
        Ssl4rlError: no such style.
    """
    nodes = graph.num_nodes
    open_to = _ANY if style == "any" else choices("style of names", style, NAME_STYLES)
    style = open_to[int(rng.integers(len(open_to)))]
    if style == "own" and graph.names is not None:
        return _unique([_clean(graph.name(node)) for node in range(nodes)])
    if style in ("integers", "own"):
        return [str(number) for number in rng.permutation(nodes).tolist()]
    if style == "letters":
        return [_letters(number) for number in rng.permutation(nodes).tolist()]
    if style == "letters12":
        return [_letters(number) for number in rng.permutation(max(nodes, _TWELVE))[:nodes].tolist()]
    rounds = -(-nodes // len(GIVEN))
    pool = [name if not again else f"{name}{again + 1}" for again in range(rounds) for name in GIVEN]
    return [pool[i] for i in rng.permutation(len(pool))[:nodes].tolist()]


def choices(where: str, value: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """What a level's parameter leaves open: "a" one, "a|b" two, "any" all that are `allowed`.

    Raises:
        Ssl4rlError: it names something else; `where` opens the message.
    """
    if value == "any":
        return tuple(allowed)
    for option in value.split("|"):
        if option not in allowed:
            inside = f" in {value!r}" if option != value else ""
            raise Ssl4rlError(f"{where}: got {option!r}{inside}{nearest(option, [*allowed, 'any'])}")
    return tuple(value.split("|"))


def _letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA, as spreadsheets count their columns."""
    text = ""
    number += 1
    while number:
        number, last = divmod(number - 1, 26)
        text = chr(ord("A") + last) + text
    return text


def _clean(name: str) -> str:
    """A name as a reply can repeat it: the reply's parser folds compatibility forms and splits at punctuation."""
    folded = unicodedata.normalize("NFKC", name)
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in folded)
    short = " ".join(_CUTS.sub(" ", plain).split())[:_MAX_NAME_CHARS].strip(" .'-")
    return short or "node"


def _unique(names: Sequence[str]) -> list[str]:
    taken = {name.casefold() for name in names}
    used: set[str] = set()
    found = []
    for name in names:
        free, number = name, 1
        while free.casefold() in used or (number > 1 and free.casefold() in taken):
            number += 1
            free = f"{name} {number}"
        used.add(free.casefold())
        found.append(free)
    return found
