"""Examples for other people's trainers and harnesses. In goes a dataset, out come portable rows (`rows.py`), which
`ssl4rl.score` scores without the source, the pictures or torch. A module a consumer puts the rows in its words.
"""

from ssl4rl.export.rows import Row, rows, score

__all__ = ["Row", "rows", "score"]
