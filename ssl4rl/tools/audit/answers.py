"""An answer as one or several picks among candidates, which is what a classifier can guess.

A verifier of another kind than core's falls back to the rendered answer, as long as there are few of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Literal

from ssl4rl.core.types import Example
from ssl4rl.core.verify import Angle, Box, Choice, EdgeSet, Integer, NodeSet, Path, Permutation, Several, Text, Verifier
from ssl4rl.core.verify.several import split

MOST_CLASSES = 30
PLACES = 3
"""Of a permutation so many places are guessed, spread from the first to the last."""
_THIRDS = {"across": ("left", "middle", "right"), "down": ("top", "middle", "bottom")}
_RANGE = ("low third", "middle third", "high third")


@dataclass(frozen=True)
class Pick:
    """Which of the candidates are right.

    `fair`: without any leak each candidate is right equally often, which is what the declared chance supposes.
    `open`: the candidates are only those answers that were seen. `where` says how the prompt shows the candidates: what
    stands after their "labels", their own "names", or not at all.
    """

    candidates: tuple[str, ...]
    right: frozenset[str]
    take: int = 1
    fair: bool = True
    open: bool = False
    where: Literal["labels", "names", "nowhere"] = "nowhere"

    @property
    def chance(self) -> float:
        return len(self.right) / len(self.candidates)


Picks = Mapping[str, Pick]


@singledispatch
def picks(verifier: Verifier, example: Example) -> Picks:
    """The questions that an answer answers, by name; none where it holds nothing that could be guessed."""
    text = verifier.render(example.answer)
    return {"answer": Pick((text,), frozenset([text]), fair=False, open=True)}


@picks.register
def _(verifier: Choice, example: Example) -> Picks:
    options = tuple(verifier.open_options(example))
    return {"answer": Pick(options, frozenset(map(str, example.accepted)), where="labels")}


@picks.register
def _(verifier: Integer, example: Example) -> Picks:
    span = verifier.high - verifier.low + 1
    if span <= MOST_CLASSES:
        numbers = tuple(str(i) for i in range(verifier.low, verifier.high + 1))
        return {"answer": Pick(numbers, frozenset(map(str, example.accepted)))}
    thirds = frozenset(_RANGE[min(2, 3 * (int(number) - verifier.low) // span)] for number in example.accepted)
    return {"size of the number": Pick(_RANGE, thirds)}


@picks.register
def _(verifier: Angle, example: Example) -> Picks:
    return {"answer": Pick(tuple(map(str, verifier.angles)), frozenset(map(str, example.accepted)))}


@picks.register
def _(verifier: Permutation, example: Example) -> Picks:
    numbers = tuple(str(i + 1) for i in range(verifier.n))
    places = sorted({round(i * (verifier.n - 1) / max(1, PLACES - 1)) for i in range(PLACES)})
    if verifier.n == 2:
        places = [0]  # the second place says the same
    return {
        f"place {place + 1}": Pick(numbers, frozenset(str(order[place]) for order in example.accepted), where="labels")
        for place in places
    }


@picks.register
def _(verifier: Box, example: Example) -> Picks:
    x0, y0, x1, y1 = example.answer
    width, height = verifier.extent(example)
    centres = {"across": (x0 + x1) / 2 / width, "down": (y0 + y1) / 2 / height}
    return {
        axis: Pick(_THIRDS[axis], frozenset([_THIRDS[axis][min(2, int(centre * 3))]]), fair=False)
        for axis, centre in centres.items()
    }


@picks.register
def _(verifier: NodeSet, example: Example) -> Picks:
    return _among(example.meta["nodes"], example.answer, "nodes")


@picks.register
def _(verifier: EdgeSet, example: Example) -> Picks:
    return _among(example.meta["nodes"], [node for edge in example.answer for node in edge], "ends of edges")


@picks.register
def _(verifier: Path, example: Example) -> Picks:
    ends = {str(example.answer[0]), str(example.answer[-1])}
    between = [node for node in example.meta["nodes"] if str(node) not in ends]
    return _among(between, example.answer[1:-1], "nodes between")


@picks.register
def _(verifier: Text, example: Example) -> Picks:
    if "candidates" in example.meta:
        candidates = tuple(map(str, example.meta["candidates"]))
        return {"answer": Pick(candidates, frozenset(map(str, example.accepted)) & {*candidates}, where="names")}
    text = str(example.answer)
    return {"answer": Pick((text,), frozenset([text]), fair=False, open=True)}


@picks.register
def _(verifier: Several, example: Example) -> Picks:
    """Each question's picks; labels stand in the prompt once for every question, so they are not looked up."""
    return {
        f"question {number}, {name}": replace(pick, where="nowhere" if pick.where == "labels" else pick.where)
        for number, question in zip(range(verifier.n, 0, -1), split(example), strict=True)
        for name, pick in picks(verifier.each, question).items()
    }


def _among(candidates: Sequence[object], right: Sequence[object], what: str) -> Picks:
    """The right ones in a set: as many are taken as are right."""
    found = frozenset(map(str, right))
    names = tuple(dict.fromkeys(map(str, candidates)))
    return {what: Pick(names, found, take=len(found), where="names")} if 0 < len(found) < len(names) else {}


def close(asked: Sequence[Picks]) -> list[Picks]:
    """The same picks with the open ones' candidates filled in: the answers seen, where they are few."""
    seen: dict[str, dict[str, None]] = {}
    for example in asked:
        for name, pick in example.items():
            if pick.open:
                seen.setdefault(name, {}).update(dict.fromkeys(pick.candidates))
    few = {name: tuple(sorted(values)) for name, values in seen.items() if len(values) <= MOST_CLASSES}
    return [
        {
            name: _closed(pick, few[name]) if pick.open else pick
            for name, pick in example.items()
            if not pick.open or name in few
        }
        for example in asked
    ]


def _closed(pick: Pick, candidates: tuple[str, ...]) -> Pick:
    letters = all(len(candidate) == 1 for candidate in candidates)
    return Pick(candidates, pick.right, fair=False, where="labels" if letters else "nowhere")
