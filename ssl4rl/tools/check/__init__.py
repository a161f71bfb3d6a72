"""Does a task keep its promises? In go tasks, out come the conformance suite's findings. Start at `check.py`; the
promises are in `conformance.py`.
"""
