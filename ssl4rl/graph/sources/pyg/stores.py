"""What a PyG store (a Data's or a node type's dict) says: its edges, how many nodes it has, and what they carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.sources.builder import CELL_BYTES, EDGE_BYTES, letters
from ssl4rl.graph.sources.files import Input
from ssl4rl.graph.sources.pyg.raw_layouts import MOST_FEATURES
from ssl4rl.graph.sources.pyg.sparse import SparseRows

Array = NDArray[Any]
Store = Mapping[str, Any]

COUNTING = ("x", "feat", "node_feat", "pos", "node_type", "node_id", "n_id")
"""What PyG counts nodes by, and OGB."""

_NOT_CARRIED = ("edge_index", "edge_attr", "edge_weight", "num_nodes", "batch", "ptr", "face", "adj", "adj_t")
_NODE_BYTES = 100
_GAP = 100
_SMALL = 100_000


class _Odd(Exception):
    """A value that a node cannot carry."""


def edge_index(file: Input, store: Store) -> Array:
    """int64 [2, M], from `edge_index` or, where there is none, a sparse `adj_t` (rows are targets) or `adj`.

    Raises:
        Ssl4rlError: there is neither, or no whole numbers from 0 in it.
    """
    found: Any = store.get("edge_index")
    if found is None:
        for name, order in (("adj_t", (1, 0)), ("adj", (0, 1))):
            if (entries := _coordinates(file, store.get(name))) is not None:
                return np.stack([entries[order[0]], entries[order[1]]])
    if str(getattr(found, "layout", None)) != "torch.strided":
        names = ", ".join(str(name)[:40] for name in list(store)[:8]) or "nothing"
        raise Ssl4rlError(f"{file.uri!r} has no edge_index tensor; it has: {names}")
    kind, shape = str(found.dtype).removeprefix("torch."), tuple(found.shape)
    if len(shape) != 2 or shape[0] != 2 or not kind.lstrip("u").startswith("int"):
        raise Ssl4rlError(f"{file.uri!r}: edge_index is {kind} of shape {shape}; allowed: integers [2, edges]")
    file.budget.spend(EDGE_BYTES * shape[1], f"an edge_index of {shape[1]} edges")
    edges: Array = found.numpy()
    if edges.size and int(edges.min()) < 0:
        raise Ssl4rlError(f"{file.uri!r}: edge_index holds {int(edges.min())}; allowed: node numbers from 0")
    return edges.astype(np.int64, copy=False)


def count_nodes(file: Input, store: Store, edges: Array, whose: str = "") -> tuple[int, list[Problem]]:
    """How many nodes there are, and a note where that had to be guessed.

    `num_nodes`, else what PyG counts by (COUNTING), else the number of entries that most lists and tensors have, if it
    is enough for the edges, else the largest number that an edge names.

    Args:
        file: for messages and memory.
        store: a Data or one type of nodes.
        edges: int64 [2, M], all numbers that name nodes of this store.
        whose: "'author' " in messages about one type.

    Raises:
        Ssl4rlError: more nodes than there is room for, or numbers with gaps so large that they are no node numbers.
    """
    least = int(edges.max(initial=-1)) + 1
    given = _scalar(store.get("num_nodes"))
    if given is not None:
        if given < 0:
            raise Ssl4rlError(f"{file.uri!r}: {whose}num_nodes is {given}; allowed: 0 or more")
        file.budget.spend(_NODE_BYTES * given, f"{whose}num_nodes={given}")
        return given, []
    sizes = [_length(store[key]) for key in COUNTING if _length(store.get(key)) is not None]
    if sizes and sizes[0] is not None:
        file.budget.spend(_NODE_BYTES * sizes[0])
        return sizes[0], []
    votes: Counter[int] = Counter()
    voters: dict[int, list[str]] = {}
    for key, value in store.items():
        size = _length(value)
        edgy = not isinstance(key, str) or key in _NOT_CARRIED or key.startswith("edge") or key.endswith("_index")
        if (
            edgy
            or size is None
            or size < max(least, 2)
            or (not whose and size == edges.shape[1] != least and key != "y")
        ):
            continue
        votes[size] += 1
        voters.setdefault(size, []).append(key)
    if votes:
        size = max(votes, key=lambda size: (votes[size], size))
        file.budget.spend(_NODE_BYTES * size)
        by = ", ".join(sorted(voters[size]))[:100]
        guessed = [] if size == least else [Problem("nodes", f"{size} {whose}counted by {by}, edges name {least}")]
        return size, guessed
    _refuse_gaps(file, edges, least, whose)
    file.budget.spend(_NODE_BYTES * least, f"{whose}node {least - 1}")
    return least, []


def _refuse_gaps(file: Input, edges: Array, least: int, whose: str) -> None:
    if least <= _SMALL:
        return
    different = len(np.unique(edges))
    if least > _GAP * different:
        raise Ssl4rlError(
            f"{file.uri!r}: edge_index holds {whose}ids up to {least - 1}, {different} different; allowed: node "
            f"numbers from 0; renumber them 0 to {different - 1}, or say num_nodes"
        )


def _length(value: Any) -> int | None:
    """How many entries a list or a tensor has; None: it is neither."""
    if isinstance(value, list | tuple):
        return len(value)
    return int(value.shape[0]) if hasattr(value, "numpy") and value.ndim else None


def _scalar(value: Any) -> int | None:
    """A whole number, also where it comes as a tensor of one."""
    if hasattr(value, "numpy") and str(value.layout) == "torch.strided" and value.numel() == 1:
        value = value.reshape(-1)[0].item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def edge_weight(file: Input, store: Store, edges: int) -> Array | None:
    """float64 [M], or None where edges have no weights.

    Raises:
        Ssl4rlError: there are not as many as edges, or they are no numbers.
    """
    found = store.get("edge_weight")
    if found is None:
        return None
    try:
        dense = found.detach() if hasattr(found, "detach") else found
        size = dense.numel() if hasattr(dense, "numel") else len(dense)
        if size == edges:
            return np.asarray(dense.double() if hasattr(dense, "double") else dense, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Ssl4rlError(f"{file.uri!r}: edge_weight holds no numbers") from None
    raise Ssl4rlError(f"{file.uri!r}: edge_weight holds {size} numbers; allowed: {edges}, one for each edge")


def carried(file: Input, store: Store, nodes: int, edges: int, dropped: dict[str, None]) -> dict[str, Sequence[Any]]:
    """What has one entry for each node: tensors as arrays, sparse ones row by row, lists as they are.

    `y` becomes "label", or "graph_label" where there is one for the graph. Masks, and what has another number of
    entries or holds more than texts and numbers, is not carried but its name added to `dropped`.
    """
    columns: dict[str, Sequence[Any]] = {}
    for key, value in store.items():
        if not isinstance(key, str) or key in _NOT_CARRIED or key.endswith(("_mask", "_index")) or value is None:
            if isinstance(key, str) and key not in ("edge_index", "edge_weight", "num_nodes") and value is not None:
                dropped[_text(key)[:40]] = None
            continue
        name = "label" if key == "y" else _text(key)
        size = _length(value)
        try:
            if size == nodes and not (key.startswith("edge") and nodes == edges):
                columns[name] = _column(file, value)
            elif key == "y" and (size is None or size == 1):
                columns["graph_label"] = [_one(file, value)] * nodes
            else:
                dropped[name[:40]] = None
        except _Odd:
            dropped[name[:40]] = None
    return columns


def _column(file: Input, value: Any) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return [_cell(file, cell) for cell in value]
    if str(value.layout) != "torch.strided":
        return _sparse_rows(file, value)
    size = value.numel() * value.element_size()
    if value.is_complex() or str(value.dtype).startswith(("torch.q", "torch.float8", "torch.float4")):
        raise _Odd
    stored = value.untyped_storage().nbytes()
    kept = str(value.dtype) == "torch.float32" or not value.is_floating_point()
    if not kept or size > stored:  # a copy is made, or one that repeats its numbers is met by code that makes one
        file.budget.spend(4 * value.numel() if not kept else size, f"a tensor of shape {tuple(value.shape)}")
    dense = value.detach()
    array: Any = (dense if kept else dense.float()).numpy()
    column: Sequence[Any] = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return column


def _one(file: Input, value: Any) -> Any:
    """The label of a whole graph."""
    if hasattr(value, "numpy"):
        if value.numel() > _SMALL or str(value.layout) != "torch.strided":
            raise _Odd
        found = _column(file, value.reshape(1, -1))
        return np.asarray(found)[0].tolist()
    return _cell(file, value[0] if isinstance(value, list | tuple) else value)


def _cell(file: Input, value: Any, depth: int = 0) -> Any:
    """A text, a number, None or a list of these, with its memory counted: shared lists may stand for very long ones."""
    file.budget.spend(CELL_BYTES + (letters(value) if isinstance(value, str) else 0))
    if hasattr(value, "numpy") and str(value.layout) == "torch.strided" and not value.is_complex():
        file.budget.spend(CELL_BYTES * value.numel())
        return value.detach().tolist()
    if isinstance(value, list | tuple) and depth < 20:
        return [_cell(file, part, depth + 1) for part in value]
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 128):
        return value
    raise _Odd


def _text(text: str) -> str:
    """Without halves of characters, which a pickle may hold and nothing can write."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _coordinates(file: Input, value: Any) -> tuple[Array, Array] | None:
    """Row and column of each entry of a sparse matrix, int64 [M]; None: it is none."""
    layout = str(getattr(value, "layout", ""))
    if layout not in ("torch.sparse_coo", "torch.sparse_csr") or value.ndim != 2:
        return None
    indptr, indices, _ = _csr(file, value, EDGE_BYTES)
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices


def _sparse_rows(file: Input, value: Any) -> SparseRows:
    if value.ndim != 2 or value.shape[1] > MOST_FEATURES:
        raise _Odd
    return SparseRows(*_csr(file, value, 32), columns=int(value.shape[1]))


def _csr(file: Input, value: Any, each: int) -> tuple[Array, Array, Array]:
    """`indptr`, `indices` and `data` of a sparse tensor, checked: torch does not check what it loads.

    Raises:
        Ssl4rlError: these contradict each other.
    """
    import scipy.sparse

    layout, (rows, columns) = str(value.layout), (int(side) for side in value.shape)
    file.budget.spend(8 * rows, f"a tensor of {rows} rows")
    try:
        if layout == "torch.sparse_csr":
            parts = [value.crow_indices(), value.col_indices(), value.values()]
            file.budget.spend(each * parts[1].numel(), f"a tensor of {parts[1].numel()} entries")
            indptr, indices, data = (part.detach().numpy() for part in parts)
            found = SparseRows(indptr, indices, data, columns)
            if len(found) != rows:
                raise ValueError(f"{len(found)} of {rows} rows")
            return found.indptr, found.indices, found.data
        if layout != "torch.sparse_coo":
            raise _Odd
        at, data = value._indices(), value._values().detach()
        file.budget.spend(each * at.shape[1], f"a tensor of {at.shape[1]} entries")
        row, column = at.numpy()
        if len(row) and (min(row.min(), column.min()) < 0 or row.max() >= rows or column.max() >= columns):
            raise ValueError("an entry lies outside")
        matrix = scipy.sparse.coo_matrix((data.numpy(), (row, column)), shape=(rows, columns)).tocsr()
        return matrix.indptr, matrix.indices.astype(np.int64), matrix.data
    except (ValueError, RuntimeError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise Ssl4rlError(f"{file.uri!r}: a sparse tensor contradicts itself ({why})") from None
