"""Every installed task keeps every promise at every level (`ssl4rl check`, with fewer examples)."""

import pytest

from ssl4rl import check
from ssl4rl.core import registry


@pytest.mark.parametrize("name", registry.task_names())
def test_an_installed_task_keeps_every_promise(name: str) -> None:
    report = check([name], n=5)
    assert [str(failure) for failure in report.failures] == []


@pytest.mark.parametrize("name", registry.task_names())
def test_and_asked_twice_in_one_prompt(name: str) -> None:
    level = next(iter(registry.resolve(name)[0].levels))
    report = check([name], level=f"{level},questions=2", n=5)
    assert [str(failure) for failure in report.failures] == []
