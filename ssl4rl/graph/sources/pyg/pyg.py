"""Graphs that PyTorch Geometric stores: saved Data and HeteroData, InMemoryDatasets, and its datasets' raw folders."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.limits import open_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources.base import GraphSource, NodeSource, assemble, is_directed, node_source, summed
from ssl4rl.graph.sources.files import (
    DIRECTED,
    Input,
    check_zip_directory,
    choice,
    directed_or,
    find,
    reading,
    suggestion,
)
from ssl4rl.graph.sources.pyg.raw_layouts import open_planetoid, open_tu, planetoid_prefix, tu_prefix
from ssl4rl.graph.sources.pyg.stores import Store, carried, count_nodes, edge_index, edge_weight


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

_PICKLED, _GRAPH = 10, 2000
"""Bytes in memory for each byte of a pickle, and for a small graph of a collection whatever it holds, at the worst."""


def open_pyg(text: str) -> NodeSource | GraphSource:
    """Graphs on disk as PyG has them: `pyg:PATH[?relation=NAME&weight=none&directed=false]`.

    PATH is a file that torch.save wrote (a Data, a HeteroData, a list of Data, or an InMemoryDataset's processed
    data.pt), or a dataset's folder: its raw files where they are Planetoid's or TUDataset's, else processed/data.pt.
    One graph gives its nodes, several give a collection.

    Columns: `y` becomes "label" ("graph_label" where there is one for the graph); `x` and whatever else has one entry
    a node keep their names, masks are left out. Weights are `edge_weight`. A graph whose edges all go both ways is
    undirected, and one that is asked to be: `directed=false`, as citation networks are mostly used. A HeteroData
    becomes one graph: node types in order, as column "type", the edges of all relations merged (or those of
    `relation`, by its name or as "source,name,target"); which relation an edge was of is not kept.

    Files are loaded by torch with weights_only and stand-ins for PyG's classes: nothing in a data file is run, and PyG
    itself, which takes seconds to import, is not needed.

    Raises:
        Ssl4rlError: torch is missing, no such file, or no graph in it.
    """
    file = find("pyg", text, ("relation", "weight", DIRECTED), "dataset/", folders=True)
    path = file.path
    if path.is_dir():
        for folder in (path, path / "raw", *sorted(path.glob("*/raw"))):
            if (prefix := planetoid_prefix(folder)) is not None:
                return open_planetoid(file, folder, prefix)
            if (prefix := tu_prefix(folder)) is not None:
                return open_tu(file, folder, prefix)
        path = _processed(file.uri, path)
    uri = file.uri
    dropped: dict[str, None] = {}
    made = [_to_graph(file, store, dropped) for store in _split(file, _load(file.at(path)))]
    said = f"not kept: {', '.join(list(dropped)[:12])}" if dropped else ""
    if len(made) == 1:
        return node_source(uri, *made[0], taken=said)
    return GraphSource(uri, [graph for graph, _ in made], summed([p for _, problems in made for p in problems]), said)


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


def _load(file: Input) -> Any:
    uri, path = file.uri, file.path
    try:
        serialization = import_module("torch.serialization")
    except ImportError:
        raise Ssl4rlError("pyg: needs torch, which is not installed; pip install ssl4rl[graph]") from None
    with reading(uri, path), open_regular(uri, path) as stream, _only(serialization, _STAND_INS):
        _count_bytes(file, stream)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about sparse tensors, which are checked where they are read
                return serialization.load(stream, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = str(error).partition("GLOBAL ")[2].split(" ")[0]
            if not named:
                raise Ssl4rlError(f"{uri!r} is not what torch.save writes{suggestion('pyg', path)}") from None
            raise Ssl4rlError(
                f"{uri!r} holds a {named[:80]}, which is not loaded: nothing in a data file is run; allowed: Data, "
                "HeteroData, tensors, lists and dicts"
            ) from None
        except _BROKEN:
            raise Ssl4rlError(f"{uri!r} is not what torch.save writes{suggestion('pyg', path)}") from None


_BROKEN = (
    *(RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OSError, AssertionError),
    *(OverflowError, MemoryError, ImportError, ArithmeticError, zipfile.BadZipFile, NotImplementedError, struct.error),
)
"""What torch raises at files of another format, and at broken ones."""


def _count_bytes(file: Input, stream: BinaryIO) -> None:
    """Counts what loading takes, before: an archive's members once decompressed, a pickle's objects."""
    start = stream.read(4)
    stream.seek(0)
    if start != b"PK\x03\x04":
        file.budget.spend(_PICKLED * file.path.stat().st_size)
        return
    check_zip_directory(file.uri, stream)
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                pickled = info.filename.endswith(".pkl")
                file.budget.spend(info.file_size * (_PICKLED if pickled else 1), f"{info.filename[:80]!r} in it")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        why = " ".join(str(error).split())[:100]
        raise Ssl4rlError(f"{file.uri!r} is not what torch.save writes ({why}){suggestion('pyg', file.path)}") from None
    stream.seek(0)


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


def _split(file: Input, loaded: Any) -> list[dict[Any, Any]]:
    """One dict for each graph, of a Data's or HeteroData's content as their `to_dict` has it.

    A pair of a graph and its labels, or a list of such pairs (as OGB's datasets give them), are graphs with a "y".
    """
    uri = file.uri
    slices = None
    try:
        if _is_pair(loaded):
            loaded = [loaded]
        if isinstance(loaded, list) and loaded and all(_is_pair(part) for part in loaded):
            file.budget.spend(_GRAPH * len(loaded))
            return [_labelled(*part) for part in loaded]
        if isinstance(loaded, tuple) and len(loaded) in (2, 3):
            loaded, slices = loaded[:2]
        if isinstance(loaded, list) and loaded and all(isinstance(part, _Stored) for part in loaded):
            file.budget.spend(_GRAPH * len(loaded))
            return [_dict(part) for part in loaded]
        loaded = _dict(loaded)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise Ssl4rlError(f"{uri!r} is stored by a version of PyG that is not known ({str(error)[:80]!r})") from None
    if not isinstance(loaded, dict):
        raise Ssl4rlError(
            f"{uri!r} holds a {type(loaded).__name__}; allowed: Data, HeteroData, lists or datasets of them"
        )
    if slices is None or (isinstance(slices, dict) and not slices):
        return [loaded]
    try:
        return _sliced(file, loaded, slices)
    except (TypeError, LookupError, ValueError, AttributeError, RuntimeError, StopIteration) as error:
        raise Ssl4rlError(f"{uri!r}: its slices do not fit its data ({' '.join(str(error).split())[:120]})") from None


def _dict(part: Any) -> Any:
    return part.to_dict() if isinstance(part, _Stored) else part


def _is_pair(part: Any) -> bool:
    """Whether this is a graph and what it is called, or its nodes are."""
    if not isinstance(part, tuple) or len(part) != 2:
        return False
    graph, label = part
    return isinstance(graph, dict | _Stored) and (hasattr(label, "numpy") or isinstance(label, int | float | str))


def _labelled(graph: Any, label: Any) -> dict[Any, Any]:
    return {**_dict(graph), "y": label}


def _sliced(file: Input, data: Mapping[Any, Any], slices: Mapping[Any, Any]) -> list[dict[Any, Any]]:
    """The graphs of an InMemoryDataset: each tensor is cut where its slices say, edges along their second axis."""
    nested = any(isinstance(cuts, dict) for cuts in slices.values())
    some = next(iter(next(iter(slices.values())).values() if nested else slices.values()))
    file.budget.spend(_GRAPH * len(some))
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


def _to_graph(file: Input, data: Mapping[Any, Any], dropped: dict[str, None]) -> tuple[Graph, list[Problem]]:
    """A graph, and what was dropped, merged or guessed; attributes that are not kept are added to `dropped`."""
    uri, options = file.uri, file.options
    if any(isinstance(key, tuple) for key in data):
        return _from_hetero(file, data, dropped)
    if "relation" in options:
        raise Ssl4rlError(f"{uri!r} has one kind of edge; relation= is for HeteroData")
    edges = edge_index(file, data)
    nodes, guessed = count_nodes(file, data, edges)
    weight = None if options.get("weight") == "none" else edge_weight(file, data, edges.shape[1])
    columns = carried(file, data, nodes, edges.shape[1], dropped)
    directed = directed_or(file, is_directed(nodes, *edges))
    graph, problems = assemble(uri, nodes, *edges, directed=directed, weight=weight, columns=columns)
    return graph, [*guessed, *problems]


def _from_hetero(file: Input, data: Mapping[Any, Any], dropped: dict[str, None]) -> tuple[Graph, list[Problem]]:
    uri, options = file.uri, file.options
    relations = {key: store for key, store in data.items() if isinstance(key, tuple)}
    stores = {key: store for key, store in data.items() if isinstance(key, str) and key != "_global_store"}
    if not all(len(key) == 3 and isinstance(data[key], dict) for key in relations):
        raise Ssl4rlError(f"{uri!r} has relations that are not called (source, name, target)")
    stores = {key: store for key, store in stores.items() if isinstance(store, dict)}
    if "relation" in options:
        wanted = options["relation"]
        relations = {key: store for key, store in relations.items() if wanted in (key[1], ",".join(map(str, key)))}
        if not relations:
            choice(uri, "relation", wanted, [",".join(map(str, key)) for key in data if isinstance(key, tuple)])
    ends = {key: edge_index(file, store) for key, store in relations.items()}
    counts, problems = _counts(file, stores, ends)
    first = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    for (source, name, target), (u, v) in ends.items():
        if (len(u) and int(u.max()) >= counts[source]) or (len(v) and int(v.max()) >= counts[target]):
            raise Ssl4rlError(f"{uri!r}: relation {name!r} names a node that {source!r} or {target!r} does not have")
    u = np.concatenate([u + first[source] for (source, _, _), (u, _) in ends.items()] or [np.empty(0, np.int64)])
    v = np.concatenate([v + first[target] for (_, _, target), (_, v) in ends.items()] or [np.empty(0, np.int64)])
    nodes = sum(counts.values())
    file.budget.spend(100 * nodes, f"{nodes} nodes")
    columns: dict[str, Sequence[Any]] = {"type": [kind for kind, count in counts.items() for _ in range(count)]}
    parts = {kind: carried(file, stores.get(kind, {}), count, -1, dropped) for kind, count in counts.items()}
    for name in dict.fromkeys(name for part in parts.values() for name in part):
        if name != "type":
            file.budget.spend(100 * nodes, f"column {name[:40]!r}")
            columns[name] = [value for kind, n in counts.items() for value in parts[kind].get(name, [None] * n)]
    weight = None if options.get("weight") == "none" else _weights(file, relations, ends)
    graph, merged = assemble(
        uri, nodes, u, v, directed=directed_or(file, is_directed(nodes, u, v)), weight=weight, columns=columns
    )
    problems += merged
    if len(relations) > 1:
        shown = ", ".join("-".join(map(str, key)) for key in relations)[:200]
        problems.append(Problem("relations", f"{len(relations)} merged into one kind of edge ({shown})"))
    return graph, problems


def _counts(
    file: Input, stores: Mapping[str, Store], ends: Mapping[tuple[str, str, str], NDArray[Any]]
) -> tuple[dict[str, int], list[Problem]]:
    """How many nodes of each type there are, types without any left out; and what was guessed or dropped for that."""
    counts: dict[str, int] = {}
    problems: list[Problem] = []
    kinds = dict.fromkeys([*stores, *(kind for source, _, target in ends for kind in (source, target))])
    for kind in kinds:
        named = [end for key, (u, v) in ends.items() for side, end in ((key[0], u), (key[2], v)) if side == kind]
        both = np.concatenate(named) if named else np.empty(0, np.int64)
        counts[kind], guessed = count_nodes(file, stores.get(kind, {}), np.stack([both, both]), f"{kind!r} ")
        problems += guessed
    if empty := [kind for kind, count in counts.items() if not count]:
        problems.append(Problem("types of nodes", f"{len(empty)} without a node left out ({', '.join(empty)[:200]})"))
    return {kind: count for kind, count in counts.items() if count or any(kind in key for key in ends)}, problems


def _weights(
    file: Input, relations: Mapping[Any, Store], ends: Mapping[Any, NDArray[Any]]
) -> NDArray[np.float64] | None:
    """The weights of all relations' edges, 1 where a relation has none; None: no relation has any."""
    found = {key: edge_weight(file, store, ends[key].shape[1]) for key, store in relations.items()}
    if all(weight is None for weight in found.values()):
        return None
    parts = [np.ones(ends[key].shape[1]) if weight is None else weight for key, weight in found.items()]
    return np.concatenate(parts)
