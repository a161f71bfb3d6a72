"""Can a shallow classifier guess a task's answers without understanding? (`ssl4rl audit`, `ssl4rl.audit`)

Everything is tried twice: on the user's data, and on its content-free twin (`audit_twin`). What says how a prompt was
put together (sizes, lengths, orders, traces of files) is a leak wherever it tells the answer. What also holds content
(colours, words, degrees) is a leak if it tells the answer on the twin, where there is no content; if it does so on the
data only it is a content cue: part of what the task asks for, though a cheap part. Without a twin what holds content
stays undecided.

Beside the classifiers stand strategies (`strategies`): whole answers without understanding, by the task's own reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.mixture import Sources
from ssl4rl.core.source import Part, Split
from ssl4rl.core.task import Task
from ssl4rl.core.types import Ssl4rlError, Unusable
from ssl4rl.tools.asked import Place, at_least, taken_lines, uri
from ssl4rl.tools.audit.twin import Twin, has_twin
from ssl4rl.tools.page import template
from ssl4rl.tools.shown import Shown

if TYPE_CHECKING:
    from ssl4rl.tools.audit.guess import Guess
    from ssl4rl.tools.audit.records import Record

ALPHA = 0.01
"""How probable it is that a level without leaks is said to have one, over all that is tried on it."""

PACKAGING = {
    "answer frequency": "one answer is right more often than the declared chance",
    "size": "sizes and aspect of the pictures",
    "length": "lengths and counts in the text",
    "option order": "order of the options by their text",
    "option length": "lengths of the options, their capitals, digits and signs",
    "option overlap": "what options have in common with each other: words, names, duplicates",
    "option likeness": "how alike the options' pictures are among themselves",
    "farming": "naming everything for a sure share",
}
"""Leaks wherever they tell the answer."""

CONTENT = {
    "border": "black, white or even pixels at the border",
    "sides": "brightness of sides and corners",
    "colour": "mean colours and histograms",
    "spectrum": "sharpness, bands of the spectrum, directions",
    "jpeg": "traces of compression, fine waves",
    "words": "bag of words",
    "mention order": "order in which names are mentioned",
    "mentions": "how often names are mentioned (degrees)",
    "shared words": "words that options share with the rest of the prompt",
}
"""Leaks where there is no content, else content cues."""

UNLESS_TWIN = frozenset({"mention order"})
"""Leaks on the data where there is no twin to ask: what is mentioned first is mostly a matter of packaging."""

LIKENESS = {"likeness": "how alike pictures are in colour and sharpness"}
"""Never a leak: noise is like itself, too."""

FAMILIES = PACKAGING | CONTENT | LIKENESS


@dataclass(frozen=True)
class Row:
    """A family's best guess on the data and on the twin (None: nothing varies there, or there is no twin)."""

    family: str
    data: Guess | None
    twin: Guess | None
    verdict: str
    allowed: str = ""


@dataclass(frozen=True)
class Audit:
    """What was found for one task at one level."""

    task: str
    level: str
    uri: str
    seed: int
    n: int
    items: int
    no_twin: str
    on_data: tuple[Guess, ...]
    on_twin: tuple[Guess, ...]
    allowed: Mapping[str, str]

    @cached_property
    def rows(self) -> list[Row]:
        packaging = {*PACKAGING, *(() if self.on_twin else UNLESS_TWIN)}
        judged = [g for g in self.on_data if g.family in packaging]
        judged += [g for g in self.on_twin if g.family not in LIKENESS]
        leaks = {id(g) for g in significant(judged)}
        cues = {id(g) for g in significant([g for g in self.on_data if g.family not in packaging])}
        rows = []
        for family in FAMILIES:
            data = min((g for g in self.on_data if g.family == family), key=lambda g: g.p, default=None)
            twin = min((g for g in self.on_twin if g.family == family), key=lambda g: g.p, default=None)
            if data is None and twin is None:
                continue
            allowed = self.allowed.get(family, "")
            verdict = "ok"
            if any(id(g) in leaks for g in (data, twin)):
                verdict = "allowed" if allowed else "LEAK"
            elif id(data) in cues:
                verdict = "content cue"
            rows.append(Row(family, data, twin, verdict, allowed))
        return rows

    @property
    def leaks(self) -> list[Row]:
        return [row for row in self.rows if row.verdict == "LEAK"]

    @property
    def undecided(self) -> bool:
        """Whether no leak was found where there was no twin to ask."""
        return bool(self.no_twin) and not self.leaks

    @property
    def cues(self) -> list[Row]:
        return [row for row in self.rows if row.verdict == "content cue"]

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "level": self.level,
            "data": self.uri,
            "seed": self.seed,
            "n": self.n,
            "items": self.items,
            "twin": self.no_twin or "yes",
            "leak": bool(self.leaks),
            "undecided": self.undecided,
            "families": [
                {
                    "family": row.family,
                    "what": FAMILIES[row.family],
                    "verdict": row.verdict,
                    "allowed": row.allowed,
                    "data": asdict(row.data) if row.data else None,
                    "twin": asdict(row.twin) if row.twin else None,
                }
                for row in self.rows
            ],
            "guesses": {
                "data": [asdict(guess) for guess in self.on_data],
                "twin": [asdict(guess) for guess in self.on_twin],
            },
        }


@dataclass(frozen=True, repr=False)
class Audited(Shown):
    """A task's audit, level by level."""

    levels: tuple[Audit, ...]
    taken: Mapping[str, str] = field(default_factory=dict)
    """What each source read and how, by URI; those with nothing to say are not there."""

    @property
    def tasks(self) -> list[str]:
        """Each once: a plugin's file may have several."""
        return list(dict.fromkeys(found.task for found in self.levels))

    @property
    def leaks(self) -> list[Row]:
        """Of all levels."""
        return [row for found in self.levels for row in found.leaks]

    @property
    def undecided(self) -> bool:
        """Whether some level is."""
        return any(found.undecided for found in self.levels)

    def to_json(self) -> dict[str, Any]:
        return {"alpha": ALPHA, "taken": dict(self.taken), "audits": [found.to_json() for found in self.levels]}

    def __str__(self) -> str:
        taken = ["\n".join(taken_lines(self.taken))] if self.taken else []
        return "\n\n".join([*taken, *(_table(found) for found in self.levels)])

    def page(self) -> str:
        return template("audit/audit.html.jinja").render(found=self, what=FAMILIES, explain=explain, alpha=ALPHA)


def significant(guesses: Sequence[Guess], alpha: float = ALPHA) -> list[Guess]:
    """Those that beat chance, Holm's way: the k-th smallest p must not exceed alpha / (how many are left)."""
    found: list[Guess] = []
    for rank, guess in enumerate(sorted(guesses, key=lambda g: g.p)):
        if guess.p > alpha / (len(guesses) - rank):
            break
        found.append(guess)
    return found


def audit(
    task: str,
    data: Place | None = None,
    level: str | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    split: Part = "all",
    twin: bool = True,
) -> Audited:
    """Lets shallow classifiers guess a task's answers, at one level or at all of them.

    Args:
        task: "vision/rotation", or a file's, "./my.py:TASKS".
        data: a folder or another source's URI; None is the task's own.
        level: one level's text; None is all levels.
        n: examples of each level, at least 100, as many again from the content-free twin.
        twin: False leaves the twin out; then only what is a leak on any data is looked for.

    Raises:
        Ssl4rlError: anything the caller can mend, scikit-learn missing among it. A leak is in what is returned.
    """
    at_least(100, n=n)
    if find_spec("sklearn") is None:
        raise Ssl4rlError("scikit-learn is not installed; pip install 'ssl4rl[audit]'")
    found: list[Audit] = []
    sources = Sources()
    for name in registry.expand(task):
        made, plugin = registry.resolve(name)
        place = uri(data) or made.data
        if not place:
            raise Ssl4rlError(f"{made.name} brings no data of its own; name a source, for instance a folder")
        source = sources.get(place, plugin, made)
        for one in [level] if level else list(made.levels):
            found.append(audit_task(made, one, Split(source, split), n, seed, twin))
    return Audited(tuple(found), sources.taken)


def audit_task(
    task: Task[Any], level: str, split: Split[Any], n: int = 1000, seed: int = 0, twin: bool = True
) -> Audit:
    """Audits one task at one level on part of a source."""
    dataset = TaskDataset([Component(task, task.level(level), split)], seed=seed, size=n)
    found = _seen(dataset)
    other, why = _on_twin(dataset) if twin else (([], []), "it was left out")
    return judge(dataset, found[0], other[0], why, tried=(found[1], other[1]))


def judge(
    dataset: TaskDataset,
    found: Sequence[Record],
    twin: Sequence[Record],
    no_twin: str = "",
    tried: tuple[Sequence[Guess], Sequence[Guess]] = ((), ()),
) -> Audit:
    """Lets the classifiers guess on examples of the data and of the twin; `tried` is what strategies earned on both."""
    from ssl4rl.tools.audit.guess import guess_all

    component = dataset.components[0]
    return Audit(
        component.task.id,
        component.level.name,
        component.split.source.uri,
        dataset.seed,
        len(found),
        len({item for record in found for item in record.sources[:1]}),
        no_twin,
        (*guess_all(found), *tried[0]),
        (*guess_all(twin), *tried[1]),
        cues_at(component.task.cues, component.level.name),
    )


def cues_at(cues: Mapping[str, str], level: str) -> dict[str, str]:
    """Those of a task's cues that hold at a level: of "mentions" everywhere, of "mentions[hard]" at hard alone."""
    name = level.partition(",")[0]
    named = {family: why for family, why in cues.items() if "[" not in family}
    return named | {family.partition("[")[0]: why for family, why in cues.items() if family.endswith(f"[{name}]")}


Seen = tuple[Sequence["Record"], Sequence["Guess"]]
"""The records of examples, and what strategies earn on them."""


def _seen(dataset: TaskDataset) -> Seen:
    from ssl4rl.tools.audit.records import records
    from ssl4rl.tools.audit.strategies import measure

    examples = [example.spread() for example in dataset]
    earned = measure(dataset.components[0].verifier, examples)
    return records(dataset, examples), [one.guess() for one in earned]


def twin_of(dataset: TaskDataset) -> TaskDataset | None:
    """The same task, level, seed and size on the content-free twin of the source; None for kinds that have none."""
    component = dataset.components[0]
    split = component.split
    for index in range(min(8, len(split.source))):
        try:
            item = split.source[index]
        except Unusable:
            continue
        if has_twin(item):
            twin: Split[Any] = Split(Twin(split.source), "all")
            return TaskDataset([Component(component.task, component.level, twin)], dataset.seed, dataset.size)
        return None
    return None


def _on_twin(dataset: TaskDataset) -> tuple[Seen, str]:
    twin = twin_of(dataset)
    if twin is None:
        return ([], []), "items of this kind have none"
    try:
        return _seen(twin), ""
    except Ssl4rlError as error:  # noise or chance make no example of this task
        return ([], []), str(error)


def _table(found: Audit) -> str:
    head = f"{found.task}[{found.level}]  {found.uri}, {found.n} examples of {found.items} items, seed {found.seed}"
    lines = [head]
    if found.no_twin:
        lines.append(f"no content-free twin: {found.no_twin}")
    table = [["family", "on the data", "chance", "without content", "chance", "verdict"]]
    for row in found.rows:
        table.append([row.family, *_cells(row.data), *_cells(row.twin), row.verdict])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table]
    lines += [f"LEAK {explain(row)}" for row in found.leaks]
    lines += [f"allowed {explain(row)}: {row.allowed}" for row in found.rows if row.verdict == "allowed"]
    lines += [f"content cue {explain(row)}; not without content, so it comes from the data" for row in found.cues]
    if found.undecided:
        lines.append(
            f"undecided: no leak in the packaging ({len(found.on_data)} guesses); of content nothing can be said"
        )
    elif not found.leaks:
        lines.append(f"no leak found ({len(found.on_data) + len(found.on_twin)} guesses, false alarm in 1 of 100)")
    return "\n".join(lines)


def _cells(guess: Guess | None) -> tuple[str, str]:
    if guess is None:
        return "-", "-"
    return f"{guess.accuracy:.3f} ({guess.low:.3f}-{guess.high:.3f})", f"{guess.chance:.3f}"


def explain(row: Row) -> str:
    """What gives what away, in a line."""
    judged = [(g, where) for g, where in ((row.data, "on the data"), (row.twin, "without content")) if g]
    if row.verdict == "content cue":
        judged = [pair for pair in judged if pair[0] is row.data]
    guess, where = min(judged, key=lambda pair: pair[0].p)
    return (
        f"{row.family} ({FAMILIES[row.family]}): {guess.model} guesses the {guess.target} at {guess.accuracy:.3f} "
        f"(95 % {guess.low:.3f}-{guess.high:.3f}) {where}, chance {guess.chance:.3f}; most telling: {guess.telling}"
    )
