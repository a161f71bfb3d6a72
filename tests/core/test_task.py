from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ssl4rl import Ssl4rlError, Task, keyed_rng
from ssl4rl.core.types import Example
from ssl4rl.core.verify import Several
from tests.fakes import Letter

TASK = Letter()


def test_a_generator_depends_on_all_of_its_key_and_nothing_else() -> None:
    keys: list[tuple[str | int, ...]] = [("a",), ("a", 0), ("a", 1), ("a", "1"), ("a1",), (1, "a"), ("a", 0, 0), ()]
    first = [keyed_rng(*key).integers(2**62) for key in keys]
    assert len(set(first)) == len(keys)
    assert first == [keyed_rng(*key).integers(2**62) for key in keys]


def test_neighbouring_seeds_share_nothing() -> None:
    """`Random(seed + index)` shares all but one of its examples between seeds 0 and 1."""
    draws = [{int(keyed_rng("t", seed, index).integers(2**62)) for index in range(100)} for seed in (0, 1)]
    assert not draws[0] & draws[1]


def test_a_generator_does_not_change() -> None:
    assert int(keyed_rng("golden", 1, 2).integers(1000)) == 72


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        (None, "easy", {"options": 2, "loud": False, "share": 0.5, "ending": "no"}),
        ("", "easy", {"options": 2, "loud": False, "share": 0.5, "ending": "no"}),
        ("hard", "hard", {"options": 4, "loud": True, "share": 0.5, "ending": "no"}),
        ("hard,options=3", "hard,options=3", {"options": 3, "loud": True, "share": 0.5, "ending": "no"}),
        ("hard,options=4", "hard", {"options": 4, "loud": True, "share": 0.5, "ending": "no"}),
        (
            "easy,share=.25,loud=TRUE,ending=yes",
            "easy,ending=yes,loud=true,share=0.25",
            {"options": 2, "loud": True, "share": 0.25, "ending": "yes"},
        ),
        ("easy,options=3,options=2", "easy", {"options": 2, "loud": False, "share": 0.5, "ending": "no"}),
    ],
)
def test_levels_are_parsed_and_named_canonically(text: str | None, name: str, params: dict[str, Any]) -> None:
    level = TASK.level(text)
    assert (level.name, dict(level.params)) == (name, params)
    assert TASK.level(level.name) == level


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("esay", "unknown level 'esay' of fakes/letter; did you mean 'easy'?"),
        ("x", "unknown level 'x' of fakes/letter; allowed: easy, hard"),
        ("easy,option=3", "level 'easy,option=3' of fakes/letter: no parameter 'option'; did you mean 'options'?"),
        ("easy,options", "level 'easy,options' of fakes/letter: no parameter 'options'; did you mean 'options'?"),
        ("easy,options=2.5", "level 'easy,options=2.5' of fakes/letter: options: got '2.5'; allowed: a whole number"),
        ("easy,share=nan", "level 'easy,share=nan' of fakes/letter: share: got 'nan'; allowed: a number"),
        ("easy,share=inf", "level 'easy,share=inf' of fakes/letter: share: got 'inf'; allowed: a number"),
        ("easy,questions=0", "level 'easy,questions=0' of fakes/letter: questions is 0; allowed: 1 to 16"),
        ("easy,questions=17", "level 'easy,questions=17' of fakes/letter: questions is 17; allowed: 1 to 16"),
        (
            "easy,questions=two",
            "level 'easy,questions=two' of fakes/letter: questions: got 'two'; allowed: a whole number",
        ),
        (
            "easy,question=2",
            "level 'easy,question=2' of fakes/letter: no parameter 'question'; did you mean 'questions'?",
        ),
        ("easy,loud=1", "level 'easy,loud=1' of fakes/letter: loud: got '1'; allowed: true, false"),
    ],
)
def test_a_wrong_level_is_explained(text: str, message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        TASK.level(text)
    assert str(error.value) == message


def test_any_task_can_ask_several_questions_at_once() -> None:
    level = TASK.level("easy,share=0.25,questions=3,options=3")
    assert (level.name, level.questions) == ("easy,options=3,questions=3,share=0.25", 3)
    assert "questions" not in level.params
    assert TASK.level(level.name) == level
    assert TASK.level("easy,questions=1") == TASK.level("easy")
    assert TASK.verifier_at(level) == Several(TASK.verifier_for(level.params), 3)
    assert TASK.verifier_at(TASK.level("easy")) == TASK.verifier_for(TASK.level("easy").params)


def test_a_parameter_of_that_name_stays_the_task_s_own() -> None:
    class Own(Letter):
        __doc__ = Letter.__doc__
        levels: ClassVar[Mapping[str, Mapping[str, Any]]] = {"easy": {**Letter.levels["easy"], "questions": 5}}

    level = Own().level("easy,questions=20")
    assert (level.name, level.params["questions"], level.questions) == ("easy,questions=20", 20, 1)


def test_a_level_does_not_share_the_class_table() -> None:
    params: Mapping[str, Any] = TASK.level("easy").params
    assert params is not Letter.levels["easy"]


def test_a_task_needs_make() -> None:
    class Empty(Task[str]):
        """Nothing."""

    with pytest.raises(TypeError):
        Empty()  # type: ignore[abstract]
    assert TASK.id == "fakes/letter@1"
    assert isinstance(TASK.make(["w"], TASK.level().params, keyed_rng(0)), Example)
