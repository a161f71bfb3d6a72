"""What there is (`ssl4rl list`): tasks with their levels, the chance of guessing right and a line of their card, and
recipes that ship with the package.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.recipe.files import headline, shipped
from ssl4rl.core.task import Level, Task, keyed_rng
from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.core.verify import Verifier

EXAMPLES = 8


@dataclass(frozen=True)
class Entry:
    """A task and, for each of its levels, the chance of guessing right (None: it depends on the example)."""

    name: str
    plugin: str
    task: Task[Any]
    levels: tuple[tuple[Level, float | None], ...]


_OWN_LINE = re.compile(r"(?:[-*] |\d+[.)] |[A-Z][\w -]{0,30}:(?:\s|$))")


def card(task: Task[Any]) -> str:
    """The task's docstring: what the model sees, what it answers, reward, chance, shortcuts, source, versions."""
    return inspect.cleandoc(type(task).__doc__ or "")


def paragraphs(text: str) -> str:
    """A card's lines joined where the source only broke them for its own width, so that a page may break them anew.

    A line of its own stays one that is indented, an item of a list, or begins with a word and a colon ("Answers:").
    """
    found: list[str] = []
    for line in text.splitlines():
        own = not line.strip() or line[0].isspace() or _OWN_LINE.match(line) is not None
        if own or not found or not found[-1].strip() or found[-1][0].isspace():
            found.append(line)
        else:
            found[-1] += f" {line}"
    return "\n".join(found)


def summary(task: Task[Any]) -> str:
    """The card's first line."""
    return card(task).partition("\n")[0]


def usual_chance(verifier: Verifier) -> float | None:
    """Chance of an example with one right answer, found without making an example.

    None where it is not the same for every answer or needs more than the answer (a graph's nodes, candidates).
    """
    rng = keyed_rng("usual chance")
    try:
        answers = [verifier.random_answer(Example((), None), rng) for _ in range(EXAMPLES)]
        chances = {verifier.chance(Example((), answer)) for answer in answers}
    except (LookupError, TypeError, ValueError, ArithmeticError):  # it needs an example's meta
        return None
    return chances.pop() if len(chances) == 1 and min(chances) > 0 else None


def mean_chance(name: str, level: str) -> float:
    """The mean chance of a few examples made from the task's own data."""
    data = create_dataset(name, level=level, size=EXAMPLES, split="all")
    return sum(data.chance(example) for example in data) / EXAMPLES


def catalogue(names: Sequence[str] = (), *, examples: bool = False) -> tuple[list[Entry], list[str]]:
    """The tasks that `names` stand for, by default all installed ones, and a line for each that cannot be loaded.

    Raises:
        Ssl4rlError: one of `names` is unknown.
    """
    if names:
        asked = [name for pattern in names for name in registry.expand(pattern)]
        return [_entry(name, examples) for name in asked], []
    broken = [f"plugin {p.name!r} cannot be loaded: {p.broken}" for p in registry.plugins().values() if p.broken]
    entries = []
    for name in registry.task_names():
        try:
            entries.append(_entry(name, examples))
        except Ssl4rlError as error:
            broken.append(f"{name}: {error}")
    return entries, broken


def _entry(name: str, examples: bool) -> Entry:
    task, plugin = registry.resolve(name)
    levels = []
    for text in task.levels:
        level = task.level(text)
        chance = mean_chance(name, text) if examples else usual_chance(task.verifier_at(level))
        levels.append((level, chance))
    return Entry(name, plugin.name, task, tuple(levels))


def to_json(entries: Sequence[Entry], broken: Sequence[str]) -> str:
    tasks = [
        {
            "task": entry.name,
            "version": entry.task.version,
            "plugin": entry.plugin,
            "summary": summary(entry.task),
            "card": card(entry.task),
            "data": entry.task.data,
            "draws": entry.task.draws,
            "levels": [
                {
                    "level": level.name,
                    "params": dict(level.params),
                    "chance": chance,
                    "instruction": entry.task.verifier_at(level).instruction,
                }
                for level, chance in entry.levels
            ],
        }
        for entry in entries
    ]
    return json.dumps({"tasks": tasks, "broken": list(broken)}, indent=2, ensure_ascii=False)


def show_chance(chance: float | None) -> str:
    """Three significant digits; "by example" where there is no single number."""
    return "by example" if chance is None else f"{chance:.3g}"


def to_text(entries: Sequence[Entry]) -> str:
    lines = []
    for entry in entries:
        lines.append(f"{entry.name}  {summary(entry.task)}")
        width = max(len(level.name) for level, _ in entry.levels)
        lines += [f"    {level.name:<{width}}  chance {show_chance(chance)}" for level, chance in entry.levels]
    return "\n".join(lines) or "no tasks are installed"


def recipes_to_json() -> str:
    recipes = [{"recipe": name, "summary": headline(file), "path": str(file)} for name, file in shipped().items()]
    return json.dumps({"recipes": recipes}, indent=2, ensure_ascii=False)


def recipes_to_text() -> str:
    width = max(map(len, shipped()))
    return "\n".join(f"{name:<{width}}  {headline(file)}" for name, file in shipped().items())
