"""How commands print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ssl4rl.tools.shown import Shown


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
data_option = click.option("--data", metavar="SRC", help="A folder or another source; default: the task's own.")


def show(found: Shown, as_json: bool) -> None:
    """Prints a result."""
    click.echo(json_text(found.to_json()) if as_json else str(found))


def json_text(record: Any) -> str:
    ascii_only = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")  # what is JSON stays JSON
    return json.dumps(record, indent=2, ensure_ascii=ascii_only)


def aside(line: str) -> None:
    """A line beside what a command prints."""
    click.echo(f"ssl4rl: {line}", err=True)
