"""Every installed task keeps every promise at every level (`ssl4rl check`, with fewer examples).

Many tasks are checked in one call: each call makes all examples once more in another process.
"""

from functools import cache

import pytest

from ssl4rl import check
from ssl4rl.core import registry
from ssl4rl.tools.check.check import Checked

NAMES = registry.task_names()


def first_level(name: str) -> str:
    return next(iter(registry.resolve(name)[0].levels))


@cache
def checked(level: str | None) -> Checked:
    """All tasks at all levels; or with a level's text those whose first level it names, at it."""
    named = [name for name in NAMES if level is None or first_level(name) == level.partition(",")[0]]
    return check(named, level=level, n=5)


def kept(name: str, level: str | None, levels: list[str]) -> None:
    found = checked(level)
    assert [str(failure) for failure in found.failures if failure.task == name] == []
    assert [row.level for row in found.rows if row.task == name] == levels


@pytest.mark.parametrize("name", NAMES)
def test_an_installed_task_keeps_every_promise(name: str) -> None:
    kept(name, None, [*registry.resolve(name)[0].levels])


@pytest.mark.parametrize("name", NAMES)
def test_and_asked_twice_in_one_prompt(name: str) -> None:
    level = f"{first_level(name)},questions=2"
    kept(name, level, [level])
