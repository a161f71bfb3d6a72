"""A look at a task's examples. In goes a task on data, out come texts, JSON or a page. Start at `preview.py`;
`page.py` fills `preview.html.jinja`.
"""
