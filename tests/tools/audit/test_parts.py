"""What the audit reads off prompts and answers, on examples small enough to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl4rl import Choice, Example, Integer, Media, NodeSet, Permutation, Verifier
from ssl4rl.core.verify import Angle, Box, EdgeSet, Path, Text
from ssl4rl.graph.graph import Graph, Rooted
from ssl4rl.tools.audit import text
from ssl4rl.tools.audit.answers import close, picks
from ssl4rl.tools.audit.features import picture_families
from ssl4rl.tools.audit.guess import probability
from ssl4rl.tools.audit.twin import Twin, random_graph
from tests.tools.audit.leaky_tasks import Items, noise

PATH = {"nodes": ["a", "b", "c", "d"], "edges": [["a", "b"], ["b", "c"]], "paths": 1}


@pytest.mark.parametrize(
    ("verifier", "answer", "meta", "target", "candidates", "right"),
    [
        (Choice("ABC"), "B", {}, "answer", "ABC", "B"),
        (Choice("ABCD"), "B", {"options": 2, "accepted": ["A"]}, "answer", "AB", "AB"),
        (Integer(1, 3), 2, {}, "answer", "123", "2"),
        (Angle(180), 180, {}, "answer", ["0", "180"], ["180"]),
        (Permutation(3), [3, 1, 2], {}, "place 1", "123", "3"),
        (Permutation(3), [3, 1, 2], {"accepted": [[1, 3, 2]]}, "place 2", "123", "13"),
        (Box(), [0, 60, 20, 100], {}, "across", ["left", "middle", "right"], ["left"]),
        (Box(), [0, 60, 20, 100], {}, "down", ["top", "middle", "bottom"], ["bottom"]),
        (NodeSet(), ["b", "d"], PATH, "nodes", "abcd", "bd"),
        (EdgeSet(), [["b", "d"]], PATH, "ends of edges", "abcd", "bd"),
        (Path(), ["a", "b", "c"], PATH, "nodes between", "bd", "b"),
        (Text(), "x", {"candidates": ["x", "y"]}, "answer", "xy", "x"),
    ],
)
def test_answers_are_picks_among_candidates(
    verifier: Verifier, answer: Any, meta: dict[str, Any], target: str, candidates: str, right: str
) -> None:
    pick = picks(verifier, Example((), answer, meta=meta))[target]
    assert pick.candidates == tuple(candidates)
    assert pick.right == {*right}


def test_a_strange_verifier_is_read_by_its_rendered_answers() -> None:
    asked = [picks(Text(), Example((), word)) for word in ("yes", "no", "yes")]
    assert [example["answer"].candidates for example in close(asked)] == [("no", "yes")] * 3
    many = [picks(Text(), Example((), f"answer {i}")) for i in range(31)]
    assert close(many) == [{}] * 31


def test_options_stand_after_the_last_run_of_labels() -> None:
    example = Example(("A: B, C\nB: A\nC: A\nWhich?\nA) B - C\nB) C - A\nC) none",), "A")
    shown = text.layout(example, "ABC")
    assert [option.text for option in shown.options] == ["B - C", "C - A", "none"]
    assert shown.body == "A: B, C\nB: A\nC: A\nWhich?\n"


def test_pictures_belong_to_the_label_before_them() -> None:
    medium = Media("image", Image.new("RGB", (8, 8)))
    example = Example(("Picture: ", medium, "\nPatch A: ", medium, "\nPatch B: ", medium, "\nWhich patch?"), "A")
    assert [option.media for option in text.layout(example, "AB").options] == [(1,), (2,)]
    assert text.layout(example, "ABC").options == ()


def test_mentions_are_places_and_counts() -> None:
    mentions = text.Mentions("3 knows 12, 12 knows 7. 3 is old")
    places = mentions.of(["12", "3", "9"])
    assert [len(where) for where in places] == [2, 2, 0]
    assert text.mention_counts(places) == {
        "mentions": 4,
        "fewest mentions": 0,
        "most mentions": 2,
        "never mentioned": 1,
    }
    assert places[1] == [0.5 / 9, 6.5 / 9]


def test_the_order_of_mentions_is_told_among_equals() -> None:
    found = text.mention_order([[[0.1]], [[0.3]], [[0.0, 0.9]], [[0.2], [0.6]]])
    assert [features["first mention"] for features in found] == pytest.approx([-0.1, 0.1, -0.2, 0.2])
    assert [features["last mention"] for features in found] == pytest.approx([-0.1, 0.1, 0.25, -0.25])
    assert text.mention_order([[[0.1]], [[0.3, 0.4]]])[0]["mean place"] == 0


def test_ranks_of_options() -> None:
    ranks = text.option_order(["node 9 - 2", "node 10 - 1", "node 2 - 2"])
    assert [rank["by alphabet"] for rank in ranks] == [2, 0, 1]
    assert [rank["by first number"] for rank in ranks] == [1, 2, 0]
    assert [rank["by last number"] for rank in ranks] == [1.5, 0, 1.5]


def test_picture_families_see_what_they_are_named_after() -> None:
    picture = np.full((32, 64, 3), 100, dtype=np.uint8)
    picture[:3, :, 0] = 220
    found = picture_families(picture)
    assert found["size"] == {"width": 64, "height": 32, "width/height": 2}
    assert found["sides"]["top"] > 30 > abs(found["sides"]["bottom"])
    assert found["colour"]["mean blue"] == 100
    assert found["spectrum"]["slope down"] > found["spectrum"]["slope across"]


def test_compression_shows() -> None:
    import io

    raw = noise("1")[0].decode(1).crop((0, 0, 64, 64))
    file = io.BytesIO()
    raw.save(file, "JPEG", quality=60)
    before, after = (picture_families(np.asarray(p))["jpeg"] for p in (raw, Image.open(file)))
    assert after["fine waves at zero"] > before["fine waves at zero"] + 0.3


def test_noise_has_the_sizes_and_nothing_else() -> None:
    photos = noise("6")
    twin = Twin(photos)
    assert twin[8].decode(70).size == photos[2].decode(70).size
    assert twin[1].decode(70).tobytes() == twin[1].decode(70).tobytes() != twin[7].decode(70).tobytes()
    tops = [np.asarray(twin[i].decode(70)).astype(float) for i in range(200)]
    above = [picture[:10].mean() - picture[-10:].mean() for picture in tops]
    assert abs(np.mean(above)) < 4 * np.std(above) / np.sqrt(200)


def test_a_random_graph_has_the_size_and_no_structure() -> None:
    ring = [(i, (i + 1) % 60) for i in range(60)] + [(i, (i + 2) % 60) for i in range(60)]
    graph = Graph.from_edges(60, *zip(*ring, strict=True), columns={"label": [str(i // 20) for i in range(60)]})
    twins = [random_graph(graph, number) for number in range(30)]
    assert {twin.num_nodes for twin in twins} == {60}
    assert np.mean([twin.num_edges for twin in twins]) == pytest.approx(graph.num_edges, rel=0.1)
    assert sorted(twins[0].columns["label"]) == sorted(graph.columns["label"])
    kept = np.mean([sum(twin.has_edge(u, v) for u, v in ring) / len(ring) for twin in twins])
    assert kept == pytest.approx(graph.num_edges / (60 * 59 / 2), abs=0.02)


@pytest.mark.parametrize("directed", [False, True])
def test_every_pair_may_be_an_edge(directed: bool) -> None:
    graph = Graph.from_edges(4, [0, 1, 2], [1, 2, 3], directed=directed)
    seen = {edge for number in range(300) for edge in random_graph(graph, number).edges()}
    assert seen == {(u, v) for u in range(4) for v in range(4) if u < v or (directed and u != v)}


def test_items_may_bring_their_own_twin() -> None:
    class Coin:
        def __init__(self, heads: bool) -> None:
            self.heads = heads

        def content_free(self, rng: np.random.Generator) -> Coin:
            return Coin(bool(rng.integers(2)))

    twin = Twin(Items([Coin(True)]))
    assert {twin[i].heads for i in range(20)} == {True, False}


def test_a_twin_of_a_rooted_graph_has_a_root() -> None:
    item = Rooted(Graph.from_edges(10, list(range(9)), list(range(1, 10))), 3)
    twin = Twin(Items([item]))
    assert {twin[i].root for i in range(60)} == set(range(10))
    assert Twin(Items([Rooted(item.graph)]))[0].root is None


def test_examples_of_one_item_do_not_count_as_many() -> None:
    by_item = np.array([2, 1, -1, 0.5, 1.5, -0.5, 1, -1, 0.3, 0.2])
    p, _ = probability(np.repeat(by_item, 50), np.repeat(np.arange(10), 50))
    alone, _ = probability(np.repeat(by_item, 50), np.arange(500))
    assert alone < 1e-3 < 0.05 < p
