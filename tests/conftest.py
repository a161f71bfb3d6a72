"""Nothing that a test opens is kept in the user's cache; the longest files are tested first."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST = (
    *("tests/test_conformance.py", "tests/core/grpo/simulated/test_simulated.py", "tests/core/grpo/test_trainer.py"),
    *("tests/core/grpo/test_ranks.py", "tests/core/grpo/test_room.py", "tests/core/grpo/test_preflight_noise.py"),
    *("tests/core/grpo/logps/test_prefix.py", "tests/test_recipes.py", "tests/core/grpo/test_stages.py"),
    *("tests/hostile/test_runs.py", "tests/hostile/test_files.py", "tests/test_cli_stderr.py"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes that share the files out end together only where the last files are short (with
    --no-loadscope-reorder, as `make test` has it: pytest-xdist would begin with the files of most tests)."""
    place = {config.rootpath / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(Path(item.path), len(place)))


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look at it again, which takes it .4 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
