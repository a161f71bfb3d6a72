"""How commands print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ssl4rl.tools.shown import Shown


def show(found: Shown, as_json: bool) -> None:
    """Prints a result."""
    click.echo(json_text(found.to_json()) if as_json else str(found))


def json_text(record: Any) -> str:
    ascii_only = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")  # what is JSON stays JSON
    return json.dumps(record, indent=2, ensure_ascii=ascii_only)


def aside(line: str) -> None:
    """A line beside what a command prints."""
    click.echo(f"ssl4rl: {line}", err=True)
