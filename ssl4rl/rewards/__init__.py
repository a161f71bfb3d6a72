"""Reward functions that a recipe may weigh by name, beside the verifier's own parts. In go replies (`core/reward.py`
says how), out comes a number for each. A function is found by the entry-point group `ssl4rl.rewards`.
"""
