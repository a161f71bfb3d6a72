from __future__ import annotations

from typing import Any

from ssl4rl.core.source import Source, content_id
from ssl4rl.qa import TASKS
from ssl4rl.qa.constants import Facts
from ssl4rl.qa.labelled import Labelled
from tests import golden
from tests.vision.helpers import ArrayPhoto, noise_photo

MORE_LEVELS = {
    "qa/choice": ["given,options=2", "given,image_px=32"],
    "qa/number": ["exact,absolute=1"],
    "qa/box": ["iou50,unit=pixel", "iou70,unit=share"],
    "qa/text": ["exact,partial=0.5"],
}
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "choice": [(at % 4,) for at in range(6)],
    "number": [(3.0,), (4.5, 5.0), (3.0,), (1200.0,), (-7.0,), (0.25,)],
    "box": [((0.1 * at, 0.2, 0.1 * at + 0.3, 0.7),) for at in range(6)],
    "text": [("red",), ("grey", "gray"), ("a red car",), ("red",), ("C++",), ("New York",)],
}


class Rows(Source[Labelled]):
    """Six rows of a kind, with none, one and two pictures (a box's with one)."""

    uri = "rows:"

    def __init__(self, kind: str) -> None:
        self.kind, self.facts = kind, Facts(() if kind == "choice" else ANSWERS[kind])

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Labelled:
        photos = tuple(ArrayPhoto(noise_photo(10 * index + n, 60, 90)) for n in range(index % 3))
        photos = (ArrayPhoto(noise_photo(index, 60, 90)),) if self.kind == "box" else photos
        options = ("north", "south", "east", "west") if self.kind == "choice" else ()
        unit = "cm" if self.kind == "number" and index == 1 else ""
        question = f"What is {index}{' in <image>' if photos else ''}?"
        answers = ANSWERS[self.kind][index]
        return Labelled(
            f"row {index}", question, answers, self.facts, options, photos, "Look." if index == 2 else "", unit
        )

    def id(self, index: int) -> str:
        return content_id(f"{self.kind} {index}".encode())


def current() -> golden.Golden:
    found: golden.Golden = {}
    for kind, target in TASKS.items():
        found |= golden.compute({kind: target}, Rows(kind), MORE_LEVELS)
    return found


def test_examples_are_what_they_were() -> None:
    """Where this fails on purpose: raise the task's `version`, then `python -m tests.golden`."""
    now, then = current(), golden.stored("qa")
    assert {name: entry["version"] for name, entry in now.items()} == {n: e["version"] for n, e in then.items()}
    changed = [
        f"{n} {at}" for n in then for at in then[n]["digests"] if now[n]["digests"].get(at) != then[n]["digests"][at]
    ]
    assert changed == []
