"""Graphs as PyTorch Geometric stores them. In goes a .pt file or a dataset's folder, out come a graph's nodes or a
collection of graphs; nothing in a file is run. Start at `pyg.py`; `stores.py` says how many nodes there are and what
they carry, `raw_layouts.py` reads Planetoid's and TUDataset's folders.
"""
