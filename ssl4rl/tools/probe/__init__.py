"""What a model can learn now. In go a model and data, out come success and signal of every task and level, and
advice. Start at `probe.py`; `advice.py` holds the rule, `page.py` fills `probe.html.jinja`.
"""
