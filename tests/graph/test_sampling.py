import tracemalloc
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl import Ssl4rlError
from ssl4rl.graph import sampling
from ssl4rl.graph.graph import Graph, Rooted


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def from_networkx(graph: nx.Graph) -> Graph:
    u, v = zip(*graph.edges, strict=True)
    return Graph.from_edges(len(graph), u, v, directed=graph.is_directed())


PATH = Graph.from_edges(6, range(5), range(1, 6))
"""0 - 1 - 2 - 3 - 4 - 5"""
TREE = from_networkx(nx.balanced_tree(3, 3))
STAR = Graph.from_edges(50, [0] * 49, range(1, 50))


def test_ego_goes_by_hops() -> None:
    assert sampling.ego(PATH, 0, rng(), hops=2) == [0, 1, 2]
    assert sorted(sampling.ego(PATH, 2, rng(), hops=1)) == [1, 2, 3]
    assert sampling.ego(PATH, 5, rng(), hops=9, max_nodes=4) == [5, 4, 3, 2]
    assert sampling.ego(PATH, 3, rng(), hops=0) == [3]


def test_ego_takes_a_random_part_of_the_last_ring() -> None:
    samples = [sampling.ego(TREE, 0, rng(seed), hops=2, max_nodes=8) for seed in range(60)]
    assert {tuple(sorted(nodes[:4])) for nodes in samples} == {(0, 1, 2, 3)}
    assert {node for nodes in samples for node in nodes[4:]} == set(range(4, 13))
    assert {len(nodes) for nodes in samples} == {8}


def test_hubs_are_followed_in_part() -> None:
    assert len(sampling.ego(STAR, 0, rng(), max_nodes=40, max_degree=5)) == 6
    samples = [sampling.ego(STAR, 0, rng(seed), max_nodes=40, max_degree=5) for seed in range(80)]
    assert {node for nodes in samples for node in nodes} == set(range(50))
    assert len(sampling.ego(STAR, 7, rng(), max_nodes=12)) == 12
    assert sampling.ego(STAR, 7, rng(), max_nodes=12)[:2] == [7, 0]


def test_random_walk() -> None:
    assert sampling.random_walk(PATH, 0, rng(), max_nodes=4) == [0, 1, 2, 3]
    walked = sampling.random_walk(TREE, 5, rng(1), max_nodes=10)
    assert len(walked) == len(set(walked)) == 10
    assert walked[0] == 5
    assert nx.is_connected(TREE.subgraph(walked).to_networkx())
    lonely = Graph.from_edges(3, [1], [2])
    assert sampling.random_walk(lonely, 0, rng(), max_nodes=3) == [0]
    assert sorted(sampling.random_walk(lonely, 1, rng(), max_nodes=3)) == [1, 2]
    assert sampling.random_walk(PATH, 0, rng(), max_nodes=6, restart=1.0) == [0]


def test_snowball() -> None:
    one_each = sampling.snowball(TREE, 0, rng(), waves=3, each=1, max_nodes=10)
    assert 2 <= len(one_each) <= 4
    all_named = sampling.snowball(TREE, 0, rng(), waves=2, each=4, max_nodes=40)
    assert all_named == list(range(13))
    assert len(sampling.snowball(STAR, 0, rng(), waves=1, each=3, max_nodes=40)) == 4


def test_whole_and_small_graphs() -> None:
    assert sampling.whole(PATH) == [0, 1, 2, 3, 4, 5]
    assert sampling.sample(Rooted(PATH, 4), rng(), "ego", max_nodes=6, hops=1) == [4, 0, 1, 2, 3, 5]
    assert sampling.sample(Graph.from_edges(0, [], []), rng()) == []
    assert {sampling.sample(PATH, rng(seed))[0] for seed in range(60)} == set(range(6))
    assert {sampling.sample(Rooted(PATH), rng(seed), hops=1, max_nodes=3)[0] for seed in range(60)} == set(range(6))


def test_a_budget_of_characters() -> None:
    chars = {0: 5, 1: 100, 2: 4, 3: 4, **dict.fromkeys(range(4, 40), 3)}
    for seed in range(20):
        nodes = sampling.ego(TREE, 0, rng(seed), max_nodes=20, max_chars=22, cost=chars.__getitem__)
        assert nodes[0] == 0
        assert set(nodes[1:3]) == {2, 3}  # 1 is passed over
        assert len(nodes) == 6
        assert set(nodes[3:]) <= set(range(7, 13))  # the children of 2 and 3; 5 + 4 + 4 + 3 * 3 = 22
    assert sampling.ego(TREE, 1, rng(), max_chars=50, cost=chars.__getitem__) == [1]
    whole = sampling.sample(PATH, rng(), max_nodes=6, max_chars=60, cost=lambda node: 10)
    assert sorted(whole) == list(range(6))
    assert len(sampling.sample(Rooted(PATH, 0), rng(), hops=9, max_nodes=6, max_chars=59, cost=lambda node: 10)) == 5


def test_directed_graphs_are_walked_both_ways_in_memory_and_along_edges_on_disk(tmp_path: Path) -> None:
    chain = Graph.from_edges(5, [0, 1, 2, 3], [1, 2, 3, 4], directed=True)
    assert sorted(sampling.ego(chain, 2, rng(), hops=1)) == [1, 2, 3]
    assert sorted(sampling.ego(chain, 4, rng(), hops=4)) == [0, 1, 2, 3, 4]
    np.save(tmp_path / "indices.npy", chain.indices)
    mapped = Graph(chain.indptr, np.load(tmp_path / "indices.npy", mmap_mode="r"), directed=True)
    assert sampling.ego(mapped, 2, rng(), hops=1) == [2, 3]
    assert sampling.ego(mapped, 4, rng(), hops=4) == [4]
    assert sampling.random_walk(mapped, 2, rng(), max_nodes=5) == [2, 3, 4]
    view = Graph(chain.indptr, np.asarray(mapped.indices)[:], directed=True)
    assert sampling.ego(view, 4, rng(), hops=4) == [4]


@settings(max_examples=60, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40),
    directed=st.booleans(),
    method=st.sampled_from(["ego", "random_walk", "snowball"]),
    root=st.integers(0, 14),
    seed=st.integers(0, 5),
)
def test_samples_are_connected_different_within_the_budget_and_repeatable(
    edges: list[tuple[int, int]], directed: bool, method: str, root: int, seed: int
) -> None:
    graph = Graph.from_edges(15, [u for u, _ in edges], [v for _, v in edges], directed=directed)
    nodes = sampling.sample(Rooted(graph, root), rng(seed), method, max_nodes=6, hops=3)
    assert nodes[0] == root
    assert len(set(nodes)) == len(nodes) <= 6
    assert nx.is_connected(graph.subgraph(nodes).to_networkx().to_undirected())
    reach = nx.single_source_shortest_path_length(graph.to_networkx().to_undirected(), root, cutoff=3)
    if method == "ego":
        assert set(nodes) <= set(reach)
        assert len(nodes) == min(6, len(reach))
    assert nodes == sampling.sample(Rooted(graph, root), rng(seed), method, max_nodes=6, hops=3)


@pytest.mark.parametrize("method", ["ego", "random_walk", "snowball"])
def test_memory_depends_on_the_sample(tmp_path: Path, method: str) -> None:
    leaves = 500_000
    indptr = np.concatenate([[0], np.arange(leaves, 2 * leaves + 1)])
    indices = np.concatenate([np.arange(1, leaves + 1), np.zeros(leaves, dtype=np.int64)])
    for name, array in {"indptr": indptr, "indices": indices}.items():
        np.save(tmp_path / name, array)
    star = Graph(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("indptr", "indices")))
    tracemalloc.start()
    nodes = sampling.sample(Rooted(star, 77), rng(), method, max_nodes=20, hops=3, each=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert nodes[:2] == [77, 0]
    assert len(nodes) == (12 if method == "snowball" else 20)
    assert peak < 100_000


def test_an_unknown_method_is_explained() -> None:
    with pytest.raises(Ssl4rlError, match="unknown sampling method 'egg'; did you mean 'ego'"):
        sampling.sample(PATH, rng(), "egg")
