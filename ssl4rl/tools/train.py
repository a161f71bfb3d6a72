"""A whole run and its report (`ssl4rl train`, `ssl4rl.train`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ssl4rl.core.recipe.recipe import Recipe, load_recipe
from ssl4rl.tools.asked import Place, need, quiet
from ssl4rl.tools.report import text
from ssl4rl.tools.report.report import Reported, report
from ssl4rl.tools.shown import Shown


@dataclass(frozen=True, repr=False)
class Trained(Shown):
    """A finished run, which stands for its folder wherever a path is asked for.

    `summary`: what summary.json says. `report`: its page, its picture and the whole log; None in all of several
    processes but the first, which writes them.
    """

    folder: Path
    summary: Mapping[str, Any]
    report: Reported | None

    @property
    def final(self) -> Path:
        """The trained model or adapter, with its processor; loads with `from_pretrained`."""
        return self.folder / "final"

    @property
    def before(self) -> Mapping[str, Any]:
        """Held out, before GRPO: accuracy, ci95 (Wilson), chance, value, unparsed, truncated, n."""
        return dict(self.summary["before"])

    @property
    def after(self) -> Mapping[str, Any]:
        """The same after the last step."""
        return dict(self.summary["after"])

    def __fspath__(self) -> str:
        return str(self.folder)

    def to_json(self) -> dict[str, Any]:
        return dict(self.summary)

    def __str__(self) -> str:
        return self.text()

    def text(self, encoding: str | None = "utf-8") -> str:
        """The table and the curve, in ASCII where `encoding` has no finer characters, and where things lie."""
        if self.report is None:
            return f"{self.folder}: the first process reports"
        (run,) = self.report.runs
        drawn = text.curve(run, encoding)
        places = "\n".join(str(path) for path in (*self.report.files, self.final))
        return "\n\n".join([text.table(run), *([drawn] if drawn else []), places])

    def page(self) -> str:
        return "" if self.report is None else self.report.page()


def beside_a_bar(line: str, out: TextIO | None = None) -> None:
    """Prints a line to `out` (stdout), above the progress bar if there is one.

    A run does not end because nobody reads its lines any more.
    """
    from tqdm import tqdm

    out = out or sys.stdout
    with suppress(OSError):
        tqdm.write(line, file=out)
        out.flush()


@contextmanager
def counting(unit: str, show: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many are done, of how many; another total begins anew."""
    from tqdm import tqdm

    with tqdm(disable=not show, unit=unit, dynamic_ncols=True) as bar:

        def done(count: int, of: int) -> None:
            if (bar.total, bar.n) != (of, bar.n) or count < bar.n:
                bar.reset(of)
            bar.update(count - bar.n)

        yield done


def train(
    recipe: Place | Mapping[str, Any] | Recipe,
    /,
    *,
    say: Callable[[str], None] = beside_a_bar,
    bar: bool | None = None,
    **overrides: Any,
) -> Trained:
    """Trains a model on a recipe, measures it before and after on held-out items, and writes a report.

    ssl4rl.train("quickstart_vision", train={"steps": 20}, **{"grpo.group_size": 16}, out=tmp)

    Args:
        recipe: a file's path, the name of a recipe that ships with the package (a file of that name wins; `ssl4rl
            list --recipes`), a recipe's plain values, or a `Recipe`.
        say: receives one line at a time of what a person should know; by default it is printed.
        bar: whether to show a progress bar; None: in a terminal and in a notebook.
        overrides: keys of the recipe, a section as a mapping or a dotted key by itself. A mapping is laid over the
            section; every other value, lists too, takes the place of what the recipe says. `resume=True` goes on
            with a run, or returns a finished one; `overwrite=True` deletes it first.

    Raises:
        Ssl4rlError: anything the caller can mend, before any step is run: an unknown name or key, a value out of
            range, a folder that holds a run already, a model or source that cannot be opened, torch missing.
        KeyboardInterrupt: after Ctrl-C or a notebook's stop button, once the step in progress is done and its
            checkpoint written; the message says how to go on.
    """
    settings = load_recipe(recipe, overrides)
    need("train", "torch", "transformers", "tqdm")
    if bar is None:
        bar = sys.stderr.isatty() or "ipykernel" in sys.modules
    with quiet():
        from ssl4rl.core.grpo import run

        summary = run.train(settings, say=say, bar=bar)
    first = os.environ.get("RANK", "0") == "0"  # of several processes
    return Trained(settings.folder, summary, report(settings.folder) if first else None)
