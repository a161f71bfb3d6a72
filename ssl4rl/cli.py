"""The command line: parse, call, print. What it calls is what `import ssl4rl` offers, loaded when a command runs, so
that help is quick.

Exit status: 0 done; 2 for what the user can mend, with one line on stderr; 1 for a fault of ours, with a traceback,
and for a leak that `audit` found, 3 where it is undecided; 130 interrupted, 143 and 129 where SIGTERM or SIGHUP did it.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

import ssl4rl
from ssl4rl.commands.bench import bench_command, push_command
from ssl4rl.commands.export import export_command
from ssl4rl.commands.plan import plan_command
from ssl4rl.commands.shared import as_json_option as _as_json
from ssl4rl.commands.shared import aside as _aside
from ssl4rl.commands.shared import data_option as _data
from ssl4rl.commands.shared import json_text as _json
from ssl4rl.commands.shared import show as _show
from ssl4rl.core.types import Ssl4rlError, nearest, shortened

if TYPE_CHECKING:
    from ssl4rl.tools.report.report import Reported


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

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. Click would take an EOFError for Ctrl-C, and write an empty line before either."""
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt) as error:
            raise _Passed from error


class _Passed(Exception):
    """Carries its cause past click."""


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ssl4rl.__version__, message="ssl4rl %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Self-supervised tasks as verifiable rewards for reinforcement learning."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


_level = click.option("--level", metavar="L", help='A level, perhaps with parameters: "90deg,image_px=64".')
_seed = click.option("--seed", default=0, show_default=True, help="Another seed, other examples.")


@cli.command("list")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--examples", is_flag=True, help="Make a few examples of each level for a chance that depends on them.")
@click.option("--recipes", is_flag=True, help="The recipes that ship with the package, in place of tasks.")
@_as_json
def list_command(tasks: tuple[str, ...], examples: bool, recipes: bool, as_json: bool) -> None:
    """Tasks with their levels, chance and one line each.

    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS.
    """
    from ssl4rl.tools import catalogue

    if recipes:
        if tasks or examples:
            raise Ssl4rlError("--recipes lists recipes alone; leave out tasks and --examples")
        click.echo(catalogue.recipes_to_json() if as_json else catalogue.recipes_to_text())
        return
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
    """Look at a task's examples: in the terminal, as JSON or as a page (--out).

    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS for all of its tasks.
    """
    if out and as_json:
        raise Ssl4rlError("--out and --json exclude each other; name one")
    from ssl4rl.core.registry import expand

    names = expand(task)
    if len(names) > 1 and out:
        raise Ssl4rlError(f"--out shows one task, and {task} has {len(names)}; name one: {', '.join(names)}")
    several = [ssl4rl.preview(name, **options) for name in names]
    found = several[0]
    if len(several) > 1:
        click.echo(_json([one.to_json() for one in several]) if as_json else "\n\n".join(map(str, several)))
    elif out:
        click.echo(f"{len(found.examples)} examples of {found.task.name} in {found.save(out)}")
    else:
        _show(found, as_json)


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
    found = ssl4rl.check(tasks, **options)
    _show(found, as_json)
    if not found.ok:
        raise Ssl4rlError(found.summary)


@cli.command("audit")
@click.argument("task")
@_data
@_level
@click.option("-n", "--n", "n", type=click.IntRange(100), default=1000, show_default=True, help="Examples a level.")
@_seed
@click.option("--split", default="all", show_default=True, metavar="S", help="train, held_out or all.")
@click.option("--twin/--no-twin", default=True, show_default=True, help="Also ask about data without content.")
@_as_json
def audit_command(task: str, as_json: bool, **options: Any) -> int:
    """Can shallow classifiers guess the answers without understanding? All levels by default; exits 1 on a leak.

    Where there is no content-free twin to ask and no leak was found, it is undecided and exits 3.
    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS.
    """
    found = ssl4rl.audit(task, **options)
    _show(found, as_json)
    return 1 if found.leaks else 3 if found.undecided else 0


@cli.command("train")
@click.argument("recipe", metavar="RECIPE")
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@_as_json
def train_command(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train a model on a recipe, measure it before and after on held-out items, and write a report.

    RECIPE is a file, or the name of one that ships with the package (list --recipes). Ctrl-C, SIGTERM or SIGHUP stops
    after the step in progress; the same command with resume=true goes on.
    """
    from ssl4rl.core.recipe.recipe import load_recipe
    from ssl4rl.tools.train import beside_a_bar

    settings = load_recipe(recipe, overrides)
    say = partial(beside_a_bar, out=sys.stderr if as_json else sys.stdout)
    found = ssl4rl.train(settings, say=say, bar=sys.stderr.isatty())
    if found.report is None:  # of several processes the first one reports
        return
    _complain_of_curve(found.report)
    _show(found, as_json) if as_json else click.echo(f"\n{found.text(sys.stdout.encoding)}")


cli.add_command(plan_command)


@cli.command("eval")
@click.argument("model")
@click.option(
    "--task", "tasks", multiple=True, required=True, metavar="T", help='A task, or "task[level]"; may be repeated.'
)
@_data
@_level
@click.option("-n", "n", type=click.IntRange(1), default=400, show_default=True, help="How many examples of each task.")
@click.option("--split", default="held_out", show_default=True, metavar="S", help="held_out, train or all.")
@click.option("--held-out", type=float, help="The share held out. [default: the run's, else 0.2]")
@click.option(
    "--split-by", type=click.Choice(["look", "content", "folder"]), help="[default: the run's, else the data's]"
)
@_seed
@click.option("--style", metavar="F", help="Reply format, think or answer. [default: the run's, else think]")
@click.option("--max-new-tokens", type=click.IntRange(1), help="[default: the run's, else 256]")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--system", metavar="TEXT", help="A system message. [default: the run's]")
@click.option("--before", is_flag=True, help="The run's model before GRPO: its start/, else what its recipe names.")
@click.option("--save", is_flag=True, help="Keep the results in the run's folder, for its report's transfer table.")
@_as_json
def eval_command(model: str, tasks: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Measure a model on tasks: accuracy with its interval, chance, unparsed and truncated replies.

    MODEL is a folder, a hub id, embedded:NAME or a run (runs/NAME, runs/NAME/final), whose recipe then says how
    questions are put.
    """
    _show(ssl4rl.evaluate(model, tasks, say=_aside, **options), as_json)


@cli.command("probe")
@click.argument("model")
@_data
@click.option("--task", "tasks", multiple=True, metavar="T", help="May be repeated. [default: all that read the data]")
@click.option(
    "--level", "levels", multiple=True, metavar="L", help='One or more, or "all,image_px=64". [default: all levels]'
)
@click.option("-n", "n", type=click.IntRange(2), default=24, show_default=True, help="Examples of each level.")
@click.option("--group", type=click.IntRange(2), default=8, show_default=True, help="Completions of each example.")
@click.option("--split", default="train", show_default=True, metavar="S", help="train, held_out or all.")
@_seed
@click.option("--style", metavar="F", help="Reply format, think or answer. [default: the run's, else think]")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest prompt. [default: the run's, else 1024]")
@click.option("--max-new-tokens", type=click.IntRange(1), help="[default: the run's, else 256]")
@click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--system", metavar="TEXT", help="A system message. [default: the run's]")
@click.option("--out", metavar="PAGE.html", help="Write a self-contained page too.")
@_as_json
def probe_command(
    model: str, tasks: tuple[str, ...], levels: tuple[str, ...], out: str | None, as_json: bool, **options: Any
) -> int:
    """Say what a model can learn now: success and signal of every task and level, and where to start.

    MODEL is a folder, a hub id, embedded:NAME or a run (runs/NAME, runs/NAME/final).
    """
    level = levels if len(levels) > 1 else next(iter(levels), None)
    found = ssl4rl.probe(model, tasks, level=level, say=_aside, **options)
    _show(found, as_json)
    if out:
        click.echo(found.save(out), err=as_json)
    return 2 if all(row.why for row in found.rows) else 0  # nothing was measured, for reasons to be mended


cli.add_command(export_command)


@cli.command("report")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option(
    "--out", metavar="PAGE.html", help="Where to; default: RUN_DIR/report.html, or ./report.html for several."
)
@_as_json
def report_command(run_dirs: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Write the report of a run, finished or not, or of several compared."""
    found = ssl4rl.report(run_dirs, out)
    _show(found, as_json)
    _complain_of_curve(found)


def _complain_of_curve(found: Reported) -> None:
    if found.no_curve:
        _aside(found.no_curve)


cli.add_command(bench_command)
cli.add_command(push_command)

_OF_THE_PLACE = {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.ELOOP),
}
"""What is wrong with a path or a disk, and so the user's to mend, wherever it was met."""
_LINE, _TAIL = 480, 160  # characters of a line on stderr, and of its end where the middle is left out


def main() -> None:
    """The entry point: runs the command and turns what it raises into an exit status."""
    _hush_libraries()
    sys.exit(run(sys.argv[1:]))


def _hush_libraries() -> None:
    """Leaves stderr to us: libraries' warnings and logs are for their callers. -W brings them back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"ssl4rl\.")
    logging.getLogger().addHandler(logging.NullHandler())  # or Python prints what nobody handles
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)


_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_VERBOSITY": "error",  # it tells of each of its five tries to reach a hub
}


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
    except (_Passed, KeyboardInterrupt) as stop:
        why = stop.__cause__ if isinstance(stop, _Passed) else stop
        if isinstance(why, EOFError):
            raise why from None
        with suppress(OSError):  # a terminal that was closed shows nothing
            click.echo(f"ssl4rl: {str(why or '') or 'interrupted'}", err=True)
        return int(getattr(why, "status", 130))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return _closed_pipe()
        if error.errno not in _OF_THE_PLACE:
            raise
        return _complain(f"{shortened(str(error.filename or 'a file'))!r}: {error.strerror}")


def _closed_pipe() -> int:
    """Nobody reads on, which is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
    return 0


def _complain(message: str, command: str = "ssl4rl") -> int:
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(message.splitlines()))
    room = _LINE - len(command) - 2
    if len(line) > room:  # what is wrong stands at the front, what to do about it often at the end
        line = f"{line[: room - _TAIL - 5]} ... {line[-_TAIL:]}"
    click.echo(f"{command}: {line}", err=True)
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
