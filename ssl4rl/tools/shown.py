"""What every command gives back, to Python and to the command line alike: figures, a text, a page."""

from __future__ import annotations

import html
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.asked import Place

# The page's own style and markup stay in a frame, where they meet no notebook's. No script runs in it; the attribute
# outside makes it as high as what it holds, up to a screenful.
_FRAME = (
    '<div><iframe srcdoc="{page}" title="{title}" sandbox="allow-same-origin" '
    'style="width:100%;height:32rem;max-height:48rem;border:0" '
    "onload=\"this.style.height=this.contentDocument.documentElement.scrollHeight+'px'\"></iframe></div>"
)


class Shown(ABC):
    """A result that can be read as figures (`to_json`), in a terminal (`str`), and as a page (`save`, a notebook)."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The figures, as the command prints them with `--json`."""

    @abstractmethod
    def __str__(self) -> str:
        """The figures in words, as the command prints them."""

    @abstractmethod
    def page(self) -> str:
        """A whole page of HTML. Nothing in it is loaded from elsewhere, and every text is escaped."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {str(self).strip().partition(chr(10))[0]}>"

    def save(self, path: Place) -> Path:
        """Writes the page and returns its path.

        Raises:
            Ssl4rlError: the file cannot be written.
        """
        return save(self.page(), path)

    def _repr_html_(self) -> str:
        """The page in a frame, which notebooks show; half a surrogate pair becomes a question mark, as in `save`."""
        page = self.page().encode(errors="replace").decode()
        return _FRAME.format(page=html.escape(page), title=f"ssl4rl {type(self).__name__}")


def save(text: str, path: Place) -> Path:
    """Writes a page; a half of a surrogate pair, which a model may write, becomes a question mark.

    Raises:
        Ssl4rlError: the file cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Ssl4rlError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
    return Path(path)
