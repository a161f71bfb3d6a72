"""Questions with answers of one's own: tasks that ask them, and readers of the tables that hold them.

In go a TSV, JSONL or parquet file with questions, answers and perhaps options and pictures; out come examples beside
the self-supervised ones. Importing this imports none of it.
"""

TASKS: dict[str, str] = {
    "choice": "ssl4rl.qa.choice:OwnChoice",
    "number": "ssl4rl.qa.number:OwnNumber",
    "box": "ssl4rl.qa.box:OwnBox",
    "text": "ssl4rl.qa.text:OwnText",
}

SOURCES: dict[str, str] = {
    "": "ssl4rl.qa.tables.opening:open_path",
    "tsv": "ssl4rl.qa.tables.opening:open_tsv",
    "jsonl": "ssl4rl.qa.tables.opening:open_jsonl",
    "parquet": "ssl4rl.qa.tables.opening:open_parquet",
    "drawn": "ssl4rl.qa.drawn:open_drawn",
}
