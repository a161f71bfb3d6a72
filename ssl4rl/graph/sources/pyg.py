"""Graphs that PyTorch Geometric stores: saved Data and HeteroData, InMemoryDatasets, and its datasets' raw folders."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import split_options
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import (
    GraphSource,
    NodeSource,
    assemble,
    choice,
    existing,
    node_source,
    suggestion,
    summed,
)
from ssl4rl.graph.sources.raw_layouts import open_planetoid, open_tu, planetoid_prefix, tu_prefix

Array = NDArray[Any]
Store = Mapping[str, Any]


class _Stored:
    """Stands in for PyG's classes in a file: what was stored, and none of their code."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def to_dict(self) -> dict[Any, Any]:
        """As PyG's own: a flat dict for a Data, dicts by node type and relation for a HeteroData."""
        state = self.state
        if "_node_store_dict" in state:
            parts = {**state["_node_store_dict"], **state["_edge_store_dict"]}
            return {key: _mapping(store) for key, store in parts.items()}
        return _mapping(state["_store"]) if "_store" in state else state


def _mapping(store: _Stored) -> dict[str, Any]:
    return dict(store.state["_mapping"])


_STAND_INS: Mapping[str, Any] = MappingProxyType(
    {
        **{f"torch_geometric.data.data.{name}": _Stored for name in ("Data", "DataEdgeAttr", "DataTensorAttr")},
        **{f"torch_geometric.data.storage.{name}Storage": _Stored for name in ("Base", "Global", "Node", "Edge")},
        **{f"torch_geometric.data.graph_store.{name}": _Stored for name in ("EdgeAttr", "EdgeLayout")},
        "torch_geometric.data.feature_store.TensorAttr": _Stored,
        "torch_geometric.data.hetero_data.HeteroData": _Stored,
    }
)
"""All that a file may name besides tensors. PyG's own list has classes that open further files when they are made."""

_COUNTING = ("x", "feat", "pos", "node_type", "node_id", "n_id")
_NOT_CARRIED = ("edge_index", "edge_attr", "edge_weight", "num_nodes", "batch", "ptr", "face", "adj_t")


def open_pyg(text: str) -> NodeSource | GraphSource:
    """Graphs on disk as PyG has them: `pyg:PATH[?relation=NAME][&weight=none]`.

    PATH is a file that torch.save wrote (a Data, a HeteroData, a list of Data, or an InMemoryDataset's processed
    data.pt), or a dataset's folder: its raw files where they are Planetoid's or TUDataset's, else processed/data.pt.
    One graph gives its nodes, several give a collection.

    Columns: `y` becomes "label" ("graph_label" where there is one for the graph); `x` and whatever else has one entry
    a node keep their names, masks are left out. Weights are `edge_weight`. A graph whose edges all go both ways is
    undirected. A HeteroData becomes one graph: node types in order, as column "type", the edges of all relations
    merged (or those of `relation`, by its name or as "source,name,target"); which relation an edge was of is not kept.

    Files are loaded by torch with weights_only and stand-ins for PyG's classes: nothing in a data file is run, and PyG
    itself, which takes seconds to import, is not needed.

    Raises:
        Ssl4rlError: torch is missing, no such file, or no graph in it.
    """
    uri = f"pyg:{text}"
    name, options = split_options("pyg", text, ("relation", "weight"))
    path = existing("pyg", name, "dataset/")
    if path.is_dir():
        for folder in (path, path / "raw", *sorted(path.glob("*/raw"))):
            if (prefix := planetoid_prefix(folder)) is not None:
                return open_planetoid(uri, folder, prefix)
            if (prefix := tu_prefix(folder)) is not None:
                return open_tu(uri, folder, prefix)
        path = _processed(uri, path)
    stores = _split(uri, _load(uri, path))
    made = [_to_graph(uri, store, options) for store in stores]
    if len(made) == 1:
        return node_source(uri, *made[0])
    return GraphSource(uri, [graph for graph, _ in made], summed([p for _, problems in made for p in problems]))


def _processed(uri: str, folder: Path) -> Path:
    found = [file for base in (folder, folder / "processed") for file in sorted(base.glob("*.pt"))]
    found = [file for file in found if not file.name.startswith("pre_")]  # PyG's notes on how it was processed
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:6]) or "none"
        raise Ssl4rlError(
            f"{uri!r}: a folder with one .pt file (directly or in processed/), or with raw files of Planetoid or "
            f"TUDataset, is needed; .pt files found: {names}"
        )
    return found[0]


def _load(uri: str, path: Path) -> Any:
    try:
        serialization = import_module("torch.serialization")
    except ImportError:
        raise Ssl4rlError("pyg: needs torch, which is not installed; pip install ssl4rl[graph]") from None
    with _only(serialization, _STAND_INS):
        try:
            return serialization.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = str(error).partition("GLOBAL ")[2].split(" ")[0]
            if not named:
                raise Ssl4rlError(f"{uri!r} is not what torch.save writes{suggestion('pyg', path)}") from None
            raise Ssl4rlError(
                f"{uri!r} holds a {named}, which is not loaded: nothing in a data file is run; allowed: Data, "
                "HeteroData, tensors, lists and dicts"
            ) from None
        except (RuntimeError, EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, OSError):
            raise Ssl4rlError(f"{uri!r} is not what torch.save writes{suggestion('pyg', path)}") from None


@contextmanager
def _only(serialization: Any, classes: Mapping[str, Any]) -> Iterator[None]:
    """What torch may load besides tensors, replaced for a while: PyG and others add to that list when imported."""
    before = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    serialization.add_safe_globals([(stand_in, name) for name, stand_in in classes.items()])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def _split(uri: str, loaded: Any) -> list[dict[Any, Any]]:
    """One dict for each graph, of a Data's or HeteroData's content as their `to_dict` has it."""
    slices = None
    if isinstance(loaded, tuple) and len(loaded) in (2, 3):
        loaded, slices = loaded[:2]
    try:
        if isinstance(loaded, list) and loaded and all(isinstance(part, _Stored) for part in loaded):
            return [part.to_dict() for part in loaded]
        loaded = loaded.to_dict() if isinstance(loaded, _Stored) else loaded
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Ssl4rlError(f"{uri!r} is stored by a version of PyG that is not known ({error!r})") from None
    if not isinstance(loaded, dict):
        raise Ssl4rlError(
            f"{uri!r} holds a {type(loaded).__name__}; allowed: Data, HeteroData, lists or datasets of them"
        )
    if not slices:
        return [loaded]
    try:
        return _sliced(loaded, slices)
    except (TypeError, IndexError, KeyError, ValueError, AttributeError) as error:
        raise Ssl4rlError(f"{uri!r}: its slices do not fit its data ({error})") from None


def _sliced(data: Mapping[Any, Any], slices: Mapping[Any, Any]) -> list[dict[Any, Any]]:
    """The graphs of an InMemoryDataset: each tensor is cut where its slices say, edges along their second axis."""
    nested = any(isinstance(cuts, dict) for cuts in slices.values())
    some = next(iter(next(iter(slices.values())).values() if nested else slices.values()))
    graphs: list[dict[Any, Any]] = []
    for i in range(len(some) - 1):
        if nested:
            graphs.append({key: _cut(store, slices.get(key, {}), i) for key, store in data.items()})
        else:
            graphs.append(_cut(data, slices, i))
    return graphs


def _cut(store: Mapping[str, Any], slices: Mapping[str, Any], i: int) -> dict[str, Any]:
    one: dict[str, Any] = {}
    for key, value in store.items():
        if key == "_num_nodes":
            one["num_nodes"] = value[i]
        elif key in slices:
            first, last = int(slices[key][i]), int(slices[key][i + 1])
            if isinstance(value, list):
                one[key] = value[first] if last == first + 1 else value[first:last]
            else:
                one[key] = value[:, first:last] if key in ("edge_index", "face") else value[first:last]
    return one


def _to_graph(uri: str, data: Mapping[Any, Any], options: Mapping[str, str]) -> tuple[Graph, list[Problem]]:
    if any(isinstance(key, tuple) for key in data):
        return _from_hetero(uri, data, options)
    if "relation" in options:
        raise Ssl4rlError(f"{uri!r} has one kind of edge; relation= is for HeteroData")
    edges = _edge_index(uri, data)
    nodes = _count(data, edges)
    weight = None if options.get("weight") == "none" else _weight(uri, data, edges.shape[1])
    columns = _columns(data, nodes, len(edges[0]))
    return assemble(uri, nodes, *edges, directed=_is_directed(nodes, *edges), weight=weight, columns=columns)


def _from_hetero(uri: str, data: Mapping[Any, Any], options: Mapping[str, str]) -> tuple[Graph, list[Problem]]:
    relations = {key: store for key, store in data.items() if isinstance(key, tuple)}
    if "relation" in options:
        wanted = options["relation"]
        relations = {key: store for key, store in relations.items() if wanted in (key[1], ",".join(key))}
        if not relations:
            choice(uri, "relation", wanted, [",".join(key) for key in data if isinstance(key, tuple)])
    types = [key for key in data if isinstance(key, str) and key != "_global_store"]
    counts = {kind: _count(data[kind], np.empty((2, 0))) for kind in types}
    ends = {key: _edge_index(uri, store) for key, store in relations.items()}
    for (source, _, target), (u, v) in ends.items():
        for kind, end in ((source, u), (target, v)):
            if kind not in counts:
                counts[kind] = 0
            if "num_nodes" not in data.get(kind, {}) and not any(key in data.get(kind, {}) for key in _COUNTING):
                counts[kind] = max(counts[kind], int(end.max(initial=-1)) + 1)
    first = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    for (source, name, target), (u, v) in ends.items():
        if (len(u) and int(u.max()) >= counts[source]) or (len(v) and int(v.max()) >= counts[target]):
            raise Ssl4rlError(f"{uri!r}: relation {name!r} names a node that {source!r} or {target!r} does not have")
    u = np.concatenate([u + first[source] for (source, _, _), (u, _) in ends.items()] or [np.empty(0, np.int64)])
    v = np.concatenate([v + first[target] for (_, _, target), (_, v) in ends.items()] or [np.empty(0, np.int64)])
    nodes = sum(counts.values())
    columns: dict[str, Sequence[Any]] = {"type": [kind for kind, count in counts.items() for _ in range(count)]}
    parts = {kind: _columns(data.get(kind, {}), count, -1) for kind, count in counts.items()}
    for name in dict.fromkeys(name for part in parts.values() for name in part):
        if name != "type":
            columns[name] = [value for kind, n in counts.items() for value in parts[kind].get(name, [None] * n)]
    graph, problems = assemble(uri, nodes, u, v, directed=_is_directed(nodes, u, v), columns=columns)
    if len(relations) > 1:
        shown = ", ".join("-".join(key) for key in relations)
        problems.append(Problem("relations", f"{len(relations)} merged into one kind of edge ({shown})"))
    return graph, problems


def _edge_index(uri: str, store: Store) -> Array:
    """int64 [2, M]"""
    found = store.get("edge_index")
    if str(getattr(found, "layout", None)) != "torch.strided":
        names = ", ".join(map(str, list(store)[:8])) or "nothing"
        raise Ssl4rlError(f"{uri!r} has no edge_index tensor; it has: {names}")
    edges: Array = store["edge_index"].numpy()
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
        raise Ssl4rlError(f"{uri!r}: edge_index is {edges.dtype} of shape {edges.shape}; allowed: integers [2, edges]")
    if edges.size and int(edges.min()) < 0:
        raise Ssl4rlError(f"{uri!r}: edge_index holds {int(edges.min())}; allowed: node numbers from 0")
    return edges.astype(np.int64, copy=False)


def _count(store: Store, edges: Array) -> int:
    """How many nodes there are, by PyG's rules."""
    if isinstance(store.get("num_nodes"), int):
        return int(store["num_nodes"])
    sizes = [len(store[key]) for key in _COUNTING if hasattr(store.get(key), "__len__")]
    return sizes[0] if sizes else int(edges.max(initial=-1)) + 1


def _weight(uri: str, store: Store, edges: int) -> Array | None:
    if "edge_weight" not in store:
        return None
    weight: Array = np.asarray(store["edge_weight"], dtype=np.float64).reshape(-1)
    if len(weight) != edges:
        raise Ssl4rlError(f"{uri!r}: edge_weight holds {len(weight)} numbers; allowed: {edges}, one for each edge")
    return weight


def _is_directed(nodes: int, u: Array, v: Array) -> bool:
    """Whether some edge lacks its reverse."""
    return not np.array_equal(np.unique(u * np.int64(nodes) + v), np.unique(v * np.int64(nodes) + u))


def _columns(store: Store, nodes: int, edges: int) -> dict[str, Sequence[Any]]:
    """What has one entry for each node: tensors as arrays, lists as they are."""
    columns: dict[str, Sequence[Any]] = {}
    for key, value in store.items():
        if not isinstance(key, str) or key in _NOT_CARRIED or key.endswith(("_mask", "_index")):
            continue
        name = "label" if key == "y" else key
        if isinstance(value, list | tuple):
            if len(value) == nodes:
                columns[name] = list(value)
        elif getattr(value, "ndim", 0) and hasattr(value, "numpy"):
            if value.shape[0] == nodes and not (key.startswith("edge") and nodes == edges):
                columns[name] = _squeezed(value)
            elif key == "y" and value.shape[0] == 1:
                columns["graph_label"] = [_squeezed(value)[0].tolist()] * nodes
    return columns


def _squeezed(value: Any) -> Any:
    dense = value.detach().to_dense() if value.layout != value.new_empty(0).layout else value.detach()
    array: Array = (dense.float() if dense.is_floating_point() else dense).numpy()
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
