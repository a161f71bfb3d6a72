"""Encodings that list nodes first and then say the edges, in symbols or in sentences.

After the encoders of Talk Like a Graph (arXiv 2310.04560), shortened: small models learn from these texts too. All have
the same form: a first line with the kind of graph and all its nodes, then the edges, then the nodes' texts if there are
any. A weight stands behind "=".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssl4rl.graph.serialise.content import Content, Parsed, Row, collect, show_weight
from ssl4rl.graph.serialise.quoting import NAME, QUOTED, is_compact, quote, seen, show, unquote

_WEIGHT = r"(?:=(-?[\w.+-]+))?"
_ONE_NAME = re.compile(NAME)
_NEIGHBOUR = re.compile(rf"({NAME}){_WEIGHT}")
_TEXT_LINE = re.compile(rf"({NAME}): ({QUOTED})")
_TEXTS = "Texts:"
_WORD = r"[^\W_]+"
_PAIR = rf"({NAME}(?= )|{_WORD})(?: ->? |->?)((?<= ){NAME}|{_WORD}){_WEIGHT}"
_PAIRS = ("Edges: ", "Arcs: ")
_ALONE = "Alone: "

Edge = tuple[str, str, float | None]


def write_adjacency(content: Content) -> str:
    """ "(A, B) (B, C)": pairs in brackets."""
    pairs = [f"({show(u)}, {show(v)}){_weight(w)}" for u, v, w in content.edges]
    return _page(content, _GRAPH, [f"Edges: {' '.join(pairs) or 'none'}"])


def read_adjacency(text: str) -> Parsed:
    return _read_list(text, re.compile(rf"\(({NAME}), ({NAME})\){_WEIGHT}"), " ")


def write_edge_list(content: Content) -> str:
    """ "A-B B-C", directed "A->B B->C"; with commas between where a name is not one word of letters and digits."""
    return _page(content, _GRAPH, [f"Edges: {_pairs(content)}"])


def read_edge_list(text: str) -> Parsed:
    names, *_ = _open(text, _GRAPH)
    between = " " if all(map(is_compact, names)) else ", "
    return _read_list(text, re.compile(_PAIR), between)


def write_pairs(content: Content) -> str:
    """ "Edges: A-B B-C" and "Alone: D", directed "Arcs: A->B B->C": the edge list without the list of nodes, for models
    that read few tokens."""
    joined = {end for u, v, _ in content.edges for end in (u, v)}
    alone = [show(name) for name in content.names if name not in joined]
    lines = [f"{_PAIRS[content.directed]}{_pairs(content)}"]
    if alone:
        lines.append(f"{_ALONE}{', '.join(alone)}")
    return "\n".join([*lines, *_texts(content)])


def read_pairs(text: str) -> Parsed:
    """Names in the order in which edges mention them, then those without an edge."""
    first, *body = text.split("\n")
    body, texts = _split_texts(body)
    directed = first.startswith(_PAIRS[True])
    if not first.startswith(_PAIRS[directed]):
        raise ValueError(f"no graph starts with {first!r}")
    listed = first.removeprefix(_PAIRS[directed])
    between = ", " if ", " in listed else " "
    edges = [_edge(*found.groups()) for found in _items(re.compile(_PAIR), listed, between, "none")]
    names = list(dict.fromkeys(end for u, v, _ in edges for end in (u, v)))
    if body:
        (line,) = body
        alone = _match(re.compile(f"{_ALONE}(.*)"), line)[1]
        names += [seen(found[0]) for found in _items(_ONE_NAME, alone, ", ", "")]
    return collect(directed, names, edges, texts)


def _pairs(content: Content) -> str:
    """ "A-B B-C", with commas between where a name is not one word of letters and digits; "none" without edges."""
    between = " " if all(map(is_compact, content.names)) else ", "
    pairs = [f"{edge_text(u, v, directed=content.directed)}{_weight(w)}" for u, v, w in content.edges]
    return between.join(pairs) or "none"


def edge_text(u: str, v: str, *, directed: bool) -> str:
    """ "A-B", directed "A->B"; "a-1 - b 2" where a name is not one word of letters and digits."""
    arrow = "->" if directed else "-"
    if is_compact(u) and is_compact(v):
        return f"{u}{arrow}{v}"
    return f"{show(u)} {arrow} {show(v)}"


def write_incident(content: Content) -> str:
    """ "A is connected to B, C.", directed "A points to B, C.": a sentence a node."""
    verb = "points to" if content.directed else "is connected to"
    return _page(content, _GRAPH, [f"{show(row.name)} {verb} {_neighbours(row, 'no node')}." for row in content.rows])


def read_incident(text: str) -> Parsed:
    names, directed, body, texts = _open(text, _GRAPH)
    form = re.compile(rf"({NAME}) {'points to' if directed else 'is connected to'} (.*)\.")
    rows = [_match(form, line) for line in body]
    edges = [edge for row in rows for edge in _row_edges(row[1], row[2], "no node")]
    return collect(directed, names, edges, texts)


def write_text(content: Content) -> str:
    """ "A "its text": B, C": a line a node, text first. The line of a hidden node, or of one without a row, stops
    after its text, and is left out where it has none."""
    rows = {row.name: row for row in content.rows}
    order = [row.name for row in content.rows]
    order += [name for name in content.names if name not in rows and name in content.texts]
    lines = []
    for name in order:
        text = f" {quote(content.texts[name])}" if name in content.texts else ""
        neighbours = f": {_neighbours(rows[name], 'none')}" if name in rows else ""
        lines.append(f"{show(name)}{text}{neighbours}")
    return "\n".join([_first_line(content, _GRAPH), *lines])


def read_text(text: str) -> Parsed:
    first, *body = text.split("\n")
    names, directed = _read_first_line(first, _GRAPH)
    form = re.compile(rf"({NAME})(?: ({QUOTED}))?(?:: (.*))?")
    edges: list[Edge] = []
    texts = {}
    for line in body:
        name, own, neighbours = _match(form, line).groups()
        if own is not None:
            texts[seen(name)] = unquote(own)
        if neighbours is not None:
            edges += _row_edges(name, neighbours, "none")
    return collect(directed, names, edges, {name: texts[name] for name in names if name in texts})


@dataclass(frozen=True)
class Words:
    """How an encoding speaks: undirected first, directed second."""

    openings: tuple[str, str]
    edges: tuple[str, str] = ("", "")
    nothing: tuple[str, str] = ("", "")


_GRAPH = Words(("Undirected graph. Nodes: ", "Directed graph. Nodes: "))
_FRIENDS = Words(
    ("Friendships among ", "Who follows whom among "),
    ("{} and {} are friends{}.", "{} follows {}{}."),
    ("No two are friends.", "No one follows another."),
)
_AUTHORS = Words(
    ("Joint papers among ", "Who cites whom among "),
    ("{} and {} wrote a paper together{}.", "{} cites {}{}."),
    ("No two wrote a paper together.", "No one cites another."),
)


def write_friendship(content: Content) -> str:
    """ "Ann and Bob are friends.", directed "Ann follows Bob.": a sentence an edge."""
    return _write_prose(content, _FRIENDS)


def read_friendship(text: str) -> Parsed:
    return _read_prose(text, _FRIENDS)


def write_coauthorship(content: Content) -> str:
    """ "Ann and Bob wrote a paper together.", directed "Ann cites Bob.": a sentence an edge."""
    return _write_prose(content, _AUTHORS)


def read_coauthorship(text: str) -> Parsed:
    return _read_prose(text, _AUTHORS)


def _write_prose(content: Content, words: Words) -> str:
    sentence = words.edges[content.directed]
    said = [sentence.format(show(u), show(v), "" if w is None else f" ({show_weight(w)})") for u, v, w in content.edges]
    return _page(content, words, said or [words.nothing[content.directed]])


def _read_prose(text: str, words: Words) -> Parsed:
    names, directed, body, texts = _open(text, words)
    form = re.compile(words.edges[directed].replace(".", r"\.").format(f"({NAME})", f"({NAME})", r"(?: \((.+)\))?"))
    said = [] if body == [words.nothing[directed]] else body
    return collect(directed, names, [_edge(*_match(form, line).groups()) for line in said], texts)


def _page(content: Content, words: Words, body: Sequence[str]) -> str:
    """The first line, the edges, the texts."""
    return "\n".join([_first_line(content, words), *body, *_texts(content)])


def _texts(content: Content) -> list[str]:
    """The lines with the nodes' texts, if there are any."""
    texts = [f"{show(name)}: {quote(text)}" for name, text in content.texts.items()]
    return [_TEXTS, *texts] if texts else []


def _open(text: str, words: Words) -> tuple[list[str], bool, list[str], dict[str, str]]:
    """Names, direction, the lines in between, and the texts."""
    first, *body = text.split("\n")
    names, directed = _read_first_line(first, words)
    return names, directed, *_split_texts(body)


def _split_texts(body: list[str]) -> tuple[list[str], dict[str, str]]:
    """The lines before the texts, and the texts."""
    if _TEXTS not in body:
        return body, {}
    at = body.index(_TEXTS)
    found = [_match(_TEXT_LINE, line).groups() for line in body[at + 1 :]]
    return body[:at], {seen(name): unquote(own) for name, own in found}


def _first_line(content: Content, words: Words) -> str:
    return f"{words.openings[content.directed]}{', '.join(map(show, content.names)) or 'none'}."


def _read_first_line(line: str, words: Words) -> tuple[list[str], bool]:
    for directed, opening in enumerate(words.openings):
        if line.startswith(opening) and line.endswith("."):
            listed = line[len(opening) : -1]
            return [seen(found[0]) for found in _items(_ONE_NAME, listed, ", ", "none")], bool(directed)
    raise ValueError(f"no graph starts with {line!r}")


def _read_list(text: str, form: re.Pattern[str], between: str) -> Parsed:
    """Edges of one form on one line."""
    names, directed, body, texts = _open(text, _GRAPH)
    listed = _match(re.compile("Edges: (.*)"), "\n".join(body))[1]
    return collect(directed, names, [_edge(*found.groups()) for found in _items(form, listed, between, "none")], texts)


def _neighbours(row: Row, nothing: str) -> str:
    return ", ".join(f"{show(name)}{_weight(weight)}" for name, weight in row.neighbours) or nothing


def _row_edges(name: str, neighbours: str, nothing: str) -> list[Edge]:
    return [_edge(name, *found.groups()) for found in _items(_NEIGHBOUR, neighbours, ", ", nothing)]


def _edge(u: str, v: str, weight: str | None) -> Edge:
    return seen(u), seen(v), None if weight is None else float(weight)


def _weight(weight: float | None) -> str:
    return "" if weight is None else f"={show_weight(weight)}"


def _items(form: re.Pattern[str], listed: str, between: str, nothing: str) -> Iterator[re.Match[str]]:
    """The things in a list, all of it."""
    if listed == nothing:
        return
    at = 0
    while True:
        found = form.match(listed, at)
        if found is None:
            raise ValueError(f"cannot read {listed[at:]!r}")
        yield found
        at = found.end()
        if at == len(listed):
            return
        if not listed.startswith(between, at):
            raise ValueError(f"cannot read {listed[at:]!r}")
        at += len(between)


def _match(form: re.Pattern[str], line: str) -> re.Match[str]:
    found = form.fullmatch(line)
    if found is None:
        raise ValueError(f"cannot read {line!r}")
    return found
