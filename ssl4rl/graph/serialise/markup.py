"""Encodings that are formats: JSON, and elements like GraphML's (without its name spaces and key declarations).

In GraphML what `quoting` writes as \\uXXXX is a character reference, &#xXXXX;, and "<", "&" and the double quote are
entities: an element of ours is all that starts with "<".
"""

from __future__ import annotations

import json
import re

from ssl4rl.graph.serialise.content import Content, Parsed, collect, show_weight
from ssl4rl.graph.serialise.quoting import must_escape, quote

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}
_REFERENCE = re.compile(r"&(?:#x([0-9a-f]+)|(\w+));")
_OPEN = re.compile(r'<graph edgedefault="(undirected|directed)">')
_NODE = re.compile(r'<node id="([^"]*)"(?:/>|><data key="text">([^<]*)</data></node>)')
_EDGE = re.compile(r'<edge source="([^"]*)" target="([^"]*)"(?: weight="([^"]*)")?/>')


def write_json(content: Content) -> str:
    """{"directed": false, "nodes": ["A", "B"], "edges": [["A", "B"]]}, with "texts" where there are any; a weight is
    an edge's third value."""
    edges = []
    for u, v, weight in content.edges:
        edges.append(f"[{quote(u)}, {quote(v)}{'' if weight is None else f', {show_weight(weight)}'}]")
    parts = [
        f'"directed": {json.dumps(content.directed)}',
        f'"nodes": [{", ".join(map(quote, content.names))}]',
        f'"edges": [{", ".join(edges)}]',
    ]
    if content.texts:
        texts = (f"{quote(name)}: {quote(text)}" for name, text in content.texts.items())
        parts.append(f'"texts": {{{", ".join(texts)}}}')
    return f"{{{', '.join(parts)}}}"


def read_json(text: str) -> Parsed:
    record = json.loads(text)
    edges = [(u, v, float(weight[0]) if weight else None) for u, v, *weight in record["edges"]]
    return collect(record["directed"], record["nodes"], edges, record.get("texts"))


def write_graphml(content: Content) -> str:
    """<node id="A"/> and <edge source="A" target="B"/>, a line each, inside <graph edgedefault="undirected">."""
    lines = [f'<graph edgedefault="{"directed" if content.directed else "undirected"}">']
    for name in content.names:
        own = content.texts.get(name)
        end = "/>" if own is None else f'><data key="text">{_escape(own)}</data></node>'
        lines.append(f'<node id="{_escape(name)}"{end}')
    for u, v, weight in content.edges:
        weighs = "" if weight is None else f' weight="{show_weight(weight)}"'
        lines.append(f'<edge source="{_escape(u)}" target="{_escape(v)}"{weighs}/>')
    return "\n".join([*lines, "</graph>"])


def read_graphml(text: str) -> Parsed:
    first, *body, last = text.split("\n")
    opened = _OPEN.fullmatch(first)
    if opened is None or last != "</graph>":
        raise ValueError(f"no graph starts with {first!r} and ends with {last!r}")
    names: list[str] = []
    texts: dict[str, str] = {}
    edges: list[tuple[str, str, float | None]] = []
    for line in body:
        if node := _NODE.fullmatch(line):
            names.append(_unescape(node[1]))
            if node[2] is not None:
                texts[names[-1]] = _unescape(node[2])
        elif edge := _EDGE.fullmatch(line):
            edges.append((_unescape(edge[1]), _unescape(edge[2]), None if edge[3] is None else float(edge[3])))
        else:
            raise ValueError(f"cannot read {line!r}")
    return collect(opened[1] == "directed", names, edges, texts)


def _escape(text: str) -> str:
    shown = zip(text, must_escape(text), strict=True)
    return "".join(_ENTITIES.get(char) or (f"&#x{ord(char):x};" if odd else char) for char, odd in shown)


def _unescape(text: str) -> str:
    """Not `html.unescape`, which reads references to control characters as something else."""
    named = {entity[1:-1]: char for char, entity in _ENTITIES.items()}
    return _REFERENCE.sub(lambda found: chr(int(found[1], 16)) if found[1] else named[found[2]], text)
