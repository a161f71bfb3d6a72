"""A probe as one self-contained page: success with its interval against chance, and what a group has to teach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.page import save, template
from ssl4rl.tools.probe.advice import LEARNABLE, SOLVED, UNREAD, Row
from ssl4rl.tools.probe.probe import Probe

_MOST_SIGNAL = 0.25


def write(found: Probe, path: str) -> str:
    """Writes the page and returns its path.

    Raises:
        Ssl4rlError: the file cannot be written.
    """
    save(render(found), Path(path))
    return path


def render(found: Probe) -> str:
    """The page's HTML. Nothing in it is loaded from elsewhere, and every text is escaped."""
    tasks: dict[str, list[Row]] = {}
    for row in found.rows:
        tasks.setdefault(row.task, []).append(row)
    starts = {advice.start.name for advice in found.advice if advice.start}
    return template("probe/probe.html.jinja").render(
        found=found,
        tasks=[(task, i % COLOURS, rows) for i, (task, rows) in enumerate(tasks.items())],
        starts=starts,
        completions=sum(row.n * row.group for row in found.rows),
        signal_percent=_percent,
        unserved=unserved(found.rows),
        rule={"unread": UNREAD, "solved": SOLVED, "learnable": LEARNABLE},
    )


def _percent(signal: float) -> float:
    """Of the largest signal that right-or-wrong answers can have."""
    return round(min(100.0, 100 * signal / _MOST_SIGNAL), 1)


def unserved(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What could not be measured, and why."""
    return [(row.name, row.why) for row in rows if row.why]
