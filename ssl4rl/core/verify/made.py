"""What a verifier needs of an example, asked where the example is made: a plugin's slip is one line there, with the
task's name, and not a traceback in the middle of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeGuard

from ssl4rl.core.types import Example, Ssl4rlError, shortened


def refuse(what: str, got: Any, allowed: str) -> NoReturn:
    """Raises Ssl4rlError: `what` ("meta['options']") holds something else than `allowed`."""
    kind = "None" if got is None else f"{type(got).__name__} {shortened(repr(got), 60)}"
    raise Ssl4rlError(f"{what} is {kind}; allowed: {allowed}")


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def is_number(value: Any) -> bool:
    """A finite number as JSON has it; true and false are none."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond what JSON's readers take for one
        return False


def is_plain(value: Any) -> bool:
    """A text or a number: what names an option, a node or a candidate."""
    return isinstance(value, str) or is_number(value)


def general(example: Example) -> None:
    """What every verifier needs: a mapping `meta`, and `accepted`, where there is one, a list."""
    if not isinstance(example.meta, Mapping):
        refuse("meta", example.meta, "a mapping")
    if not is_list(example.meta.get("accepted", ())):
        refuse("meta['accepted']", example.meta["accepted"], "a list of further right answers")


def whole(example: Example, name: str, low: int, high: int, what: str) -> None:
    """`meta[name]`, where there is one, is a whole number from `low` to `high`."""
    value = example.meta.get(name, low)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        refuse(f"meta[{name!r}]", value, f"a whole number from {low} to {high} ({what})")


def listed(example: Example, name: str, what: str, *, least: int = 0, needed: bool = False) -> None:
    """`meta[name]`, where there is one or it is `needed`, is a list of at least `least` texts or numbers."""
    if name not in example.meta and not needed:
        return
    value = example.meta.get(name)
    if not is_list(value) or len(value) < least or not all(map(is_plain, value)):
        refuse(f"meta[{name!r}]", value, f"a list of {f'{least} or more ' if least else ''}{what}")


def paired(example: Example, name: str, what: str, *, needed: bool = False) -> None:
    """`meta[name]`, where there is one or it is `needed`, is a list of pairs of texts or numbers."""
    if name in example.meta or needed:
        value = example.meta.get(name)
        if not is_list(value) or not all(map(is_pair, value)):
            refuse(f"meta[{name!r}]", value, what)


def is_pair(value: Any) -> bool:
    return is_list(value) and len(value) == 2 and all(map(is_plain, value))
