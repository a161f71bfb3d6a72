"""What openers of sources share: a URI's options, and the error for a path that is not there."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ssl4rl.core.types import Ssl4rlError, nearest, shortened


def missing(uri: str, path: Path, kind: str = "") -> Ssl4rlError:
    """The error for a path (of some `kind`, like "folder ") that does not exist, with the nearest name that does."""
    if path.exists():
        return Ssl4rlError(f"{kind}{uri!r} is {'a folder' if path.is_dir() else 'a file'}")
    gone = path
    while not gone.parent.is_dir() and gone.parent != gone:
        gone = gone.parent
    try:
        names = os.listdir(gone.parent)
    except OSError:
        names = []
    close = difflib.get_close_matches(gone.name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {str(gone.parent / close[0])!r}?" if close else ""
    at = "" if gone == path else f" (there is no {str(gone)!r})"
    return Ssl4rlError(f"{kind}{uri!r} does not exist{at}{hint}")


_RUNS_OR_MODELS = ("recipe.yaml", "summary.json", "config.json", "adapter_config.json")


def holding(folder: Path) -> str:
    """The tail of an error message about a folder that is no run and no model: the newest of those that lie in it."""
    found = [path for path in folder.glob("*/") if any((path / name).is_file() for name in _RUNS_OR_MODELS)]
    if not found:
        return ""
    return f"; did you mean {str(max(found, key=lambda path: path.stat().st_mtime))!r}, which lies in it?"


def split_options(scheme: str, text: str, allowed: Sequence[str]) -> tuple[str, dict[str, str]]:
    """ "data?column=photo" -> ("data", {"column": "photo"}).

    Raises:
        Ssl4rlError: an option that is not allowed.
    """
    name, _, query = text.partition("?")
    if "?" in text and (os.path.exists(text) or not re.fullmatch(r"\w+=[^&]*(&\w+=[^&]*)*", query)):
        return text, {}  # a glob's question mark, or a file's
    options = dict(part.split("=", 1) for part in query.split("&")) if query else {}
    for option in options:
        if option not in allowed:
            uri = f"{scheme}:{text}" if scheme else text
            raise Ssl4rlError(f"{shortened(uri)!r}: unknown option {option!r}{nearest(option, allowed)}")
    return name, options
