"""The command line: parse, call, print. Every command imports what it needs when it runs, so that help is quick.

Exit status: 0 done; 2 for what the user can mend, with one line on stderr; 1 for a fault of ours, with a traceback;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ssl4rl import __version__
from ssl4rl.core.types import Ssl4rlError, nearest


class Commands(click.Group):
    """A group in the order of definition, which names the nearest command for one that it does not have."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise Ssl4rlError(f"unknown command {args[0]!r}{nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="ssl4rl %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Self-supervised tasks as verifiable rewards for reinforcement learning."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_data = click.option("--data", metavar="SRC", help="A folder or another source; default: the task's own.")
_level = click.option("--level", metavar="L", help='A level, perhaps with parameters: "90deg,image_px=64".')
_seed = click.option("--seed", default=0, show_default=True, help="Another seed, other examples.")


@cli.command("list")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--examples", is_flag=True, help="Make a few examples of each level for a chance that depends on them.")
@_as_json
def list_command(tasks: tuple[str, ...], examples: bool, as_json: bool) -> None:
    """Tasks with their levels, chance and one line each.

    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS.
    """
    from ssl4rl.tools import catalogue

    entries, broken = catalogue.catalogue(tasks, examples=examples)
    click.echo(catalogue.to_json(entries, broken) if as_json else catalogue.to_text(entries))
    for line in broken:
        click.echo(f"ssl4rl: {line}", err=True)


@cli.command("preview")
@click.argument("task")
@_data
@_level
@click.option("-n", "n", type=click.IntRange(1), default=8, show_default=True, help="How many examples.")
@_seed
@click.option("--split", default="train", show_default=True, metavar="S", help="train, held_out or all.")
@click.option("--style", default="think", show_default=True, metavar="F", help="Reply format: think or answer.")
@click.option("--out", metavar="PAGE.html", help="Write a self-contained page.")
@_as_json
def preview_command(task: str, out: str | None, as_json: bool, **options: Any) -> None:
    """Look at a task's examples: in the terminal, as JSON or as a page (--out)."""
    from ssl4rl.tools import preview

    if out and as_json:
        raise Ssl4rlError("--out and --json exclude each other; name one")
    shown = preview.collect(task, **options)
    if out:
        from ssl4rl.tools import preview_page

        click.echo(f"{len(shown.examples)} examples of {shown.task.name} in {preview_page.write(shown, out)}")
    else:
        click.echo(preview.to_json(shown) if as_json else preview.to_text(shown))


@cli.command("check")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@_data
@_level
@click.option("-n", "n", type=click.IntRange(2), default=32, show_default=True, help="Examples for each level.")
@_seed
@_as_json
def check_command(tasks: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run the conformance suite on tasks (all installed ones by default), at every level.

    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS.
    """
    from ssl4rl.tools import check

    report = check.check(tasks, **options)
    click.echo(check.to_json(report) if as_json else check.to_text(report))
    if report.failures:
        raise Ssl4rlError(report.summary)


# train, eval, probe, audit, export, bench and report come here: one function each, its imports inside.


def main() -> None:
    """The entry point: runs the command and turns what it raises into an exit status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit status. A fault of ours is raised."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    try:
        status = cli.main(arguments, prog_name="ssl4rl", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except Ssl4rlError as error:
        return _complain(str(error))
    except click.ClickException as error:
        return _complain(*_usage(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("ssl4rl: interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 0


def _complain(message: str, command: str = "ssl4rl") -> int:
    click.echo(f"{command}: {' '.join(message.splitlines())}", err=True)
    return 2


def _usage(error: click.ClickException) -> tuple[str, str]:
    """Click's complaint in one line (what, allowed or nearest), and the command that it is about."""
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.NoSuchOption) and context:
        known = [name for param in context.command.get_params(context) for name in param.opts if name[:2] == "--"]
        message = f"unknown option {error.option_name!r}{nearest(error.option_name, known)}"
    return f"{message[:1].lower()}{message[1:]}", context.command_path if context else "ssl4rl"


if __name__ == "__main__":
    main()
