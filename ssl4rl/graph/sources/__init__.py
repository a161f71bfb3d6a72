"""Where graphs come from. In goes a URI, out comes a source of nodes or of small graphs, with what was left out and a
line on what was taken. Start at `base.py` (what becomes a source) and `files.py` (how a file is found and opened);
`text/` and `pyg/` read files, `npz.py` maps arrays, `built_in.py`, `synthetic.py` and `debian.py` need no file.
`ssl4rl.graph.SOURCES` names their openers by scheme.
"""
