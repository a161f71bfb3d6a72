"""Examples for other people's trainers and harnesses. In goes a dataset, out come portable rows (`rows.py`), which
`ssl4rl.score` scores without the source, the pictures or torch. A module a consumer puts the rows in its words
(`consumer.py` says what it must say); `plan.py` decides which rows, `write.py` makes the folder, `pay.py` pays replies.
"""

from ssl4rl.export.rows import Row, rows, score

__all__ = ["Row", "rows", "score"]
