"""Self-supervised tasks over texts for ssl4rl: put sentences in order, fill a gap, find what comes next.

Found through the entry-point group `ssl4rl.plugins` once it is installed; importing this imports none of the tasks.
"""

TASKS: dict[str, str] = {
    "order": "ssl4rl_text.order:Order",
    "masked": "ssl4rl_text.masked:Masked",
    "next": "ssl4rl_text.following:Next",
}

SOURCES: dict[str, str] = {
    "": "ssl4rl_text.sources:open_path",
    "texts": "ssl4rl_text.sources:open_path",
    "descriptions": "ssl4rl_text.sources:open_descriptions",
}
