"""Compressed sparse rows on disk: scipy's .npz, or a folder of .npy files, by memory map.

An uncompressed .npz is a zip archive whose members are stored as they are, so the arrays inside can be mapped in place.

    python -m ssl4rl.graph.sources.npz IN.npz OUT.npz     # rows sorted, loops and repetitions gone, arrays aligned
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssl4rl.core.limits import BoundedReader, Budget, open_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph, Ints
from ssl4rl.graph.sources.base import NodeSource, assemble, node_source
from ssl4rl.graph.sources.files import Input, check_zip_directory, find, flag, reading, suggestion
from ssl4rl.graph.sources.text.table import read_nodes

Array = NDArray[Any]

TIDIED_ENTRIES = 1 << 22
"""Matrices of up to so many entries are put right in memory where their rows are not as they should be."""

CHECKED_ENTRIES = 1 << 26
"""Matrices of up to so many entries are checked to the last; of larger ones rows evenly spaced are."""

_TIDIED_BYTES = 100
_CHUNK = 1 << 20
_SPACED = 4096
_ALIGN = 64
_PIECES = 64
_BROKEN = (
    *(zipfile.BadZipFile, struct.error, ValueError, EOFError, NotImplementedError, zlib.error, lzma.LZMAError),
    *(OverflowError, MemoryError, KeyError, TypeError, RuntimeError, SyntaxError, RecursionError, TokenError),
)
"""What zipfile and numpy raise at archives that are broken or none, and at nonsense in an array's header."""

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
    file = find("npz", text, ("directed", "weight", "nodes", "id"), "graph.npz", folders=True)
    uri, path, options = file.uri, file.path, file.options
    with reading(uri, path):
        arrays, problems = _from_folder(file) if path.is_dir() else _from_archive(file)
    indptr, indices = _csr(uri, path, arrays)
    directed = flag(uri, options, "directed")
    weight = None if options.get("weight") == "none" else _weight(file, arrays.get("data"), len(indices))
    names, columns = _carried(file, arrays, len(indptr) - 1)
    graph = Graph(indptr, indices, directed, weight, names, columns)
    wrong = _fault(graph)
    if wrong is not None:
        if len(indices) > TIDIED_ENTRIES:
            raise Ssl4rlError(
                f"{uri!r}: {wrong}; write it anew with 'python -m ssl4rl.graph.sources.npz {path} tidy.npz'"
            )
        file.budget.spend(_TIDIED_BYTES * (graph.num_nodes + len(indices)), "putting rows right")
        graph, mended = _tidied(uri, graph)
        problems += [Problem(path.name, f"{wrong}; put right in memory"), *mended]
    if not directed:
        _check_symmetric(uri, graph)
    used = {*_CSR, *columns, "names"}
    dropped = ", ".join(name[:40] for name in arrays if name not in used)
    return node_source(uri, graph, problems, (open_npz, text), f"not kept: {dropped}" if dropped else "")


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
    file = find("npz", source, (), "graph.npz")
    arrays, _ = _from_archive(file)
    indptr, indices = _csr(file.uri, file.path, arrays)
    names, columns = _carried(file, arrays, len(indptr) - 1)
    weight = _weight(file, arrays.get("data"), len(indices))
    graph, problems = _tidied(file.uri, Graph(indptr, indices, True, weight, names, columns))
    save_npz(graph, Path(target))
    return problems


def _from_folder(folder: Input) -> tuple[dict[str, Array], list[Problem]]:
    arrays = {}
    for path in sorted(folder.path.glob("*.npy")):
        with open_regular(folder.uri, path) as file:
            try:
                arrays[path.stem] = _mapped(path, file, path.name)
            except _BROKEN as error:
                why = (str(error).splitlines() or ["it is cut off"])[0][:200]
                raise Ssl4rlError(f"{folder.uri!r}: {path.name} cannot be mapped ({why})") from None
    return arrays, []


def _from_archive(source: Input) -> tuple[dict[str, Array], list[Problem]]:
    """All arrays of an archive, mapped where they are stored and loaded, as long as there is room, where compressed."""
    uri, path = source.uri, source.path
    arrays: dict[str, Array] = {}
    loaded: dict[str, int] = {}
    try:
        with open_regular(uri, path) as file:
            check_zip_directory(uri, file)
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if info.compress_type == zipfile.ZIP_STORED:
                        arrays[name] = _stored(path, file, info)
                    else:
                        with archive.open(info) as member:
                            arrays[name] = _decompressed(source, member, info.filename)
                        loaded[name] = arrays[name].nbytes
    except _BROKEN as error:
        why = (str(error).splitlines() or ["it is cut off"])[0][:200]
        raise Ssl4rlError(f"{uri!r} is no .npz archive of arrays ({why}){suggestion('npz', path)}") from None
    total = sum(loaded.values())
    if total < 1 << 20:
        return arrays, []
    why = f"compressed, so loaded: {total / 2**20:.0f} MiB; save_npz(..., compressed=False) lets it be mapped"
    return arrays, [Problem(path.name, why)]


def _stored(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Array:
    """A stored member as an array on the file."""
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    file.seek(info.header_offset)
    name_bytes, extra_bytes = struct.unpack("<26xHH", file.read(30))
    file.seek(info.header_offset + 30 + name_bytes + extra_bytes)
    return _mapped(path, file, info.filename)


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type of the array that begins here."""
    first = np.lib.format.read_magic(file) == (1, 0)
    shape, fortran, dtype = getattr(np.lib.format, f"read_array_header_{1 if first else 2}_0")(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not loaded")
    if any(side < 0 for side in shape):
        raise ValueError(f"{name} has the shape {shape}")
    return shape, fortran, dtype


def _mapped(path: Path, file: BinaryIO, name: str) -> Array:
    """An array where it lies. The plain ndarray: slicing numpy's memmap class takes twice the time."""
    shape, fortran, dtype = _header(file, name)
    if 0 in shape or not shape:
        array: Array = np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
        return array
    if file.tell() + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise ValueError(f"{name} is cut off")
    order: Any = "F" if fortran else "C"
    return np.asarray(np.memmap(path, dtype, "r", file.tell(), shape, order))


def _decompressed(source: Input, member: Any, name: str) -> Array:
    """A compressed member as an array in memory, which is counted before it is taken."""
    stream = io.BufferedReader(BoundedReader(member, Budget(source.uri, "decoded_mib")), _CHUNK)
    shape, fortran, dtype = _header(stream, name)
    size = math.prod(shape) * dtype.itemsize
    source.budget.spend(size, f"array {name[:40]!r}")
    raw = np.empty(size, dtype=np.uint8)
    view = memoryview(raw.data)
    at = 0
    while at < size:
        read = stream.readinto(view[at : at + _CHUNK])
        if not read:
            raise ValueError(f"{name} is cut off")
        at += read
    return raw.view(dtype).reshape(shape, order="F" if fortran else "C")


def _csr(uri: str, path: Path, arrays: Mapping[str, Array]) -> tuple[Ints, Ints]:
    """`indptr` and `indices`, checked against each other but not entry by entry."""
    kind = arrays["format"].item() if "format" in arrays and arrays["format"].size == 1 else b"csr"
    if kind not in (b"csr", "csr"):
        shown = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
        shown = " ".join(shown.split())[:40]
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
    for start in _starts(nodes):
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


def _starts(length: int) -> list[int]:
    """Where pieces of an array begin that are to be checked: all of it, or pieces evenly spaced (CHECKED_ENTRIES)."""
    if length <= CHECKED_ENTRIES:
        return list(range(0, length, _CHUNK))
    return list(map(int, np.linspace(0, length - _CHUNK, _PIECES, dtype=np.int64)))


def _weight(file: Input, data: Array | None, entries: int) -> NDArray[np.floating[Any]] | None:
    """Weights as they lie in the file; None where all are 1."""
    uri = file.uri
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
    if data.dtype.kind == "f":
        return data
    file.budget.spend(8 * entries, "a copy of the weights")
    return data.astype(np.float64)


def _carried(
    file: Input, arrays: Mapping[str, Array], nodes: int
) -> tuple[Sequence[str] | None, dict[str, Sequence[Any]]]:
    """The nodes' names and columns, from the archive's other arrays and the node table."""
    uri, options = file.uri, file.options
    found: dict[str, Any] = {
        name: array for name, array in arrays.items() if name not in _CSR and array.shape[:1] == (nodes,)
    }
    names: Sequence[str] | None = found.pop("names", None)
    if "nodes" in options:
        table = read_nodes(file.beside(options["nodes"]), options.get("id"))
        listed = list(table.numbers)
        if len(listed) != nodes:
            raise Ssl4rlError(
                f"{uri!r}: {options['nodes']} names {len(listed)} nodes, the matrix has {nodes}; allowed: one row each"
            )
        names, found = listed, found | table.columns
    return names, found


def _fault(graph: Graph) -> str | None:
    """What is wrong with a row that is looked at, in words; None: nothing. See CHECKED_ENTRIES."""
    if not len(graph.indices):
        return None
    if max(len(graph.indices), graph.num_nodes) <= CHECKED_ENTRIES:
        spans = _row_chunks(graph.indptr)
    else:
        spacing = np.unique(np.linspace(0, graph.num_nodes - 1, _SPACED, dtype=np.int64)).tolist()
        spans = [(row, row + 1) for row in spacing]
    for rows, start, stop in _pieces(graph.indptr, spans):
        entries = np.asarray(graph.indices[start:stop], dtype=np.int64)
        steps = np.diff(entries)
        wrong = np.flatnonzero((steps <= 0) & (rows[1:] == rows[:-1]))
        if len(wrong):
            what = "names a node twice" if steps[wrong[0]] == 0 else "is not ascending"
            return f"row {int(rows[wrong[0]])} {what}"
        loops = np.flatnonzero(entries == rows)
        if len(loops):
            return f"row {int(rows[loops[0]])} holds a self-loop"
    return None


def _pieces(indptr: Ints, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[Ints, int, int]]:
    """The row of each entry of a piece, and where the piece begins and ends; a hub's row is cut, with an overlap."""
    for first, last in spans:
        start, stop = int(indptr[first]), int(indptr[last])
        if last > first + 1:
            yield np.repeat(np.arange(first, last), np.diff(indptr[first : last + 1])), start, stop
            continue
        for begin in range(start, min(stop, start + CHECKED_ENTRIES), _CHUNK):
            end = min(stop, begin + _CHUNK + 1)
            yield np.full(end - begin, first, dtype=np.int64), begin, end


def _row_chunks(indptr: Ints) -> list[tuple[int, int]]:
    """Ranges of whole rows of up to _CHUNK rows and about _CHUNK entries (one row at least)."""
    nodes, total = len(indptr) - 1, int(indptr[-1])
    cuts = np.searchsorted(indptr, np.arange(0, total, _CHUNK, dtype=indptr.dtype), side="left").tolist()
    edges = sorted({*range(0, nodes, _CHUNK), *(min(cut, nodes) for cut in cuts), nodes})
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
