"""Tables of questions: `opening` opens, `files` reads, `columns`, `answers`, `options` and `boxes` tell what is meant.

Comes in: a TSV, JSONL or parquet file; goes out: a source of its rows (`table`), and for each kind of task the rows
that have such an answer.
"""
