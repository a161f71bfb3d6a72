import itertools

import numpy as np
import pytest

from ssl4rl import keyed_rng
from ssl4rl.core.near.shingles import near_texts, overlap, shingles, text_groups

WORDS = [f"w{i}" for i in range(400)]
ONE = "The quick brown fox jumps over the lazy dog while seven wizards quietly mix liquid jam by the river bank."
OTHER = "Graphs are drawn from a key so that every machine sees the same nodes, edges and names in the same order."


def test_shingles_are_runs_of_five_words_whatever_marks_stand_between() -> None:
    assert len(shingles("a b c d e f")) == 2
    assert np.array_equal(shingles("A, b... c\n\nD e f!"), shingles("a b c d e f"))
    assert len(shingles("only three words")) == 1
    assert len(shingles(" ... ")) == 0


def test_overlap_is_of_the_smaller() -> None:
    assert overlap(shingles("a b c d e f"), shingles("x a b c d e f y z")) == 1.0
    assert overlap(shingles("a b c d e f"), shingles("a b c d e g")) == 0.5
    assert overlap(shingles(""), shingles("a")) == 0.0


@pytest.mark.parametrize(
    "copy",
    [
        ONE.upper(),
        ONE.replace(" ", "\n  "),
        " ".join(ONE.split()[3:15]),
        ONE.replace("seven", "eleven"),
        f"{OTHER[:40]} {ONE}",
    ],
)
def test_copies_are_near(copy: str) -> None:
    assert text_groups(["b", "c", "a"], [ONE, OTHER, copy]) == ["a", "c", "a"]


def test_few_shared_words_are_not() -> None:
    half = " ".join([*ONE.split()[:10], *OTHER.split()[:14]])
    assert near_texts([ONE, OTHER]) == []
    assert near_texts([ONE, half]) == []


def test_the_filter_drops_no_near_pair() -> None:
    rng = keyed_rng("texts")
    texts = []
    for _ in range(12):
        whole = [WORDS[i] for i in rng.integers(0, 400, 60)]
        texts += [" ".join(whole), " ".join(whole[int(rng.integers(20)) : 60 - int(rng.integers(20))])]
        texts.append(" ".join([*whole[: int(rng.integers(5, 60))], *(WORDS[i] for i in rng.integers(0, 400, 20))]))
    sets = [shingles(text) for text in texts]
    slow = [(i, j) for i, j in itertools.combinations(range(len(sets)), 2) if overlap(sets[i], sets[j]) >= 0.5]
    from ssl4rl.core.near.groups import group_ids

    names = [f"{i:03}" for i in range(len(texts))]
    assert group_ids(names, near_texts(texts)) == group_ids(names, slow)
    assert len(slow) > 12
