import pickle
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest

from ssl4rl import Choice, Example, Ssl4rlError, TaskDataset, Unusable
from ssl4rl.core.dataset import Component
from ssl4rl.core.source import Split
from ssl4rl.core.types import Key, VerifierFault
from tests.fakes import Letter, Pair, Words

WORDS = [f"word{i}" for i in range(40)]


def dataset(
    task: Any = None, words: Sequence[str] = WORDS, size: int | None = 20, seed: int = 0, level: str = "easy"
) -> TaskDataset:
    task = task or Pair()
    return TaskDataset([Component(task, task.level(level), Split(Words(words), "all"))], seed=seed, size=size)


def digests(data: TaskDataset, indices: Sequence[int]) -> list[str]:
    return [data[i].digest() for i in indices]


def test_an_example_is_a_function_of_its_key() -> None:
    forward = digests(dataset(), range(20))
    assert digests(dataset(), range(19, -1, -1)) == forward[::-1]
    assert digests(dataset(words=WORDS[::-1]), range(20)) == forward
    assert digests(dataset(size=None), range(20)) == forward
    assert digests(pickle.loads(pickle.dumps(dataset())), range(20)) == forward
    assert [example.digest() for example in dataset()] == forward


def test_other_seeds_levels_and_versions_give_other_examples() -> None:
    class Newer(Pair):
        __doc__ = Pair.__doc__
        version = 2

    sets = [set(digests(dataset(**kw), range(20))) for kw in ({}, {"seed": 1}, {"level": "hard"}, {"task": Newer()})]
    assert sum(len(s) for s in sets) == len(set.union(*sets)) == 80


def test_several_questions_in_one_prompt() -> None:
    data = dataset(Letter(), level="easy,questions=3")
    example = data[4]
    assert example.key is not None
    assert example.key.index == 4
    assert len(set(example.key.sources)) == 3
    assert [example.text().count(f"Question {k}: ") for k in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert data.chance(example) == 0.5**3
    assert digests(data, range(20)) == digests(dataset(Letter(), level="easy,questions=3"), range(20))
    assert data.remake(example.key).digest() == example.digest()
    assert data.ask(example).startswith("Answer with one letter: A or B. Give 3 such answers")
    right = ";".join(example.answer)
    assert data.score_answer(f"<answer>{right}</answer>", example).verdict == "correct"
    walked = [source for index in range(13) for source in data[index].key.sources]  # type: ignore[union-attr]
    assert len(set(walked)) == 39  # every item of the 40 once before any comes twice


def test_indices() -> None:
    data = dataset()
    assert len(data) == 20
    assert data[-1].key == data[19].key
    assert data[np.int64(3)].digest() == data[3].digest()
    for index in (20, -21):
        with pytest.raises(IndexError):
            data[index]
    assert dataset(seed=np.int64(0))[3].digest() == data[3].digest()


def test_a_slice_is_a_list_of_examples() -> None:
    data = dataset(size=10)
    everything = digests(data, range(10))
    for part in (slice(0, 3), slice(None), slice(-2, None), slice(8, 99), slice(9, 2, -3), slice(5, 5)):
        found = data[part]
        assert isinstance(found, list)
        assert [example.digest() for example in found] == everything[part]
    assert [example.key.index for example in data[9:2:-3] if example.key] == [9, 6, 3]


def test_a_slice_of_an_unbounded_dataset_needs_an_end() -> None:
    data = dataset(size=None)
    assert [example.key.index for example in data[4:10:2] if example.key] == [4, 6, 8]
    assert [example.key.index for example in data[:2] if example.key] == [0, 1]
    for part in (slice(5, None), slice(-3, 5), slice(0, -1), slice(5, 2, -1)):
        with pytest.raises(IndexError, match="of a dataset without a length"):
            _ = data[part]


def test_an_unbounded_dataset_has_no_length() -> None:
    data = dataset(size=None)
    assert [e.key.index for e in islice(data, 3) if e.key] == [0, 1, 2]
    assert data[10**9].key
    with pytest.raises(TypeError):
        len(data)
    with pytest.raises(IndexError):
        data[-1]


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(Ssl4rlError, match="size is -1"):
        dataset(size=-1)


def test_unusable_draws_are_counted_with_their_reason() -> None:
    examples = list(dataset(size=60))
    keys = [example.key for example in examples if example.key]
    assert {key.attempt for key in keys} >= {0, 1}
    for example, key in zip(examples, keys, strict=True):
        rejected = example.meta.get("rejected", [])
        assert len(rejected) == key.attempt
        assert all(draw["why"] == "bad luck" and len(draw["sources"]) == 2 for draw in rejected)


def test_items_that_cannot_be_read_are_drawn_again() -> None:
    data = dataset(Letter(), ["broken", "fine", "good"], size=30)
    assert all("broken" not in example.text() for example in data)
    assert sum(len(example.meta.get("rejected", [])) for example in data) > 0


def test_a_source_without_a_usable_item_is_explained() -> None:
    message = r"fakes/letter found no usable example in 64 draws from .* \(all\): a broken word \(64x\)"
    with pytest.raises(Ssl4rlError, match=message):
        dataset(Letter(), ["broken"])[0]


def test_remake() -> None:
    data = dataset()
    for example in data:
        assert example.key
        assert dataset(size=None).remake(Key.from_json(example.key.to_json())).digest() == example.digest()
    key = data[0].key
    assert key
    with pytest.raises(Ssl4rlError, match="is not of this dataset"):
        dataset(seed=1).remake(key)
    with pytest.raises(Ssl4rlError, match="is not of this dataset"):
        dataset(Letter()).remake(key)
    with pytest.raises(Ssl4rlError, match=r"the content of .* changed"):
        dataset(words=[f"other{i}" for i in range(40)]).remake(key)


def test_a_mixture_of_one_task_on_two_sources_remakes_from_the_right_one() -> None:
    task = Letter()
    parts = [Component(task, task.level(), Split(Words(words), "all")) for words in (WORDS[:9], WORDS[9:])]
    data = TaskDataset(parts, size=30)
    assert {data.pick(i) for i in range(30)} == {0, 1}
    for example in data:
        assert example.key
        assert data.remake(example.key).digest() == example.digest()


def test_scoring_by_key() -> None:
    data = dataset()
    example = data[3]
    assert data.score_answer(f"<answer>{example.answer}</answer>", example).verdict == "correct"
    assert data.score_answer("<think>", example, truncated=True).verdict == "truncated"
    assert data.chance(example) == 0.5
    assert data.ask(example).startswith("Answer with one letter: A or B.")
    with pytest.raises(Ssl4rlError, match="is not of this dataset"):
        data.chance(Example(("x",), "A"))


class Faulty(Choice):
    def parse(self, text: str, example: Example) -> str | None:
        raise ValueError("oh")


class WithFault(Letter):
    __doc__ = Letter.__doc__

    def verifier_for(self, level: Mapping[str, Any]) -> Choice:
        return Faulty("AB")


def test_a_verifier_that_raises_stops_the_run_and_names_the_example() -> None:
    data = dataset(WithFault())
    with pytest.raises(
        VerifierFault, match=r"example fakes/letter@1\[easy\] seed=0 index=4 attempt=0 raised ValueError: oh"
    ):
        data.score_answer("<answer>A</answer>", data[4])


def test_weights() -> None:
    task = Letter()

    def mixed(*weights: float) -> TaskDataset:
        levels = ["easy", "hard"]
        split = Split(Words(WORDS), "all")
        return TaskDataset([Component(task, task.level(n), split, w) for n, w in zip(levels, weights, strict=False)])

    assert 749 <= sum(mixed(3, 1).pick(i) == 0 for i in range(1000)) <= 751
    assert all(mixed(0, 2).pick(i) == 1 for i in range(50))
    for weights in ((0, 0), (-1, 2), ()):
        with pytest.raises(Ssl4rlError, match="weights"):
            mixed(*weights)


def two_levels(seed: int = 0) -> TaskDataset:
    task, split = Letter(), Split(Words(WORDS), "all")
    return TaskDataset([Component(task, task.level(name), split) for name in ("easy", "hard")], seed=seed)


def test_every_batch_holds_its_shares() -> None:
    """Almost exactly, wherever it starts (drawn at random, the first two would deviate by 3); other seeds differ."""
    data = two_levels()
    for start in (0, 7, 10**12):
        for weights, expected in (([1, 1], 16), ([3, 1], 24), ([0.1, 0.9], 3)):
            count = sum(data.pick(i, weights) == 0 for i in range(start, start + 32))
            assert abs(count - expected) <= 2
    orders = {tuple(two_levels(seed).pick(i) for i in range(16)) for seed in range(6)}
    assert len(orders) > 2


def test_weights_of_the_moment_move_few_examples() -> None:
    """What a change of weights does not give to another component stays the example it was."""
    data = two_levels()
    before, after = ([data.pick(i, weights) for i in range(400)] for weights in ([0.5, 0.5], [0.4, 0.6]))
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert set(moved) == {(0, 1)}
    assert 35 <= len(moved) <= 45


def test_an_example_of_a_named_component_is_made_again_from_its_key() -> None:
    data = two_levels()
    for component, level in enumerate(("easy", "hard")):
        for index in range(4):
            example = data.at(index, component)
            assert example.key
            assert (example.key.level, example.key.index) == (level, index)
            assert two_levels().remake(example.key).digest() == example.digest()
    assert data[5].digest() == data.at(5, data.pick(5)).digest()


def test_unusable_is_not_an_error_of_the_user() -> None:
    assert not issubclass(Unusable, Ssl4rlError)
