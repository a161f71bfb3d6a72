"""Only where vLLM is: the normal suite passes this folder over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import build

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model with heads that vLLM's kernel for CPUs takes."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(kind: str) -> Path:
        path = root / kind
        return path if path.exists() else build(kind, path, head_width=32)

    return folder


@pytest.fixture
def closed() -> Iterator[Callable[[Any], Any]]:
    """Keeps a backend and ends it after the test, so that no two engines ever stand side by side."""
    kept: list[Any] = []

    def keep(backend: Any) -> Any:
        kept.append(backend)
        return backend

    yield keep
    for backend in kept:
        backend.close()
