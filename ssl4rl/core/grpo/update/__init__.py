"""Rewards to an optimiser step. In go groups with rewards, out come changed weights and the step's figures. Start at
`learner.py`; `advantage.py` and `loss.py` are the algorithm, pure functions on tensors.
"""
