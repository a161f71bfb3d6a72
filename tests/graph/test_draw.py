import base64
import re
import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest

from ssl4rl import preview
from ssl4rl.graph import draw
from ssl4rl.graph.draw import svg

SVG = "{http://www.w3.org/2000/svg}"
DRAWING = {
    "nodes": ["A", "B", "C", "D"],
    "edges": [["A", "B"], ["C", "B"], ["B", "C"]],
    "directed": False,
    "hidden_edges": [["A", "C"]],
    "hidden_nodes": ["D"],
    "root": "B",
}


def parts(picture: str, tag: str) -> list[ET.Element]:
    return [*ET.fromstring(picture).iter(f"{SVG}{tag}")]


def test_nodes_and_edges() -> None:
    picture = svg(DRAWING)
    assert [line.get("class") for line in parts(picture, "line")] == [None, None, "hidden"]
    kinds = [circle.get("class") for circle in parts(picture, "circle")]
    assert kinds == ["node", "node root", "node", "node hidden"]
    assert [text.text for text in parts(picture, "text")] == ["A", "B", "C", "D?", "Dashed: hidden from the model"]
    assert "stroke-dasharray" in picture
    assert "prefers-color-scheme: dark" in picture
    assert not parts(picture, "polygon")


def test_lines_join_the_circles_they_should() -> None:
    picture = svg({"nodes": ["A", "B", "C"], "edges": [["A", "C"]]})
    (line,) = parts(picture, "line")
    at = {
        text.text: (float(circle.get("cx", "")), float(circle.get("cy", "")), float(circle.get("r", "")))
        for text, circle in zip(parts(picture, "text"), parts(picture, "circle"), strict=True)
    }
    for name, end in (("A", "1"), ("C", "2")):
        x, y, radius = at[name]
        gap = np.hypot(float(line.get(f"x{end}", "")) - x, float(line.get(f"y{end}", "")) - y)
        assert radius - 0.2 <= gap <= radius + 2.2
    assert len(parts(picture, "text")) == 3  # nothing is hidden, so nothing says so


def test_directed_edges_have_heads_and_both_ways_are_two() -> None:
    picture = svg(DRAWING | {"directed": True})
    assert [line.get("class") for line in parts(picture, "line")] == [None, None, None, "hidden"]
    assert [head.get("class") for head in parts(picture, "polygon")] == ["head", "head", "head", "head hidden"]


def test_a_hidden_edge_among_the_edges_is_drawn_once() -> None:
    picture = svg({"nodes": ["A", "B"], "edges": [["A", "B"]], "hidden_edges": [["B", "A"]]})
    assert [line.get("class") for line in parts(picture, "line")] == ["hidden"]


def test_any_name_is_text() -> None:
    names = ["<script>x</script>", 'a"b&c', "line\nbreak\x00", "n" * 50, "\ud800"]
    picture = svg({"nodes": names, "edges": [[names[0], names[1]]], "root": names[0]})
    texts = [text.text for text in parts(picture, "text")]
    assert texts == ["<script>x</script>", 'a"b&c', "line\ufffdbreak\ufffd", "n" * 21 + "…", "\ufffd"]
    assert [circle[0].text for circle in parts(picture, "circle")][3] == "n" * 50
    assert "<script" not in picture
    picture.encode()


@pytest.mark.parametrize(
    "graph",
    [
        nx.empty_graph(0),
        nx.empty_graph(1),
        nx.empty_graph(3),
        nx.path_graph(2),
        nx.disjoint_union(nx.cycle_graph(5), nx.path_graph(3)),
        nx.karate_club_graph(),
        nx.complete_bipartite_graph(2, 6),
    ],
)
def test_nodes_lie_apart_and_inside(graph: nx.Graph) -> None:
    nodes = [*map(str, graph)]
    drawing = {"nodes": nodes, "edges": [[str(u), str(v)] for u, v in graph.edges]}
    picture = svg(drawing)
    assert picture == svg(drawing)
    width, height = (float(ET.fromstring(picture).get(side, "")) for side in ("width", "height"))
    assert 80 <= width <= 450
    assert 80 <= height <= 450
    circles = parts(picture, "circle")
    at = np.array([[float(c.get("cx", "")), float(c.get("cy", ""))] for c in circles]).reshape(-1, 2)
    radius = 12
    assert (at >= radius).all()
    assert (at <= np.array([width, height]) - radius).all()
    gaps = np.linalg.norm(at[:, None] - at[None], axis=2)[np.triu_indices(len(at), 1)]
    assert (gaps > 1.9 * radius).all()


def test_spread_parts_nodes_from_each_other_and_from_edges() -> None:
    same = draw.spread(np.zeros((3, 2)), [], 20.0, 10.0)
    gaps = np.linalg.norm(same[:, None] - same[None], axis=2)[np.triu_indices(3, 1)]
    assert (gaps > 19).all()
    crossed = draw.spread(np.array([[0.0, 0.0], [100.0, 0.0], [50.0, 0.5]]), [(0, 1)], 20.0, 10.0)
    assert abs(crossed[2, 1] - crossed[0, 1]) > 9
    far = np.array([[0.0, 0.0], [100.0, 0.0]])
    assert np.array_equal(draw.spread(far, [(0, 1)], 20.0, 10.0), far)


def test_layout_of_a_path_is_a_line_along_x() -> None:
    points = draw.layout(4, [(0, 1), (1, 2), (2, 3)])
    assert np.allclose(points[:, 1], 0, atol=1e-2)
    assert np.array_equal(np.argsort(points[:, 0]), [0, 1, 2, 3]) or np.array_equal(
        np.argsort(points[:, 0]), [3, 2, 1, 0]
    )


def test_long_names_stand_beside_their_nodes_inside_the_picture() -> None:
    names = [f"package-{i}-of-many" for i in range(6)]
    picture = svg({"nodes": names, "edges": [[names[0], name] for name in names[1:]]})
    width = float(ET.fromstring(picture).get("width", ""))
    for text in parts(picture, "text"):
        half = 0.5 * 0.58 * 12 * len(text.text or "")
        middle = float(text.get("x", "")) + {"start": half, "middle": 0, "end": -half}[text.get("text-anchor", "")]
        assert half <= middle <= width - half


def test_the_preview_of_a_graph_task_draws_what_is_hidden() -> None:
    page = preview("graph/masked_edge", data="nx:karate_club", n=2).page()
    sources = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(sources) == 2
    for source in sources:
        picture = base64.b64decode(source).decode()
        assert [line.get("class") for line in parts(picture, "line")].count("hidden") == 1
        assert len(parts(picture, "circle")) == len(parts(picture, "text")) - 1 > 3
