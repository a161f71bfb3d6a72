from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo import opening, stages
from ssl4rl.core.grpo.logps import attention, flexible
from ssl4rl.core.grpo.stream import check_lengths
from tests.tiny_models import build


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model, built once a session."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(kind: str) -> Path:
        path = root / kind
        return path if path.exists() else build(kind, path)

    return folder


@pytest.fixture(scope="package", autouse=True)
def few_lengths() -> Iterator[None]:
    """A run looks at 64 prompts' lengths before it begins, which take longer than the steps of most runs here: at 8.

    What is looked at is tested in test_stream.py, and in runs of their own process in tests/test_cli_stderr.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (opening, stages):
            patch.setattr(module, "check_lengths", partial(check_lengths, n=8))
        yield


@pytest.fixture
def flexible_with_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention traced for all lengths and with its gradient, as on a GPU, computed by PyTorch's reference of it.

    The reference asks the mask about every token and passes over the block tables. Without this PyTorch refuses
    gradients on the CPU, since no kernel is made for them there.
    """
    torch._dynamo.reset()
    ready = torch.compile(flexible.flex_attention, dynamic=True, fullgraph=True, backend="aot_eager")
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    monkeypatch.setattr(flexible, "_ready", lambda device: ready)
    monkeypatch.setattr(attention, "merged_attention", flexible.flexible_attention)
