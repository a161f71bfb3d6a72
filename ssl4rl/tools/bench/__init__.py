"""How does a model do on a multiple-choice benchmark? In go models and a file of questions, out come accuracies by
category with their intervals and chance, and what two models do differently. Start at `bench.py`.
"""
