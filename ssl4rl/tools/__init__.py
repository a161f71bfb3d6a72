"""What the command line and `import ssl4rl` offer, a room for each command. Each room holds one function, which takes
names and options and gives a record (`shown.py`): figures, a text, a page. `asked.py`, `catalogue.py`, `page.py`,
`charts.py`, `run_log.py` and `weights.py` are what they share.
"""
