"""How a text table is written (its delimiter, comments and quotes), found from its first rows; and its rows."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ssl4rl.core.limits import Budget

DELIMITERS = "\t;,|"
"""Tried in this order, then blanks. A semicolon before a comma: "1,5;2,5" are two numbers, not three."""

NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", " ": "blanks"}
COMMENTS = "#%"

_SAMPLE_LINES, _SAMPLE_CHARACTERS = 2000, 1 << 20
_MOSTLY = 0.8
_CELL = 80
"""Bytes that a short cell takes as a Python string, its place in a list included."""

_LOOKAHEAD_LINES, _LOOKAHEAD_CHARACTERS, _FAILURES, _NEAR_FAILURES = 10_000, 1 << 22, 100, 10_000
"""How far a quote's end is looked for in the lines below, and how many quotes without one are looked after (or with
one that soon proves to be none): then a quote that its line does not close is a letter. Else a file of such quotes
takes quadratic time."""

_QUOTE_STEPS = 4
"""What a quote costs in a row whose cells are not simply quoted, of which 1 is what it costs there; measured."""

_INSIDE = re.compile(r'(?:[^"]++|"")*+')
_WORD = re.compile(r'"((?:[^"]++|"")*+)"(?=\s|\Z)|\S+')


@dataclass(frozen=True)
class Dialect:
    """`delimiter` " " is blanks of any number. A line that begins with one of `comments` is none of the rows.

    `columns`: how many most rows have; 0: not known.
    """

    delimiter: str
    comments: str = COMMENTS
    columns: int = 0

    def is_comment(self, line: str) -> bool:
        return line.lstrip(" ")[:1] in self.comments if self.comments and line.strip() else False


@dataclass
class Skipped:
    """Lines that are no rows."""

    comments: int = 0
    blank: int = 0
    first_comment: str = ""


@dataclass
class _Lines:
    """Lines that can be handed back, numbered from 1."""

    source: Iterator[str]
    number: int = 0
    back: deque[str] = field(default_factory=deque)
    failures: int = 0
    near_failures: int = 0
    work: Budget | None = None

    @property
    def given_up(self) -> bool:
        """Whether a quote that its line does not close is a letter from now on."""
        return self.failures >= _FAILURES or self.near_failures >= _NEAR_FAILURES

    def next(self) -> str | None:
        line = self.back.popleft() if self.back else next(self.source, None)
        self.number += line is not None
        return line

    def look_at(self, steps: int) -> None:
        """Counts what will be looked at, before it is.

        Raises:
            Ssl4rlError: it is more than is left.
        """
        if self.work is not None:
            self.work.spend(steps)

    def give_back(self, lines: Sequence[str]) -> None:
        self.back.extendleft(reversed(lines))
        self.number -= len(lines)


def rows(
    lines: Iterable[str],
    dialect: Dialect,
    skipped: Skipped | None = None,
    budget: Budget | None = None,
    work: Budget | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each with the number of the line it ends on.

    A cell is quoted where its first and last characters (but blanks) are quotes and those between them are doubled; it
    may hold the delimiter and ends of lines. Any other quote is a letter: one that nothing closes swallows no lines.
    In files delimited by tabs and bars a line that has as many cells as the others is a row by itself, unless a quote
    leads from it into lines that have not.

    Args:
        lines: the text, each line with its end.
        dialect: how it is written.
        skipped: counts comments and blank lines.
        budget: refuses a line of more cells than it can afford.
        work: refuses more quotes than it can afford, where rows have to be looked at closely.

    Raises:
        Ssl4rlError: one of both does.
    """
    source = _Lines(iter(lines), work=work)
    skipped = skipped if skipped is not None else Skipped()
    delimiter, marks = dialect.delimiter, tuple(dialect.comments)
    while (line := source.next()) is not None:
        plain = '"' not in line or (source.given_up and delimiter != " " and line.count('"') % 2 == 1)
        if plain and line[:1].isalnum() and len(line) < _SAMPLE_CHARACTERS:  # nearly all lines, in short
            yield source.number, line.split() if delimiter == " " else line.rstrip("\r\n").split(delimiter)
        elif not line.strip():
            skipped.blank += 1
        elif marks and line.lstrip(" ").startswith(marks):
            skipped.comments += 1
            skipped.first_comment = skipped.first_comment or line.strip()[:200]
        else:
            if budget is not None and len(line) > _SAMPLE_CHARACTERS:
                budget.afford(_CELL * _most_cells(line, dialect.delimiter), "a line")
            row = _row(line, source, dialect)
            if any(row):
                yield source.number, row
            else:
                skipped.blank += 1


def _most_cells(line: str, delimiter: str) -> int:
    return len(line) // 2 if delimiter == " " else line.count(delimiter) + 1


def _row(line: str, source: _Lines, dialect: Dialect) -> list[str]:
    text = line.rstrip("\r\n")
    quotes = text.count('"')
    if dialect.delimiter == " ":
        if not quotes:
            return text.split()
        source.look_at(_QUOTE_STEPS * quotes)
        return [_unquoted(match[0]) for match in _WORD.finditer(text)]
    if not quotes or (source.given_up and quotes % 2):
        return text.split(dialect.delimiter)
    source.look_at(quotes)
    if (simple := _simple(text.split(dialect.delimiter))) is not None:
        return simple
    source.look_at((_QUOTE_STEPS - 1) * quotes)
    literal = [_unquoted(cell) for cell in text.split(dialect.delimiter)]
    bare = dialect.delimiter in "\t|"
    columns = dialect.columns or (len(literal) if bare else 0)
    fits = columns > 0 and len(literal) == columns
    taken: list[str] = []
    quoted = _quoted(line, source, dialect.delimiter, taken)
    alone = fits and bare and (not taken or any(part.count(dialect.delimiter) + 1 == columns for part in taken))
    if quoted is None or alone or (fits and len(quoted) != columns):
        source.give_back(taken)
        return literal
    return quoted


def _simple(cells: list[str]) -> list[str] | None:
    """Cells of which each has no quote or two, its first and its last character: without them. None: not so plain."""
    for at, cell in enumerate(cells):
        if '"' in cell:
            if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"' or cell.count('"') != 2:
                return None
            cells[at] = cell[1:-1]
    return cells


def _unquoted(cell: str) -> str:
    """The cell without its quotes, where it has both and those inside are doubled."""
    inner = cell.strip(" ")
    if len(inner) < 2 or inner[0] != '"' or inner[-1] != '"':
        return cell
    found = _INSIDE.fullmatch(inner, 1, len(inner) - 1)
    return inner[1:-1].replace('""', '"') if found else cell


def _quoted(line: str, source: _Lines, delimiter: str, taken: list[str]) -> list[str] | None:
    """The cells of a row by the rules of quoting; it may go on in the lines below, which are `taken` from the source.

    None: a quote opens in this line that none closes.
    """
    cells: list[str] = []
    text, start = line, 0
    while True:
        opening = start
        while opening < len(text) and text[opening] == " ":
            opening += 1
        if text[opening : opening + 1] == '"':
            found = _closing(text, opening + 1, source, delimiter, taken)
            if found is None:
                return None
            cell, text, start = found
            cells.append(cell)
            if text[start : start + 1] != delimiter:
                return cells
            start += 1
            continue
        end = text.find(delimiter, start)
        if end < 0:
            cells.append(text[start:].rstrip("\r\n"))
            return cells
        cells.append(text[start:end])
        start = end + 1


def _closing(text: str, start: int, source: _Lines, delimiter: str, taken: list[str]) -> tuple[str, str, int] | None:
    """A quoted cell whose inside begins at `start`; the text it ends in and where it goes on there. None: a letter."""
    parts: list[str] = []
    before = len(taken)
    looked = 0
    while True:
        match = _INSIDE.match(text, start)
        end = match.end() if match else start
        if end < len(text):  # at a single quote
            after = end + 1
            while text[after : after + 1] == " ":
                after += 1
            if text[after : after + 1] in (delimiter, "\r", "\n", ""):
                parts.append(text[start:end])
                return "".join(parts).replace('""', '"'), text, after
            source.near_failures += len(taken) > before
            break
        parts.append(text[start:])
        looked += len(text)
        far = len(taken) - before >= _LOOKAHEAD_LINES or looked > _LOOKAHEAD_CHARACTERS
        following = None if far or source.given_up else source.next()
        if following is None:
            source.failures += 1
            break
        source.look_at(_QUOTE_STEPS * (1 + following.count('"')))
        taken.append(following)
        text, start = following, 0
    return None


def sniff(lines: Iterable[str], names: Collection[str] = ()) -> Dialect:
    """How a table is written, from its first rows.

    The delimiter is the first (tabs, semicolons, commas, bars, blanks) that cuts all rows into one number of columns,
    two or more; before that, one that cuts any of `names` (in lower case) out of the first row; failing that, one that
    cuts most rows so. Lines that begin with # or % are comments, unless most lines do and are rows like the others
    (hashtags).
    """
    sample: list[str] = []
    size = 0
    taken = 0
    for line in lines:
        sample.append(line[:_SAMPLE_CHARACTERS])
        size += len(line)
        taken += line[:1] not in COMMENTS
        if taken >= _SAMPLE_LINES or size >= _SAMPLE_CHARACTERS:
            break
    if size >= _SAMPLE_CHARACTERS and len(sample) > 1:
        sample.pop()  # perhaps a row of its own
    marked = [line for line in sample if Dialect(" ").is_comment(line)]
    filled = sum(1 for line in sample if line.strip())
    if 2 * len(marked) > filled and not any(line.lstrip(" ")[1:2].isspace() for line in marked):
        found, share = _delimiter(sample, "", names)
        if share == 1 and found.columns > 1:
            return found
    return _delimiter(sample, COMMENTS, names)[0]


def _delimiter(sample: Sequence[str], comments: str, names: Collection[str]) -> tuple[Dialect, float]:
    """The dialect with the delimiter that fits best, and the share of rows that have its number of columns."""
    fits: dict[str, tuple[float, int]] = {}
    for mark in (*DELIMITERS, " "):
        found = [row for _, row in rows(sample, Dialect(mark, comments))]
        counts = Counter(map(len, found[1:] if _row_names(found) else found))
        columns, often = max(counts.items(), key=lambda item: (item[1], item[0])) if counts else (0, 0)
        if columns < 2:
            continue
        fits[mark] = often / counts.total(), columns
        head = {cell.strip().lower() for cell in found[0]}
        if mark != " " and len(head) > 1 and any(name in head for name in names):
            return Dialect(mark, comments, columns), fits[mark][0]
    marks = [mark for mark in fits if mark != " "]
    best = next((mark for mark in marks if fits[mark][0] == 1), None)
    best = best or next((mark for mark in marks if fits[mark][0] >= _MOSTLY), None)
    best = best or (" " if fits.get(" ", (0.0, 0))[0] == 1 else None)
    best = best or max(fits, key=lambda mark: fits[mark][0], default=" ")
    share, columns = fits.get(best, (0.0, 1))
    return Dialect(best, comments, columns), share


def _row_names(found: Sequence[list[str]]) -> bool:
    """Whether the first row is a header without a name for the column of row numbers, as R writes it."""
    if len(found) < 2 or len(found[1]) != len(found[0]) + 1:
        return False
    return all(row[0].strip() == str(number) for number, row in enumerate(found[1:], start=1))
