"""GraphML, GEXF and GML: defaults, nested and several graphs, what is dropped; PyG's files that say little."""

from __future__ import annotations

import gzip
import warnings
import zipfile
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from ssl4rl.graph.graph import Graph
from tests.graph.test_sources import error, opened, problems

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing it makes torch complain about itself
    pytest.importorskip("torch_geometric")
    from torch_geometric.data import Data, HeteroData

RING = torch.tensor([[0, 1, 2], [1, 2, 0]])


def write(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def save(tmp_path: Path, stored: object) -> str:
    torch.save(stored, tmp_path / "g.pt")
    return f"pyg:{tmp_path / 'g.pt'}"


def weights(graph: Graph) -> dict[tuple[int, int], float]:
    return {(u, v): w for u, v, w in graph.to_networkx().edges(data="weight")}


DEFAULTS = {
    "graphml": """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
      <key id="d0" for="node" attr.name="color" attr.type="string"><default>yellow</default></key>
      <key id="d1" for="edge" attr.name="weight" attr.type="double"><default>2.5</default></key>
      <graph id="G" edgedefault="undirected">
        <node id="n0"><data key="d0">green</data></node><node id="n1"/><node id="n2"><data key="d0">blue</data></node>
        <node id="n3"/><edge source="n0" target="n1"><data key="d1">1.0</data></edge><edge source="n1" target="n2"/>
        <edge source="n2" target="n3"/><edge source="n0" target="n2"/></graph></graphml>""",
    "gexf": """<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2"><graph defaultedgetype="undirected">
      <attributes class="node"><attribute id="0" title="color" type="string"><default>yellow</default></attribute>
      </attributes><attributes class="edge"><attribute id="0" title="weight" type="double"><default>2.5</default>
      </attribute></attributes><nodes><node id="n0"><attvalues><attvalue for="0" value="green"/></attvalues></node>
      <node id="n1"/><node id="n2"><attvalues><attvalue for="0" value="blue"/></attvalues></node><node id="n3"/></nodes>
      <edges><edge id="0" source="n0" target="n1" weight="1.0"/><edge id="1" source="n1" target="n2"/>
      <edge id="2" source="n2" target="n3"/><edge id="3" source="n0" target="n2"/></edges></graph></gexf>""",
}


@pytest.mark.parametrize("scheme", DEFAULTS)
def test_defaults_hold_where_nothing_is_said(scheme: str, tmp_path: Path) -> None:
    source = opened(f"{scheme}:{write(tmp_path, 'g', DEFAULTS[scheme])}")
    graph = source[0].graph
    assert graph.names == ["n0", "n1", "n2", "n3"]
    assert graph.columns == {"color": ["green", "yellow", "blue", "yellow"]}
    assert weights(graph) == {(0, 1): 1.0, (1, 2): 2.5, (2, 3): 2.5, (0, 2): 2.5}
    assert source.taken == "4 nodes, 4 edges, undirected, weighted; nodes carry color"


def graph_tag(inside: str, direction: str = "directed") -> str:
    return f'<graph edgedefault="{direction}">{inside}</graph>'


EDGE = '<node id="a"/><node id="b"/><edge source="a" target="b"/>'


def test_graphs_within_nodes_are_read_into_the_outer_one(tmp_path: Path) -> None:
    inner = graph_tag('<node id="g::1"/><node id="g::2"/><edge source="g::1" target="g::2"/>')
    text = graph_tag(f'<node id="a"/><node id="g">{inner}</node><edge source="a" target="g::1"/>')
    source = opened(f"graphml:{write(tmp_path, 'g', f'<graphml>{text}</graphml>')}")
    assert source[0].graph.names == ["a", "g", "g::1", "g::2"]
    assert source[0].graph.edges() == [(0, 2), (2, 3)]
    assert problems(source) == {"nested graphs": "1 read into the outer one (2 nodes and 1 edges)"}


def test_several_graphs_are_a_collection(tmp_path: Path) -> None:
    both = graph_tag(EDGE) + graph_tag(EDGE + '<edge source="b" target="c"/>', "undirected")
    source = opened(f"graphml:{write(tmp_path, 'g', f'<graphml>{both}</graphml>')}")
    assert [(source[i].root, source[i].graph.directed, source[i].graph.num_edges) for i in range(len(source))] == [
        (None, True, 1),
        (None, False, 2),
    ]
    assert problems(source) == {"undeclared nodes": "1 named by edges alone"}
    assert source.taken == "2 graphs, 5 nodes, 3 edges in all; nodes carry nothing"
    two = "graph [ node [ id 0 ] node [ id 1 ] edge [ source 0 target 1 ] ] " * 2
    assert len(opened(f"gml:{write(tmp_path, 'g.gml', two)}")) == 2


DIRECTED = {
    "g.graphml": '<graphml><graph edgedefault="directed"><node id="a"/><node id="b"/><node id="c"/>'
    '<edge source="a" target="b"/><edge source="b" target="a"/><edge source="c" target="b"/></graph></graphml>',
    "g.gexf": '<gexf><graph defaultedgetype="directed"><nodes><node id="a"/><node id="b"/><node id="c"/></nodes><edges>'
    '<edge source="a" target="b"/><edge source="b" target="a"/><edge source="c" target="b"/></edges></graph></gexf>',
    "g.gml": "graph [ directed 1 node [ id 0 ] node [ id 1 ] node [ id 2 ] edge [ source 0 target 1 ] "
    "edge [ source 1 target 0 ] edge [ source 2 target 1 ] ]",
}


@pytest.mark.parametrize("name", DIRECTED)
def test_directions_are_left_out_on_demand(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, DIRECTED[name])
    assert opened(path)[0].graph.edges() == [(0, 1), (1, 0), (2, 1)]
    assert opened(f"{path}?directed=false")[0].graph.edges() == [(0, 1), (1, 2)]
    assert not opened(f"{path}?directed=false")[0].graph.directed
    assert error(f"{path}?directed=no").endswith("directed='no'; allowed: true, false")


def test_a_mutual_edge_is_one_where_directions_are_left_out(tmp_path: Path) -> None:
    nodes = '<node id="a"/><node id="b"/><node id="c"/>'
    edges = '<edge source="a" target="b" type="mutual" weight="3"/><edge source="c" target="b" weight="2"/>'
    text = f'<gexf><graph defaultedgetype="directed"><nodes>{nodes}</nodes><edges>{edges}</edges></graph></gexf>'
    path = write(tmp_path, "g.gexf", text)
    assert weights(opened(path)[0].graph) == {(0, 1): 3.0, (1, 0): 3.0, (2, 1): 2.0}
    assert weights(opened(f"{path}?directed=false")[0].graph) == {(0, 1): 3.0, (1, 2): 2.0}


def test_a_citation_network_of_pyg_without_directions(tmp_path: Path) -> None:
    uri = save(tmp_path, Data(edge_index=RING, num_nodes=3))
    assert opened(uri)[0].graph.directed
    assert opened(f"{uri}?directed=false")[0].graph.edges() == [(0, 1), (0, 2), (1, 2)]
    relations = HeteroData()
    relations["paper"].num_nodes = 3
    relations["paper", "cites", "paper"].edge_index = RING
    assert opened(f"{save(tmp_path, relations)}?directed=false")[0].graph.edges() == [(0, 1), (0, 2), (1, 2)]


def test_what_xml_says_that_a_graph_has_no_room_for(tmp_path: Path) -> None:
    twice = EDGE + '<node id="a"/><hyperedge/><edge source="b" target="a" directed="true"/>'
    path = write(tmp_path, "g", f"<graphml>{graph_tag(twice)}</graphml>")
    assert problems(opened(f"graphml:{path}")) == {
        "nodes declared again": "1 taken for the first",
        "hyperedges": "1 left out: an edge joins two nodes",
    }
    mixed = graph_tag(EDGE + '<edge source="b" target="a" directed="false"/>')
    write(tmp_path, "g", f"<graphml>{mixed}</graphml>")
    assert error(f"graphml:{path}").endswith(
        " has directed and undirected edges in one graph; allowed: one kind, or ?directed=false or true, which says "
        "what all are"
    )
    assert opened(f"graphml:{path}?directed=false")[0].graph.edges() == [(0, 1)]
    assert opened(f"graphml:{path}?directed=true")[0].graph.edges() == [(0, 1), (1, 0)]
    soon = graph_tag('<node id="a"><data key="k">soon</data></node>')
    key = '<key id="k" for="node" attr.name="year" attr.type="int"/>'
    write(tmp_path, "g", f"<graphml>{key}{soon}</graphml>")
    assert error(f"graphml:{path}") == (
        f"'graphml:{path}' cannot be read as graphml (attribute 'year' is 'soon'; allowed: int)"
    )
    write(tmp_path, "g", f"<graphml>{soon}</graphml>")
    assert error(f"graphml:{path}") == f"'graphml:{path}' cannot be read as graphml (there is no key 'k')"
    assert error(f"gexf:{path}") == f"'gexf:{path}' cannot be read as gexf (it is no gexf but 'graphml')"


def test_labels_of_yed(tmp_path: Path) -> None:
    key = '<key id="d6" for="node" yfiles.type="nodegraphics"/>'
    shape = "<y:ShapeNode><y:Geometry x='1'/><y:NodeLabel>{1}</y:NodeLabel></y:ShapeNode>"
    node = '<node id="n{0}"><data key="d6">' + shape + "</data></node>"
    text = key + graph_tag(node.format(0, " Ann ") + node.format(1, "Bo") + '<edge source="n0" target="n1"/>')
    graph = opened(f"graphml:{write(tmp_path, 'g', f'<graphml>{text}</graphml>')}")[0].graph
    assert graph.columns == {"label": ["Ann", "Bo"]}


def test_gexf_nodes_within_nodes_lifetimes_and_directions(tmp_path: Path) -> None:
    text = """<gexf><graph defaultedgetype="directed" mode="dynamic"><attributes class="node" mode="dynamic">
      <attribute id="p" title="price" type="float"/></attributes><nodes><node id="0" label="A"><nodes><node id="1"
      label="B"><attvalues><attvalue for="p" value="1"/><attvalue for="p" value="2"/></attvalues><spells><spell/>
      </spells></node></nodes></node></nodes><edges><edge source="0" target="1" type="mutual"/></edges></graph>
      </gexf>"""
    source = opened(f"gexf:{write(tmp_path, 'g', text)}")
    graph = source[0].graph
    assert (graph.names, graph.edges(), graph.columns) == (
        ["A", "B"],
        [(0, 1), (1, 0)],
        {"price": [None, 2.0], "id": ["0", "1"]},
    )
    assert problems(source) == {
        "values in time": "1 replaced by later ones of the same node or edge",
        "lifetimes": "1 of nodes and edges not kept",
    }


@pytest.mark.parametrize("name", ["karate_club_graph", "les_miserables_graph", "davis_southern_women_graph"])
@pytest.mark.parametrize("scheme", ["graphml", "gexf", "gml"])
def test_networkx_reads_the_same(scheme: str, name: str, tmp_path: Path) -> None:
    """Our readers against NetworkX's, on what NetworkX writes."""
    graph = getattr(nx, name)()
    graph.graph.clear()  # lists of names, which GraphML has no form for
    getattr(nx, f"write_{scheme}")(graph, tmp_path / "g")
    ours = opened(f"{scheme}:{tmp_path / 'g'}")[0].graph
    theirs = getattr(nx, f"read_{scheme}")(tmp_path / "g")
    names = [str(theirs.nodes[node].get("label", node)) if scheme == "gexf" else str(node) for node in theirs]
    assert [ours.name(node) for node in range(ours.num_nodes)] == names
    number = {node: i for i, node in enumerate(theirs)}
    assert {*ours.edges()} == {(min(e), max(e)) for e in ((number[u], number[v]) for u, v in theirs.edges)}
    for column in {key for _, data in theirs.nodes(data=True) for key in data} - {"label"}:
        assert [ours.value(column, i) for i in range(len(names))] == [
            data.get(column) for _, data in theirs.nodes(data=True)
        ]


def test_gml_as_people_have_it(tmp_path: Path) -> None:
    """Newman's networks list edges twice and write letters beyond ASCII."""
    text = """Creator "by hand, with a
      line's end"
    graph
    [
      directed 0
      node [ id 3 label "J&#252;rgen" value 1 graphics [ x 1.5 ] ]
      node [ id 7 label "Zo\u00eb" ]  # she
      edge [ source 3 target 7 value 2 ]
      edge [ source 7 target 3 value 3 ]
    ]"""
    path = write(tmp_path, "g.gml", text)
    source = opened(f"gml:{path}?weight=value")
    graph = source[0].graph
    assert (graph.names, graph.edges(), weights(graph)) == (["J\u00fcrgen", "Zo\u00eb"], [(0, 1)], {(0, 1): 2.0})
    assert graph.columns == {"value": [1, None], "graphics": [{"x": 1.5}, None]}
    for wrong, why in (
        ("graph [ node [ id 1 ] node [ id 1 ] ]", "node id '1' is duplicated"),
        ("graph [ node [ id 1 ] edge [ source 1 target 2 ] ]", "edge 0 has the target '2', which is no node"),
        ("graph [ node [ label 1 ] ]", "node 0 has no 'id'"),
        ("graph [ node 5 ]", "'node' is '5'; allowed: records in brackets"),
        ("graph [ node [ id", "it is cut off"),
        ('graph [ a "b', "a text has no closing quote"),
        ("graph [ ? ]", "line 1: '? ]' is no key, number or text"),
        ("a 1", "it holds no graph"),
        (f"graph [ node [ id {'9' * 5000} ] ]", f"the number {'9' * 20}.. has 5000 digits"),
    ):
        write(tmp_path, "g.gml", wrong)
        assert error(f"gml:{path}") == f"'gml:{path}' cannot be read as gml ({why})"


def test_a_tag_of_a_megabyte_takes_as_long_as_it_is(tmp_path: Path) -> None:
    """Pieces grow with what is left of a tag, so that it is looked through a few times, not once a piece."""
    from ssl4rl.core.limits import Budget
    from ssl4rl.graph.sources.files import Input
    from ssl4rl.graph.sources.text import xml_files, xml_reader

    path = tmp_path / "g.graphml"
    path.write_text(f'<graphml><graph><node id="{"x" * (4 << 20)}"/></graph></graphml>')
    file = Input("graphml", "graphml:g", path, {}, *(Budget("graphml:g", name) for name in ("graph_mib", "text_steps")))
    sizes: list[int] = []
    make = xml_reader.expat.ParserCreate

    class Counted:
        def __init__(self) -> None:
            object.__setattr__(self, "parser", make())

        def __getattr__(self, name: str) -> Any:
            return getattr(self.parser, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.parser, name, value)

        def Parse(self, piece: bytes, last: bool) -> None:
            sizes.append(len(piece))
            self.parser.Parse(piece, last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xml_reader.expat, "ParserCreate", Counted)
        reader = xml_files.GraphML("graphml:g", file.budget, None)
        xml_reader.parse(file, reader)
    assert list(reader.graphs[0].numbers) == ["x" * (4 << 20)]
    assert len(sizes) < 12


def test_xml_that_asks_for_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "g", "<graphml>" + "<a>" * 2000)
    assert "(tags are nested more than 1000 deep)" in error(f"graphml:{path}")
    write(tmp_path, "g", "<graphml>" + "".join(f"<a{i}/>" for i in range(120_000)))
    assert "(it has more than 100000 different names of tags and attributes)" in error(f"graphml:{path}")
    monkeypatch.setenv("SSL4RL_LINE_MIB", "1")
    write(tmp_path, "g", f'<graphml><graph><node id="{"x" * (3 << 20)}"/></graph></graphml>')
    assert error(f"graphml:{path}").endswith("set SSL4RL_LINE_MIB for more")
    monkeypatch.setenv("SSL4RL_GRAPH_MIB", "2")
    nodes = "".join(f'<node id="{i}"/>' for i in range(20_000))
    (tmp_path / "g").write_bytes(gzip.compress(f"<graphml>{graph_tag(nodes + EDGE)}</graphml>".encode()))
    assert error(f"graphml:{path}").endswith("set SSL4RL_GRAPH_MIB for more")


# --- PyG --------------------------------------------------------------------------------------------------------------


def test_what_has_one_entry_a_node_counts_nodes(tmp_path: Path) -> None:
    source = opened(save(tmp_path, Data(edge_index=RING, raw_texts=list("abcdef"), y=torch.tensor([0, 1, 0, 1, 0, 1]))))
    graph = source[0].graph
    assert graph.num_nodes == 6
    assert graph.columns["raw_texts"] == list("abcdef")
    assert [graph.value("label", i) for i in range(6)] == [0, 1, 0, 1, 0, 1]
    assert problems(source) == {"nodes": "6 counted by raw_texts, y, edges name 3"}
    tensor = save(tmp_path, Data(edge_index=RING, num_nodes=torch.tensor([5]), edge_attr=torch.ones(3, 2)))
    assert opened(tensor)[0].graph.num_nodes == 5
    assert opened(tensor).taken == "not kept: edge_attr; 5 nodes, 3 edges, directed; nodes carry nothing"


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch, where it makes one
@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_sparse_features_stay_sparse(layout: str, tmp_path: Path) -> None:
    x = torch.tensor([[0, 2.0], [0, 0], [1, 0]])
    graph = opened(save(tmp_path, Data(edge_index=RING, x=x.to_sparse() if layout == "coo" else x.to_sparse_csr())))[
        0
    ].graph
    assert [graph.value("x", i) for i in range(3)] == [[0, 2], [0, 0], [1, 0]]
    outside = torch.sparse_coo_tensor(torch.tensor([[0], [1]]), torch.ones(1), (3, 2), check_invariants=False)
    outside._indices()[1, 0] = 9
    uri = save(tmp_path, Data(edge_index=RING, x=outside))
    assert error(uri) == f"'{uri}': a sparse tensor contradicts itself (an entry lies outside)"


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_edges_as_a_sparse_matrix(tmp_path: Path) -> None:
    adjacency = torch.sparse_coo_tensor(RING.flip(0), torch.ones(3), (4, 4))
    assert opened(save(tmp_path, Data(adj_t=adjacency)))[0].graph.edges() == [(0, 1), (1, 2), (2, 0)]


def test_ids_that_are_no_node_numbers(tmp_path: Path) -> None:
    uri = save(tmp_path, Data(edge_index=RING + 5_000_000_001))
    assert error(uri) == (
        f"'{uri}': edge_index holds ids up to 5000000003, 3 different; allowed: node numbers from 0; renumber them "
        "0 to 2, or say num_nodes"
    )


def test_a_graph_and_its_label(tmp_path: Path) -> None:
    """As OGB's datasets give them: a label for each node, or one for the graph."""
    pair = ({"edge_index": RING, "num_nodes": 6}, torch.tensor([0, 1, 0, 1, 0, 1]))
    graph = opened(save(tmp_path, pair))[0].graph
    assert [graph.value("label", i) for i in range(6)] == [0, 1, 0, 1, 0, 1]
    several = opened(
        save(tmp_path, [(Data(edge_index=RING), 1), (Data(edge_index=RING, num_nodes=4), torch.tensor([[0]]))])
    )
    assert [several[i].graph.columns for i in range(2)] == [{"graph_label": [1, 1, 1]}, {"graph_label": [0, 0, 0, 0]}]


def test_hetero_data_without_features_and_with_weights(tmp_path: Path) -> None:
    data = HeteroData()
    data["word"].text = ["a", "b", "c"]
    data["ghost"].num_nodes = 0
    data["word", "near", "word"].edge_index = torch.tensor([[0], [1]])
    data["word", "near", "word"].edge_weight = torch.tensor([0.5])
    data["word", "in", "page"].edge_index = torch.tensor([[1], [1]])
    source = opened(save(tmp_path, data))
    graph = source[0].graph
    assert graph.columns == {"type": ["word"] * 3 + ["page"] * 2, "text": ["a", "b", "c", None, None]}
    assert weights(graph) == {(0, 1): 0.5, (1, 4): 1.0}
    assert problems(source) == {
        "nodes": "3 'word' counted by text, edges name 2",
        "types of nodes": "1 without a node left out (ghost)",
        "relations": "2 merged into one kind of edge (word-near-word, word-in-page)",
    }


def test_tensors_that_are_larger_than_their_file(tmp_path: Path) -> None:
    """Expanded with stride 0, or compressed: refused before they are made."""
    one = torch.zeros(1, 1)
    for stored in (
        Data(edge_index=one.long().expand(2, 10**9)),
        Data(edge_index=RING, x=one.expand(3, 10**9)),
        Data(edge_index=RING, x=one.half().expand(3, 10**9)),
        Data(edge_index=RING, num_nodes=10**12),
        ({"edge_index": RING}, {"edge_index": torch.zeros(1, dtype=torch.long).expand(10**9)}),
    ):
        assert error(save(tmp_path, stored)).endswith("set SSL4RL_GRAPH_MIB for more")
    shared: Any = ["x"]
    for _ in range(40):
        shared = [shared, shared]
    assert opened(save(tmp_path, Data(edge_index=RING, num_nodes=3, t=[shared] * 3))).taken.startswith(
        "not kept: t; 3 nodes"
    )
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for _ in range(3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # zipfile, about a name that comes twice
                archive.writestr("b/data/0", bytes(400 << 20))
    assert error(f"pyg:{tmp_path / 'b.pt'}").endswith("set SSL4RL_GRAPH_MIB for more")


@pytest.mark.parametrize(
    ("scheme", "content"),
    [
        ("graphml", b'<?xml version="1.0" encoding="no such"?><graphml/>'),
        ("graphml", b'<?xml version="1.0" encoding="utf-16"?><graphml/>'),
        ("gexf", b"<gexf><graph><edges><edge source='a' target='b'>"),
        ("gexf", b"<gexf><nodes><node id='a'/></nodes></gexf>"),
        ("gml", b"\xff\xfe"),
        ("edges", b"\x1f\x8b nothing compressed"),
        ("edgelist", b"BZh nothing compressed"),
        ("adjlist", b"\xfd7zXZ\x00 nothing compressed"),
        ("mtx", b"%%MatrixMarket matrix coordinate pattern general\n"),
        ("npz", b"PK\x03\x04 no archive"),
        ("pyg", b"PK\x03\x04 no archive"),
        ("pyg", b"\x80\x02]q\x00."),
        ("pyg", b""),
    ],
)
def test_nonsense_is_one_line(scheme: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    message = error(f"{scheme}:{tmp_path / 'x'}")
    assert message.startswith(f"'{scheme}:{tmp_path / 'x'}'")
    assert len(message) < 500 + len(str(tmp_path))
