"""What the verifiers of nodes, edges and paths read where the question narrows the answers."""

from __future__ import annotations

import numpy as np
import pytest

from ssl4rl import Choice, EdgeSet, Example, NodeSet, Path

NODES = ["a", "b", "c", "d"]
EDGES = Example((), [["b", "a"]], meta={"nodes": NODES, "candidates": [["a", "b"], ["c", "d"], ["d", "a"]]})
SETS = Example((), ["a", "c"], meta={"nodes": NODES, "count": 2})


def test_edges_are_among_the_candidates_and_as_many_as_asked() -> None:
    verifier = EdgeSet()
    verdicts = {
        text: verifier.score(f"<answer>{text}</answer>", EDGES).verdict
        for text in ("a-b", "b-a", "c-d", "a-c", "a-b, c-d", "a-b, c-d, a-d")
    }
    assert verdicts == {
        "a-b": "correct",
        "b-a": "correct",
        "c-d": "wrong",
        "a-c": "unparsed",
        "a-b, c-d": "unparsed",
        "a-b, c-d, a-d": "unparsed",
    }
    assert verifier.chance(EDGES) == verifier.expected(EDGES) == 1 / 3
    drawn = [verifier.random_answer(EDGES, np.random.default_rng(seed)) for seed in range(40)]
    assert {tuple(edge) for answer in drawn for edge in answer} == {("a", "b"), ("c", "d"), ("a", "d")}


def test_a_counted_set_of_nodes() -> None:
    verifier = NodeSet()
    verdicts = {
        t: verifier.score(f"<answer>{t}</answer>", SETS).verdict for t in ("a, c", "c, b", "a", "a, b, c", "b, d")
    }
    assert verdicts == {"a, c": "correct", "c, b": "partial", "a": "unparsed", "a, b, c": "unparsed", "b, d": "wrong"}


def test_naming_all_pays_nothing_and_half_pays_what_it_is_better() -> None:
    verifier = NodeSet()
    example = Example((), ["a", "c"], meta={"nodes": [*NODES, "e", "f", "g", "h"]})  # naming all: F1 4/10
    values = {t: verifier.score(f"<answer>{t}</answer>", example) for t in ("a, b, c, d, e, f, g, h", "a", "b", "a, c")}
    assert [(score.value, score.verdict) for score in values.values()] == [
        (0, "wrong"), (pytest.approx((2 / 3 - 0.4) / 0.6), "partial"), (0, "wrong"), (1, "correct"),
    ]  # fmt: skip


@pytest.mark.parametrize(("directed", "back"), [(True, "wrong"), (False, "correct")])
def test_a_path_may_be_directed_for_one_example(directed: bool, back: str) -> None:
    meta = {"nodes": NODES, "edges": [["b", "a"], ["c", "b"]], "paths": 1, "directed": directed}
    example = Example((), ["a", "b", "c"], meta=meta)
    assert Path().score("<answer>a, b, c</answer>", example).verdict == back


def test_options_that_are_numbers_are_called_so() -> None:
    assert Choice("1234").instruction == "Answer with one number: 1, 2, 3 or 4."
    assert Choice("AB").instruction == "Answer with one letter: A or B."


def test_a_single_edge_of_which_another_is_as_right_is_expected_as_often_as_it_is_right() -> None:
    meta = {"nodes": list("abcd"), "candidates": [["a", "b"], ["b", "c"], ["c", "d"]], "accepted": [[["c", "d"]]]}
    example = Example((), [["a", "b"]], meta=meta)
    assert EdgeSet().chance(example) == EdgeSet().expected(example) == 2 / 3
