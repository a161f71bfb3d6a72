"""How often is a model right? In go a model and tasks, out come accuracies, never without chance and an interval.
Start at `evaluate.py`.
"""
