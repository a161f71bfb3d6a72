"""Hostile graph files: GraphML, GEXF, GML, lines, tables, arrays and what PyTorch Geometric stores."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse

from tests.hostile.corpus import SECRET, Corpus, lengthen

GIB = 2**30


def make(corpus: Corpus, cuts: int = 7, flips: int = 8) -> None:
    for scheme, file, data in _good():
        corpus.damaged("graph", scheme, scheme, file, data, cuts, flips)
    for scheme, file, data in _good():
        for other in ("graphml", "gml", "gexf", "edges", "npz", "pyg"):
            if other != scheme:
                corpus.file("graph", f"{file.replace('.', '_')}-as-{other}", other, file, data)
    _pipes(corpus)
    for name, scheme, file, data in (*_markup(), *_lines(corpus)):
        corpus.file("graph", name, scheme, file, data)
    for name, scheme, file, data in (*_bombs(), *_crowds()):
        corpus.file("graph", f"bomb_{name}", scheme, file, data, bomb=True)
    for scheme, file in [
        ("edges", "x.csv"),
        ("edgelist", "x.txt"),
        ("graphml", "x.graphml"),
        ("npz", "x.npz"),
        ("pyg", "x.pt"),
    ]:
        lengthen(corpus.file("graph", f"bomb_zeros_{scheme}", scheme, file, b"", bomb=True), 3 * GIB)


def _graph() -> Any:
    graph = nx.Graph(nx.karate_club_graph().subgraph(range(8)))
    for node in graph:
        graph.nodes[node]["text"] = f"member {node}"
    return graph


def _written(writer: Any) -> bytes:
    stream = io.BytesIO()
    writer(_graph(), stream)
    return stream.getvalue()


def _good() -> Iterator[tuple[str, str, bytes]]:
    yield "graphml", "x.graphml", _written(nx.write_graphml_xml)
    yield "gexf", "x.gexf", _written(nx.write_gexf)
    yield "gml", "x.gml", _written(nx.write_gml)
    yield "edgelist", "x.txt", _written(lambda graph, stream: nx.write_edgelist(graph, stream, data=False))
    yield "edges", "x.csv", b"source,target,weight\n" + b"".join(b"n%d,n%d,1.5\n" % edge for edge in _graph().edges)
    stream = io.BytesIO()
    scipy.sparse.save_npz(stream, scipy.sparse.csr_array(nx.to_scipy_sparse_array(_graph())), compressed=False)
    yield "npz", "x.npz", stream.getvalue()
    stored = _torch({"edge_index": np.array(_graph().edges).T, "num_nodes": 8})
    if stored:
        yield "pyg", "x.pt", stored


def _torch(values: dict[str, Any]) -> bytes:
    """`values` as torch saves them, arrays as tensors; nothing where torch is not installed."""
    try:
        import torch
    except ImportError:
        return b""
    stream = io.BytesIO()
    tensors = {name: torch.from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for name, v in values.items()}
    torch.save(tensors, stream)
    return stream.getvalue()


def _pipes(corpus: Corpus) -> None:
    for scheme in ("graphml", "gexf", "gml", "edgelist", "adjlist", "edges", "npz", "pyg"):
        for name, target in [("pipe", ""), ("zero", "/dev/zero"), ("random", "/dev/urandom"), ("folder", "")]:
            folder = corpus.folder("graph", f"{scheme}-{name}")
            path = folder / f"x.{scheme}"
            if name == "pipe":
                os.mkfifo(path)
            elif name == "folder":
                path.mkdir()
                for inner in ("indptr.npy", "indices.npy", "data.pt", "processed"):
                    os.mkfifo(path / inner)
            else:
                path.symlink_to(target)
            corpus.add("graph", f"{scheme}-{name}", f"{scheme}:{path}", "graph")
    table = corpus.file("graph", "nodes_pipe", "edges", "x.csv", b"source,target\na,b\n")
    os.mkfifo(table.parent / "nodes.csv")
    for nodes in ("nodes.csv", f"../{SECRET}/secret.csv", f"{corpus.root}/{SECRET}/secret.csv", "/dev/zero", "."):
        number = len(corpus.cases)
        corpus.add("graph", f"nodes{number}", f"edges:{table}?nodes={nodes}", "graph")


def _markup() -> Iterator[tuple[str, str, str, bytes]]:
    head = b'<?xml version="1.0"?>'
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    yield (
        "doctype",
        "graphml",
        "x.graphml",
        head + b'<!DOCTYPE g [<!ENTITY l0 "ha">' + laughs + b"]><graphml>&l9;</graphml>",
    )
    outside = (
        b'<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/passwd">]><graphml><graph><node id="&x;"/></graph></graphml>'
    )
    yield "entity", "graphml", "x.graphml", head + outside
    yield "entity_utf16", "graphml", "x.graphml", (head + outside).decode().encode("utf-16")
    yield "utf7", "graphml", "x.graphml", b'<?xml version="1.0" encoding="utf-7"?>+ADw-graphml/+AD4-'
    yield "deep", "graphml", "x.graphml", b"<graphml>" + b"<graph>" * 20_000
    yield "no_graph", "graphml", "x.graphml", b"<graphml/>"
    yield (
        "keyless",
        "graphml",
        "x.graphml",
        b'<graphml><graph><node id="a"><data key="q">1</data></node></graph></graphml>',
    )
    yield "nan", "gml", "x.gml", b"graph [ node [ id 0 ] node [ id 1 ] edge [ source 0 target 1 weight NAN ] ]"
    yield "gml_deep", "gml", "x.gml", b"graph [ " * 20_000
    yield "gml_entity", "gml", "x.gml", b'graph [ node [ id 0 label "&#xd800;&#99999999999;" ] ]'
    yield "gml_number", "gml", "x.gml", b"graph [ node [ id " + b"9" * 6000 + b" ] ]"


def _lines(corpus: Corpus) -> Iterator[tuple[str, str, str, bytes]]:
    for number, data in enumerate(
        [
            b"",
            b"\n" * 100,
            b"a",
            b"a,b",
            b"\xff\xfe",
            b"a\0b,c\n",
            b'"a,b\nc,d\n',
            b",,,\n" * 10,
            b"=cmd|' /C calc'!A0,b\n",
        ]
    ):
        yield f"table{number}", "edges", "x.csv", data
        yield f"lines{number}", "edgelist", "x.txt", data
        yield f"lists{number}", "adjlist", "x.txt", data
    for name, word in [
        ("inf", b"inf"),
        ("digits", b"9" * 6000),
        ("exponent", b"1e999999"),
        ("nan", b"nan"),
        ("words", b"x"),
    ]:
        yield f"weight_{name}", "edges", "x.csv", b"source,target,weight\na,b,1\nb,c," + word + b"\n"
    call = b"cposix\nsystem\n(S'touch %s/pwned'\ntR." % os.fsencode(corpus.root)
    yield "pickle_call", "pyg", "x.pt", call
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x/data.pkl", call)
        archive.writestr("x/version", "3")
    yield "torch_call", "pyg", "x.pt", stream.getvalue()
    yield "pickle_deep", "pyg", "x.pt", b"(" * 200_000 + b"."
    yield "pickle_objects", "npz", "x.npz", _zip("indptr.npy", pickle.dumps([1]))
    names = io.BytesIO()
    np.save(names, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    yield "object_array", "npz", "x.npz", _zip("indices.npy", names.getvalue())


def _zip(name: str, data: bytes, packed: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def _crowds() -> Iterator[tuple[str, str, str, bytes]]:
    """Many of what is dear each: texts, keys, columns, dicts, quotes that open nothing."""
    long = gzip.compress(b"word and " * 8_000_000, 1) * 7  # 500 MB
    head = b'<graphml><key id="d" for="node" attr.name="t" attr.type="string"/><graph><node id="a"><data key="d">'
    tail = b'</data></node><node id="b"/><edge source="a" target="b"/></graph></graphml>'
    yield "text", "graphml", "x.graphml.gz", gzip.compress(head) + long + gzip.compress(tail)
    keys = [b"node [ id %d %b ]\n" % (n, b"".join(b"k%d_%d 1 " % (n, i) for i in range(300))) for n in range(3000)]
    yield "gml_keys", "gml", "x.gml", b"graph [\n" + b"".join(keys) + b"]\n"
    nodes = b"".join(b"node [ id %d k%d 1 ]\n" % (n, n) for n in range(100_000))
    yield "gml_columns", "gml", "x.gml", b"graph [\n" + nodes + b"]\n"
    dicts = b"".join(b"%d %d {'weight': %d.5}\n" % (n, n + 1, n) for n in range(500_000))
    yield "dicts", "edgelist", "x.txt.gz", gzip.compress(dicts, 1)
    for mark in (b",", b"\t"):
        quotes = gzip.compress((b"a" + mark + b'"b\n') * 1_000_000, 1) * 2
        yield f"quotes_{'comma' if mark == b',' else 'tab'}", "edges", "x.csv.gz", quotes


def _bombs() -> Iterator[tuple[str, str, str, bytes]]:
    long = b'<graphml><key id="d" for="node" attr.name="t" attr.type="string"/><graph><node id="a"><data key="d">'
    long += b"line\n&amp;" * 2_500_000 + b'</data></node><node id="b"/><edge source="a" target="b"/></graph></graphml>'
    yield "attribute", "graphml", "x.graphml", long
    yield (
        "attribute_name",
        "graphml",
        "x.graphml",
        b'<graphml><graph><node id="' + b"a" * 20_000_000 + b'"/></graph></graphml>',
    )
    zeros = gzip.compress(bytes(2**26), 9) * 48
    for scheme in ("graphml", "gexf", "gml", "edgelist", "adjlist", "edges"):
        yield f"gz_{scheme}", scheme, f"x.{scheme}.gz", zeros
    yield "gz_lines", "edgelist", "x.txt.gz", gzip.compress(b"a b\n" * 2**24, 9) * 24
    yield "bz2", "graphml", "x.graphml.bz2", bz2.compress(bytes(2**26)) * 24
    yield "one_line", "edgelist", "x.txt", b"a " * 15_000_000
    yield "one_cell", "edges", "x.csv", b"source,target\n" + b"a" * 30_000_000 + b",b\n"
    yield "columns", "edges", "x.csv", b"source,target" + b",c" * 1_000_000 + b"\n" + b"a,b" + b",1" * 1_000_000 + b"\n"
    yield "gml_text", "gml", "x.gml", b'graph [ node [ id 0 label "' + b"a&amp;" * 2_000_000 + b'" ] ]'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("indptr.npy", "indices.npy"):
            with archive.open(name, "w", force_zip64=True) as member:
                head = io.BytesIO()
                np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (2**28,)})
                member.write(head.getvalue())
                for _ in range(32):
                    member.write(bytes(2**26))
    yield "npz_zeros", "npz", "x.npz", stream.getvalue()
    shape = {"descr": "<i8", "fortran_order": False, "shape": (2**40,)}
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, shape)
    yield "npz_shape", "npz", "x.npz", _zip("indptr.npy", head.getvalue())
    try:
        import torch
    except ImportError:
        return
    ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    for name, values in {
        "stride": {"edge_index": torch.zeros(1, dtype=torch.long).expand(2, 600_000_000), "num_nodes": 2},
        "features": {"edge_index": ring, "x": torch.zeros(1, 1).expand(3, 1_000_000_000), "num_nodes": 3},
        "nodes": {"edge_index": ring, "num_nodes": 2**40},
        "ids": {"edge_index": ring + 5_000_000_000},
    }.items():
        stream = io.BytesIO()
        torch.save(values, stream)
        yield f"torch_{name}", "pyg", "x.pt", stream.getvalue()
