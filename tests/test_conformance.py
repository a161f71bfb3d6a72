"""Every installed task keeps every promise at every level (`ssl4rl check`, with fewer examples)."""

import pytest

from ssl4rl.core import registry
from ssl4rl.tools import check


@pytest.mark.parametrize("name", registry.task_names())
def test_an_installed_task_keeps_every_promise(name: str) -> None:
    report = check.check([name], n=5)
    assert [str(failure) for failure in report.failures] == []
