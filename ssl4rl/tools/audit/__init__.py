"""Can an answer be guessed without understanding? In goes a task on data, out come the shallow classifiers'
accuracies with chance and a verdict. Start at `audit.py`; `records.py` makes the features that `guess.py` learns
from.
"""
