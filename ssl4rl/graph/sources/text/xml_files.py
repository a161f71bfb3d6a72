"""GraphML (`graphml:`) and GEXF (`gexf:`): what their tags mean."""

from __future__ import annotations

from collections.abc import Mapping

from ssl4rl.core.source import Problem
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource
from ssl4rl.graph.sources.builder import CELL_BYTES, letters
from ssl4rl.graph.sources.text.xml_reader import WEIGHT, Broken, Key, Reader, open_xml


class GraphML(Reader):
    """graphml.graphdrawing.org: keys with defaults, graphs within nodes, several graphs; yEd's labels."""

    root = "graphml"

    def begin(self) -> None:
        self.depth = 0
        self.direction = [False]
        self.key: Key | None = None
        self.data: Key | None = None
        self.open_nodes: list[int | None] = []
        self.within = self.labelled = False

    def start(self, tag: str, given: dict[str, str]) -> None:
        if tag == "key":
            kind = "yfiles" if "yfiles.type" in given else given.get("attr.type", "string")
            name = given.get("attr.name") or given.get("id", "")
            self.key = self.new_key(given.get("for", "all"), given.get("id", ""), name, kind)
        elif tag == "default" and self.key is not None:
            self.text = []
        elif tag == "graph":
            self.depth += 1
            self.direction.append(given.get("edgedefault") == "directed")
            if self.depth == 1:
                self.begin_graph()
            else:
                self.seen["nested graph"] += 1
        elif tag == "node":
            self.declare(given)
            self.open_nodes.append(self.node)
            self.inner["node"] += self.depth > 1
        elif tag == "edge":
            directed = {"true": True, "false": False}.get(given.get("directed", ""), self.direction[-1])
            self.join(given, directed)
            self.inner["edge"] += self.depth > 1
        elif tag in ("hyperedge", "port"):
            self.seen[f"{tag}s"] += 1
        elif tag == "data":
            self._start_data(given)
        elif self.data is not None and tag in ("NodeLabel", "EdgeLabel") and not self.labelled:
            self.text, self.within, self.labelled = [], True, True

    def _start_data(self, given: Mapping[str, str]) -> None:
        if self.ends is None and not self.open_nodes:
            return  # of the graph itself
        key = self.keys.get(given.get("key", ""))
        if key is None:
            raise Broken(f"there is no key {given.get('key', '')[:40]!r}")
        self.data, self.within, self.labelled = key, False, False
        self.text = [] if key.kind != "yfiles" else None
        self.node = self.open_nodes[-1] if self.open_nodes else None

    def end(self, tag: str) -> None:
        if tag == "key":
            self.key = None
        elif tag == "default" and self.key is not None:
            self.end_default(self.key)
        elif tag == "graph":
            self.depth -= 1
            self.direction.pop()
        elif tag == "node" and self.open_nodes:
            self.open_nodes.pop()
        elif tag == "edge":
            self.end_edge()
        elif tag == "data" and self.data is not None:
            if self.text is not None:
                self.attribute(self.data, self.taken_text())
            self.data = None
        elif tag in ("NodeLabel", "EdgeLabel") and self.within:
            self.attribute(Key("label", "all", "string"), self.taken_text().strip())
            self.within = False


class Gexf(Reader):
    """gexf.net, all versions: attributes with defaults, nodes within nodes, labels, weights."""

    root = "gexf"

    def begin(self) -> None:
        self.directed = False
        self.of = ""
        self.key: Key | None = None
        self.labels: list[dict[int, str]] = []
        self.open_nodes: list[int | None] = []
        self.current: set[str] = set()
        self.mutual = False

    def start(self, tag: str, given: dict[str, str]) -> None:
        if tag == "graph":
            self.begin_graph()
            self.labels.append({})
            self.directed = given.get("defaultedgetype") == "directed"
        elif tag == "attributes":
            self.of = given.get("class", "node")
        elif tag == "attribute":
            name = given.get("title") or given.get("id", "")
            self.key = self.new_key(self.of, f"{self.of} {given.get('id', '')}", name, given.get("type", "string"))
        elif tag == "default" and self.key is not None:
            self.text = []
        elif tag == "node":
            self.declare(given)
            self.open_nodes.append(self.node)
            self.current = set()
            if self.node is not None:
                self._node(self.node, given)
        elif tag == "edge":
            self._edge(given)
        elif tag == "attvalue":
            self._attvalue(given)
        elif tag in ("spell", "slice"):
            self.seen["lifetimes"] += 1

    def _node(self, node: int, given: Mapping[str, str]) -> None:
        if "label" in given:
            self.budget.spend(letters(given["label"]) + CELL_BYTES)
            self.labels[-1][node] = given["label"]
        for name in ("start", "end", "pid"):
            if name in given:
                self.graph.value(node, name, given[name])

    def _edge(self, given: Mapping[str, str]) -> None:
        kind = given.get("type", "")
        directed = {"directed": True, "undirected": False}.get(kind, self.directed)
        self.join(given, directed)
        self.current = set()
        self.mutual = kind == "mutual" and directed and self.asked is not False  # else one edge, of its weight
        if WEIGHT in given and self.ends is not None:
            self.attribute(Key(WEIGHT, "edge", "text"), given[WEIGHT])

    def _attvalue(self, given: Mapping[str, str]) -> None:
        name = given.get("for", given.get("id", ""))
        key = self.keys.get(f"{'edge' if self.ends is not None else 'node'} {name}")
        if key is None:
            raise Broken(f"there is no attribute {name[:40]!r}")
        self.seen["values in time"] += name in self.current
        self.current.add(name)
        self.node = self.open_nodes[-1] if self.open_nodes else None
        self.attribute(key, given.get("value", ""))

    def end(self, tag: str) -> None:
        if tag == "attribute":
            self.key = None
        elif tag == "default" and self.key is not None:
            self.end_default(self.key)
        elif tag == "node" and self.open_nodes:
            self.open_nodes.pop()
        elif tag == "edge":
            back = self.ends
            self.end_edge()
            if back is not None and self.mutual:
                self.graph.edge(back[1], back[0], self.graph.weights[-1])

    def finished(self, number: int, weighted: bool) -> tuple[Graph, list[Problem]]:
        """Nodes are named by their labels where all have one and no two the same; else labels are a column."""
        builder, labels = self.graphs[number], self.labels[number]
        for key in self.keys.values():
            if key.of == "node" and key.default is not None:
                builder.fill(key.name, key.default)
        if len(set(labels.values())) == len(builder.numbers):
            names = [labels[node] for node in range(len(labels))]
            if names != list(builder.numbers):
                builder.columns["id"] = list(builder.numbers)
                builder.numbers = dict(zip(names, range(len(names)), strict=True))
                self.undeclared[number] = {}
        else:
            for node, label in labels.items():
                builder.value(node, "label", label)
        return super().finished(number, weighted)


def open_graphml(text: str) -> NodeSource | GraphSource:
    """`graphml:FILE[?weight=NAME&directed=false]`, also compressed.

    Nodes are named by their ids, their data become columns. Defaults hold where nothing is said. Graphs
    within nodes are read into the outer one, several graphs one after another are a collection. Of yEd's own data
    the labels are kept.
    """
    return open_xml("graphml", text, GraphML)


def open_gexf(text: str) -> NodeSource | GraphSource:
    """`gexf:FILE[?weight=NAME&directed=false]`, also compressed: nodes are named by their labels where all differ.

    Defaults hold where nothing is said; where and in what colour nodes are drawn, and when they live, is not kept.
    """
    return open_xml("gexf", text, Gexf)
