import re
import unicodedata
from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl import Ssl4rlError
from ssl4rl.graph import serialise
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.serialise import ENCODINGS, NAME_STYLES, node_names, read, write

NASTY = [
    "<answer>B</answer>",
    "</think>",
    "<image><|im_start|>system",
    "[INST] do [/INST] [MASK]",
    'say "no", she\\said',
    "two\nlines\r\n\ttabs",
    "a\x00b\x85c\u2028d\u202ee\u200b",
    "none",
    "Ann and Bob",
    "A, B",
    "A-B",
    "x: y=3",
    "&lt;b&gt; &#x41; &amp;",
    "\\u003c",
    "日本 ½ 🙂",
    "Texts:",
    "-",
    " ",
    "",
]
TAGS = re.compile(r"<(?!/?(?:graph|node|edge|data)\b)|\[(?=/?\w+\])")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def path(directed: bool = False, weight: Sequence[float] | None = None) -> Graph:
    """A -> B -> C, and D alone."""
    return Graph.from_edges(4, [0, 1], [1, 2], directed=directed, weight=weight)


def edges_by_name(graph: Graph, names: Sequence[str]) -> set[tuple[str, str]]:
    pairs = [(names[u], names[v]) for u, v in graph.edges()]
    return {(u, v) if graph.directed or u <= v else (v, u) for u, v in pairs}


EXPECTED = {
    "adjacency": "Undirected graph. Nodes: A, B, C, D.\nEdges: (C, B) (B, A)",
    "incident": "Undirected graph. Nodes: A, B, C, D.\nA is connected to B.\nB is connected to A, C.\n"
    "C is connected to B.\nD is connected to no node.",
    "edge_list": "Undirected graph. Nodes: A, B, C, D.\nEdges: C-B B-A",
    "pairs": "Edges: C-B B-A\nAlone: D",
    "friendship": "Friendships among A, B, C, D.\nC and B are friends.\nB and A are friends.",
    "coauthorship": "Joint papers among A, B, C, D.\nC and B wrote a paper together.\nB and A wrote a paper together.",
    "graphml": '<graph edgedefault="undirected">\n<node id="A"/>\n<node id="B"/>\n<node id="C"/>\n<node id="D"/>\n'
    '<edge source="C" target="B"/>\n<edge source="B" target="A"/>\n</graph>',
    "json": '{"directed": false, "nodes": ["A", "B", "C", "D"], "edges": [["C", "B"], ["B", "A"]]}',
    "text": "Undirected graph. Nodes: A, B, C, D.\nA: B\nB: A, C\nC: B\nD: none",
}
DIRECTED = {
    "adjacency": "Directed graph. Nodes: A, B, C, D.\nEdges: (A, B)=2 (B, C)=0.333",
    "incident": "Directed graph. Nodes: A, B, C, D.\nA points to B=2.\nB points to C=0.333.\n"
    "C points to no node.\nD points to no node.",
    "edge_list": "Directed graph. Nodes: A, B, C, D.\nEdges: A->B=2 B->C=0.333",
    "pairs": "Arcs: A->B=2 B->C=0.333\nAlone: D",
    "friendship": "Who follows whom among A, B, C, D.\nA follows B (2).\nB follows C (0.333).",
    "coauthorship": "Who cites whom among A, B, C, D.\nA cites B (2).\nB cites C (0.333).",
    "graphml": '<graph edgedefault="directed">\n<node id="A"/>\n<node id="B"/>\n<node id="C"/>\n<node id="D"/>\n'
    '<edge source="A" target="B" weight="2"/>\n<edge source="B" target="C" weight="0.333"/>\n</graph>',
    "json": '{"directed": true, "nodes": ["A", "B", "C", "D"], "edges": [["A", "B", 2], ["B", "C", 0.333]]}',
    "text": "Directed graph. Nodes: A, B, C, D.\nA: B=2\nB: C=0.333\nC: none\nD: none",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_written(encoding: str) -> None:
    assert write(path(), "ABCD", encoding, rng(12), order=range(4)) == EXPECTED[encoding]
    weighted = path(directed=True, weight=[2.0, 1 / 3])
    assert write(weighted, "ABCD", encoding, rng(12), order=range(4), weights=True) == DIRECTED[encoding]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_read(encoding: str) -> None:
    edges = {("A", "B"), ("B", "C")}
    order = ["C", "B", "A", "D"] if encoding == "pairs" else ["A", "B", "C", "D"]
    assert read(EXPECTED[encoding], encoding) == (order, edges, False, {}, {})
    weights = {("A", "B"): 2.0, ("B", "C"): 0.333}
    assert read(DIRECTED[encoding], encoding) == (["A", "B", "C", "D"], edges, True, {}, weights)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_graphs_without_edges_or_nodes(encoding: str) -> None:
    for directed in (False, True):
        lonely = Graph.from_edges(2, [], [], directed=directed)
        assert read(write(lonely, ["no", "none"], encoding, rng(), order=[1, 0]), encoding)[:3] == (
            ["none", "no"],
            set(),
            directed,
        )
        empty = Graph.from_edges(0, [], [], directed=directed)
        assert read(write(empty, [], encoding, rng()), encoding)[:3] == ([], set(), directed)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, list[str], list[str | None]]:
    count = draw(st.integers(1, 6))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), max_size=10))
    directed = draw(st.booleans())
    weight = [draw(st.sampled_from([1.0, -2.0, 0.5, 1e-7, 3e20])) for _ in pairs] if draw(st.booleans()) else None
    word = st.text(min_size=1) | st.sampled_from(NASTY) | st.from_regex(r"[A-Za-z0-9 .+'_-]{1,8}", fullmatch=True)
    names = draw(st.lists(word, min_size=count, max_size=count, unique=True))
    texts = draw(st.lists(st.none() | st.text() | st.sampled_from(NASTY), min_size=count, max_size=count))
    graph = Graph.from_edges(count, [u for u, _ in pairs], [v for _, v in pairs], directed=directed, weight=weight)
    return graph, names, texts


def check_round_trip(case: tuple[Graph, list[str], list[str | None]], seed: int) -> None:
    graph, names, texts = case
    shown = {name: own for name, own in zip(names, texts, strict=True) if own is not None}
    for encoding in ENCODINGS:
        text = write(graph, names, encoding, rng(seed), texts=texts, weights=True)
        found = read(text, encoding)
        assert sorted(found.names) == sorted(names)
        assert (found.directed, found.edges, found.texts) == (graph.directed, edges_by_name(graph, names), shown)
        assert set(found.weights) == (found.edges if graph.weight is not None else set())
        assert TAGS.search(text) is None
        assert not {unicodedata.category(char) for char in text if char != "\n"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert read(write(graph, names, encoding, rng(seed)), encoding)[1:] == (found.edges, graph.directed, {}, {})


@settings(max_examples=60, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_round_trip(case: tuple[Graph, list[str], list[str | None]], seed: int) -> None:
    check_round_trip(case, seed)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_round_trip_of_many(case: tuple[Graph, list[str], list[str | None]], seed: int) -> None:
    check_round_trip(case, seed)


@pytest.mark.parametrize("style", NAME_STYLES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_round_trip_of_real_graphs_under_every_style_of_names(encoding: str, style: str) -> None:
    for number, source in enumerate((nx.karate_club_graph(), nx.davis_southern_women_graph(), nx.balanced_tree(2, 4))):
        graph = Graph.from_edges(
            len(source), *zip(*nx.convert_node_labels_to_integers(source).edges, strict=True), names=[*map(str, source)]
        )
        names = node_names(graph, style, rng(number))
        text = write(graph, names, encoding, rng(number))
        found = read(text, encoding)
        assert found.edges == edges_by_name(graph, names)
        assert found.names != names  # shuffled


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_hidden_rows_leave_no_edge(encoding: str) -> None:
    star = Graph.from_edges(4, [0, 0, 0, 1], [1, 2, 3, 2])
    found = read(write(star, "ABCD", encoding, rng(), texts=["t", None, "u", None], hidden_rows=[0]), encoding)
    assert (sorted(found.names), found.edges, found.texts) == (list("ABCD"), {("B", "C")}, {"A": "t", "C": "u"})
    text = write(star, ["Zed", "B", "C", "D"], encoding, rng(), hidden_rows=[0])
    assert text.count("Zed") == 1  # among the nodes


def test_a_hidden_node_of_the_text_encoding_keeps_its_text_only() -> None:
    text = write(path(), "ABCD", "text", rng(), texts=["a", "b", "c", None], order=range(4), hidden_rows=[1])
    assert text == 'Undirected graph. Nodes: A, B, C, D.\nA "a": none\nC "c": none\nD: none\nB "b"'


def test_texts_in_other_encodings() -> None:
    text = write(path(), "ABCD", "friendship", rng(12), texts=["<b>", None, "c\n", None], order=range(4))
    assert text == EXPECTED["friendship"] + '\nTexts:\nA: "\\u003cb>"\nC: "c\\n"'


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_order_is_random(encoding: str) -> None:
    ring = Graph.from_edges(5, range(5), [1, 2, 3, 4, 0])
    texts = {write(ring, "ABCDE", encoding, rng(seed)) for seed in range(30)}
    assert len(texts) == 30
    assert {text[re.search(r"[A-E]\b", text).start()] for text in texts} == set("ABCDE")  # type: ignore[union-attr]
    assert write(ring, "ABCDE", encoding, rng(3)) == write(ring, "ABCDE", encoding, rng(3))


def test_both_ends_of_an_undirected_edge_come_first() -> None:
    one = Graph.from_edges(2, [0], [1])
    assert {write(one, "AB", "edge_list", rng(seed))[-3:] for seed in range(20)} == {"A-B", "B-A"}


def test_names_are_quoted_where_they_could_be_misread() -> None:
    shown = {name: serialise.show(name) for name in ("libc6-dev", "g++", "Mr Hi", "Ann and Bob", "a.", "None", "-x")}
    assert shown == {
        "libc6-dev": "libc6-dev",
        "g++": "g++",
        "Mr Hi": "Mr Hi",
        "Ann and Bob": '"Ann and Bob"',
        "a.": '"a."',
        "None": '"None"',
        "-x": '"-x"',
    }
    assert serialise.edge_text("A", "B", directed=False) == "A-B"
    assert serialise.edge_text("libc6-dev", "gcc", directed=True) == "libc6-dev -> gcc"


def test_texts_are_quoted() -> None:
    assert serialise.quote('<answer>"B"</answer>\n') == '"\\u003canswer>\\"B\\"\\u003c/answer>\\n"'
    assert serialise.quote("[INST] [a b] x[1]") == '"\\u005bINST] [a b] x\\u005b1]"'
    assert serialise.quote("é\u202e\x85") == '"é\\u202e\\u0085"'


def test_one_line() -> None:
    assert serialise.one_line(" a\n b\tc ") == "a b c"
    assert serialise.one_line("alpha beta gamma", 12) == "alpha beta…"
    assert serialise.one_line("x" * 20, 10) == "x" * 9 + "…"


def test_styles_of_names() -> None:
    five = Graph.from_edges(5, [], [], names=["a", "A", "x\ny", "<i>", "p->q, r"])
    assert sorted(node_names(five, "integers", rng())) == list("01234")
    assert sorted(node_names(five, "letters", rng())) == list("ABCDE")
    assert node_names(five, "own", rng()) == ["a", "A 2", "x y", "i", "p q r"]
    many = Graph.from_edges(400, [], [])
    assert {"A", "Z", "AA", "AB", "OJ"} <= set(node_names(many, "letters", rng()))
    assert len({name.casefold() for name in node_names(many, "given", rng())}) == 400
    assert sorted(map(int, node_names(many, "own", rng()))) == list(range(400))
    assert node_names(many, "own", rng())[0] != "0"
    kinds = {node_names(five, "letters|integers", rng(seed))[0].isdigit() for seed in range(20)}
    assert kinds == {False, True}


def test_a_small_graph_has_names_of_twelve() -> None:
    small, large = Graph.from_edges(3, [], []), Graph.from_edges(14, [], [])
    seen = {name for seed in range(60) for name in node_names(small, "letters12", rng(seed))}
    assert seen == set("ABCDEFGHIJKL")
    assert sorted(node_names(large, "letters12", rng())) == list("ABCDEFGHIJKLMN")
    styles = {node_names(small, "any", rng(seed))[0] for seed in range(200)}
    assert not styles & set("DEFGHIJKL")  # "any" means first letters only


def test_own_names_are_told_apart_and_are_never_empty() -> None:
    names = ["a", "a", "a 2", "", "()", "ﬁn", "x" * 99]
    graph = Graph.from_edges(7, [], [], names=names)
    assert node_names(graph, "own", rng()) == ["a", "a 3", "a 2", "node", "node 2", "fin", "x" * 60]


def test_options_of_a_level() -> None:
    assert serialise.draw_encoding("json", rng()) == "json"
    assert {serialise.draw_encoding("json|text", rng(seed)) for seed in range(20)} == {"json", "text"}
    assert {serialise.draw_encoding("any", rng(seed)) for seed in range(200)} == set(ENCODINGS) - {"pairs"}
    serialise.check_encoding("t: encoding", "any")
    serialise.check_names("t: names", "letters|own")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: serialise.check_encoding("t: encoding", "jsom"), "t: encoding: got 'jsom'; did you mean 'json'?"),
        (lambda: serialise.check_encoding("e", "json|x"), "e: got 'x' in 'json|x'; allowed: adjacency, incident, "),
        (lambda: serialise.check_names("n", ""), "n: got ''; allowed: integers, letters, given, own, letters12, any"),
        (lambda: write(path(), "ABCD", "xml", rng()), "unknown encoding 'xml'; allowed: adjacency"),
        (lambda: read("", "jason"), "unknown encoding 'jason'; did you mean 'json'?"),
    ],
)
def test_bad_options_are_explained(call: object, message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        call()  # type: ignore[operator]
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (EXPECTED["edge_list"] + " ", "edge_list"),
        (EXPECTED["edge_list"] + " A-E", "edge_list"),
        (EXPECTED["edge_list"] + "\nWhich?", "edge_list"),
        (EXPECTED["incident"].replace(".\n", "\n", 2), "incident"),
        (EXPECTED["friendship"], "coauthorship"),
        (EXPECTED["text"] + "\nA <b>", "text"),
        (EXPECTED["graphml"] + "\n", "graphml"),
        (EXPECTED["graphml"].replace('id="B"/>', 'id="A"/>'), "graphml"),
        ("[]]", "json"),
    ],
)
def test_another_text_cannot_be_read(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(text, encoding)


def test_names_must_tell_nodes_apart() -> None:
    with pytest.raises(ValueError, match="3 different names for 4 nodes"):
        write(path(), ["A", "B", "C", "A"], "json", rng())
