"""The content-free twin of a source: items of the same form in which nothing means anything.

What can be guessed on the twin cannot come from content, so the task itself gives it away. A picture's twin is noise of
the same size, without direction, place or subject. A graph's twin has as many nodes and edges, but laid at random: each
edge is there or not whatever the others are (Erdos-Renyi), so that nothing tells a hidden edge, and what nodes carry is
dealt anew. An item of another kind may bring its own, by a method `content_free(rng)` that returns an item.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ssl4rl.core.source import Source
from ssl4rl.core.task import keyed_rng

Array = np.ndarray[Any, np.dtype[Any]]

TEXTURE_PX = 768
TEXTURES = 2
MOST_NODES = 4000
MOST_DEGREE = 16
GRAPHS = 16
"""Different random graphs of each graph; a source that is one graph has this many twins."""


class Twin(Source[Any]):
    """Endless: every index is a twin of one of the source's items, in turn, with content of its own."""

    endless: ClassVar[bool] = True

    def __init__(self, source: Source[Any]) -> None:
        self.source = source
        self.uri = f"the content-free twin of {source.uri}"
        self._graphs: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return 1 << 40

    def id(self, index: int) -> str:
        return f"twin/{index}"

    def __getitem__(self, index: int) -> Any:
        rng = keyed_rng("twin", index)
        item = self.source[index % len(self.source)]
        if hasattr(item, "content_free"):
            return item.content_free(rng)
        return _NoisePhoto(item, index) if hasattr(item, "decode") else self._rooted(item, rng)

    def _rooted(self, item: Any, rng: np.random.Generator) -> Any:
        """The item with a random graph, and a random root where it had one."""
        which = int(rng.integers(GRAPHS))
        kept = self._graphs.get((id(item.graph), which))
        if kept is None:
            if len(self._graphs) > 64 * GRAPHS:
                self._graphs.clear()
            # The original stays referenced, or another graph could take its id.
            kept = self._graphs[id(item.graph), which] = (item.graph, random_graph(item.graph, which))
        graph = kept[1]
        root = None if item.root is None else int(rng.integers(graph.num_nodes))
        return dataclasses.replace(item, graph=graph, root=root)


def has_twin(item: Any) -> bool:
    """Whether items of this kind have a content-free twin."""
    kinds = (hasattr(item, "content_free"), hasattr(item, "decode"), hasattr(item, "graph") and hasattr(item, "root"))
    return any(kinds)


class _NoisePhoto:
    """Noise of the size at which a picture comes, or less where that is more than twice what was asked for."""

    def __init__(self, photo: Any, index: int) -> None:
        self.photo, self.index = photo, index

    def decode(self, min_side_px: int) -> Any:
        from PIL import Image

        width, height = self.photo.decode(min_side_px).size
        scale = min(1.0, 2 * max(16, min_side_px) / min(width, height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        rng = keyed_rng("noise", self.index)
        texture = _texture(int(rng.integers(TEXTURES)))
        y, x = rng.integers(TEXTURE_PX, size=2).tolist()
        rows, cols = (np.arange(start, start + n) % TEXTURE_PX for start, n in ((y, height), (x, width)))
        turned = texture.transpose(1, 0, 2) if rng.random() < 0.5 else texture
        piece = turned[rows[:, None], cols]
        piece = piece[:: 1 if rng.random() < 0.5 else -1, :: 1 if rng.random() < 0.5 else -1]
        return Image.fromarray(np.ascontiguousarray(piece))


@lru_cache(maxsize=2)
def _texture(number: int) -> Array:
    """Noise whose amplitude falls with frequency like photographs' (1/f), that goes on over its edges.

    uint8 of shape (TEXTURE_PX, TEXTURE_PX, 3). Its channels are related, as in photographs. Waves longer than a quarter
    of the side are left out: they would make the mean colour a mark of the place.
    """
    rng = keyed_rng("texture", number)
    radius = np.hypot(np.fft.fftfreq(TEXTURE_PX)[:, None], np.fft.rfftfreq(TEXTURE_PX)[None])
    with np.errstate(divide="ignore"):
        amplitude = np.where(radius < 4 / TEXTURE_PX, 0.0, 1 / radius)
    planes = []
    for _ in range(4):
        noise = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
        plane = np.fft.irfft2(noise * amplitude, s=(TEXTURE_PX, TEXTURE_PX))
        planes.append(plane / plane.std())
    grey, *colours = planes
    picture = np.stack([2 * grey + colour for colour in colours], axis=2) / np.sqrt(5)
    noise_picture: Array = np.clip(picture * 45 + 128, 0, 255).astype(np.uint8)
    return noise_picture


def random_graph(graph: Any, number: int) -> Any:
    """Every pair an edge with the same probability; mean degree and size are the graph's, up to a limit.

    The nodes' names stay in their order; what their columns hold is dealt anew, a node's values together.
    """
    rng = keyed_rng("random graph", graph.num_nodes, graph.num_edges, number)
    nodes = min(MOST_NODES, graph.num_nodes)
    per_node = min(graph.num_edges / max(1, graph.num_nodes), MOST_DEGREE / 2)
    pairs = nodes * (nodes - 1) if graph.directed else nodes * (nodes - 1) // 2
    chosen = rng.choice(pairs, size=int(rng.binomial(pairs, min(1.0, nodes * per_node / max(1, pairs)))), replace=False)
    if graph.directed:
        u, v = np.divmod(chosen, max(1, nodes - 1))
        v = v + (v >= u)
    else:
        # The pairs (u, v), u < v, counted by v: v (v - 1) / 2 of them come before those of v.
        v = ((1 + np.sqrt(1 + 8 * chosen.astype(float))) / 2).astype(np.int64)
        v -= v * (v - 1) // 2 > chosen
        u = chosen - v * (v - 1) // 2
    order = rng.permutation(graph.num_nodes)[:nodes].tolist()
    return type(graph).from_edges(
        nodes,
        u,
        v,
        directed=graph.directed,
        names=None if graph.names is None else [graph.names[i] for i in range(nodes)],
        columns={name: [values[i] for i in order] for name, values in graph.columns.items()},
    )
