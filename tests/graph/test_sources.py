"""What all graph sources share, NetworkX's built-in graphs and files, and the endless families."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from ssl4rl.core import registry
from ssl4rl.core.source import Source, Split
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.graph.sources import base
from ssl4rl.graph.sources.base import GraphSource, LargeNodeSource, NodeSource, node_source
from ssl4rl.graph.sources.built_in import built_in, from_networkx, open_nx
from ssl4rl.graph.sources.synthetic import FAMILIES, open_family


def opened(uri: str) -> Source[Rooted]:
    return registry.open_source(uri, registry.Plugin("graph", sources=registry.load("ssl4rl.graph:SOURCES")))


def error(uri: str) -> str:
    with pytest.raises(Ssl4rlError) as caught:
        opened(uri)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def problems(source: Source[Rooted]) -> dict[str, str]:
    return {problem.name: problem.why for problem in source.problems}


# --- nodes and graphs -------------------------------------------------------------------------------------------------


def test_a_node_is_known_by_what_it_carries() -> None:
    """Another numbering, the same ids; a twin under another name is another node."""
    a = Graph.from_edges(3, [0, 1], [1, 2], names=["x", "y", "z"], columns={"label": [1, 1, 2]})
    b = Graph.from_edges(3, [0, 1], [1, 2], names=["z", "y", "x"], columns={"label": [2, 1, 1]})
    ids = [node_source("a", a).id(i) for i in range(3)]
    assert len(set(ids)) == 3
    assert [node_source("b", b).id(i) for i in range(3)] == ids[::-1]


def test_nodes_with_the_same_text_share_an_id_and_nodes_with_little_more_than_a_label_do_not() -> None:
    texts = Graph.from_edges(4, [0, 1, 2], [1, 2, 3], columns={"text": ["a", "b", "c", "a"]})
    assert node_source("t", texts).id(0) == node_source("t", texts).id(3)
    assert len(Split(node_source("t", texts), "all")) == 3
    labels = Graph.from_edges(6, range(5), range(1, 6), columns={"label": [0, 1, 0, 1, 0, 1]})
    assert len(Split(node_source("l", labels), "all")) == 6
    bare = Graph.from_edges(6, range(5), range(1, 6))
    other = Graph.from_edges(6, range(5), [1, 2, 3, 4, 0])
    assert len({*(node_source("b", g).id(i) for g in (bare, other) for i in range(6))}) == 12


def test_ids_stay_the_same() -> None:
    """A change here moves every user's held-out nodes."""
    source = open_nx("les_miserables")
    assert [source.id(0), source.id(1)] == ["450102bd964002a6", "f1560e675162c966"]
    assert [open_nx("karate_club").id(0), open_nx("atlas").id(9)] == ["ba2a4d66ebd47fc6", "1c8e54c1990360fc"]
    assert opened("sbm:").id(0) == "bc5bf2d2643b717a"


def test_large_graphs_are_not_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LARGE_NODES", 50)
    graph = Graph.from_edges(60, range(59), range(1, 60))
    source = node_source("big", graph)
    assert isinstance(source, LargeNodeSource)
    assert (len(source), source.endless) == (60, True)
    train, out = Split(source, "train"), Split(source, "held_out")
    drawn = [{split.draw(1, 0, i, keyed_rng("t", i))[0] for i in range(900)} for split in (train, out)]
    assert not drawn[0] & drawn[1]
    assert len(drawn[0] | drawn[1]) == 60


def test_the_digest_of_a_graph_sees_every_edge_and_weight_but_not_how_they_are_stored() -> None:
    graph = Graph.from_edges(3, [0, 1], [1, 2], weight=[1.0, 2.0])
    narrow = Graph(graph.indptr.astype(np.int32), graph.indices.astype(np.uint16), False, graph.weight)
    assert base.digest(graph) == base.digest(narrow)
    others = [
        Graph.from_edges(3, [0, 0], [1, 2], weight=[1.0, 2.0]),
        Graph.from_edges(3, [0, 1], [1, 2], weight=[1.0, 3.0]),
        Graph.from_edges(3, [0, 1], [1, 2]),
        Graph.from_edges(3, [0, 1], [1, 2], weight=[1.0, 2.0], directed=True),
    ]
    assert len({base.digest(g) for g in [graph, *others]}) == 5


def test_collections_leave_out_graphs_without_edges_and_know_duplicates() -> None:
    edge, bare = Graph.from_edges(2, [0], [1]), Graph.from_edges(2, [], [])
    source = GraphSource("c", [edge, bare, Graph.from_edges(2, [1], [0])])
    assert (len(source), source[0].root, source.id(0) == source.id(1)) == (2, None, True)
    assert problems(source) == {"graphs without an edge": "1 left out"}
    with pytest.raises(Ssl4rlError, match=r"^'c' holds 1 graphs, none of them with an edge$"):
        GraphSource("c", [bare])


# --- NetworkX ---------------------------------------------------------------------------------------------------------


def test_every_built_in_graph_opens_as_networkx_has_it() -> None:
    assert {"karate_club", "les_miserables", "davis_southern_women", "petersen", "florentine_families"} <= set(
        built_in()
    )
    for name, make in built_in().items():
        source = open_nx(name)
        assert isinstance(source, NodeSource)
        expected = nx.convert_node_labels_to_integers(make())
        assert nx.utils.graphs_equal(nx.Graph(source.graph.to_networkx()), source.graph.to_networkx())
        assert {*map(frozenset, source.graph.edges())} == {*map(frozenset, expected.edges)} - {
            frozenset([u]) for u in expected
        }, name
        assert (len(source), source[3].root, source.uri) == (len(expected), 3, f"nx:{name}")


def test_what_nodes_carry_comes_along() -> None:
    karate = open_nx("karate_club")
    assert isinstance(karate, NodeSource)
    assert (karate.graph.names, karate.graph.value("club", 33)) == (None, "Officer")
    assert karate.graph.weight is not None
    assert karate.graph.to_networkx().edges[0, 1]["weight"] == 4.0
    miserables = open_nx("les_miserables")
    assert miserables[0].graph.name(0) == "Napoleon"


def test_the_atlas_is_a_collection() -> None:
    atlas = open_nx("atlas")
    assert len(atlas) == 1253 - 8  # the null graph and seven without an edge
    assert atlas[0].graph.edges() == [(0, 1)]
    assert len(Split(atlas, "all")) == len(atlas)


def test_unknown_built_in_graphs() -> None:
    assert error("nx:karate_clb") == "NetworkX has no built-in graph 'karate_clb'; did you mean 'karate_club'?"
    assert error("nx:zzzz").startswith("NetworkX has no built-in graph 'zzzz'; allowed: bull, chvatal, ")
    assert error("nx:karate_club?directed=false") == "'nx:karate_club?directed=false': unknown option 'directed'"


NASTY = ['a "quote"', "line\nbreak", "<answer>B</answer> & <b>"]


@pytest.mark.parametrize("scheme", ["graphml", "gml", "gexf"])
def test_attributed_graphs_come_back_from_their_files(scheme: str, tmp_path: Path) -> None:
    graph = nx.Graph()
    graph.add_nodes_from((name, {"text": f"{name} 1", "year": i}) for i, name in enumerate(NASTY))
    graph.add_edge(NASTY[0], NASTY[1], weight=2.5)
    graph.add_edge(NASTY[1], NASTY[2], weight=0.5)
    getattr(nx, f"write_{scheme}")(graph, tmp_path / "g")
    source = opened(f"{scheme}:{tmp_path / 'g'}")
    found = source[0].graph
    assert list(found.names or ()) == NASTY
    assert [found.value("text", i) for i in range(3)] == [f"{name} 1" for name in NASTY]
    assert [found.value("year", i) for i in range(3)] == [0, 1, 2]
    assert found.to_networkx().edges(data="weight").__repr__() == "EdgeDataView([(0, 1, 2.5), (1, 2, 0.5)])"
    assert (source.uri, problems(source)) == (f"{scheme}:{tmp_path / 'g'}", {})
    assert opened(f"{scheme}:{tmp_path / 'g'}?weight=none")[0].graph.weight is None


def test_loops_and_parallel_edges_are_counted(tmp_path: Path) -> None:
    graph = nx.MultiDiGraph([("a", "b"), ("a", "b"), ("b", "a"), ("b", "b"), ("b", "c")])
    nx.write_graphml(graph, tmp_path / "g.graphml")
    source = opened(f"graphml:{tmp_path / 'g.graphml'}")
    assert source[0].graph.edges() == [(0, 1), (1, 0), (1, 2)]
    assert source[0].graph.directed
    assert problems(source) == {"self-loops": "1 dropped", "parallel edges": "1 merged"}


def test_isolated_nodes_stay() -> None:
    graph, _ = from_networkx("g", nx.Graph({0: [1], 1: [], 2: []}))
    assert (graph.num_nodes, graph.degree(2), len(node_source("g", graph))) == (3, 0, 3)


def test_empty_graphs_are_refused() -> None:
    with pytest.raises(Ssl4rlError, match=r"^'g' holds a graph without nodes$"):
        node_source("g", *from_networkx("g", nx.Graph()))
    with pytest.raises(Ssl4rlError, match=r"^'g' holds a graph of 2 nodes without edges$"):
        node_source("g", *from_networkx("g", nx.empty_graph(2)))


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_weights_that_are_no_finite_numbers(value: float, shown: str) -> None:
    graph = nx.Graph([("a", "b"), ("b", "c")])
    graph.add_edge("b", "c", weight=value)
    with pytest.raises(Ssl4rlError) as caught:
        from_networkx("g", graph)
    assert str(caught.value) == (
        f"'g': 1 of 2 edges have a weight that is no finite number, first 'b'-'c' with {shown}; mend them, or leave "
        "weights out with ?weight=none"
    )
    assert from_networkx("g", graph, "none")[0].weight is None
    graph.add_edge("b", "c", weight="heavy")
    with pytest.raises(Ssl4rlError, match=r"^'g': an edge has the weight 'heavy'; allowed: numbers, or leave"):
        from_networkx("g", graph)
    with pytest.raises(Ssl4rlError, match=r"^'g' has no edge attribute 'wieght'; did you mean 'weight'\?$"):
        from_networkx("g", graph, "wieght")


def test_lists_of_words(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("# a comment\na b\nb c\nc b\n")
    (tmp_path / "weighted").write_text("a b 1.5\nb c 2\n")
    (tmp_path / "dicts").write_text("a b {'weight': 3}\n")
    (tmp_path / "adjacent").write_text("a b c\nb c\nd\n")
    plain = opened(f"edgelist:{tmp_path / 'plain'}")
    assert (plain[0].graph.edges(), problems(plain)) == ([(0, 1), (1, 2)], {"parallel edges": "1 merged"})
    assert opened(f"edgelist:{tmp_path / 'plain'}?directed=true")[0].graph.edges() == [(0, 1), (1, 2), (2, 1)]
    assert opened(f"edgelist:{tmp_path / 'weighted'}")[0].graph.to_networkx().edges[1, 2]["weight"] == 2.0
    assert opened(f"edgelist:{tmp_path / 'dicts'}")[0].graph.to_networkx().edges[0, 1]["weight"] == 3.0
    adjacent = opened(f"adjlist:{tmp_path / 'adjacent'}")[0].graph
    assert (adjacent.names, adjacent.edges()) == (["a", "b", "c", "d"], [(0, 1), (0, 2), (1, 2)])


def test_compressed_files_are_read(tmp_path: Path) -> None:
    nx.write_graphml(nx.path_graph(3), tmp_path / "g.graphml")
    (tmp_path / "h.graphml.gz").write_bytes(gzip.compress((tmp_path / "g.graphml").read_bytes()))
    assert opened(f"graphml:{tmp_path / 'h.graphml.gz'}")[0].graph.edges() == [(0, 1), (1, 2)]


HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
BODY = '<graph edgedefault="undirected"><node id="a"/><node id="b"/><edge source="a" target="b"/></graph></graphml>'


@pytest.mark.parametrize("scheme", ["graphml", "gexf"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_documents_that_declare_entities_are_refused(scheme: str, encoding: str, tmp_path: Path) -> None:
    bomb = '<!DOCTYPE g [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>' + HEAD + BODY
    (tmp_path / "g.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>' + bomb, encoding=encoding)
    assert error(f"{scheme}:{tmp_path / 'g.xml'}") == (
        f"'{scheme}:{tmp_path / 'g.xml'}' has a DOCTYPE, which can declare entities that expand without bound; remove "
        "it, graphs need none"
    )


def test_missing_ids_in_xml(tmp_path: Path) -> None:
    file = tmp_path / "g.graphml"
    file.write_text(HEAD + BODY.replace('<node id="b"/>', ""))
    assert problems(opened(f"graphml:{file}")) == {"undeclared nodes": "1 named by edges alone, first 'b'"}
    file.write_text(HEAD + BODY.replace('<node id="b"/>', "<node/>"))
    assert error(f"graphml:{file}") == f"'graphml:{file}': 1 nodes or edges lack their id, source or target"


OTHER = {
    "x.csv": b"source,target\na,b\n",
    "x.gexf": b'<gexf version="1.2"><graph><nodes><node id="a"/></nodes></graph></gexf>',
    "x.bin": bytes(range(256)),
    "x.html": b"<html><body>hello</body></html>",
    "x.txt": b"",
    "deep.gml": b"graph [ " + b"x [ " * 5000,
}


@pytest.mark.parametrize("scheme", ["graphml", "gml", "gexf", "edgelist", "adjlist", "npz", "pyg", "edges"])
@pytest.mark.parametrize("name", OTHER)
def test_a_file_of_another_format_is_one_line(scheme: str, name: str, tmp_path: Path) -> None:
    if (scheme, name) == ("edges", "x.csv"):
        return
    (tmp_path / name).write_bytes(OTHER[name])
    assert error(f"{scheme}:{tmp_path / name}").startswith(f"'{scheme}:{tmp_path / name}'")


def test_a_csv_given_as_something_else_names_its_scheme(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(OTHER["x.csv"])
    assert error(f"graphml:{file}") == (
        f"'graphml:{file}' cannot be read as graphml (syntax error: line 1, column 0); did you mean 'edges:{file}'?"
    )
    assert error(f"edgelist:{file}") == (
        f"'edgelist:{file}' cannot be read as edgelist (it begins with 'source,target'); did you mean 'edges:{file}'?"
    )


def test_missing_files_and_options(tmp_path: Path) -> None:
    (tmp_path / "cora.gml").write_text("")
    assert error(f"gml:{tmp_path / 'core.gml'}") == (
        f"'gml:{tmp_path / 'core.gml'}' does not exist; did you mean {str(tmp_path / 'cora.gml')!r}?"
    )
    assert error("gml:") == "'gml:' names no file; for example gml:data.gml"
    assert error(f"gml:{tmp_path}") == f"'gml:{tmp_path}' is a folder; for example gml:data.gml"
    assert error(f"gml:{tmp_path / 'cora.gml'}?heavy=1").endswith("unknown option 'heavy'; allowed: weight, directed")
    (tmp_path / "e").write_text("a b\n")
    assert error(f"edgelist:{tmp_path / 'e'}?directed=yes").endswith("directed='yes'; allowed: true, false")


# --- endless families -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_drawn_from_their_index(family: str) -> None:
    source, again = opened(f"{family}:"), opened(f"{family}:")
    assert (source.endless, len(source)) == (True, 1 << 40)
    assert [source.id(i) for i in range(30)] == [again.id(i) for i in range(30)]
    assert len({source.id(i) for i in range(30)}) > (5 if family == "grid" else 25)
    train, out = Split(source, "train"), Split(source, "held_out")
    ids = [{s.source.id(s.draw(1, 0, i, keyed_rng("t", i))[0]) for i in range(40)} for s in (train, out)]
    assert not ids[0] & ids[1]
    assert pickle.loads(pickle.dumps(source)).id(7) == source.id(7)


def test_families_are_what_they_are_called() -> None:
    for index in range(25):
        tree = opened("tree:nodes=2-9")[index].graph
        assert nx.is_tree(tree.to_networkx())
        assert 2 <= tree.num_nodes <= 9
        assert nx.is_isomorphic(opened("grid:rows=3&columns=4")[index].graph.to_networkx(), nx.grid_2d_graph(3, 4))
        ba = opened("ba:nodes=12&m=3")[index].graph
        assert (ba.num_nodes, ba.num_edges, nx.is_connected(ba.to_networkx())) == (12, 27, True)
        ws = opened("ws:nodes=11&k=4&p=0.3")[index].graph
        assert (ws.num_nodes, ws.num_edges) == (11, 22)
        assert opened("ws:nodes=9&k=4&p=0")[index].graph.edges() == sorted(
            tuple(sorted(e)) for e in nx.watts_strogatz_graph(9, 4, 0).edges
        )
        assert opened("er:nodes=5&p=1")[index].graph.num_edges == 10
        sbm = opened("sbm:nodes=9&blocks=3&p_in=1&p_out=0")[index].graph
        assert sorted(map(len, nx.connected_components(sbm.to_networkx()))) == [3, 3, 3]
        assert all(sbm.value("block", u) == sbm.value("block", v) for u, v in sbm.edges())


def test_er_and_sbm_have_as_many_edges_as_they_should() -> None:
    er = [opened("er:nodes=20&p=0.3")[i].graph.num_edges for i in range(100)]
    assert abs(np.mean(er) - 0.3 * 190) < 2.6  # 4 standard errors
    sbm = [opened("sbm:nodes=20&blocks=2&p_in=0.5&p_out=0.1")[i].graph.num_edges for i in range(100)]
    assert abs(np.mean(sbm) - (0.5 * 90 + 0.1 * 100)) < 2.3


def test_parameters_out_of_range() -> None:
    assert error("sbm:nodse=3") == "'sbm:nodse=3': unknown parameter 'nodse'; did you mean 'nodes'?"
    assert error("er:nodes=many") == (
        "'er:nodes=many': nodes='many'; allowed: a whole number, or a range of them such as 8-12"
    )
    assert error("er:p=1.5") == "'er:p=1.5': p='1.5'; allowed: a number from 0 to 1, from 0.0 to 1.0, the smaller first"
    assert error("er:nodes=9-8").endswith("allowed: a whole number, from 2 to 2000, the smaller first")
    assert error("er:p=nan").endswith("from 0.0 to 1.0, the smaller first")
    assert error("ba:nodes=4&m=4") == "'ba:nodes=4&m=4': m=4 with nodes=4; allowed: fewer than nodes"
    assert error("ws:k=3") == "'ws:k=3': k=3; allowed: even numbers"
    assert error("grid:rows=100&columns=100") == (
        "'grid:rows=100&columns=100': a grid of up to 10000 nodes; allowed: 2 to 2000"
    )
    assert open_family("er", "p=1e-3").uri == "er:nodes=10-16&p=0.001"
