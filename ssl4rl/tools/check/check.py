"""Runs the conformance suite on tasks at all their levels and shows the outcome (`ssl4rl check`, `ssl4rl.check`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssl4rl.core import registry
from ssl4rl.core.mixture import Sources, TaskSpec, open_mixture
from ssl4rl.core.types import Key, Ssl4rlError
from ssl4rl.tools.asked import Place, at_least, names, taken_lines, uri
from ssl4rl.tools.check.conformance import CHECKS, Check, Skip, Subject, Wrong, fingerprint
from ssl4rl.tools.page import template
from ssl4rl.tools.shown import Shown

Outcome = Literal["ok", "FAIL", "-"]
_COLUMNS = ("make", *CHECKS)
_CHILD = "from ssl4rl.tools.check.check import other_process; other_process()"


@dataclass(frozen=True)
class Failure:
    """A promise that a task does not keep, and the example that shows it."""

    task: str
    level: str
    check: str
    why: str
    key: Key | None = None

    def __str__(self) -> str:
        example = f"  ({self.key})" if self.key else ""
        return f"{self.task} [{self.level}] {self.check}: {self.why}{example}"


@dataclass
class Row:
    """A task at a level: the outcome of each check ("-": it says nothing here)."""

    task: str
    level: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """What was checked, and the promises that were not kept."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)
    """What each source read and how, by URI; those with nothing to say are not there."""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def summary(self) -> str:
        """One line."""
        tasks = len({row.task for row in self.rows} | {failure.task for failure in self.failures})
        bad = sorted({failure.task for failure in self.failures})
        if not bad:
            return f"{_count(tasks, 'task')} at {_count(len(self.rows), 'level')}: every promise is kept"
        return f"{_count(len(self.failures), 'failure')} in {len(bad)} of {_count(tasks, 'task')}: {', '.join(bad)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.failures,
            "summary": self.summary,
            "taken": self.taken,
            "checked": [
                {
                    "task": row.task,
                    "level": row.level,
                    "checks": row.outcomes,
                    "skipped": row.skipped,
                    "seconds": round(row.seconds, 2),
                }
                for row in self.rows
            ],
            "failures": [
                {
                    "task": failure.task,
                    "level": failure.level,
                    "check": failure.check,
                    "why": failure.why,
                    "key": failure.key.to_json() if failure.key else None,
                }
                for failure in self.failures
            ],
        }

    def __str__(self) -> str:
        table = [["task", "level", *_COLUMNS]]
        table += [[row.task, row.level, *(row.outcomes.get(c, "-") for c in _COLUMNS)] for row in self.rows]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = taken_lines(self.taken)
        lines += [str(failure) for failure in self.failures]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        ]
        return "\n".join([*lines, *([] if self.failures else [self.summary])])

    def page(self) -> str:
        return template("check/check.html.jinja").render(found=self, columns=_COLUMNS)


def check(
    tasks: str | Sequence[str] = (),
    data: Place | None = None,
    level: str | None = None,
    *,
    n: int = 32,
    seed: int = 0,
) -> Checked:
    """The conformance suite on the tasks that `tasks` stand for, by default all installed ones, at every level.

    Args:
        tasks: one or more, "vision/rotation" or "./file.py:TASKS".
        data: a folder or another source's URI; None is each task's own.
        level: one level's text; None is all levels.
        n: examples for each level, at least 2.
        seed: the seed of the examples.

    Raises:
        Ssl4rlError: a name, level or source that there is not. Broken promises are in the report.
    """
    at_least(2, n=n)
    report = Checked()
    subjects = _subjects(names(tasks), uri(data), level, n, seed, report)
    with _start_other_process(subjects) as other:
        for subject in subjects:
            _examine(subject, report)
        _compare(subjects, other, report)
    return report


def _subjects(
    patterns: Sequence[str], data: str | None, level: str | None, n: int, seed: int, report: Checked
) -> list[Subject]:
    """What is to be checked. An installed task that cannot be loaded is a failure unless the user named it."""
    asked = [name for pattern in patterns for name in registry.expand(pattern)] if patterns else registry.task_names()
    if not patterns:
        broken = [plugin for plugin in registry.plugins().values() if plugin.broken]
        report.failures.extend([Failure(plugin.name, "all", "load", str(plugin.broken)) for plugin in broken])
    sources = Sources()
    subjects = []
    for name in asked:
        try:
            task, _ = registry.resolve(name)
            levels = [task.level(level).name] if level else list(task.levels)
            found = [Subject(name, task, text, data, n, seed, sources) for text in levels]
            _ = [subject.train for subject in found]  # opens the source
        except Ssl4rlError as error:
            if patterns:
                raise
            report.failures.append(Failure(name, "all", "load", str(error)))
        else:
            subjects += found
    report.taken.update(sources.taken)
    return subjects


def _examine(subject: Subject, report: Checked) -> None:
    started = time.perf_counter()
    row = Row(subject.name, subject.level)
    report.rows.append(row)
    found = _outcome(subject, "make", _make, row)
    if not found:
        for name, run in CHECKS.items():
            found += _outcome(subject, name, run, row)
    report.failures.extend(found)
    row.seconds = time.perf_counter() - started


def _make(subject: Subject) -> list[Wrong]:
    """Examples can be made at all; else nothing further is said."""
    return [] if subject.examples else [Wrong("there are no examples")]


def _outcome(subject: Subject, name: str, run: Check | Any, row: Row) -> list[Failure]:
    try:
        wrong = list(run(subject))
    except Skip as why:
        row.outcomes[name], row.skipped[name] = "-", str(why)
        return []
    except Ssl4rlError as error:
        wrong = [Wrong(str(error))]
    except Exception as error:  # a plugin's task may do anything; it is reported and the rest goes on
        wrong = [Wrong(f"raised {type(error).__name__}: {error}")]
    row.outcomes[name] = "FAIL" if wrong else "ok"
    return [Failure(subject.name, subject.level, name, found.why, found.key) for found in wrong[:3]]


def _start_other_process(subjects: Sequence[Subject]) -> subprocess.Popen[str]:
    """Makes all examples once more, last first, in a process with another hash seed."""
    environment = os.environ | {"PYTHONHASHSEED": "271828" if os.environ.get("PYTHONHASHSEED") != "271828" else "1"}
    work = [[s.name, s.level, s.data, s.n, s.seed] for s in subjects]
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(work)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )


def other_process() -> None:
    """The other process: prints a JSON list of fingerprints (or what was raised) for each subject."""
    sources = Sources()
    results: list[list[str] | str] = []
    for name, level, data, n, seed in json.loads(sys.argv[1]):
        dataset = open_mixture([TaskSpec(name, level)], data=data, seed=seed, size=n, sources=sources)
        try:
            results.append([fingerprint(dataset[index]) for index in reversed(range(n))][::-1])
        except Exception as error:  # reported by the parent, which sees the same
            results.append(f"{type(error).__name__}: {error}")
    print(json.dumps(results))


def _compare(subjects: Sequence[Subject], other: subprocess.Popen[str], report: Checked) -> None:
    printed, complaint = other.communicate()
    lines = complaint.strip().splitlines() or ["nothing was printed"]
    results = json.loads(printed.splitlines()[-1]) if other.returncode == 0 else [lines[-1]] * len(subjects)
    rows = {(row.task, row.level): row for row in report.rows}
    for subject, theirs in zip(subjects, results, strict=True):
        row = rows[subject.name, subject.level]
        if row.outcomes["make"] == "FAIL":
            continue
        ours = subject.fingerprints
        if isinstance(theirs, str):
            why, key = f"another process fails: {theirs}", None
        elif ours != theirs:
            index = next(i for i in range(subject.n) if ours[i] != theirs[i])
            why, key = "the example differs in a process with another hash seed", subject.examples[index].key
        else:
            continue
        row.outcomes["same"] = "FAIL"
        report.failures.append(Failure(subject.name, subject.level, "same", why, key))
