"""What a checkpoint of the native engine holds beside the policy: state.pt, which may be somebody else's.

It is read without running what is in it (`weights_only`: tensors, numbers, texts and containers of them), and refused
in one line where it is not what we write.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ssl4rl.core.grpo.record.files import is_step
from ssl4rl.core.types import Ssl4rlError

_STATE = "state.pt"
_KINDS = {
    "step": int,
    "next_index": int,
    "too_long": int,
    "curriculum": Mapping,
    "optimizer": Mapping,
    "unusable": Mapping,
}
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, AssertionError),
    *(ArithmeticError, MemoryError, UnpicklingError),
)
"""What torch.load raises on bytes that are none of its own."""


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes the state into a checkpoint's folder."""
    torch.save(dict(state), folder / _STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """The state that `save_state` wrote, on the CPU.

    Raises:
        Ssl4rlError: it is missing, cut short, holds more than tensors and plain values, or lacks what a run needs.
    """
    if not (folder / _STATE).is_file():
        raise Ssl4rlError(f"{_STATE} is missing")
    if not (folder / "policy").is_dir():
        raise Ssl4rlError("policy is missing")
    try:
        state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise Ssl4rlError(
            f"{_STATE} holds more than tensors and plain values, or is no state; nothing of it was run"
        ) from None
    except _UNREADABLE as error:
        raise Ssl4rlError(f"{_STATE} could not be read ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise Ssl4rlError(f"{_STATE} holds {type(state).__name__}, no run's state")
    for name, kind in _KINDS.items():
        if not isinstance(state.get(name), kind) or (kind is int and not is_step(state[name])):
            raise Ssl4rlError(f"{_STATE}: {name!r} is missing or is no {kind.__name__.lower()}")
    if not folder.name.endswith(f"_{state['step']:06d}"):
        raise Ssl4rlError(f"{_STATE} is of step {state['step']}")
    return state
