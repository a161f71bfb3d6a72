"""A table of questions as a source: its rows, and what of them each kind of task can use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from ssl4rl.core.near.groups import group_ids
from ssl4rl.core.near.shingles import near_texts
from ssl4rl.core.source import Problem, Source, Way, content_id
from ssl4rl.core.task import Task
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.qa.constants import Facts
from ssl4rl.qa.labelled import Labelled, Raw
from ssl4rl.qa.tables import options
from ssl4rl.qa.tables.answers import Read, read
from ssl4rl.vision.sources.base import PhotoSource, folder_group

NEAR_SHARE = 0.8
"""Of the runs of words of a question without pictures, so many in common make two of them near-twins: questions are
short, and those made from one template are not."""


class Table(Source[Raw]):
    """All rows of a file that can be used, as they are.

    An item's id is a hash of question, hint, options and the contents of its pictures. Rows that show near-twins of one
    picture are one group when split by look, and so are questions without pictures in nearly the same words; by folder
    those whose pictures lie in one.

    Args:
        uri: what was opened.
        rows: the usable rows.
        ids: of each the content ids of its pictures.
        pictures: the source of all pictures; None where no row has any.
        problems: what was left out.
        told: which columns were taken.
        others: columns that may hold answers and were not taken.
        asked: the URI's options about answers.
    """

    ways: ClassVar[tuple[Way, ...]] = ("look", "content", "folder")

    def __init__(
        self,
        uri: str,
        rows: Sequence[Raw],
        ids: Sequence[tuple[str, ...]],
        pictures: PhotoSource | None,
        problems: Sequence[Problem],
        told: str,
        asked: Mapping[str, str],
        others: Sequence[str] = (),
    ) -> None:
        self.uri, self.rows, self._pictured, self._pictures = uri, rows, ids, pictures
        self._problems, self.told, self.asked, self.others = tuple(problems), told, asked, tuple(others)
        self._ids = [_identity(row, shown) for row, shown in zip(rows, ids, strict=True)]
        self._views: dict[str, Answered] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Raw:
        return self.rows[index]

    def id(self, index: int) -> str:
        return self._ids[index]

    def for_task(self, task: Task[Any]) -> Source[Any]:
        """The rows with an answer of the task's `kind`; for a task without one all, as they are."""
        kind = getattr(task, "kind", "")
        if not kind:
            return self
        if kind not in self._views:
            self._views[kind] = Answered(self, kind)
        return self._views[kind]

    def groups(self, way: Way) -> Sequence[str] | None:
        return None if way == "content" else self._folders if way == "folder" else self._looks

    @cached_property
    def _looks(self) -> Sequence[str]:
        alike: dict[str, str] = {}
        if self._pictures is not None:
            groups = self._pictures.groups("look") or ()
            alike = {self._pictures.id(at): group for at, group in enumerate(groups)}
        pairs = _chained([[alike[shown] for shown in row] for row in self._pictured])
        plain = [at for at, shown in enumerate(self._pictured) if not shown]
        words = [" ".join((self.rows[at].question, self.rows[at].hint, *self.rows[at].options)) for at in plain]
        pairs += [(plain[i], plain[j]) for i, j in near_texts(words, share=NEAR_SHARE)]
        return group_ids(self._ids, pairs)

    @cached_property
    def _folders(self) -> Sequence[str]:
        names = [[folder_group(getattr(photo, "name", ""), "") for photo in row.photos] for row in self.rows]
        return group_ids(self._ids, _chained([[name for name in row if name] for row in names]))

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        return took(self.told, len(self), self._problems)


class Answered(Source[Labelled]):
    """The rows of a table that one kind of task can use.

    Raises:
        Ssl4rlError: there are none; with the first reasons.
    """

    ways: ClassVar[tuple[Way, ...]] = Table.ways

    def __init__(self, table: Table, kind: str) -> None:
        self._table, self._kind = table, kind
        self.uri, self.benchmark, self.licence = f"{table.uri} ({kind})", table.benchmark, table.licence
        self._read: Read = read(kind, table.uri, table.rows, table.asked)
        self._problems = (*table.problems, *self._read.problems)
        if not self._read.rows:
            reasons = "; ".join(f"{problem.name}: {problem.why}" for problem in self._problems[:3])
            others = f"; other answers may be in {', '.join(table.others)}: ?answer=NAME" if table.others else ""
            raise Ssl4rlError(
                f"{table.uri!r} ({table.told}): no row gives a qa/{kind} question ({reasons or 'no rows'}){others}"
            )
        self._facts = Facts(() if kind == "choice" else self._read.answers)
        self._leans: list[tuple[float, ...]] = [()] * len(self._read.rows)
        self._kept = [""] * len(self._read.rows)
        if kind == "choice":
            shown = [options.given(table.rows[at].options) for at in self._read.rows]
            self._leans = options.leanings(shown, [answers[0] for answers in self._read.answers])
            self._kept = [options.kept(texts) for texts in shown]

    def __len__(self) -> int:
        return len(self._read.rows)

    def __getitem__(self, index: int) -> Labelled:
        at = self._read.rows[index]
        row = self._table.rows[at]
        return Labelled(
            row.name,
            row.question,
            self._read.answers[index],
            self._facts,
            options.given(row.options),
            row.photos,
            row.hint,
            self._read.units.get(at, row.unit),
            self._leans[index],
            self._kept[index],
        )

    def id(self, index: int) -> str:
        return self._table.id(self._read.rows[index])

    def groups(self, way: Way) -> Sequence[str] | None:
        groups = self._table.groups(way)
        return None if groups is None else [groups[at] for at in self._read.rows]

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        said = [took(f"{self._table.told} ({self._read.how})", len(self), self._problems)]
        stay = Counter(self._kept)
        said += (
            [f"{stay['last']} keep their last option in its place (all or none of the above)"] if stay["last"] else []
        )
        said += [f"{stay['order']} keep the order of their options (one names others)"] if stay["order"] else []
        ids = Counter(self.id(at) for at in range(len(self)))
        again = sum(ids.values()) - len(ids)
        said += [f"{again} ask what another row asks; the first counts"] if again else []
        if any(self._leans):
            hits = sum(options.best(leans) in row for leans, row in zip(self._leans, self._read.answers, strict=True))
            share = hits / len(self)
            said += [f"the option that is right most often elsewhere is right in {share:.2f}, whatever is asked"]
        return "; ".join(said)


def took(told: str, rows: int, problems: Sequence[Problem]) -> str:
    """ "took question=query, answer=label; 1,203 rows, 4 skipped: x.tsv row 7: it has no answer"."""
    said = f"took {told}; {rows:,} rows"
    if problems:
        said += f", {len(problems):,} skipped: {problems[0].name}: {problems[0].why}"
    return said


def _identity(row: Raw, pictures: Sequence[str]) -> str:
    return content_id("\0".join((row.question, row.hint, *row.options, "", *pictures)).encode("utf-8", "surrogatepass"))


def _chained(marks: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Pairs of rows that share a mark, enough of them to join all that do."""
    first: dict[str, int] = {}
    pairs = []
    for at, row in enumerate(marks):
        for mark in row:
            if (other := first.setdefault(mark, at)) != at:
                pairs.append((other, at))
    return pairs
