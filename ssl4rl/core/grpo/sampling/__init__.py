"""Prompts to completions. In go encoded prompts and keyed random numbers, out come `Completion`s, and with scores
`Rollouts`. Start at `backend.py`, the interface, then `rollout.py`; `cascade.py` and `static.py` are its fast
decoders.
"""
