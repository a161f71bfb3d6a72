"""The command line: parse, call, print. Every command imports what it needs when it runs, so that help is quick.

Exit status: 0 done; 2 for what the user can mend, with one line on stderr; 1 for a fault of ours, with a traceback,
and for a leak that `audit` found; 130 interrupted, 143 and 129 where SIGTERM or SIGHUP did it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

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
    from ssl4rl.tools.preview import preview

    if out and as_json:
        raise Ssl4rlError("--out and --json exclude each other; name one")
    shown = preview.collect(task, **options)
    if out:
        from ssl4rl.tools.preview import page as preview_page

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
    from ssl4rl.tools.check import check

    report = check.check(tasks, **options)
    click.echo(check.to_json(report) if as_json else check.to_text(report))
    if report.failures:
        raise Ssl4rlError(report.summary)


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

    TASK is a name such as vision/rotation, or a plugin's file, ./my.py:TASKS.
    """
    from ssl4rl.tools.audit import audit

    found = audit.audit(task, **options)
    click.echo(audit.to_json(found) if as_json else audit.to_text(found))
    return 1 if any(one.leaks for one in found) else 0


@cli.command("train")
@click.argument("recipe", metavar="RECIPE.yaml")
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@_as_json
def train_command(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train a model on a recipe, measure it before and after on held-out items, and write a report.

    Ctrl-C, SIGTERM or SIGHUP stops after the step in progress; the same command with resume=true goes on.
    """
    from ssl4rl.core.recipe import load_recipe

    settings = load_recipe(recipe, overrides)
    _need("train", "torch", "transformers", "tqdm")
    from ssl4rl.core.grpo.run import train
    from ssl4rl.tools.report import report
    from ssl4rl.tools.report import text as report_text
    from ssl4rl.tools.run_log import read_run

    out = sys.stderr if as_json else sys.stdout
    _hush()
    train(settings, say=_beside_a_bar(out), bar=sys.stderr.isatty())
    if os.environ.get("RANK", "0") != "0":  # of several processes the first one reports
        return
    pages = _write_report(report, [settings.folder], None)
    run = read_run(settings.folder)
    if as_json:
        click.echo((settings.folder / "summary.json").read_text(encoding="utf-8").rstrip())
        return
    click.echo(f"\n{report_text.table(run)}\n\n{report_text.curve(run, sys.stdout.encoding)}\n")
    for path in (*pages, settings.folder / "final"):
        click.echo(path)


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
    _need("train", "torch", "transformers")
    from ssl4rl.tools import evaluate_model

    _hush()
    results = evaluate_model.evaluate_model(model, tasks, say=_aside, **options)
    click.echo(evaluate_model.to_json(model, results) if as_json else evaluate_model.to_text(results))


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
) -> None:
    """Say what a model can learn now: success and signal of every task and level, and where to start.

    MODEL is a folder, a hub id, embedded:NAME or a run (runs/NAME, runs/NAME/final).
    """
    _need("train", "torch", "transformers")
    from ssl4rl.tools.probe import page as probe_page
    from ssl4rl.tools.probe import probe

    _hush()
    level = levels if len(levels) > 1 else next(iter(levels), None)
    found = probe.probe(model, tasks, level=level, say=_aside, **options)
    click.echo(probe.to_json(found) if as_json else probe.to_text(found))
    if out:
        click.echo(probe_page.write(found, out), err=as_json)


@cli.command("report")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option(
    "--out", metavar="PAGE.html", help="Where to; default: RUN_DIR/report.html, or ./report.html for several."
)
def report_command(run_dirs: tuple[str, ...], out: str | None) -> None:
    """Write the report of a run, finished or not, or of several compared."""
    from ssl4rl.tools.report import report

    for path in _write_report(report, run_dirs, out):
        click.echo(path)


def _write_report(report: Any, run_dirs: Sequence[str | Path], out: str | None) -> list[Path]:
    """The page, and the curve's picture beside it (in the run's folder for a single run); a line where it cannot be."""
    page = report.write_report(run_dirs, out)
    picture = Path(run_dirs[0]) / "curve.png" if len(run_dirs) == 1 else page.with_suffix(".png")
    try:
        return [page, report.write_curve(run_dirs, picture)]
    except Ssl4rlError as error:
        click.echo(f"ssl4rl: {error}", err=True)
        return [page]


def _need(extra: str, *modules: str) -> None:
    """Raises Ssl4rlError where an optional dependency is not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise Ssl4rlError(f"{', '.join(missing)} {verb} not installed; pip install 'ssl4rl[{extra}]'")


def _hush() -> None:
    """Switches off transformers' hints and its bars for writing weights; the hub's download bars stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads = not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()


def _aside(line: str) -> None:
    """A line beside what a command prints."""
    click.echo(f"ssl4rl: {line}", err=True)


def _beside_a_bar(out: TextIO) -> Callable[[str], None]:
    """Writes lines above the progress bar, if there is one. A run does not end because nobody reads them any more."""
    from tqdm import tqdm

    def say(line: str) -> None:
        with suppress(OSError):
            tqdm.write(line, file=out)
            out.flush()

    return say


# export and bench come here: one function each, its imports inside.


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
    except (click.Abort, KeyboardInterrupt) as stop:
        why = stop.__cause__ if isinstance(stop, click.Abort) else stop
        with suppress(OSError):  # a terminal that was closed shows nothing
            click.echo(f"ssl4rl: {str(why or '') or 'interrupted'}", err=True)
        return int(getattr(why, "status", 130))
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
