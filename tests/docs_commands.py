"""The commands that README, docs/ and the examples' READMEs show: found, parsed, and checked by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from ssl4rl.cli import cli
from ssl4rl.core import registry
from ssl4rl.core.recipe.recipe import load_recipe
from ssl4rl.export.consumer import consumer

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "gallery" not in page.parts),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_SHELL = ("", "bash", "sh", "console")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(\.yaml)?|runs/[A-Z]+")
_TARGET = re.compile(r"^([a-z-]+):", re.M)

NOT_RUN = {
    "train": "takes minutes, a GPU or a hub's model: tests/test_recipes.py runs two steps of each shipped recipe",
    "eval": "needs a trained run: tests/tools and tests/core/grpo/record measure one",
    "report": "needs trained runs: tests/tools/report writes pages of some",
    "probe": "needs a model of the reader's: tests/tools/probe and tests/test_examples_vision.py probe tiny ones",
    "bench": "needs a benchmark's file: tests/tools/bench makes some",
    "plan": "needs a model's config from a hub: tests/tools/plan reads configs of its own",
    "make": "sets an environment up; CI calls `make test`, `make lint` and `make site`",
}
"""What is parsed and checked by name alone, with the reason and where it is run."""
RUN = ("list", "preview")
"""Run as they stand in the ordinary tests; `check`, `audit` and `export` (of few rows) in the slow ones."""
RUN_SLOWLY = ("check", "audit", "export")


@dataclass(frozen=True)
class Command:
    """A command as a page shows it: `words` are those behind `ssl4rl`, or `make` and its target."""

    page: str
    line: str
    words: tuple[str, ...]

    @property
    def verb(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def commands() -> list[Command]:
    """All of them, in the order of the pages."""
    return [command for page in PAGES for command in _of_page(page)]


def _of_page(page: Path) -> Iterator[Command]:
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type not in ("fence", "code_block") or token.info.split(" ")[0] not in _SHELL:
            continue
        for line in re.sub(r"\\\n\s*", " ", token.content).splitlines():
            words = _words(line)
            if words:
                yield Command(page.relative_to(ROOT).as_posix(), line.strip(), words)


def _words(line: str) -> tuple[str, ...]:
    """The words that our command line is given; () for a line that does not call it."""
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # a line of prose or of output
        return ()
    usage = any(word.startswith("[") for word in words)
    if words[:1] == ["make"] and len(words) > 1:
        return tuple(words)
    if words[:1] == ["ssl4rl"]:
        words = words[1:]
    elif words[:1] in (["torchrun"], ["accelerate"], ["python"]) and "ssl4rl" in words:
        words = words[words.index("ssl4rl") + 1 :]
    else:
        return ()
    return tuple(_plain(words)) if usage else tuple(words)


def _plain(words: list[str]) -> Iterator[str]:
    """A usage line's words as one that uses everything in brackets would write them."""
    for word in words:
        bare = word.removeprefix("[")
        if bare.count("]") > bare.count("["):
            bare = bare.removesuffix("]")
        bare = bare.removesuffix("...")
        if bare:
            yield "8" if bare == "N" else bare.partition("|")[0]


def parsed(command: Command) -> dict[str, Any]:
    """What the command line's own parser makes of it. Raises click's or our error for what does not exist."""
    name, context = command.verb, cli.make_context("ssl4rl", list(command.words), resilient_parsing=True)
    found, sub, rest = cli.resolve_command(context, list(command.words))
    assert (found, sub is not None) == (name, True)
    assert sub is not None
    return dict(sub.make_context(name, rest, parent=context).params)


def check_names(params: dict[str, Any]) -> None:
    """Tasks, levels, recipes, their keys and formats exist. Raises our error for one that does not."""
    levels = [level for level in [params.get("level"), *params.get("levels", ())] if level and not _open(level)]
    named = [params[key] for key in ("task",) if params.get(key)] + list(params.get("tasks") or ())
    if "recipe" in params:
        load_recipe("quickstart_vision" if _open(params["recipe"]) else _lies(params["recipe"]), params["overrides"])
    if "format" in params:
        consumer(params["format"])
        if "/" in params["what"]:
            named.append(params["what"])
        else:
            load_recipe(_lies(params["what"]), params["overrides"])
    for name in named:
        if _open(name):
            continue
        bare, bracket, level = name.partition("[")
        for one in registry.expand(bare.partition("@")[0]):
            task, _ = registry.resolve(one)
            for asked in [*levels, *([level.removesuffix("]")] if bracket else [])]:
                if not asked.startswith("all"):
                    task.level(asked)


def _open(name: str) -> bool:
    return _PLACEHOLDER.fullmatch(name) is not None


def _lies(name: str) -> str:
    return str(ROOT / name) if (ROOT / name).is_file() else name


def targets() -> set[str]:
    """The Makefile's."""
    return set(_TARGET.findall((ROOT / "Makefile").read_text()))
