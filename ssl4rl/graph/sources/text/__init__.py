"""Graphs as text. In goes a file of rows, words, tags or keys, out comes a graph with what its nodes carry and a line
on how it was read. Start at `table.py`; `dialect.py` finds how a table is written, `xml_reader.py` is what GraphML and
GEXF share. All put a graph together with `../builder.py`.
"""
