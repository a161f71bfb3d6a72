"""`ssl4rl export`."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from ssl4rl.commands.shared import as_json_option, data_option, json_text


@click.command("export")
@click.argument("what", metavar="TASK|RECIPE")
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@click.option("--format", "format", required=True, metavar="F", help="trl, verl, easyr1, swift, verifiers, ...")
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one to go on with.")
@data_option
@click.option("--level", metavar="L", help='A level; "all" of a task\'s, each alike; or the curriculum\'s "target".')
@click.option("-n", "n", type=click.IntRange(1), default=1000, show_default=True, help="How many rows.")
@click.option("--n-held-out", type=click.IntRange(0), help="Held-out rows beside a trainer's. [default: 200]")
@click.option("--split", metavar="S", help="The only part to write: train, held_out or all. [default: by F]")
@click.option("--only", metavar="K", help="Of a mixture, the tasks with pictures, or those of text.")
@click.option("--seed", type=int, help="Another seed, other rows. [default: the recipe's, else 0]")
@click.option("--shard", metavar="i/n", help="Write the i-th (from 0) of n shares of the files, for a scheduler.")
@click.option("--shard-rows", type=click.IntRange(1), default=500, show_default=True, help="Rows a file.")
@click.option("--engine", default="local", show_default=True, metavar="E", help="local, or ray: Ray Data.")
@as_json_option
def export_command(what: str, as_json: bool, **options: Any) -> None:
    """Write rows and rewards for another trainer or harness, with its launch line.

    F is trl, verl, easyr1, swift, verifiers or reasoning-gym, which train, or lmms-eval or inspect, which measure.
    Ctrl-C keeps the files that are finished, and the same command goes on.
    """
    from ssl4rl.export.write import export

    if not sys.stderr.isatty():
        found = export(what, **options)
    else:
        with click.progressbar(length=1, label="rows", show_pos=True, file=sys.stderr) as bar:
            found = export(what, progress=partial(_advance, bar), **options)
    click.echo(json_text(found.to_json()) if as_json else str(found))


def _advance(bar: Any, done: int, whole: int) -> None:
    bar.length = whole
    bar.update(done - bar.pos)
