"""What GraphML and GEXF share: tags as a stream, no tree in memory, no entity expanded, nothing dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from xml.parsers import expat

from ssl4rl.core.limits import MIB, Budget, exceeded, limit
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource, node_source, summed
from ssl4rl.graph.sources.builder import Builder, letters
from ssl4rl.graph.sources.files import DIRECTED, Input, choice, directed_or, find

WEIGHT = "weight"
_CHUNK = 1 << 16
_DEEPEST, _MOST_TAGS = 1000, 100_000
_KEY_BYTES = 500

_TYPES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int", "integer", "long", "short", "byte"), int),
    **dict.fromkeys(("float", "double"), float),
    **dict.fromkeys(("boolean",), lambda text: {"true": True, "1": True, "false": False, "0": False}[text.lower()]),
}
"""How a declared type's text is read; any other type is text."""


class Broken(Exception):
    """The file is not what its scheme reads; the message says why."""


@dataclass
class Key:
    """A declared attribute. `of`: "node", "edge", "all" or something else."""

    name: str
    of: str
    kind: str
    default: Any = None

    def value(self, text: str) -> Any:
        """The text as the declared type has it; an empty one of another type than text is None."""
        convert = _TYPES.get(self.kind)
        if convert is None:
            return text
        try:
            return convert(text.strip()) if text.strip() else None
        except (ValueError, KeyError):
            raise Broken(f"attribute {self.name!r} is {text[:40]!r}; allowed: {self.kind}") from None


@dataclass
class Reader:
    """What both formats have in common: graphs, nodes, edges, and the weights that are asked for.

    Subclasses say what a tag means: `start` and `end` get its name without a prefix, `begin` sets up their own state.
    """

    uri: str
    budget: Budget
    weight: str | None
    asked: bool | None = None
    graphs: list[Builder] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    edge_defaults: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    attributes: dict[str, None] = field(default_factory=dict)
    directions: list[set[bool]] = field(default_factory=list)
    inner: Counter[str] = field(default_factory=Counter)
    undeclared: list[dict[str, None]] = field(default_factory=list)
    node: int | None = None
    ends: tuple[int, int, bool] | None = None
    edge_weight: Any = None
    text: list[str] | None = None
    letters: int = 0
    root: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def start(self, tag: str, given: dict[str, str]) -> None:
        raise NotImplementedError

    def end(self, tag: str) -> None:
        raise NotImplementedError

    @property
    def graph(self) -> Builder:
        if not self.graphs:
            raise Broken("a node or an edge stands outside of a graph")
        return self.graphs[-1]

    def begin_graph(self) -> None:
        self.graphs.append(Builder(self.budget))
        self.directions.append(set())
        self.undeclared.append({})

    def declare(self, given: Mapping[str, str]) -> None:
        """A node's tag."""
        name = given.get("id")
        if name is None:
            self.seen["nameless"] += 1
            self.node = None
            return
        undeclared = self.undeclared[-1] if self.undeclared else {}
        if name in undeclared:
            del undeclared[name]
        elif name in self.graph.numbers:
            self.seen["nodes declared again"] += 1
        self.node = self.graph.node(name)

    def join(self, given: Mapping[str, str], directed: bool) -> None:
        """An edge's tag; the edge is added where its tag ends, when its weight is known."""
        numbers = []
        for name in (given.get("source"), given.get("target")):
            if name is None:
                self.seen["nameless"] += 1
                self.ends = None
                return
            if name not in self.graph.numbers:
                self.undeclared[-1][name] = None
            numbers.append(self.graph.node(name))
        self.ends = (numbers[0], numbers[1], directed)  # type: ignore[assignment]
        self.edge_weight = None

    def end_edge(self) -> None:
        if self.ends is None:
            return
        value = self.edge_weight if self.edge_weight is not None else self.edge_defaults.get(self.weight or WEIGHT)
        try:
            number = 1.0 if self.weight == "none" or value is None else float(value)
        except (TypeError, ValueError):
            raise Ssl4rlError(
                f"{self.uri!r}: an edge has the weight {value!r}; allowed: numbers, or leave weights out with "
                "?weight=none"
            ) from None
        u, v, directed = self.ends
        self.graph.edge(u, v, number)
        self.directions[-1].add(directed)
        self.ends = None

    def attribute(self, key: Key, text: str) -> None:
        """What the node or edge whose tag is open carries under a key."""
        value = key.value(text)
        if self.ends is not None:
            self.attributes[key.name] = None
            if key.name == (self.weight or WEIGHT):
                self.edge_weight = value
        elif self.node is not None and value is not None:
            self.graph.value(self.node, key.name, value)

    def characters(self, data: str) -> None:
        if self.text is not None:
            self.letters += letters(data)
            self.budget.afford(3 * self.letters)
            self.text.append(data)

    def taken_text(self) -> str:
        """The text collected since `text` was set; collects no more."""
        found = "".join(self.text or [])
        self.text, self.letters = None, 0
        return found

    def new_key(self, of: str, mark: str, name: str, kind: str) -> Key:
        """A declared attribute, found by `mark` from now on."""
        self.budget.spend(_KEY_BYTES + letters(name) + letters(mark))
        key = self.keys[mark] = Key(name, of, kind)
        return key

    def end_default(self, key: Key) -> None:
        key.default = key.value(self.taken_text())
        if key.of in ("edge", "all") and key.default is not None:
            self.edge_defaults[key.name] = key.default

    def finish(self) -> list[tuple[Graph, list[Problem]]]:
        """The graphs, in order, with what was dropped, merged or taken for granted in each.

        Raises:
            Ssl4rlError: ids are missing, an unknown weight, both kinds of edges in one graph.
        """
        if self.seen["nameless"]:
            count = self.seen["nameless"]
            raise Ssl4rlError(f"{self.uri!r}: {count} nodes or edges lack their id, source or target")
        self.attributes |= dict.fromkeys(self.edge_defaults)
        weighted = self.weight != "none" and (self.weight is not None or WEIGHT in self.attributes)
        if weighted:
            choice(self.uri, "edge attribute", self.weight or WEIGHT, list(self.attributes))
        return [self.finished(number, weighted) for number in range(len(self.graphs))]

    def finished(self, number: int, weighted: bool) -> tuple[Graph, list[Problem]]:
        builder, directions, undeclared = self.graphs[number], self.directions[number], self.undeclared[number]
        if self.asked is not None:
            directions = {self.asked}
        if len(directions) > 1:
            raise Ssl4rlError(
                f"{self.uri!r} has directed and undirected edges in one graph; allowed: one kind, or ?directed=false "
                "or true, which says what all are"
            )
        for key in self.keys.values():
            if key.of in ("node", "all") and key.default is not None:
                builder.fill(key.name, key.default)
        if not weighted:
            del builder.weights[:]
        graph, problems = builder.graph(directed=next(iter(directions), False))
        if undeclared:
            why = f"{len(undeclared)} named by edges alone, first {min(undeclared)!r}"
            problems = [Problem("undeclared nodes", why), *problems]
        return graph, problems


def open_xml(scheme: str, text: str, kind: type[Reader]) -> NodeSource | GraphSource:
    """A file of one graph, as its nodes, or of several, as a collection.

    Raises:
        Ssl4rlError: no such file, no graph in it, a DOCTYPE, or nonsense in it.
    """
    file = find(scheme, text, [WEIGHT, DIRECTED], f"data.{scheme}")
    reader = kind(file.uri, file.budget, file.options.get(WEIGHT), directed_or(file, None))
    try:
        parse(file, reader)
    except (Broken, expat.ExpatError, LookupError, ValueError) as error:  # of encodings, too
        raise file.unreadable(error) from None
    if not reader.graphs:
        raise file.unreadable("there is no graph in it")
    made = reader.finish()
    said = [Problem(name, f"{reader.seen[name]} {what}") for name, what in _SAID.items() if reader.seen[name]]
    if reader.seen["nested graph"]:
        inside = f"{reader.inner['node']} nodes and {reader.inner['edge']} edges"
        said.append(Problem("nested graphs", f"{reader.seen['nested graph']} read into the outer one ({inside})"))
    if len(made) == 1:
        graph, problems = made[0]
        return node_source(file.uri, graph, [*said, *problems])
    problems = summed([problem for _, found in made for problem in found if problem.name != "undeclared nodes"])
    if names := sum(map(len, reader.undeclared)):
        problems.append(Problem("undeclared nodes", f"{names} named by edges alone"))
    return GraphSource(file.uri, [graph for graph, _ in made], [*said, *problems])


_SAID = {
    "nodes declared again": "taken for the first",
    "hyperedges": "left out: an edge joins two nodes",
    "ports": "not kept",
    "values in time": "replaced by later ones of the same node or edge",
    "lifetimes": "of nodes and edges not kept",
}


def parse(file: Input, reader: Reader) -> None:
    """Feeds a file to a reader.

    Tokens grow: what is left of one that a piece does not end is looked through again with the next piece, so pieces
    are as long as what is left, and the whole stays linear (expat before 2.6 does not see to that itself).
    """

    def refuse(*_: Any) -> None:
        raise Ssl4rlError(
            f"{file.uri!r} has a DOCTYPE, which can declare entities that expand without bound; remove it, graphs "
            "need none"
        )

    depth = 0

    def start(tag: str, given: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise Broken(f"tags are nested more than {_DEEPEST} deep")
        name = tag.rpartition(":")[2]
        if depth == 1 and name != reader.root:
            raise Broken(f"it is no {reader.root} but {name[:40]!r}")
        reader.start(name, given)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        reader.end(tag.rpartition(":")[2])

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = reader.characters
    longest = limit("line_mib") * MIB
    with file.opened() as stream:
        fed = 0
        while piece := stream.read(max(_CHUNK, fed - max(0, parser.CurrentByteIndex))):
            fed += len(piece)
            parser.Parse(piece, False)
            if fed - max(0, parser.CurrentByteIndex) > longest:
                raise exceeded(file.uri, "line_mib", "a tag")
            if len(parser.intern) > _MOST_TAGS:
                raise Broken(f"it has more than {_MOST_TAGS} different names of tags and attributes")
        parser.Parse(b"", True)
