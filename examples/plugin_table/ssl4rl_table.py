"""A third-party modality in one file: tables. `ssl4rl preview ./ssl4rl_table.py:TASKS --data folder_of_csv_files/`.

Installed by a package with the entry point `table = "ssl4rl_table:TASKS"` in the group `ssl4rl.plugins`, the task is
`table/hidden_header` everywhere.
"""

import csv
from pathlib import Path

from ssl4rl import Choice, Example, Source, Ssl4rlError, Task, Unusable
from ssl4rl.core.source import content_id

LETTERS = "ABCDEFGH"

COUNTRIES = """\
country,capital,continent,currency,area km2,population,calling code,top-level domain
Norway,Oslo,Europe,krone,385207,5500000,+47,.no
Kenya,Nairobi,Africa,shilling,580367,53000000,+254,.ke
Japan,Tokyo,Asia,yen,377975,125000000,+81,.jp
Peru,Lima,South America,sol,1285216,34000000,+51,.pe
Ghana,Accra,Africa,cedi,238533,33000000,+233,.gh
India,New Delhi,Asia,rupee,3287263,1410000000,+91,.in
Chile,Santiago,South America,peso,756102,19500000,+56,.cl
Poland,Warsaw,Europe,zloty,312696,37700000,+48,.pl
Egypt,Cairo,Africa,pound,1010408,110000000,+20,.eg
Turkey,Ankara,Asia,lira,783562,85000000,+90,.tr
Hungary,Budapest,Europe,forint,93030,9600000,+36,.hu
Brazil,Brasilia,South America,real,8515767,203000000,+55,.br
"""


class Tables(Source[dict[str, list[str]]]):
    """CSV texts with a header line, each read when it is asked for."""

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        header, *rows = [row for row in csv.reader(self.texts[index].splitlines()) if row]
        if any(len(row) != len(header) for row in rows):
            raise Unusable("a row is longer or shorter than the header")
        return {name: [row[column] for row in rows] for column, name in enumerate(header)}

    def id(self, index):
        return content_id(self.texts[index].encode())


def open_folder(path):
    files = sorted(Path(path).rglob("*.csv"))
    if not files:
        raise Ssl4rlError(f"{path!r} holds no .csv files")
    return Tables([file.read_text(encoding="utf-8", errors="replace") for file in files])


def open_demo(_):
    """Every four neighbouring countries: tables that share rows, so good for a look and not for a measurement."""
    header, *rows = COUNTRIES.splitlines()
    return Tables(["\n".join([header, *(rows + rows)[start : start + 4]]) for start in range(len(rows))])


class HiddenHeader(Task[dict[str, list[str]]]):
    """Which header belongs to this column of a table?

    Sees: the values of some columns without their headers, one column marked with "?". Answers: the letter of that
    column's header among the headers of all shown columns. Reward: 1 for the right letter, else 0. Chance: 1 / options.
    Known shortcuts: the position of a column or header (both are shuffled); columns with equal values (unusable).
    Source: the `ssl4rl` documentation. Versions: 1, the first.
    """

    name, version = "table/hidden_header", 1
    levels = {"4-way": {"options": 4, "rows": 4}, "8-way": {"options": 8, "rows": 4}}
    draws = 1
    data = "demo:"
    verifier = Choice(LETTERS)

    def verifier_for(self, level):
        return Choice(LETTERS[: level["options"]])

    def make(self, items, level, rng):
        (table,) = items
        k = level["options"]
        if len(table) < k:
            raise Unusable(f"needs {k} columns, has {len(table)}")
        headers = [str(name) for name in rng.permutation(list(table))[:k]]
        if len({tuple(table[name]) for name in headers}) < k:
            raise Unusable("two columns hold the same values")
        target, options = headers[int(rng.integers(k))], [str(name) for name in rng.permutation(headers)]
        shown = [int(row) for row in rng.permutation(len(table[target]))[: level["rows"]]]
        marks = " | ".join("?" if name == target else "-" for name in headers)
        rows = "\n".join(" | ".join(table[name][row] for name in headers) for row in shown)
        choices = "\n".join(f"{letter}: {name}" for letter, name in zip(LETTERS, options, strict=False))
        question = (
            f'A table has lost its headers:\n\n{marks}\n{rows}\n\nWhich header belongs to the column "?"\n{choices}'
        )
        return Example(prompt=(question,), answer=LETTERS[options.index(target)])


TASKS = {"hidden_header": HiddenHeader}
SOURCES = {"": open_folder, "csv": open_folder, "demo": open_demo}
