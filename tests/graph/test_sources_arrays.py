"""CSV edge lists with node tables, and compressed sparse rows on disk."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sources import npz
from ssl4rl.graph.sources.npz import save_npz
from tests.graph.test_sources import NASTY, error, opened, problems

# --- edges: -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "source,target\na,b\nb,c\n",
        "a,b\nb,c\n",
        "target;source\nb;a\nc;b\n",
        "# Nodes: 3, Edges: 2\n# FromNodeId\tToNodeId\na\tb\nb\tc\n",
        "\ufefffrom\tto\twhat\na\tb\tx\n\nb\tc\ty\n",
        "a b\nb c\n",
        '"a","b"\n"b","c"\n',
    ],
)
def test_delimiter_and_header_are_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(text)
    source = opened(f"edges:{tmp_path / 'e.csv'}")
    assert (source[0].graph.names, source[0].graph.edges()) == (["a", "b", "c"], [(0, 1), (1, 2)])
    assert problems(source) == {}


def test_words_above_numbers_are_a_header(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("paper,cites\n5,6\n6,7\n")
    assert opened(f"edges:{tmp_path / 'e.csv'}")[0].graph.names == ["5", "6", "7"]


def test_columns_are_chosen_and_weights_read(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("w,x,y\n0.5,a,b\n2,b,c\n1,b,a\n")
    base = f"edges:{tmp_path / 'e.csv'}?source=x&target=y"
    source = opened(f"{base}&weight=w")
    assert source[0].graph.to_networkx().edges[0, 1]["weight"] == 1.5
    assert problems(source) == {"parallel edges": "1 merged"}
    assert opened(f"{base}&directed=true")[0].graph.edges() == [(0, 1), (1, 0), (1, 2)]
    assert opened(base)[0].graph.weight is None
    assert error(f"{base}&weight=z") == f"'{base}&weight=z': e.csv has no column 'z'; allowed: w, x, y"


def test_a_graph_that_lists_every_edge_twice_has_no_parallel_edges(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("u,v,w\na,b,2\nb,a,2\nb,c,3\nc,b,3\n")
    source = opened(f"edges:{tmp_path / 'e.csv'}?weight=w")
    assert problems(source) == {}
    assert source[0].graph.to_networkx().edges[0, 1]["weight"] == 2.0


def test_a_node_table_carries_its_cells_untouched(tmp_path: Path) -> None:
    cells = ['"a ""quote"""', '"line\nbreak"', "<answer>B</answer> & <b>"]
    rows = [f"{name},{cell},{label}\n" for name, cell, label in zip("xyz", cells, ["#1", "", " two "], strict=True)]
    (tmp_path / "nodes.csv").write_text("id,text,label\n" + "".join(rows))
    (tmp_path / "e.csv").write_text("x,y\n")
    source = opened(f"edges:{tmp_path / 'e.csv'}?nodes=nodes.csv")
    graph = source[0].graph
    assert (graph.names, graph.edges(), graph.degree(2)) == (["x", "y", "z"], [(0, 1)], 0)
    assert graph.columns == {"text": NASTY, "label": ["#1", None, " two "]}
    assert problems(source) == {}
    other = opened(f"edges:{tmp_path / 'e.csv'}?nodes={tmp_path / 'nodes.csv'}&id=id")
    assert [other.id(i) for i in range(3)] == [source.id(i) for i in range(3)]


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("id,text\nx,1\ny,2\n,3\nx,4\n")
    (tmp_path / "e.csv").write_text("source,target\nx,y\nx,q\nx,\ny,y\nz,y\n")
    assert problems(opened(f"edges:{tmp_path / 'e.csv'}?nodes=nodes.csv")) == {
        "1 rows of nodes.csv": "share the id of another row",
        "2 edges": "name a node that the node table lacks (first line 3: 'q')",
        "1 edges": "lack an end (first line 4)",
        "self-loops": "1 dropped",
    }


def test_bad_tables_are_one_line(tmp_path: Path) -> None:
    file, uri = tmp_path / "e.csv", f"edges:{tmp_path / 'e.csv'}"
    (tmp_path / "nodes.csv").write_text("id,text\np,1\n")
    file.write_text("source,target,w\na,b,1\nb,c,nan\n")
    assert error(f"{uri}?weight=w") == (
        f"'{uri}?weight=w': 1 of 2 edges have a weight that is no finite number, first 'b'-'c' with nan; mend them, or "
        "leave weights out with ?weight=none"
    )
    assert error(f"{uri}?nodes=nodes.csv") == (
        f"'{uri}?nodes=nodes.csv' gives no edge (2 edges name a node that the node table lacks (first line 2: 'a'))"
    )
    assert error(f"{uri}?nodes=node.csv").endswith(f"did you mean {str(tmp_path / 'nodes.csv')!r}?")
    assert error(f"{uri}?id=x") == f"'{uri}?id=x': id names a column of the node table, but there is no nodes=FILE"
    assert error(f"{uri}?source=w&target=w").startswith(f"'{uri}?source=w&target=w': both ends come from column 3")
    file.write_text("source,target,w\na,b,heavy\n")
    assert error(f"{uri}?weight=w") == f"'{uri}?weight=w', line 2: the weight is 'heavy'; allowed: a number"
    file.write_text("alone\na\n")
    assert error(uri) == f"'{uri}' has a single column ('alone'), an edge list needs two"
    file.write_text("source,target\n")
    assert error(uri) == f"'{uri}' gives no edge (it has no rows)"
    file.write_text("")
    assert error(uri) == f"'{uri}': e.csv is empty"
    file.write_bytes(b"source,target\na,\xff\n")
    assert error(uri) == f"'{uri}': e.csv is no UTF-8 text (byte 16: invalid start byte)"


# --- npz: -------------------------------------------------------------------------------------------------------------

PATH = sp.csr_matrix(np.array([[0, 1, 0], [1, 0, 2], [0, 2, 0]], dtype=float))


def mapped(array: object) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def write(tmp_path: Path, **arrays: object) -> str:
    np.savez(tmp_path / "g.npz", **arrays)  # type: ignore[arg-type]
    return f"npz:{tmp_path / 'g.npz'}"


def test_scipys_files_are_mapped_unless_compressed(tmp_path: Path) -> None:
    for compressed in (False, True):
        sp.save_npz(tmp_path / "g.npz", PATH, compressed=compressed)
        source = opened(f"npz:{tmp_path / 'g.npz'}")
        graph = source[0].graph
        assert graph.edges() == [(0, 1), (1, 2)]
        assert graph.to_networkx().edges[1, 2]["weight"] == 2.0
        assert mapped(graph.indptr) is mapped(graph.indices) is mapped(graph.weight) is not compressed
        assert problems(source) == {}
    assert opened(f"npz:{tmp_path / 'g.npz'}?weight=none")[0].graph.weight is None


def test_the_size_of_what_had_to_be_loaded_is_said(tmp_path: Path) -> None:
    ring = sp.csr_matrix(sp.diags([1.0, 1.0], [1, -1], shape=(100_000, 100_000)))
    sp.save_npz(tmp_path / "g.npz", ring)
    assert problems(opened(f"npz:{tmp_path / 'g.npz'}")) == {
        "g.npz": "compressed, so loaded: 3 MiB; save_npz(..., compressed=False) lets it be mapped"
    }


def test_a_folder_of_arrays_with_columns_and_a_node_table(tmp_path: Path) -> None:
    np.save(tmp_path / "indptr.npy", [0, 1, 3, 4])
    np.save(tmp_path / "indices.npy", [1, 0, 2, 1])
    np.save(tmp_path / "label.npy", np.array([5, 6, 7]))
    np.save(tmp_path / "names.npy", np.array(["a", "b", "c"]))
    (tmp_path / "n.csv").write_text("id,text\nx,one\ny,two\nz,three\n")
    graph = opened(f"npz:{tmp_path}")[0].graph
    assert (graph.name(2), graph.value("label", 2), graph.weight) == ("c", 7, None)
    assert mapped(graph.indices)
    (tmp_path / "n.csv").rename(tmp_path.parent / "n.csv")
    graph = opened(f"npz:{tmp_path}?nodes=n.csv")[0].graph
    assert (graph.name(2), graph.value("label", 2), graph.value("text", 2)) == ("z", 7, "three")
    (tmp_path.parent / "n.csv").write_text("id\nx\n")
    assert error(f"npz:{tmp_path}?nodes=n.csv").endswith("n.csv names 1 nodes, the matrix has 3; allowed: one row each")


def test_a_mapped_source_is_pickled_by_name(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "g.npz", sp.csr_matrix(sp.diags([1.0, 1.0], [1, -1], shape=(9000, 9000))), compressed=False)
    source = opened(f"npz:{tmp_path / 'g.npz'}")
    stored = pickle.dumps(source)
    assert len(stored) < 500
    assert pickle.loads(stored).id(8999) == source.id(8999)


def test_what_save_npz_writes_is_aligned_and_read_by_numpy_and_scipy(tmp_path: Path) -> None:
    columns = {"block": np.array([1, 2, 3]), "text": ["a", "bcd", "\u00e9"]}
    graph = Graph.from_edges(3, [0, 1], [1, 2], weight=[1, 2], names=["x", "y", "z"], columns=columns)
    save_npz(graph, tmp_path / "g.npz")
    assert (sp.load_npz(tmp_path / "g.npz") != PATH).nnz == 0
    with np.load(tmp_path / "g.npz") as archive:
        assert archive["text"].tolist() == ["a", "bcd", "\u00e9"]
    again = opened(f"npz:{tmp_path / 'g.npz'}")[0].graph
    for array in (again.indptr, again.indices, again.weight):
        assert array is not None
        assert (array.ctypes.data % 64, mapped(array)) == (0, True)
    assert (again.names is not None and list(again.names), again.value("text", 2)) == (["x", "y", "z"], "\u00e9")
    save_npz(graph, tmp_path / "h.npz")
    assert (tmp_path / "h.npz").read_bytes() == (tmp_path / "g.npz").read_bytes()


def test_untidy_rows_are_put_right_in_memory_or_by_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = write(tmp_path, indptr=[0, 4, 5, 6], indices=[2, 1, 1, 0, 0, 0], data=np.ones(6))
    source = opened(uri)
    assert source[0].graph.edges() == [(0, 1), (0, 2)]
    assert problems(source) == {
        "g.npz": "row 0 is not ascending; put right in memory",
        "self-loops": "1 dropped",
        "parallel edges": "1 merged",
    }
    monkeypatch.setattr(npz, "TIDIED_ENTRIES", 3)
    file, tidy = tmp_path / "g.npz", tmp_path / "tidy.npz"
    assert error(uri) == (
        f"'{uri}': row 0 is not ascending; write it anew with 'python -m ssl4rl.graph.sources.npz {file} tidy.npz'"
    )
    command = [sys.executable, "-m", "ssl4rl.graph.sources.npz", str(file), str(tidy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "self-loops: 1 dropped\nparallel edges: 1 merged\n"
    again = opened(f"npz:{tidy}")
    assert (again[0].graph.edges(), problems(again)) == ([(0, 1), (0, 2)], {})
    assert error(write(tmp_path, indptr=[0, 2, 4], indices=[1, 1, 0, 0])).startswith(f"'{uri}': row 0 names a node tw")
    assert error(write(tmp_path, indptr=[0, 2, 4], indices=[0, 1, 0, 1])).startswith(f"'{uri}': row 0 holds a self-lo")


@pytest.mark.parametrize("checked", [1 << 26, 2])
def test_faults_are_seen_in_large_files_too(checked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "CHECKED_ENTRIES", checked)
    monkeypatch.setattr(npz, "_CHUNK", 2)
    uri = write(tmp_path, indptr=[0, 1, 3, 5], indices=[1, 0, 2, 1, 0])
    assert problems(opened(f"{uri}?directed=true")) == {"g.npz": "row 2 is not ascending; put right in memory"}
    ring = {"indptr": [0, 2, 4, 6, 8], "indices": [1, 3, 0, 2, 1, 3, 0, 2]}
    assert problems(opened(write(tmp_path, **ring))) == {}


def test_arrays_that_contradict_each_other(tmp_path: Path) -> None:
    def line(**arrays: object) -> str:
        uri = write(tmp_path, **arrays)
        return error(uri).removeprefix(f"'{uri}'")

    assert line(a=[1], b=[2]) == " has no array 'indptr' and so is no CSR; it holds: a, b"
    assert line(indptr=[0, 1, 2], indices=[1, 2]) == ": indices holds 2; allowed: 0 to 1, the rows of the matrix"
    assert line(indptr=[0, 1, 2], indices=[1, -1]) == ": indices holds -1; allowed: 0 to 1, the rows of the matrix"
    assert line(indptr=np.array([0, 3, 1, 4], dtype=np.uint32), indices=[1, 2, 0, 0]) == (
        ": indptr falls from 3 to 1 at row 1; allowed: never less than before"
    )
    assert line(indptr=[0, 1, 3], indices=[1, 0]) == (
        ": indptr goes from 0 to 3; allowed: 0 to 2, the length of indices"
    )
    assert line(indptr=[0.0, 1.0, 2.0], indices=[1, 0]) == (
        ": indptr is float64 of shape (3,); allowed: integers in one row"
    )
    assert line(indptr=[0, 1, 2], indices=[1, 0], shape=[2, 3]) == (
        ": the matrix is 2x3 and indptr has 3 entries; allowed: square, rows+1"
    )
    assert line(indptr=[0, 1, 2], indices=[1, 0], data=[1.0, np.inf]) == (
        ": data holds inf at 1; allowed: finite weights, or ?weight=none"
    )
    assert line(indptr=[0, 1, 2], indices=[1, 0], data=[1.0]) == (
        ": data is float64 of shape (1,); allowed: 2 numbers, one for each index"
    )
    assert line(indptr=[0, 1, 1], indices=[1]) == (
        ": row 0 names 1, but row 1 does not name 0; say ?directed=true, or store the matrix with both directions"
    )
    assert line(indptr=[0], indices=np.zeros(0, dtype=int)) == " holds a graph without nodes"
    assert line(indptr=[0, 0, 0], indices=np.zeros(0, dtype=int)) == " holds a graph of 2 nodes without edges"


def test_archives_of_something_else(tmp_path: Path) -> None:
    file, uri = tmp_path / "g.npz", f"npz:{tmp_path / 'g.npz'}"
    sp.save_npz(file, PATH.tocoo())
    assert error(uri) == f"'{uri}' holds a coo matrix; allowed: csr (matrix.tocsr() before save_npz)"
    for save in (np.savez, np.savez_compressed):
        save(file, indptr=np.array([0, 1, [2]], dtype=object), indices=[1, 0], allow_pickle=True)
        assert error(uri).startswith(f"'{uri}' is no .npz archive of arrays (")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("indptr.npy", b"hello")
    assert error(uri).startswith(f"'{uri}' is no .npz archive of arrays (")
    np.savez(file, indptr=np.arange(3), indices=np.array([1, 0]))
    whole = file.read_bytes()
    for cut in range(0, len(whole), 37):
        file.write_bytes(whole[:cut])
        with pytest.raises(Ssl4rlError):
            opened(uri)
