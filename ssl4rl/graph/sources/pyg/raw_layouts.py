"""The folders of raw files that PyG's Planetoid and TUDataset download, read without PyG and without running pickles.

Planetoid: Yang et al. 2016 (ind.cora.x, .tx, .allx, .y, ..., pickles of scipy and numpy arrays). TU: Morris et al. 2020
(DS_A.txt, DS_graph_indicator.txt, ...).
"""

from __future__ import annotations

import pickle
import re
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource, assemble, node_source, summed
from ssl4rl.graph.sources.builder import EDGE_BYTES, NODE_BYTES
from ssl4rl.graph.sources.files import Input, directed_or
from ssl4rl.graph.sources.pyg.sparse import SparseRows

Array = NDArray[Any]

_NUMBER = 64
_GRAPH = 2000
"""Bytes that a number takes until it is where it belongs, and a small graph of a collection whatever it holds."""

MOST_FEATURES = 10_000_000
"""A node's features are made dense when they are asked for."""

_BROKEN = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, MemoryError, RecursionError, ImportError),
)
_PICKLED = 10
"""An object in a pickle takes up to so many times its bytes there."""


class _Dtype:
    """Stands in for numpy's dtype in a pickle: of numbers alone."""

    def __init__(self, kind: str, *_: Any) -> None:
        if not re.fullmatch("[iuf][1248]|b1", kind):
            raise pickle.UnpicklingError(f"it holds an array of {str(kind)[:20]!r}; allowed: numbers")
        self.kind, self.order = kind, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.order = state[1]


class _Array:
    """Stands in for numpy's ndarray in a pickle."""

    array: Array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        flat: Array = np.frombuffer(data, dtype.order + dtype.kind)
        self.array = flat.reshape(shape, order="F" if fortran else "C")


class _Csr(SparseRows):
    """Stands in for scipy's csr_matrix in a pickle."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0), 0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        columns = int((state["_shape"] if "_shape" in state else state["shape"])[1])
        if not 0 <= columns <= MOST_FEATURES:
            raise ValueError(f"a sparse matrix has {columns} columns; allowed: up to {MOST_FEATURES}")
        indptr, indices, data = (state[name].array for name in ("indptr", "indices", "data"))
        super().__init__(indptr, indices, data, columns)


class _Unpickler(pickle.Unpickler):
    """Builds arrays, sparse matrices, lists and dicts with code of this file alone; any other name is an error."""

    def find_class(self, module: str, name: str) -> Any:
        root = module.split(".")[0].replace("__builtin__", "builtins").replace("copy_reg", "copyreg")
        if (root, name) not in _STAND_INS:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is not loaded: nothing in a data file is run"
            )
        return _STAND_INS[root, name]


def _new(kind: Any, *_: Any) -> Any:
    if kind not in (_Csr, _Array):
        raise pickle.UnpicklingError("it makes an object that is neither an array nor a sparse matrix")
    return kind()


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _latin1(text: str, *_: Any) -> bytes:
    return text.encode("latin1")


_STAND_INS: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        ("scipy", "csr_matrix"): _Csr,
        ("numpy", "ndarray"): _Array,
        ("numpy", "_reconstruct"): _new,
        ("numpy", "dtype"): _Dtype,
        ("copyreg", "_reconstructor"): _new,
        ("builtins", "object"): None,
        ("builtins", "list"): None,
        ("collections", "defaultdict"): _plain_dict,
        ("_codecs", "encode"): _latin1,
    }
)


class _FeatureRows(Sequence[Array]):
    """A node's features, float32 [F], made when asked for: `rows[node]` is its row in `matrix`; -1: it has none."""

    def __init__(self, parts: Sequence[Any], part: Array, row: Array, columns: int) -> None:
        self.parts, self.part, self.row, self.columns = parts, part, row, columns

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, node: Any) -> Any:
        if self.row[node] < 0:
            return np.zeros(self.columns, dtype=np.float32)
        matrix, at = self.parts[int(self.part[node])], int(self.row[node])
        return matrix[at] if isinstance(matrix, _Csr) else np.asarray(matrix[at], dtype=np.float32)


def planetoid_prefix(folder: Path) -> str | None:
    """ "cora" where the folder holds ind.cora.graph."""
    return next((path.name.split(".", 1)[1].removesuffix(".graph") for path in folder.glob("ind.*.graph")), None)


def open_planetoid(file: Input, folder: Path, prefix: str) -> NodeSource:
    """A citation network, undirected; its split is not kept.

    Column "x": float32 features; "label": the class number (None: not given).
    """
    names = ("allx", "ally", "tx", "ty", "graph")
    uri = file.uri
    allx, ally, tx, ty, links = (_load(file.at(folder / f"ind.{prefix}.{name}")) for name in names)
    test = _whole(file.at(folder / f"ind.{prefix}.test.index"))[:, 0]
    try:
        file.budget.spend(EDGE_BYTES * sum(len(row) for row in links.values()))
        u = np.array([node for node, row in links.items() for _ in row], dtype=np.int64)
        v = np.array([end for row in links.values() for end in row], dtype=np.int64)
        if len(u) and int(min(u.min(), v.min())) < 0:
            raise ValueError(f"node {int(min(u.min(), v.min()))}")
        nodes = max(len(allx), *((int(part.max()) + 1) for part in (test, u, v) if len(part)), len(links))
        if len(test) != len(tx) or len(ally) != len(allx) or len(ty) != len(tx) or int(test.min(initial=0)) < 0:
            raise ValueError(
                f"allx, ally: {len(allx)}, {len(ally)} rows; tx, ty, test.index: {len(tx)}, {len(ty)}, {len(test)}"
            )
        file.budget.spend(NODE_BYTES * nodes, f"a node {nodes - 1}")
        part, row = np.zeros(nodes, dtype=np.int64), np.full(nodes, -1)
        row[: len(allx)] = np.arange(len(allx))
        part[test], row[test] = 1, np.arange(len(test))
        columns = allx.columns if isinstance(allx, _Csr) else allx.shape[1]
        features = _FeatureRows((allx, tx), part, row, columns)
        labels = [_label((ally, ty)[part[i]], int(row[i])) for i in range(nodes)]
    except _BROKEN as error:
        raise Ssl4rlError(f"{uri!r}: the Planetoid files of {prefix!r} are not as they should be ({error})") from None
    graph, problems = assemble(
        uri, nodes, u, v, directed=directed_or(file, False), columns={"x": features, "label": labels}
    )
    return node_source(uri, graph, problems, taken=f"Planetoid's files of {prefix!r}; its split not kept")


def _label(one_hot: Any, row: int) -> int | None:
    if row < 0:
        return None
    values = one_hot[row]
    return int(np.argmax(values)) if np.any(values) else None


def _load(file: Input) -> Any:
    with file.opened() as stream:
        file.budget.spend(_PICKLED * file.path.stat().st_size)
        try:
            found = _Unpickler(stream, encoding="latin1").load()
            return found.array if isinstance(found, _Array) else found
        except _BROKEN as error:
            why = " ".join(str(error).split())[:200] or "it is cut off"
            raise Ssl4rlError(f"{file.uri!r}: {file.path.name} cannot be read ({why})") from None


def tu_prefix(folder: Path) -> str | None:
    """ "MUTAG" where the folder holds MUTAG_graph_indicator.txt."""
    found = sorted(folder.glob("*_graph_indicator.txt"))
    return found[0].name.removesuffix("_graph_indicator.txt") if found else None


def open_tu(file: Input, folder: Path, prefix: str) -> GraphSource:
    """A collection of graphs.

    Columns: "label" (node labels), "x" (node attributes), "graph_label" (the same for all of a graph's nodes).
    """

    def read(name: str) -> Array | None:
        path = folder / f"{prefix}_{name}.txt"
        return _numbers(file.at(path)) if path.exists() else None

    uri = file.uri
    indicator, ends = read("graph_indicator"), read("A")
    if indicator is None or ends is None or ends.shape[1] != 2:
        raise Ssl4rlError(f"{uri!r}: {prefix}_A.txt is missing or does not hold two numbers a line")
    of, edges = (_integers(uri, numbers) - 1 for numbers in (indicator[:, 0], ends))
    file.budget.spend(EDGE_BYTES * len(edges) + _GRAPH * len(np.unique(of)))
    outside = edges[(edges < 0) | (edges >= len(of))]
    if len(outside):
        raise Ssl4rlError(f"{uri!r}: an edge names node {int(outside[0]) + 1}; allowed: 1 to {len(of)}")
    if of[0] < 0 or (np.diff(of) < 0).any() or (of[edges[:, 0]] != of[edges[:, 1]]).any():
        raise Ssl4rlError(f"{uri!r}: {prefix}_graph_indicator.txt is not ascending from 1, or an edge joins two graphs")
    per_node: dict[str, Any] = {}
    if (node_labels := read("node_labels")) is not None:
        per_node["label"] = _plain(node_labels)
    if (attributes := read("node_attributes")) is not None:
        per_node["x"] = attributes
    if any(len(values) != len(of) for values in per_node.values()):
        raise Ssl4rlError(f"{uri!r}: node labels or attributes are not {len(of)} lines, one for each node")
    graph_labels = read("graph_labels")
    of_graph = [] if graph_labels is None else _plain(graph_labels).tolist()
    edges = edges[np.argsort(of[edges[:, 0]], kind="stable")]
    edge_of = of[edges[:, 0]]
    graphs: list[Graph] = []
    found: list[Problem] = []
    for number in np.unique(of).tolist():
        first, last = np.searchsorted(of, [number, number + 1]).tolist()
        e0, e1 = np.searchsorted(edge_of, [number, number + 1]).tolist()
        columns: dict[str, Sequence[Any]] = {name: values[first:last] for name, values in per_node.items()}
        if number < len(of_graph):
            columns["graph_label"] = [of_graph[number]] * (last - first)
        u, v = (edges[e0:e1] - first).T
        graph, problems = assemble(uri, last - first, u, v, directed=directed_or(file, False), columns=columns)
        graphs.append(graph)
        found += problems
    dropped = summed(found)
    if any((folder / f"{prefix}_{name}.txt").is_file() for name in ("edge_labels", "edge_attributes")):
        dropped.append(Problem("labels of edges", "not kept"))
    return GraphSource(uri, graphs, dropped, f"TUDataset's files of {prefix!r}")


def _numbers(file: Input) -> Array:
    """float64 [lines, numbers a line], separated by commas or blanks."""
    values: array[float] = array("d")
    width = 0
    for at, line in enumerate(file.lines(), start=1):
        if not line.strip():
            continue
        words = line.replace(",", " ").split()
        width = width or len(words)
        file.budget.spend(_NUMBER * len(words))
        try:
            values.extend(map(float, words))
        except ValueError as error:
            why = f"line {at}: {str(error)[:80]}"
        else:
            why = f"line {at}: {len(words)} of {width}" if len(words) != width else ""
        if why:
            raise Ssl4rlError(f"{file.uri!r}: {file.path.name} does not hold numbers, equally many a line ({why})")
    if not width:
        raise Ssl4rlError(f"{file.uri!r}: {file.path.name} is empty")
    return np.frombuffer(values, dtype=np.float64).reshape(-1, width)


def _whole(file: Input) -> Array:
    return _integers(file.uri, _numbers(file))


def _integers(uri: str, numbers: Array) -> Array:
    """int64 of what was read as numbers.

    Raises:
        Ssl4rlError: one is too large, or not a whole number.
    """
    wrong = ~(np.isfinite(numbers) & (np.abs(numbers) < 1 << 53) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise Ssl4rlError(f"{uri!r}: {numbers[wrong][0]} where a node or a graph is numbered; allowed: whole numbers")
    return numbers.astype(np.int64)


def _plain(values: Array) -> Array:
    """A single column as such, whole numbers as int."""
    values = values[:, 0] if values.shape[1] == 1 else values
    whole = bool((np.isfinite(values) & (np.abs(values) < 1 << 53) & (values == np.floor(values))).all())
    return values.astype(np.int64) if whole else values
