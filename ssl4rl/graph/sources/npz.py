"""Compressed sparse rows on disk: scipy's .npz, or a folder of .npy files, by memory map.

An uncompressed .npz is a zip archive whose members are stored as they are, so the arrays inside can be mapped in place.

    python -m ssl4rl.graph.sources.npz IN.npz OUT.npz     # rows sorted, loops and repetitions gone, arrays aligned
"""

from __future__ import annotations

import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import split_options
from ssl4rl.graph.graph import Graph, Ints
from ssl4rl.graph.sources.base import NodeSource, assemble, existing, flag, node_source, reading, suggestion
from ssl4rl.graph.sources.table import beside, read_nodes

Array = NDArray[Any]

TIDIED_ENTRIES = 1 << 22
"""Matrices of up to so many entries are put right in memory where their rows are not as they should be."""

CHECKED_ENTRIES = 1 << 26
"""Matrices of up to so many entries are checked to the last; of larger ones rows evenly spaced are."""

_CHUNK = 1 << 20
_SPACED = 4096
_ALIGN = 64
_CSR = ("indptr", "indices", "data", "format", "shape", "_is_array")


def open_npz(text: str) -> NodeSource:
    """A graph as compressed sparse rows: `npz:FILE.npz` or `npz:FOLDER[?directed=true&weight=none&nodes=FILE&id=..]`.

    The arrays are `indptr` [N+1] and `indices` [M], and `data` [M] where edges are weighted (all ones: they are not);
    scipy.sparse.save_npz(..., compressed=False) writes them, and a folder holds them as indptr.npy and so on. Any other
    array of length N is a column, `names` the nodes' names. An undirected graph has every edge in both rows. A node
    table (as for `edges:`) has a row for each node, in order.

    What is not compressed is mapped, not read: opening takes time by the number of rows checked, and memory for
    nothing else. Rows must be ascending, without repetitions or self-loops; small files are put right in memory, for
    large ones the message says what to run.

    Raises:
        Ssl4rlError: no such file, no CSR in it, or arrays that contradict each other.
    """
    uri = f"npz:{text}"
    name, options = split_options("npz", text, ("directed", "weight", "nodes", "id"))
    path = existing("npz", name, "graph.npz")
    with reading(uri, path):
        arrays, problems = _from_folder(uri, path) if path.is_dir() else _from_archive(uri, path)
    indptr, indices = _csr(uri, path, arrays)
    directed = flag(uri, options, "directed")
    weight = None if options.get("weight") == "none" else _weight(uri, arrays.get("data"), len(indices))
    names, columns = _carried(uri, path, arrays, len(indptr) - 1, options)
    graph = Graph(indptr, indices, directed, weight, names, columns)
    wrong = _fault(graph)
    if wrong is not None:
        if len(indices) > TIDIED_ENTRIES:
            raise Ssl4rlError(
                f"{uri!r}: {wrong}; write it anew with 'python -m ssl4rl.graph.sources.npz {path} tidy.npz'"
            )
        graph, mended = _tidied(uri, graph)
        problems += [Problem(path.name, f"{wrong}; put right in memory"), *mended]
    if not directed:
        _check_symmetric(uri, graph)
    return node_source(uri, graph, problems, (open_npz, text))


def save_npz(graph: Graph, path: Path) -> None:
    """Writes a graph as `npz:` reads it, uncompressed, each array aligned in the file so that a map of it is quick.

    Columns must be arrays of numbers or texts; numpy.load and scipy.sparse.load_npz read the file too.
    """
    carried = {name: np.asarray(values) for name, values in graph.columns.items()}
    if graph.names is not None:
        carried["names"] = np.asarray(graph.names)
    data = np.ones(len(graph.indices), dtype=np.int8) if graph.weight is None else graph.weight
    shape = np.array([graph.num_nodes] * 2)
    arrays = {"indptr": graph.indptr, "indices": graph.indices, "data": data, "shape": shape, **carried}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise Ssl4rlError(f"column {name!r} holds objects; allowed in an .npz: numbers and texts")
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in [*arrays.items(), ("format", np.array(b"csr"))]:
            info = zipfile.ZipInfo(f"{name}.npy")
            header = 30 + len(info.filename) + 20 + 4  # local header, name, the zip64 field, the padding field's head
            padding = -(file.tell() + header) % _ALIGN
            info.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def rewrite(source: str, target: str) -> list[Problem]:
    """Reads an .npz into memory, puts its rows right and writes it aligned; what was dropped or merged.

    The matrix is taken as directed, so that nothing is invented; weights stay.
    """
    arrays, _ = _from_archive(f"npz:{source}", existing("npz", source, "graph.npz"))
    indptr, indices = _csr(f"npz:{source}", Path(source), arrays)
    names, columns = _carried(f"npz:{source}", Path(source), arrays, len(indptr) - 1, {})
    weight = _weight(f"npz:{source}", arrays.get("data"), len(indices))
    graph, problems = _tidied(f"npz:{source}", Graph(indptr, indices, True, weight, names, columns))
    save_npz(graph, Path(target))
    return problems


def _from_folder(uri: str, path: Path) -> tuple[dict[str, Array], list[Problem]]:
    arrays = {}
    for file in sorted(path.glob("*.npy")):
        try:
            mapped: Array = np.load(file, mmap_mode="r", allow_pickle=False)
            arrays[file.stem] = np.asarray(mapped)
        except ValueError as error:
            raise Ssl4rlError(f"{uri!r}: {file.name} cannot be mapped ({str(error).splitlines()[0]})") from None
    return arrays, []


def _from_archive(uri: str, path: Path) -> tuple[dict[str, Array], list[Problem]]:
    """All arrays of an archive, mapped where they are stored and loaded where they are compressed."""
    arrays: dict[str, Array] = {}
    loaded: dict[str, int] = {}
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if info.compress_type == zipfile.ZIP_STORED:
                    arrays[name] = _mapped(path, file, info)
                else:
                    with archive.open(info) as member:
                        arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                    loaded[name] = arrays[name].nbytes
    except (zipfile.BadZipFile, struct.error, ValueError, EOFError, NotImplementedError, zlib.error) as error:
        why = (str(error).splitlines() or ["it is cut off"])[0]
        raise Ssl4rlError(f"{uri!r} is no .npz archive of arrays ({why}){suggestion('npz', path)}") from None
    total = sum(loaded.values())
    if total < 1 << 20:
        return arrays, []
    why = f"compressed, so loaded: {total / 2**20:.0f} MiB; save_npz(..., compressed=False) lets it be mapped"
    return arrays, [Problem(path.name, why)]


def _mapped(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Array:
    """A stored member as an array on the file. The plain ndarray: slicing numpy's memmap class takes twice the time."""
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    file.seek(info.header_offset)
    name_bytes, extra_bytes = struct.unpack("<26xHH", file.read(30))
    file.seek(info.header_offset + 30 + name_bytes + extra_bytes)
    version = np.lib.format.read_magic(file)
    reader: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds Python objects, which are not loaded")
    if 0 in shape or not shape:
        array: Array = np.fromfile(file, dtype, int(np.prod(shape))).reshape(shape)
        return array
    size = int(np.prod(shape)) * dtype.itemsize
    if file.tell() + size > path.stat().st_size:
        raise ValueError(f"{info.filename} is cut off")
    order: Any = "F" if fortran else "C"
    return np.asarray(np.memmap(path, dtype, "r", file.tell(), shape, order))


def _csr(uri: str, path: Path, arrays: Mapping[str, Array]) -> tuple[Ints, Ints]:
    """`indptr` and `indices`, checked against each other but not entry by entry."""
    kind = arrays["format"].item() if "format" in arrays and arrays["format"].size == 1 else b"csr"
    if kind not in (b"csr", "csr"):
        shown = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
        raise Ssl4rlError(f"{uri!r} holds a {shown} matrix; allowed: csr (matrix.tocsr() before save_npz)")
    for name in ("indptr", "indices"):
        if name not in arrays:
            shown = ", ".join(sorted(arrays)[:8]) or "nothing"
            raise Ssl4rlError(f"{uri!r} has no array {name!r} and so is no CSR; it holds: {shown}")
        if arrays[name].ndim != 1 or not np.issubdtype(arrays[name].dtype, np.integer):
            raise Ssl4rlError(
                f"{uri!r}: {name} is {arrays[name].dtype} of shape {arrays[name].shape}; allowed: integers in one row"
            )
    indptr, indices = arrays["indptr"], arrays["indices"]
    nodes = len(indptr) - 1
    if "shape" in arrays and arrays["shape"].tolist() != [nodes, nodes]:
        shape = "x".join(map(str, arrays["shape"].tolist()))
        raise Ssl4rlError(f"{uri!r}: the matrix is {shape} and indptr has {nodes + 1} entries; allowed: square, rows+1")
    if nodes < 0 or int(indptr[0]) != 0 or int(indptr[-1]) != len(indices):
        ends = f"{int(indptr[0])} to {int(indptr[-1])}" if nodes >= 0 else "nowhere"
        raise Ssl4rlError(f"{uri!r}: indptr goes from {ends}; allowed: 0 to {len(indices)}, the length of indices")
    for start in range(0, nodes, _CHUNK):
        piece = indptr[start : start + _CHUNK + 1]
        falls = np.flatnonzero(piece[1:] < piece[:-1])
        if len(falls):
            row = start + int(falls[0])
            raise Ssl4rlError(
                f"{uri!r}: indptr falls from {int(indptr[row])} to {int(indptr[row + 1])} at row {row}; "
                "allowed: never less than before"
            )
    for start in range(0, len(indices), _CHUNK):
        piece = indices[start : start + _CHUNK]
        if int(piece.min()) < 0 or int(piece.max()) >= nodes:
            wrong = int(piece.min()) if int(piece.min()) < 0 else int(piece.max())
            raise Ssl4rlError(f"{uri!r}: indices holds {wrong}; allowed: 0 to {nodes - 1}, the rows of the matrix")
        if len(indices) > CHECKED_ENTRIES:
            break
    return indptr, indices


def _weight(uri: str, data: Array | None, entries: int) -> NDArray[np.floating[Any]] | None:
    """Weights as they lie in the file; None where all are 1."""
    if data is None or not entries:
        return None
    if data.shape != (entries,) or data.dtype.kind not in "fiub":
        raise Ssl4rlError(
            f"{uri!r}: data is {data.dtype} of shape {data.shape}; allowed: {entries} numbers, one for each index"
        )
    weighted = entries > CHECKED_ENTRIES
    for start in range(0, _CHUNK if weighted else entries, _CHUNK):
        piece = data[start : start + _CHUNK]
        if data.dtype.kind == "f" and not np.isfinite(piece).all():
            at = start + int(np.flatnonzero(~np.isfinite(piece))[0])
            raise Ssl4rlError(f"{uri!r}: data holds {data[at]} at {at}; allowed: finite weights, or ?weight=none")
        weighted = weighted or bool((piece != 1).any())
    if not weighted:
        return None
    return data if data.dtype.kind == "f" else data.astype(np.float64)


def _carried(
    uri: str, path: Path, arrays: Mapping[str, Array], nodes: int, options: Mapping[str, str]
) -> tuple[Sequence[str] | None, dict[str, Sequence[Any]]]:
    """The nodes' names and columns, from the archive's other arrays and the node table."""
    found: dict[str, Any] = {
        name: array for name, array in arrays.items() if name not in _CSR and array.shape[:1] == (nodes,)
    }
    names: Sequence[str] | None = found.pop("names", None)
    if "nodes" in options:
        listed, columns, _ = read_nodes(uri, beside(uri, path, options["nodes"]), options.get("id"))
        if len(listed) != nodes:
            raise Ssl4rlError(
                f"{uri!r}: {options['nodes']} names {len(listed)} nodes, the matrix has {nodes}; allowed: one row each"
            )
        names, found = listed, found | columns
    return names, found


def _fault(graph: Graph) -> str | None:
    """What is wrong with a row that is looked at, in words; None: nothing. See CHECKED_ENTRIES."""
    if len(graph.indices) <= CHECKED_ENTRIES:
        spans = _row_chunks(graph.indptr)
    else:
        spacing = np.unique(np.linspace(0, graph.num_nodes - 1, _SPACED, dtype=np.int64)).tolist()
        spans = [(row, row + 1) for row in spacing]
    for first, last in spans:
        start, stop = int(graph.indptr[first]), int(graph.indptr[last])
        entries = np.asarray(graph.indices[start:stop], dtype=np.int64)
        rows = np.repeat(np.arange(first, last), np.diff(graph.indptr[first : last + 1]))
        steps = np.diff(entries)
        wrong = np.flatnonzero((steps <= 0) & (rows[1:] == rows[:-1]))
        if len(wrong):
            what = "names a node twice" if steps[wrong[0]] == 0 else "is not ascending"
            return f"row {int(rows[wrong[0]])} {what}"
        loops = np.flatnonzero(entries == rows)
        if len(loops):
            return f"row {int(rows[loops[0]])} holds a self-loop"
    return None


def _row_chunks(indptr: Ints) -> list[tuple[int, int]]:
    """Ranges of whole rows of about _CHUNK entries (one row at least)."""
    nodes, total = len(indptr) - 1, int(indptr[-1])
    cuts = np.searchsorted(indptr, np.arange(0, total, _CHUNK, dtype=indptr.dtype), side="left").tolist()
    edges = sorted({0, *(min(cut, nodes) for cut in cuts), nodes})
    return list(pairwise(edges))


def _tidied(uri: str, graph: Graph) -> tuple[Graph, list[Problem]]:
    """The same entries, sorted and merged in memory; its direction is as given, each entry is one edge."""
    rows = np.repeat(np.arange(graph.num_nodes), np.diff(graph.indptr))
    tidy, problems = assemble(
        uri,
        graph.num_nodes,
        rows,
        np.asarray(graph.indices),
        directed=True,
        weight=graph.weight,
        names=graph.names,
        columns=graph.columns,
    )
    return Graph(tidy.indptr, tidy.indices, graph.directed, tidy.weight, tidy.names, tidy.columns), problems


def _check_symmetric(uri: str, graph: Graph) -> None:
    """Looks at entries evenly spaced.

    Raises:
        Ssl4rlError: the other row lacks one.
    """
    if not len(graph.indices):
        return
    entries = np.unique(np.linspace(0, len(graph.indices) - 1, _SPACED, dtype=np.int64))
    rows = np.searchsorted(graph.indptr, entries, side="right") - 1
    for u, v in zip(rows.tolist(), np.asarray(graph.indices[entries]).tolist(), strict=True):
        if not graph.has_edge(v, u):
            raise Ssl4rlError(
                f"{uri!r}: row {u} names {v}, but row {v} does not name {u}; say ?directed=true, or store the matrix "
                "with both directions"
            )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m ssl4rl.graph.sources.npz IN.npz OUT.npz")
    try:
        for found in rewrite(sys.argv[1], sys.argv[2]):
            print(f"{found.name}: {found.why}", file=sys.stderr)
    except Ssl4rlError as fault:
        sys.exit(str(fault))
