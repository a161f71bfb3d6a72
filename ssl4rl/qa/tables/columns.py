"""Which column of a table is which: named by the user, or told by its name, and said in a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl4rl.core.types import Ssl4rlError, nearest, shortened

NAMES: Mapping[str, Sequence[str]] = {
    "question": ("question", "query", "prompt", "problem", "instruction", "text", "expression", "sentence", "q"),
    "answer": (
        *("answer", "answers", "label", "labels", "gt", "ground_truth", "target", "solution", "correct", "answerkey"),
        *("answer_key", "answer_idx", "answer_index", "gt_answer", "bbox", "bbox_2d", "box", "boxes", "bounding_box"),
        "a",
    ),
    "options": ("options", "choices", "candidates", "mc_options"),
    "hint": ("hint", "context", "passage"),
    "unit": ("unit", "units"),
}
"""Names that columns go by in public data sets, the likeliest first; in any case of letters."""

PICTURES = ("image", "images", "image_path", "image_paths", "img", "picture", "pictures", "photo", "decoded_image")
_NUMBERED = re.compile(r"(image|img|picture|photo)_?(\d+)", re.IGNORECASE)
_OPTION = re.compile(r"(?:(?:option|choice|opt)[ _-]?)?([A-Z])|(?:option|choice|opt)[ _-]?(\d+)", re.IGNORECASE)
_TURNS = ("conversations", "conversation", "messages", "dialog", "dialogue")
OPTIONS = ("question", "answer", "options", "image", "hint", "unit", "ask", "coords", "corners", "first")
"""What may follow the path: columns by their roles, and what `answers` cannot tell by itself."""


@dataclass(frozen=True)
class Columns:
    """The columns taken. `options`: one that holds lists, or one an option. `ask`: what is asked where none asks.
    `others`: columns that were not taken and are called as answers are."""

    question: str
    answer: str
    options: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    hint: str = ""
    unit: str = ""
    ask: str = ""
    others: tuple[str, ...] = ()

    def told(self) -> str:
        """ "question=query, options=A,B,C,D, answer=label, pictures=image"."""
        said = [f"question={self.question}"] if self.question else [f"ask={shortened(self.ask, 40)!r}"]
        said += [f"options={','.join(self.options)}"] if self.options else []
        said += [f"answer={self.answer}"]
        said += [f"pictures={','.join(self.pictures)}"] if self.pictures else []
        said += [f"{role}={name}" for role, name in (("hint", self.hint), ("unit", self.unit)) if name]
        return ", ".join(said)

    @property
    def texts(self) -> tuple[str, ...]:
        """All but those of pictures."""
        named = (self.question, self.answer, *self.options, self.hint, self.unit)
        return tuple(name for name in dict.fromkeys(named) if name)


def choose(uri: str, names: Sequence[str], asked: Mapping[str, str]) -> Columns:
    """The columns of a table that has `names`; `asked` are those the user named by role.

    Raises:
        Ssl4rlError: one that was named is not there, with the nearest; or there is none of questions or answers.
    """
    for role in ("question", "answer", "image", "hint", "unit"):
        for name in _named(asked, role):
            if name not in names:
                raise Ssl4rlError(f"{uri!r} has no column {name!r} ({role}){nearest(name, names)}")
    found = {role: asked.get(role) or _usual(names, NAMES[role]) for role in ("question", "answer", "hint", "unit")}
    ask = asked.get("ask", "")
    needed = [role for role in ("answer", *(() if ask else ("question",))) if not found[role]]
    if needed:
        looked = ", ".join(NAMES[needed[0]][:5])
        turns = next((name for name in names if name.casefold() in _TURNS), "")
        if turns:
            raise Ssl4rlError(
                f"{uri!r} has no column of {needed[0]}s; its {turns!r} are turns of a conversation: write the question "
                "and the right answer in columns of their own"
            )
        raise Ssl4rlError(
            f"{uri!r} has no column of {needed[0]}s ({looked}, ...); it has: {shortened(', '.join(names), 200)}; "
            f"name one: ?{needed[0]}=NAME" + ("" if needed[0] == "answer" else ", or ask the same of all: ?ask=TEXT")
        )
    pictures = tuple(_named(asked, "image")) or _pictures(names)
    question = "" if ask and not asked.get("question") else found["question"]
    taken = {question, found["answer"], found["hint"], found["unit"], *pictures}
    options = _options(uri, names, asked, taken)
    told = {*taken, *options}
    others = tuple(n for n in names if len(n) > 1 and n.casefold() in NAMES["answer"] and n not in told)
    return Columns(question, found["answer"], options, pictures, found["hint"], found["unit"], ask, others)


def _named(asked: Mapping[str, str], role: str) -> list[str]:
    return [name for name in asked.get(role, "").split(",") if name]


def _usual(names: Sequence[str], usual: Sequence[str]) -> str:
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[name] for name in usual if name in folded), "")


def _pictures(names: Sequence[str]) -> tuple[str, ...]:
    """Columns image_1, image_2, ... in the order of their numbers; else `image` and `image_path`, where there are."""
    numbered = sorted((int(found[2]), name) for name in names if (found := _NUMBERED.fullmatch(name)))
    if numbered:
        return tuple(name for _, name in numbered)
    folded = {name.casefold(): name for name in reversed(names)}
    usual = [folded[name] for name in PICTURES if name in folded]
    both = [name for name in usual if name.casefold() in ("image", "image_path")]
    return tuple(both if len(both) == 2 else usual[:1])


def _options(uri: str, names: Sequence[str], asked: Mapping[str, str], taken: set[str]) -> tuple[str, ...]:
    if "options" in asked:
        wanted = _named(asked, "options")
        for name in wanted:
            if name not in names:
                raise Ssl4rlError(f"{uri!r} has no column {name!r} (options){nearest(name, names)}")
        return tuple(wanted)
    lettered: dict[str, str] = {}
    numbered: dict[int, str] = {}
    for name in names:
        found = _OPTION.fullmatch(name)
        if found and name not in taken:
            if found[1]:
                lettered.setdefault(found[1].upper(), name)
            else:
                numbered.setdefault(int(found[2]), name)
    run = _run(lettered)
    if len(run) > 1:
        return run
    if len(numbered) > 1:
        return tuple(numbered[number] for number in sorted(numbered))
    listed = _usual([name for name in names if name not in taken], NAMES["options"])
    return (listed,) if listed else ()


def _run(lettered: Mapping[str, str]) -> tuple[str, ...]:
    """Columns of A, B, C, ... as far as they go without a gap."""
    run = []
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        if letter not in lettered:
            break
        run.append(lettered[letter])
    return tuple(run)
