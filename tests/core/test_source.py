import pickle
from collections.abc import Sequence

import pytest

from ssl4rl import Ssl4rlError, keyed_rng
from ssl4rl.core.source import Split, Way, content_id, is_held_out
from tests.fakes import Endless, Words

WORDS = [f"word{i}" for i in range(200)]


def held(words: list[str], part: str = "held_out", share: float = 0.2) -> set[str]:
    split = Split(Words(words), part, share)  # type: ignore[arg-type]
    return {words[i] for i in split._indices}


def test_every_content_is_in_exactly_one_part() -> None:
    train, out = held(WORDS, "train"), held(WORDS)
    assert train | out == set(WORDS)
    assert not train & out
    assert 20 <= len(out) <= 60
    assert held(WORDS, "all") == set(WORDS)


def test_more_data_or_another_order_moves_nothing() -> None:
    out = held(WORDS)
    assert held(WORDS[::-1]) == out
    assert held([*WORDS, "new", "newer"]) & set(WORDS) == out
    assert out <= held(WORDS, share=0.4)


def test_duplicates_count_once_and_never_straddle() -> None:
    words = ["same"] * 30 + WORDS[:20]
    assert len(Split(Words(words), "all")) == 21
    assert ("same" in held(words)) != ("same" in held(words, "train"))


def draws(words: list[str], seed: int, n: int = 1) -> list[list[str]]:
    split = Split(Words(words), "all")
    picked = [split.draw(n, seed, i, keyed_rng("t", seed, i)) for i in range(len(words))]
    return [[words[i] for i in indices] for indices in picked]


def test_an_epoch_holds_every_item_once_in_an_order_of_its_own() -> None:
    words = WORDS[:30]
    split = Split(Words(words), "all")
    epochs = [[split.draw(1, 0, e * 30 + i, keyed_rng(0))[0] for i in range(30)] for e in range(3)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert draws(words, 0) != draws(words, 1)


def test_the_order_is_by_content_not_by_row() -> None:
    assert draws(WORDS, 3) == draws(WORDS[::-1], 3) == draws(WORDS[50:] + WORDS[:50], 3)
    assert draws(WORDS[:9], 3, n=3) == draws(WORDS[:9][::-1], 3, n=3)


def test_the_items_of_an_example_differ() -> None:
    for attempt in (0, 1):
        split = Split(Words([*WORDS[:5], *WORDS[:5]]), "all")
        for index in range(40):
            picked = split.draw(5, 0, index, keyed_rng(index), attempt)
            assert {split.source[i] for i in picked} == set(WORDS[:5])


def test_too_few_items_is_explained() -> None:
    with pytest.raises(Ssl4rlError, match="the all part has 2 of 3 items, 3 are needed for one example") as refused:
        Split(Words(["a", "b", "a"]), "all").draw(3, 0, 0, keyed_rng(0))
    assert str(refused.value).endswith("example; 3 items have 2 contents; give more data")


class Alike(Words):
    """Words of which those with one first letter are near-twins."""

    ways = ("look", "content", "folder")

    def groups(self, way: Way) -> Sequence[str] | None:
        return None if way == "content" else [word[0] if way == "look" else "here" for word in self.words]


@pytest.mark.parametrize(
    ("words", "by", "line"),
    [
        (["a1", "b1"], None, "give more data or another held_out share"),
        (["a1"], None, "give more data"),
        (["a1", "a1"], None, "2 items have 1 contents; give more data"),
        (["a1", "a2", "b1"], "content", "give more data or another held_out share"),
        (["a1", "a2", "b1"], None, "split_by=look makes 2 groups of them; give more data or another held_out share"),
        (["a1", "b1"], "folder", "split_by=folder makes 1 group of them; give more data or split_by=look"),
        (
            ["a1", "a2", "a3"],
            None,
            "split_by=look makes 1 group of them; give more data or split_by=content (near-twins may then be on both "
            "sides)",
        ),
    ],
)
def test_what_helps_where_a_part_is_empty(words: list[str], by: Way | None, line: str) -> None:
    """All near-twins of each other fall on one side: no other share helps there."""
    assert Split(Alike(words), "held_out", by=by).helps == line


def test_no_other_split_helps_where_an_example_needs_two_that_differ() -> None:
    with pytest.raises(Ssl4rlError) as refused:
        Split(Alike(["a1", "a2", "a3"]), "all").draw(2, 0, 0, keyed_rng(0))
    assert str(refused.value).endswith(
        "the all part has 3 of 3 items (1 without near-twins), 2 are needed for one example; give more data that "
        "differ: no example holds two near-twins"
    )


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_the_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(Ssl4rlError, match="allowed: a share between 0 and 1"):
        Split(Words(WORDS), "train", share)


def test_an_unknown_part_is_explained() -> None:
    with pytest.raises(Ssl4rlError, match=r"unknown split 'heldout'; did you mean 'held_out'\?"):
        Split(Words(WORDS), "heldout")  # type: ignore[arg-type]


def test_an_endless_source_is_split_too() -> None:
    for part in ("train", "held_out"):
        split = Split(Endless(), part)  # type: ignore[arg-type]
        for index in range(50):
            picked = split.draw(3, 0, index, keyed_rng("t", index))
            assert len(set(picked)) == 3
            assert all(is_held_out(str(i), 0.2) == (part == "held_out") for i in picked)
    assert len(Split(Endless())) == 1 << 40


def test_an_endless_source_with_too_little_does_not_hang() -> None:
    class Two(Endless):
        def __len__(self) -> int:
            return 2

    with pytest.raises(Ssl4rlError, match="too few items for one example, which takes 3"):
        Split(Two(), "all").draw(3, 0, 0, keyed_rng(0))


def test_locate_finds_content() -> None:
    split = Split(Words(WORDS), "all")
    assert split.locate(content_id(b"word7")) == 7
    with pytest.raises(Ssl4rlError, match="holds no item with id nowhere"):
        split.locate("nowhere")


def test_a_split_can_be_sent_to_another_process() -> None:
    split = Split(Words(WORDS))
    before = [split.draw(2, 0, i, keyed_rng(i)) for i in range(5)]
    again = pickle.loads(pickle.dumps(split))
    assert [again.draw(2, 0, i, keyed_rng(i)) for i in range(5)] == before
