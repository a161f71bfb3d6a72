"""`debian:` the embedded graph of Debian packages: real, attributed with texts, and without a download."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import numpy as np

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import NodeSource

FILE = Path(__file__).parents[2] / "embedded" / "debian" / "packages.tsv.gz"


def open_debian(rest: str = "") -> NodeSource:
    """Opens "debian:" (edges undirected) or "debian:directed" (from a package to those it needs).

    Raises:
        Ssl4rlError: something else follows the colon.
    """
    if rest not in ("", "directed"):
        raise Ssl4rlError(f"source 'debian:{rest}'; allowed: 'debian:', 'debian:directed'")
    return NodeSource(f"debian:{rest}", load(directed=True) if rest else load(), reopen=(open_debian, rest))


@cache
def load(directed: bool = False) -> Graph:
    """The graph: 5,682 packages, 31,725 dependencies; opened in about a tenth of a second and kept.

    `names` are the packages'. Columns: "text" is the one-line description, "section" the archive section (twelve, of
    384 to 500 packages each). An edge says that one package needs the other; directed, it leads to what is needed.
    scripts/make_debian_graph.py says how they were chosen, embedded/debian/LICENSES.md where they come from.
    """
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        next(lines)
        names, sections, texts, needs = zip(*(line.rstrip("\n").split("\t") for line in lines), strict=True)
    number = {name: node for node, name in enumerate(names)}
    edges = [(node, number[need]) for node, needed in enumerate(needs) for need in needed.split()]
    u, v = np.array(edges, dtype=np.int64).T
    columns = {"text": texts, "section": sections}
    return Graph.from_edges(len(names), u, v, directed=directed, names=names, columns=columns)
