"""What the command line offers beside training, a room for each command. Each takes names and options, and gives a
record with texts, JSON or a page made of it. `catalogue.py`, `page.py`, `charts.py` and `run_log.py` are what they
share.
"""
