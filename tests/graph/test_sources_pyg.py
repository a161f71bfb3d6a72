"""What PyG stores: saved objects, datasets as processed, and the raw folders of Planetoid and TUDataset."""

from __future__ import annotations

import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from ssl4rl.core.source import Split
from ssl4rl.graph.sources.base import GraphSource, NodeSource
from tests.graph.test_sources import NASTY, error, opened, problems

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing it makes torch complain about itself
    pytest.importorskip("torch_geometric")
    from torch_geometric.data import Data, HeteroData, InMemoryDataset
    from torch_geometric.io import read_planetoid_data, read_tu_data


def path_of_three(**more: Any) -> Data:
    """a-b-c, with features, labels and texts."""
    return Data(
        x=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]),
        edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]),
        y=torch.tensor([[2], [0], [1]]),
        text=list(NASTY),
        train_mask=torch.tensor([True, False, False]),
        **more,
    )


def save(tmp_path: Path, stored: object) -> str:
    torch.save(stored, tmp_path / "g.pt")
    return f"pyg:{tmp_path / 'g.pt'}"


def test_a_saved_graph(tmp_path: Path) -> None:
    source = opened(save(tmp_path, path_of_three(edge_weight=torch.tensor([1.0, 1.0, 3.0, 3.0]))))
    assert isinstance(source, NodeSource)
    graph = source.graph
    assert (graph.directed, graph.edges(), problems(source)) == (False, [(0, 1), (1, 2)], {})
    assert sorted(graph.columns) == ["label", "text", "x"]
    assert [graph.value("label", i) for i in range(3)] == [2, 0, 1]
    assert (graph.value("x", 2), graph.columns["text"]) == ([0.5, 0.5], NASTY)
    assert graph.to_networkx().edges[1, 2]["weight"] == 3.0
    assert len(Split(source, "all")) == 3


def test_direction_loops_and_isolated_nodes(tmp_path: Path) -> None:
    data = Data(edge_index=torch.tensor([[0, 1, 1, 1], [1, 2, 1, 2]]), num_nodes=5)
    source = opened(save(tmp_path, data))
    assert isinstance(source, NodeSource)
    assert (source.graph.directed, source.graph.num_nodes, source.graph.edges()) == (True, 5, [(0, 1), (1, 2)])
    assert problems(source) == {"self-loops": "1 dropped", "parallel edges": "1 merged"}


@pytest.mark.parametrize("form", ["list", "saved", "collated"])
def test_datasets_in_memory_are_collections(form: str, tmp_path: Path) -> None:
    parts = [path_of_three(), Data(x=torch.ones(2, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.ones(2, 1))]
    if form == "list":
        uri = save(tmp_path, parts)
    else:
        parts[1].text, parts[1].train_mask = ["p", "q"], torch.tensor([True, False])
        (tmp_path / "processed").mkdir()
        if form == "saved":
            InMemoryDataset.save(parts, str(tmp_path / "processed" / "data.pt"))
        else:  # as PyG 2.0 to 2.3 did
            torch.save(InMemoryDataset.collate(parts), tmp_path / "processed" / "data.pt")
        torch.save("notes", tmp_path / "processed" / "pre_filter.pt")
        uri = f"pyg:{tmp_path}"
    source = opened(uri)
    assert isinstance(source, GraphSource)
    assert [source[i].root for i in range(2)] == [None, None]
    assert [graph.edges() for graph in source.graphs] == [[(0, 1), (1, 2)], [(0, 1)]]
    assert source.graphs[0].columns["text"] == NASTY
    assert [source.graphs[1].value("x", i) for i in range(2)] == [[1.0, 1.0], [1.0, 1.0]]


def test_a_label_of_the_whole_graph(tmp_path: Path) -> None:
    parts = [Data(edge_index=torch.tensor([[0, n], [n, 0]]), y=torch.tensor([n]), num_nodes=n + 1) for n in (1, 2)]
    InMemoryDataset.save(parts, str(tmp_path / "data.pt"))
    source = opened(f"pyg:{tmp_path}")
    assert [source[i].graph.columns for i in range(2)] == [{"graph_label": [1, 1]}, {"graph_label": [2, 2, 2]}]


def test_types_of_nodes_become_a_column_and_relations_are_merged(tmp_path: Path) -> None:
    data = HeteroData()
    data["author"].num_nodes = 2
    data["paper"].x, data["paper"].y = torch.eye(2), torch.tensor([7, 8])
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [0, 1]])
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0], [1]])
    uri = save(tmp_path, data)
    source = opened(uri)
    assert isinstance(source, NodeSource)
    assert source.graph.columns == {
        "type": ["author", "author", "paper", "paper"],
        "label": [None, None, 7, 8],
        "x": [None, None, pytest.approx([1, 0]), pytest.approx([0, 1])],
    }
    assert (source.graph.directed, source.graph.edges()) == (True, [(0, 2), (1, 3), (2, 3)])
    assert problems(source) == {"relations": "2 merged into one kind of edge (author-writes-paper, paper-cites-paper)"}
    assert opened(f"{uri}?relation=cites")[0].graph.edges() == [(2, 3)]
    assert opened(f"{uri}?relation=author,writes,paper")[0].graph.edges() == [(0, 2), (1, 3)]
    assert error(f"{uri}?relation=paper,cite,paper") == (
        f"'{uri}?relation=paper,cite,paper' has no relation 'paper,cite,paper'; did you mean 'paper,cites,paper'?"
    )
    assert error(f"{save(tmp_path, path_of_three())}?relation=cites").endswith(
        "has one kind of edge; relation= is for HeteroData"
    )
    InMemoryDataset.save([data, data], str(tmp_path / "g.pt"))
    assert [opened(uri)[i].graph.edges() for i in range(2)] == [[(0, 2), (1, 3), (2, 3)]] * 2


class Runs:
    """Unpickled as Python does it, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("where", ["alone", "in a Data", "raw"])
def test_nothing_in_a_file_is_run(where: str, tmp_path: Path) -> None:
    trap = Runs(tmp_path / "trap")
    if where == "raw":
        for name in ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"):
            (tmp_path / f"ind.cora.{name}").write_bytes(pickle.dumps(trap))
        message = error(f"pyg:{tmp_path}")
        assert message.startswith(f"'pyg:{tmp_path}': ind.cora.allx cannot be read (it names ")
        assert message.endswith("which is not loaded: nothing in a data file is run)")
    else:
        stored = trap if where == "alone" else Data(x=trap, edge_index=torch.tensor([[0], [1]]))
        message = error(save(tmp_path, stored))
        assert "which is not loaded: nothing in a data file is run; allowed: Data, HeteroData, tensors" in message
    assert not (tmp_path / "trap").exists()


def test_classes_that_pyg_allows_and_that_open_files_are_not_loaded(tmp_path: Path) -> None:
    """PyG's own list of safe classes has ClusterData, whose constructor loads whatever file it is given."""
    from torch_geometric.loader import ClusterData

    before = torch.serialization.get_safe_globals()
    assert ClusterData in before
    assert "holds a torch_geometric.loader.cluster.ClusterData, which" in error(save(tmp_path, {"a": ClusterData}))
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_files_without_a_graph(tmp_path: Path) -> None:
    uri = save(tmp_path, Data(x=torch.eye(2)))
    assert error(uri) == f"'{uri}' has no edge_index tensor; it has: x"
    save(tmp_path, Data(x=torch.eye(2), edge_index=torch.tensor([[0], [5]])))
    assert error(uri) == f"'{uri}': edge 0 is 0-5; allowed: nodes 0 to 1 (1 of 1 edges are outside)"
    save(tmp_path, Data(x=torch.eye(2), edge_index=torch.tensor([[0], [-1]])))
    assert error(uri) == f"'{uri}': edge_index holds -1; allowed: node numbers from 0"
    save(tmp_path, Data(edge_index=torch.tensor([[0.0], [1.0]])))
    assert error(uri) == f"'{uri}': edge_index is float32 of shape (2, 1); allowed: integers [2, edges]"
    save(tmp_path, Data(edge_index=torch.tensor([[0, 1], [1, 2]]), edge_weight=torch.tensor([1.0, torch.nan])))
    assert error(uri).startswith(f"'{uri}': 1 of 2 edges have a weight that is no finite number, first '1'-'2' with")
    assert opened(f"{uri}?weight=none")[0].graph.num_edges == 2
    save(tmp_path, Data(edge_index=torch.tensor([[0], [1]]), edge_weight=torch.ones(3)))
    assert error(uri) == f"'{uri}': edge_weight holds 3 numbers; allowed: 1, one for each edge"
    save(tmp_path, [1, 2])
    assert error(uri) == f"'{uri}' holds a list; allowed: Data, HeteroData, lists or datasets of them"
    save(tmp_path, ({"edge_index": torch.zeros(2, 2)}, {"edge_index": "nonsense"}))
    assert error(uri).startswith(f"'{uri}': its slices do not fit its data (")
    assert error(f"pyg:{tmp_path.parent / tmp_path.name}/nothing").startswith("'pyg:")
    torch.save(1, tmp_path / "other.pt")
    assert error(f"pyg:{tmp_path}").endswith(".pt files found: g.pt, other.pt")


def test_torch_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = save(tmp_path, path_of_three())
    monkeypatch.setitem(sys.modules, "torch.serialization", None)
    assert error(uri) == "pyg: needs torch, which is not installed; pip install ssl4rl[graph]"


# --- raw folders ------------------------------------------------------------------------------------------------------


NODES = 510  # PyG takes 500 for validation, whatever there are


def planetoid(folder: Path, name: str, gap: bool) -> None:
    """Papers on a ring with a chord; the last three are the tests, in another order; with a gap, 508 is in neither."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    features = sp.csr_matrix((rng.random((NODES, 30)) < 0.4).astype(np.float32))
    classes = np.eye(3, dtype=np.int32)[rng.integers(3, size=NODES)]
    test = [509, 507] if gap else [509, 507, 508]
    graph = {i: [(i + 1) % NODES, (i - 1) % NODES] for i in range(NODES)} | {0: [1, 509, 3, 3, 0]}
    parts: dict[str, Any] = {"x": features[:2], "y": classes[:2], "allx": features[:507], "ally": classes[:507]}
    parts |= {"tx": features[test], "ty": classes[test], "graph": graph}
    for key, value in parts.items():
        (folder / f"ind.{name}.{key}").write_bytes(pickle.dumps(value, protocol=2))
    (folder / f"ind.{name}.test.index").write_text("".join(f"{i}\n" for i in test))


@pytest.mark.parametrize(("name", "gap"), [("cora", False), ("citeseer", True)])
def test_planetoid_is_read_as_pyg_reads_it(name: str, gap: bool, tmp_path: Path) -> None:
    planetoid(tmp_path / name / "raw", name, gap)
    expected = read_planetoid_data(str(tmp_path / name / "raw"), name)
    source = opened(f"pyg:{tmp_path}")
    assert isinstance(source, NodeSource)
    graph = source.graph
    assert {*graph.edges()} == {(u, v) for u, v in expected.edge_index.t().tolist() if u < v}
    assert [graph.value("x", i) for i in range(NODES)] == expected.x.tolist()
    labels = [graph.value("label", i) for i in range(NODES)]
    assert labels == [None if gap and i == 508 else label for i, label in enumerate(expected.y.tolist())]
    assert source.id(0) == opened(f"pyg:{tmp_path / name}").id(0)
    assert len(Split(source, "all")) == NODES


def test_broken_planetoid_folders(tmp_path: Path) -> None:
    planetoid(tmp_path / "raw", "cora", False)
    uri = f"pyg:{tmp_path}"
    (tmp_path / "raw" / "ind.cora.test.index").write_text("509\n")
    assert error(uri) == (
        f"'{uri}': the Planetoid files of 'cora' are not as they should be (allx, ally: 507, 507 rows; "
        "tx, ty, test.index: 3, 3, 1)"
    )
    (tmp_path / "raw" / "ind.cora.tx").write_bytes(b"hello")
    assert error(uri).startswith(f"'{uri}': ind.cora.tx cannot be read (")
    (tmp_path / "raw" / "ind.cora.tx").unlink()
    assert error(uri) == f"'{uri}': ind.cora.tx cannot be read (no such file or directory)"


def test_tu_datasets_are_read_as_pyg_reads_them(tmp_path: Path) -> None:
    raw = tmp_path / "MUTAG" / "raw"
    raw.mkdir(parents=True)
    files = {
        "A": "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
        "graph_indicator": "1\n1\n1\n2\n2\n3\n",
        "graph_labels": "1\n-1\n1\n",
        "node_labels": "0\n3\n0\n1\n1\n2\n",
        "node_attributes": "0.5, 1\n1, 2\n3, 4\n5, 6\n7, 8\n9, 9\n",
        "edge_labels": "0\n0\n0\n0\n1\n1\n",
    }
    for name, text in files.items():
        (raw / f"MUTAG_{name}.txt").write_text(text)
    for path in (tmp_path, tmp_path / "MUTAG", raw):
        source = opened(f"pyg:{path}")
        assert isinstance(source, GraphSource)
        assert [graph.edges() for graph in source.graphs] == [[(0, 1), (1, 2)], [(0, 1)]]
        assert [graph.value("label", 0) for graph in source.graphs] == [0, 1]
        assert source.graphs[0].columns["graph_label"] == [1, 1, 1]
        assert source.graphs[1].value("x", 1) == [7.0, 8.0]
        assert problems(source) == {"labels of edges": "not kept", "graphs without an edge": "1 left out"}
    data, slices, _ = read_tu_data(str(raw), "MUTAG")
    torch.save((data, slices), tmp_path / "g.pt")
    processed = opened(f"pyg:{tmp_path / 'g.pt'}")
    assert isinstance(processed, GraphSource)
    for ours, theirs in zip(source.graphs, processed.graphs, strict=True):
        assert nx.utils.graphs_equal(ours.to_networkx(), theirs.to_networkx())
    (raw / "MUTAG_A.txt").write_text("1, 2\n3, 4\n")
    assert error(f"pyg:{raw}").endswith(
        "MUTAG_graph_indicator.txt is not ascending from 1, or an edge joins two graphs"
    )
    (raw / "MUTAG_A.txt").write_text("1, 9\n")
    assert error(f"pyg:{raw}") == f"'pyg:{raw}': an edge names node 9; allowed: 1 to 6"
    (raw / "MUTAG_A.txt").write_text("1, b\n")
    assert error(f"pyg:{raw}").startswith(f"'pyg:{raw}': MUTAG_A.txt does not hold numbers, equally many a line (")
