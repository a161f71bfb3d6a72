"""`ssl4rl bench` and `ssl4rl push`."""

from __future__ import annotations

import sys
from typing import Any

import click

import ssl4rl
from ssl4rl.commands.shared import aside, json_text, show
from ssl4rl.core.types import Ssl4rlError


@click.command("bench")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--tsv", metavar="FILE", help="A multiple-choice TSV of VLMEvalKit's layout.")
@click.option("--lmms", metavar="TASK", help="A task of lmms-eval, or a folder with one's own, in a TSV's place.")
@click.option("-n", "n", type=click.IntRange(1), help="So many questions, chosen by the seed. [default: all]")
@click.option(
    "--circular", default="auto", show_default=True, metavar="C", help="All rotations must be right: auto, on, off."
)
@click.option("--shuffle", is_flag=True, help="Options in an order of the seed's.")
@click.option("--corrupt", metavar="KIND:S", help='Worse pictures, severity 1-5: "noise:3", blur, jpeg, contrast, ...')
@click.option("--seed", default=0, show_default=True, help="Another seed, other questions and orders.")
@click.option("--style", metavar="F", help="Reply format, think or answer. [default: the run's, else think]")
@click.option("--max-new-tokens", type=click.IntRange(1), help="[default: the run's, else 256]")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--system", metavar="TEXT", help="A system message. [default: the run's]")
@click.option("--before", is_flag=True, help="Also each run's model before GRPO, compared with it.")
@click.option("--out", metavar="DIR", help="Where replies are kept. [default: the run's bench/, else ./bench]")
@click.option("--anew", is_flag=True, help="Ask again for replies that are kept already.")
@click.option("--page", metavar="PAGE.html", help="Write a self-contained page too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_command(
    models: tuple[str, ...], tsv: str | None, lmms: str | None, page: str | None, as_json: bool, **options: Any
) -> None:
    """Measure models on a multiple-choice benchmark, by category, and compare them question by question.

    MODEL is a folder, a hub id, embedded:NAME or a run. Stopped, the same command goes on; a run's results go into its
    report.
    """
    if (tsv is None) == (lmms is None):
        raise Ssl4rlError("name a benchmark: either --tsv FILE or --lmms TASK")
    if lmms is not None:
        _bench_lmms(models, lmms, as_json, options)
        return
    from ssl4rl.tools.train import counting

    with counting("reply", sys.stderr.isatty()) as done:
        found = ssl4rl.bench(models, str(tsv), say=aside, done=done, **options)
    show(found, as_json)
    if page:
        click.echo(found.save(page), err=as_json)


def _bench_lmms(models: tuple[str, ...], task: str, as_json: bool, options: dict[str, Any]) -> None:
    """`bench --lmms`: lmms-eval says how questions are put."""
    from ssl4rl.tools.bench.lmms import bench_lmms

    passed = ("n", "max_new_tokens")
    usual = {"circular": "auto", "seed": 0, "temperature": 0.0}
    idle = [name for name, value in options.items() if name not in passed and value and usual.get(name) != value]
    if idle:
        raise Ssl4rlError(f"--lmms takes no --{idle[0].replace('_', '-')}: the task says how it asks")
    found = {model: bench_lmms(model, task, **{name: options[name] for name in passed}) for model in models}
    lines = [f"{model}  {task}: {name} {value}" for model, one in found.items() for name, value in one.items()]
    click.echo(json_text({"task": task, "models": found}) if as_json else "\n".join(lines))


@click.command("push")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("repo", metavar="REPO")
@click.option("--private", is_flag=True, help="Make the repository private, where it is made.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded; nothing leaves this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def push_command(run_dir: str, repo: str, private: bool, dry_run: bool, as_json: bool) -> None:
    """Upload a run's final model with its card to a model hub.

    REPO is "owner/name"; the token is the one of `hf auth login`, or HF_TOKEN.
    """
    from ssl4rl.tools.push import push

    found = push(run_dir, repo, private=private, dry_run=dry_run)
    click.echo(json_text(found.to_json()) if as_json else str(found))
