"""Completions to log-probs, with the prompt and its pictures computed once a group. In go `Group`s of token ids, out
come `TokenLogps` [P, G, T]. Start at `prefix.py`; `layout.py` says where a packed row's pieces lie, `attention.py`
reads it.
"""
