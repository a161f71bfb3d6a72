"""Small graphs as text, and back.

`write` puts a graph into one of the `ENCODINGS`, everything in a random order; `read` is its inverse. What must not be
shown must not be in the graph that is written (`Graph.without_edges`), or be among its `hidden_rows`. Names and texts
may hold anything: `quoting` says how they are kept on one line and from being taken for tags or special tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.serialise import lines, markup
from ssl4rl.graph.serialise.content import Content, Parsed, Reader, Row, Writer
from ssl4rl.graph.serialise.lines import edge_text
from ssl4rl.graph.serialise.naming import NAME_STYLES, choices, node_names
from ssl4rl.graph.serialise.quoting import one_line, quote, show

__all__ = [
    "ENCODINGS",
    "NAME_STYLES",
    "Parsed",
    "check_encoding",
    "check_names",
    "draw_encoding",
    "edge_text",
    "node_names",
    "one_line",
    "quote",
    "read",
    "show",
    "write",
]

_BOTH: Mapping[str, tuple[Writer, Reader]] = {
    "adjacency": (lines.write_adjacency, lines.read_adjacency),
    "incident": (lines.write_incident, lines.read_incident),
    "edge_list": (lines.write_edge_list, lines.read_edge_list),
    "pairs": (lines.write_pairs, lines.read_pairs),
    "friendship": (lines.write_friendship, lines.read_friendship),
    "coauthorship": (lines.write_coauthorship, lines.read_coauthorship),
    "graphml": (markup.write_graphml, markup.read_graphml),
    "json": (markup.write_json, markup.read_json),
    "text": (lines.write_text, lines.read_text),
}
ENCODINGS = tuple(_BOTH)
_ANY = tuple(name for name in ENCODINGS if name != "pairs")  # it shows nodes without an edge last, and so apart


def write(
    graph: Graph,
    names: Sequence[str],
    encoding: str,
    rng: np.random.Generator,
    *,
    texts: Sequence[str | None] | None = None,
    order: Sequence[int] | None = None,
    weights: bool = False,
    hidden_rows: Sequence[int] = (),
    sort_ends: bool = False,
) -> str:
    """A graph as text.

    Nodes, rows, neighbours within a row, edges and the two ends of an undirected edge stand in an order drawn from
    `rng`, the same draws for every encoding.

    Args:
        graph: N nodes, small.
        names: a different one for every node, whatever it holds (`node_names`).
        texts: what to show of every node (None: nothing of this one); the "text" encoding is made for them, the
            others show them at their end.
        order: the nodes in the order they are listed (and their lines stand in), instead of a random one.
        weights: show them, where the graph has any; to three significant digits.
        hidden_rows: nodes without a line of their own and without any of their edges in others' lines. They are listed
            among the nodes, with their text.
        sort_ends: the ends of an undirected edge ascending, so that it is always the same word (small models learn
            that sooner), instead of in random order.

    Raises:
        Ssl4rlError: no such encoding.
        ValueError: `names` are not one for each node, or two are the same.
    """
    if encoding not in _BOTH:
        raise Ssl4rlError(f"unknown encoding {encoding!r}{nearest(encoding, ENCODINGS)}")
    if len(names) != graph.num_nodes or len(set(names)) < len(names):
        raise ValueError(f"{len(set(names))} different names for {graph.num_nodes} nodes")
    return _BOTH[encoding][0](_content(graph, names, rng, texts, order, weights, frozenset(hidden_rows), sort_ends))


def read(text: str, encoding: str) -> Parsed:
    """The graph that `write` wrote: names in the order listed, edges by name, direction, texts, weights as shown.

    Raises:
        Ssl4rlError: no such encoding.
        ValueError: the text is not of that encoding, whole.
    """
    if encoding not in _BOTH:
        raise Ssl4rlError(f"unknown encoding {encoding!r}{nearest(encoding, ENCODINGS)}")
    return _BOTH[encoding][1](text)


def _content(
    graph: Graph,
    names: Sequence[str],
    rng: np.random.Generator,
    texts: Sequence[str | None] | None,
    order: Sequence[int] | None,
    weights: bool,
    hidden: frozenset[int],
    sort_ends: bool,
) -> Content:
    """The graph by names, in the order it will be shown."""
    listed = rng.permutation(graph.num_nodes).tolist()
    row_order = rng.permutation(graph.num_nodes).tolist()
    if order is not None:
        listed = row_order = list(order)
    shown: dict[int, list[int]] = {}
    weight: dict[tuple[int, int], float] = {}
    for u in range(graph.num_nodes):
        neighbours = graph.neighbours(u).tolist()
        row = [] if u in hidden else [v for v in neighbours if v not in hidden]
        shown[u] = [row[i] for i in rng.permutation(len(row)).tolist()]
        if weights and graph.weight is not None:
            start = int(graph.indptr[u])
            values = np.asarray(graph.weight[start : start + len(neighbours)]).tolist()
            weight |= {(u, v): value for v, value in zip(neighbours, values, strict=True)}
    pairs = [(u, v) for u, row in shown.items() for v in row if graph.directed or u < v]
    pairs = [pairs[i] for i in rng.permutation(len(pairs)).tolist()]
    turned = rng.random(len(pairs)) < 0.5
    if sort_ends:
        turned = np.array([names[u] > names[v] for u, v in pairs], dtype=bool)
    if not graph.directed:
        pairs = [(v, u) if turn else (u, v) for (u, v), turn in zip(pairs, turned.tolist(), strict=True)]
    rows = [Row(names[u], [(names[v], weight.get((u, v))) for v in shown[u]]) for u in row_order if u not in hidden]
    own = {} if texts is None else {names[u]: text for u in listed if (text := texts[u]) is not None}
    edges = [(names[u], names[v], weight.get((u, v))) for u, v in pairs]
    return Content(graph.directed, [names[u] for u in listed], edges, rows, own)


def draw_encoding(value: str, rng: np.random.Generator) -> str:
    """One of the encodings that a level's parameter leaves open.

    "incident" is one, "adjacency|edge_list" leave two open, "any" leaves all but "pairs".

    Raises:
        Ssl4rlError: it names something else.
    """
    open_to = _ANY if value == "any" else choices("encoding", value, ENCODINGS)
    return open_to[int(rng.integers(len(open_to)))]


def check_encoding(where: str, value: str) -> None:
    """Refuse a level's encoding that `draw_encoding` cannot draw from; `where` opens the message.

    Raises:
        Ssl4rlError: it names something else than encodings.
    """
    choices(where, value, ENCODINGS)


def check_names(where: str, value: str) -> None:
    """Refuse a level's style of names that `node_names` does not know; `where` opens the message.

    Raises:
        Ssl4rlError: it names something else than styles.
    """
    choices(where, value, NAME_STYLES)
