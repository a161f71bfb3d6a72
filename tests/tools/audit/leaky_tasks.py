"""Tasks that give their answers away, each in one way, and honest twins of them; a plugin file, `leaky_tasks.py:sizes`.

The pictures are noise of many aspects (`noise:`), the graphs random ones (`random:`), the words made up (`word:`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ssl4rl import Angle, Choice, Example, Integer, Media, NodeSet, Source, Task
from ssl4rl.core.source import content_id
from ssl4rl.core.task import keyed_rng
from ssl4rl.graph.graph import Graph, Rooted
from tests.vision.helpers import ArrayPhoto, spectral_photo

SIZES = ((100, 75), (75, 100), (80, 80), (120, 70), (70, 125), (105, 95))
PX = 48


class Items(Source[Any]):
    """Finite, each made once."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def id(self, index: int) -> str:
        return content_id(str(index).encode())


def noise(count: str) -> Items:
    return Items([ArrayPhoto(spectral_photo(seed, *SIZES[seed % len(SIZES)])) for seed in range(int(count))])


def random_graphs(count: str) -> Items:
    graphs = []
    for seed in range(int(count)):
        rng = keyed_rng("random", seed)
        u, v = np.nonzero(np.triu(rng.random((14, 14)) < 0.3, 1))
        graphs.append(Rooted(Graph.from_edges(14, u, v)))
    return Items(graphs)


class Leaky(Task[Any]):
    """One leak or none.

    Sees: see the task's code. Answers: see its verifier. Reward: exact. Chance: see its verifier. Shortcuts: the point.
    Source: these tests. Versions: 1.
    """

    data = "noise:40"
    levels: Mapping[str, Mapping[str, Any]] = {"leaky": {"leak": True}, "honest": {"leak": False}}


class Turned(Leaky):
    """Rotation as others build it: with `expand` (the official recipe), black corners, or blur where it is turned."""

    name = "leaky/turned"
    levels: Mapping[str, Mapping[str, Any]] = {
        way: {"way": way, "step_deg": step}
        for way, step in {"expand": 90, "corners": 45, "blur": 45, "border": 90}.items()
    }
    verifier = Angle(90)

    def verifier_for(self, level: Mapping[str, Any]) -> Angle:
        return Angle(level["step_deg"])

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        angle_deg = int(rng.integers(360 // level["step_deg"])) * level["step_deg"]
        image = items[0].decode(70)
        if level["way"] == "expand":
            turned = image.rotate(angle_deg, expand=True)
            image = image.copy()
            for picture in (image, turned):
                picture.thumbnail((PX, PX))
            parts = ("Original: ", Media("image", image), "\nTurned: ", Media("image", turned))
            return Example((*parts, "\nBy how much?"), angle_deg)
        rim = 0 if level["way"] == "corners" else 11
        image = image.crop((0, 0, PX + 2 * rim, PX + 2 * rim))
        turned = image.rotate(angle_deg, Image.Resampling.BILINEAR).crop((rim, rim, rim + PX, rim + PX))
        if level["way"] == "border" and angle_deg == 90:
            turned.paste((0, 0, 0), (0, 0, 1, PX))
        return Example(("Turned: ", Media("image", turned), "\nBy how much?"), angle_deg)


class Recompressed(Leaky):
    """Which patch is the one? It went through a JPEG file once more."""

    name = "leaky/recompressed"
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        right = int(rng.integers(4))
        parts: list[str | Media] = ["Which?"]
        for i, letter in enumerate("ABCD"):
            x, y = rng.integers(0, 20, 2).tolist()
            patch = items[0].decode(70).crop((x, y, x + PX, y + PX))
            if level["leak"] and i == right:
                file = io.BytesIO()
                patch.save(file, "JPEG", quality=75)
                patch = Image.open(file).convert("RGB")
            parts += [f"\nPatch {letter}: ", Media("image", patch)]
        return Example(tuple(parts), "ABCD"[right])


class SortedOptions(Leaky):
    """Options in the order of the alphabet, the right one first in it more often than not."""

    name, data = "leaky/sorted_options", "word:60"
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        words = sorted({f"{'bcdfgklm'[i]}{j}o" for i, j in rng.integers(0, 8, (40, 2)).tolist()})
        words = sorted(rng.choice(words, 4, replace=False).tolist())
        order = rng.permutation(4).tolist()
        right = 0 if level["leak"] and rng.random() < 0.5 else int(rng.integers(4))
        lines = "".join(f"\n{letter}: {words[i]}" for letter, i in zip("ABCD", order, strict=True))
        return Example((f"The word {items[0]}?{lines}",), "ABCD"[order.index(right)])


class Skewed(Leaky):
    """A is right more often than B, C and D."""

    name, data = "leaky/skewed", "word:60"
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        right = 0 if level["leak"] and rng.random() < 0.25 else int(rng.integers(4))
        return Example((f"The word {items[0]} {int(rng.integers(99))}?",), "ABCD"[right])


class LongPrompt(Leaky):
    """The larger the number, the longer the prompt is, mostly."""

    name, data = "leaky/long_prompt", "word:60"
    verifier = Integer(1, 4)

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        right = int(rng.integers(1, 5))
        words = int(rng.integers(3)) + (right if level["leak"] else 1)
        return Example((f"The word {items[0]}{' bla' * words}?",), right)


class HiddenNeighbour(Leaky):
    """Which node is the hidden neighbour? The names can be in the graph's order, or distractors have fewer edges."""

    name, data = "leaky/hidden_neighbour", "random:40"
    levels: Mapping[str, Mapping[str, Any]] = {
        leak: {"leak": leak} for leak in ("honest", "node order", "degree", "listed first")
    }
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        graph: Graph = items[0].graph
        edges = graph.edges()
        u, v = (int(i) for i in rng.permutation(edges[int(rng.integers(len(edges)))]))
        left = graph.without_edges([(u, v)])
        others = [w for w in range(graph.num_nodes) if w not in (u, v) and not graph.has_edge(u, w)]
        if level["leak"] == "degree":
            others = sorted(others, key=left.degree)[:4]
        elif level["leak"] == "node order":
            others = [w for w in others if w > v] or others
        while len(others) < 3:
            others.append(others[-1])
        names = np.arange(graph.num_nodes) if level["leak"] == "node order" else rng.permutation(graph.num_nodes)
        lines = [f"{names[a]} is next to {names[b]}." for a, b in (rng.permutation(edge) for edge in left.edges())]
        rng.shuffle(lines)
        if level["leak"] == "listed first":
            lines.sort(key=lambda line: str(names[v]) not in line.rstrip(".").split())
        options = [v, *rng.choice(others, 3, replace=False).tolist()]
        order = rng.permutation(4).tolist()
        shown = "".join(f"\n{letter}: {names[options[i]]}" for letter, i in zip("ABCD", order, strict=True))
        text = f"{chr(10).join(lines)}\nWhich is next to {names[u]}, too?{shown}"
        return Example((text,), "ABCD"[order.index(0)])


class Members(Leaky):
    """Which three nodes were marked? Nothing tells, or they are mentioned at the end."""

    name, data = "leaky/members", "word:60"
    verifier = NodeSet()

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        nodes = rng.permutation(12).astype(str).tolist()
        shown = nodes if level["leak"] else rng.permutation(nodes).tolist()
        return Example(
            (f"Nodes {', '.join(shown)}.\nWhich three?",), nodes[-3:], meta={"nodes": sorted(nodes), "count": 3}
        )


class Crowd(Leaky):
    """Which pair is the one? The wrong pairs share a name with each other, or (honest) all four do."""

    name, data = "leaky/crowd", "word:60"
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        names = rng.permutation(99)[:8].tolist()
        apart = level["leak"] and rng.random() < 0.5
        pairs = [(names[1] if apart and i == 0 else names[0], names[2 + i]) for i in range(4)]
        order = rng.permutation(4).tolist()
        shown = "".join(f"\n{letter}: {pairs[i][0]}-{pairs[i][1]}" for letter, i in zip("ABCD", order, strict=True))
        told = f"Of {', '.join(map(str, sorted(names)))}, by the word {items[0]}?"
        return Example((told + shown,), "ABCD"[order.index(0)])


class OddPicture(Leaky):
    """Which patch is the one? The wrong ones are cut next to each other, or (honest) all are cut apart."""

    name = "leaky/odd_picture"
    verifier = Choice("ABCD")

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        right = int(rng.integers(4))
        parts: list[str | Media] = ["Which?"]
        x, y = rng.integers(0, 20, 2).tolist()
        for i, letter in enumerate("ABCD"):
            near = level["leak"] and i != right
            left, top = (np.add(rng.integers(0, 2, 2), (x, y)) if near else rng.integers(0, 40, 2)).tolist()
            patch = items[0].decode(70).crop((left, top, left + 24, top + 24))
            parts += [f"\nPatch {letter}: ", Media("image", patch)]
        return Example(tuple(parts), "ABCD"[right])


class Generous(NodeSet):
    """Pays plain F1, as ours did once: naming all nodes earns a sure share of it."""

    def grade(self, parsed: Any, example: Example) -> float:
        if "count" in example.meta:
            return super().grade(parsed, example)
        right = set(example.answer)
        return 2 * len(right & set(parsed)) / (len(set(parsed)) + len(right))


class Everything(Leaky):
    """Which nodes? Half of them, and no number is told: naming all earns .67, more than a guess does."""

    name, data = "leaky/everything", "word:60"
    verifier = Generous()

    def make(self, items: Sequence[Any], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        nodes = rng.permutation(12).astype(str).tolist()
        shown = ", ".join(rng.permutation(nodes).tolist())
        meta: dict[str, Any] = {"nodes": sorted(nodes)} | ({} if level["leak"] else {"count": 6})
        return Example((f"Nodes {shown}, {items[0]}.\nWhich?",), nodes[:6], meta=meta)


TASKS = {
    "turned": Turned, "recompressed": Recompressed, "sorted": SortedOptions, "skewed": Skewed, "long": LongPrompt,
    "neighbour": HiddenNeighbour, "members": Members,
    "crowd": Crowd, "odd_picture": OddPicture, "everything": Everything,
}  # fmt: skip
SOURCES = {
    "noise": noise,
    "random": random_graphs,
    "word": lambda count: Items([f"w{i:02}" for i in range(int(count))]),
}
