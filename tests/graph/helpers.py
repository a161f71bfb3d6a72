"""Graphs to ask about, prompts read back, and guessers to be held against chance."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence

import networkx as nx
import numpy as np

from ssl4rl.core.source import Source, content_id
from ssl4rl.core.task import Task, keyed_rng
from ssl4rl.core.types import Example, Unusable
from ssl4rl.graph import serialise
from ssl4rl.graph.graph import Graph, Rooted

QUESTION = re.compile(
    r"\n(One edge |How many edges |Which |In how many |Of node |The \w+ of |Are )",
)
WORDS = (
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "gravel", "harbor", "island", "juniper", "kelp", "lagoon",
    "meadow", "nectar", "orchid",
)  # fmt: skip
SECTIONS = ("alpine", "boreal", "coastal", "desert", "estuary")


class Items(Source[Rooted]):
    """Given items, each its own content."""

    uri = "items:"

    def __init__(self, items: Sequence[Rooted]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Rooted:
        return self.items[index]

    def id(self, index: int) -> str:
        return content_id(str(index).encode())


def random_graph(index: int, most: int = 9, directed: bool = False) -> Graph:
    """A small connected graph of a family that depends on `index`, its nodes called n0, n1, ..."""
    rng = keyed_rng("random graph", index)
    seed, n = int(rng.integers(1 << 30)), int(rng.integers(5, most + 1))
    made = [
        lambda: nx.gnp_random_graph(n, 0.4, seed=seed),
        lambda: nx.barabasi_albert_graph(n, 2, seed=seed),
        lambda: nx.connected_watts_strogatz_graph(n, 4, 0.3, seed=seed),
        lambda: nx.planted_partition_graph(2, n // 2, 0.9, 0.2, seed=seed),
        lambda: nx.cycle_graph(n),
    ][index % 5]()
    nodes = sorted(max(nx.connected_components(made), key=len))
    made = nx.convert_node_labels_to_integers(made.subgraph(nodes))
    edges = [(v, u) if directed and rng.random() < 0.5 else (u, v) for u, v in made.edges]
    count = made.number_of_nodes()
    return Graph.from_edges(
        count, [u for u, _ in edges], [v for _, v in edges], directed=directed, names=[f"n{i}" for i in range(count)]
    )


def texts_graph(index: int = 0, nodes: int = 300, shares: Sequence[float] = (0.45, 0.25, 0.15, 0.1, 0.05)) -> Graph:
    """Nodes with a text, a section of very unequal shares, and links mostly within a section. Every text is unique."""
    rng = keyed_rng("texts graph", index)
    section = rng.choice(len(shares), nodes, p=shares)
    u = rng.integers(nodes, size=6 * nodes)
    v = rng.integers(nodes, size=6 * nodes)
    keep = (section[u] == section[v]) | (rng.random(6 * nodes) < 0.15)
    texts = [f"{WORDS[int(rng.integers(3)) + 3 * s]} number {i}" for i, s in enumerate(section.tolist())]
    return Graph.from_edges(
        nodes, u[keep], v[keep], names=[f"n{i}" for i in range(nodes)],
        columns={"text": texts, "section": [SECTIONS[s] for s in section.tolist()]},
    )  # fmt: skip


def makes(
    task: Task[Rooted], level: str, items: Sequence[Sequence[Rooted]], start: int = 0
) -> Iterator[tuple[int, Example]]:
    """(which items, example) for all that are usable; each with a generator of its own."""
    params = task.level(level).params
    for index, drawn in enumerate(items, start):
        with contextlib.suppress(Unusable):
            yield index - start, task.make(drawn, params, keyed_rng("test", task.id, level, index))


def graph_text(example: Example) -> str:
    """The part of a prompt that is the graph."""
    text = example.text()
    found = QUESTION.search(text)
    assert found is not None, text
    return text[: found.start()]


def shown_graph(example: Example) -> nx.Graph | nx.DiGraph:
    """What the prompt says, read back, nodes by name."""
    parsed = serialise.read(graph_text(example), example.meta["encoding"])
    graph = nx.DiGraph() if parsed.directed else nx.Graph()
    graph.add_nodes_from(parsed.names)
    graph.add_edges_from(parsed.edges)
    return graph


def named(graph: Graph) -> nx.Graph | nx.DiGraph:
    """The graph as NetworkX has it, nodes by name."""
    return nx.relabel_nodes(graph.to_networkx(), {node: graph.name(node) for node in range(graph.num_nodes)})


def options(example: Example, separator: str = "-") -> dict[str, tuple[str, ...]]:
    """Letter -> the pair (or the name) of the lines "A: n1-n2"."""
    lines = re.findall(r"^([A-H1-8]): (.*)$", example.text(), re.MULTILINE)
    return {letter: tuple(re.split(rf"\s?{separator}>?\s?", text)) for letter, text in lines}


def same_edges(one: nx.Graph, other: nx.Graph) -> bool:
    return set(one.nodes) == set(other.nodes) and nx.utils.graphs_equal(one, other)


class Symmetries:
    """All automorphisms of a small graph, by NetworkX."""

    def __init__(self, graph: nx.Graph | nx.DiGraph) -> None:
        matcher = nx.isomorphism.DiGraphMatcher if graph.is_directed() else nx.isomorphism.GraphMatcher
        self.maps = list(matcher(graph, graph).isomorphisms_iter())

    def take(self, first: Sequence[str], second: Sequence[str]) -> bool:
        """Whether one of them takes the nodes `first`, one by one, to `second`."""
        return any(all(found[u] == v for u, v in zip(first, second, strict=True)) for found in self.maps)


def at_chance(right: Sequence[float], chance: float, z: float = 4.0) -> bool:
    """Whether chance lies in the Wilson interval (z 4: a right guesser fails once in 15,000) of a mean of 0 to 1."""
    n, share = len(right), float(np.mean(right))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half <= chance <= middle + half


def credit(scores: Sequence[float], right: int) -> float:
    """What picking the option of the highest score earns; ties are guessed among."""
    best = [i for i, score in enumerate(scores) if score == max(scores)]
    return (right in best) / len(best)
