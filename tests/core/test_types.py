import numpy as np
import pytest
from PIL import Image

from ssl4rl import Example, Key, Media, Score
from ssl4rl.core.types import nearest


def test_nearest_names_the_close_one_else_all() -> None:
    assert nearest("rotatoin", ["rotation", "jigsaw"]) == "; did you mean 'rotation'?"
    assert nearest("zzz", ["rotation", "jigsaw"]) == "; allowed: rotation, jigsaw"
    assert nearest("zzz", []) == ""


def test_key_survives_json() -> None:
    key = Key("t@1", "easy,px=3", 7, 12, 2, ("a", "b"))
    assert Key.from_json(key.to_json()) == key
    assert str(key) == "t@1[easy,px=3] seed=7 index=12 attempt=2"


def test_example_reads_in_order() -> None:
    first, second = Media("image", None), Media("sound", None)
    example = Example(("a ", first, " b ", second), 3, meta={"accepted": [4]})
    assert example.media == (first, second)
    assert example.text() == "a <image> b <sound>"
    assert example.text("[{kind}]") == "a [image] b [sound]"
    assert example.accepted == (3, 4)


def grey(value: int, mode: str = "L", size: tuple[int, int] = (2, 3)) -> Media:
    return Media("image", Image.new(mode, size, value))


DIFFERENT = [
    Example(("a",), 1),
    Example(("a",), 2),
    Example(("a",), 1, meta={"accepted": [2]}),
    Example(("a", "b"), 1),
    Example(("ab",), 1),
    Example(("atext:1:b",), 1),
    Example((grey(3),), 1),
    Example((grey(4),), 1),
    Example((grey(3, size=(3, 2)),), 1),
    Example((grey(3, mode="P"),), 1),
    Example((grey(3), grey(3)), 1),
    Example((Media("array", np.zeros(4, dtype=np.int8)),), 1),
    Example((Media("array", np.zeros((2, 2), dtype=np.int8)),), 1),
    Example((Media("array", np.zeros(1, dtype=np.int32)),), 1),
    Example((Media("other", np.zeros(4, dtype=np.int8)),), 1),
    Example((Media("json", {"a": 1}),), 1),
]


def test_digest_is_equal_exactly_for_equal_content() -> None:
    digests = [example.digest() for example in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)
    assert Example((grey(3),), 1).digest() == Example((grey(3),), 1, Key("t@1", "x", 0, 0)).digest()
    assert Example((), [1, 2]).digest() == Example((), (1, 2)).digest()


def test_digest_does_not_change() -> None:
    """A change of this value makes every golden hash of every task wrong."""
    assert Example(("Which?", grey(3)), "A").digest() == "46527d6ff326200cbc66787c30e80c72"


def test_reward_is_the_weighted_sum_of_parts() -> None:
    score = Score(0.5, "partial", 3, {"accuracy": 0.5, "format": 1.0})
    assert score.reward({"accuracy": 1.0, "format": 0.1}) == pytest.approx(0.6)
    assert score.reward({"unknown": 1.0}) == 0


def test_a_clip_is_its_frames() -> None:
    frames, same = (tuple(grey(value).data for value in (1, 2, 3)) for _ in range(2))
    example = Example(("Watch: ", Media("video", frames), "\nand ", grey(9), "?"), "A")
    assert example.text() == "Watch: <video>\nand <image>?"
    assert [medium.kind for medium in example.spread().media] == ["image"] * 4
    assert [picture.getpixel((0, 0)) for picture in example.pictures] == [1, 2, 3, 9]
    assert example.spread().answer == "A"
    turned = Example((example.prompt[0], Media("video", frames[::-1]), *example.prompt[2:]), "A")
    alike = Example((example.prompt[0], Media("video", same), *example.prompt[2:]), "A")
    assert example.digest() == alike.digest() != turned.digest()
    assert example.digest() != example.spread().digest()
