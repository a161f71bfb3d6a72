import pytest

from ssl4rl.core.near.groups import group_ids, moved


def test_groups_join_transitively_and_are_named_by_their_smallest_id() -> None:
    assert group_ids(["d", "b", "c", "a", "e"], [(0, 1), (1, 2)]) == ["b", "b", "b", "a", "e"]
    assert group_ids(["d", "b", "c"], []) == ["d", "b", "c"]
    assert group_ids([], []) == []


def test_equal_ids_are_one_item() -> None:
    assert group_ids(["b", "c", "b", "a"], [(2, 3)]) == ["a", "c", "a", "a"]


@pytest.mark.parametrize("new", ["0", "m", "z"])
def test_another_item_only_joins(new: str) -> None:
    ids, pairs = ["b", "c", "x", "y"], [(0, 1), (2, 3)]
    before = dict(zip(ids, group_ids(ids, pairs), strict=True))
    now = dict(zip([*ids, new], group_ids([*ids, new], [*pairs, (3, 4)]), strict=True))
    assert now["b"] == now["c"] == "b"
    assert now["x"] == now["y"] == now[new] == min("x", new)
    assert moved(before, now) == ({} if new == "z" else {"x": ("x", new), "y": ("x", new)})
