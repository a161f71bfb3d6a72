"""What the commands ask of their arguments and of what is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from ssl4rl.core.types import Ssl4rlError

Place = str | os.PathLike[str]
"""A path, or a name or URI in a path's place."""


def names(given: Place | Sequence[Place]) -> list[str]:
    """One name or several, as several."""
    return [os.fspath(one) for one in ([given] if isinstance(given, (str, os.PathLike)) else given)]


def uri(data: Place | None) -> str | None:
    """A source's URI, which may be given as a path."""
    return None if data is None else os.fspath(data)


def taken_lines(taken: Mapping[str, str]) -> list[str]:
    """A line for each source: its URI, and what it read and how."""
    return [f"{source}: {what}" for source, what in taken.items()]


def at_least(least: float, **values: float | None) -> None:
    """Raises Ssl4rlError for a value below `least`; None is a default and passes."""
    for name, value in values.items():
        if value is not None and not value >= least:
            raise Ssl4rlError(f"{name} is {value}; allowed: {least} or more")


def need(extra: str, *modules: str) -> None:
    """Raises Ssl4rlError where an optional dependency is not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise Ssl4rlError(f"{', '.join(missing)} {verb} not installed; pip install 'ssl4rl[{extra}]'")


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' hints and its bars for writing weights; the hub's download bars stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads, bars = not are_progress_bars_disabled(), logging.is_progress_bar_enabled()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars and downloads:  # it switches on the hub's, too
            logging.enable_progress_bar()
