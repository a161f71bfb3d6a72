"""A recipe's stages: what each one's recipe says, and what is refused before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.recipe.recipe import Recipe, load_recipe, make_recipe
from ssl4rl.core.types import Ssl4rlError

TASK = {"task": "vision/rotation"}


def recipe(**sections: Any) -> Recipe:
    tree = {"name": "run", "model": {"path": "embedded:tiny_vlm"}, "tasks": [TASK], "warmup": {"steps": 5}}
    return make_recipe({**tree, **sections})


def test_stages_are_laid_over_the_recipe_round_by_round() -> None:
    stages = [
        {"name": "answers", "kind": "supervised", "train": {"steps": 3}, "tasks": [{"task": "vision/position"}]},
        {"kind": "rejection", "rejection": {"keep": 2}, "warmup": {"steps": 1}},
        {"train": {"seed": 11}},
    ]
    run = recipe(stages=stages, repeat=2, train={"seed": 7, "steps": 9}, out="out", reward={"length": 0})
    found = run.stage_recipes()
    assert [one.name for one in found] == [
        *("01_answers", "02_rejection", "03_grpo"),
        *("04_answers", "05_rejection", "06_grpo"),
    ]
    assert [one.kind for one in found] == ["supervised", "rejection", "grpo"] * 2
    assert [one.train.steps for one in found] == [3, 9, 9] * 2
    assert [one.warmup.steps for one in found] == [5, 1, 0, 0, 1, 0]
    assert [one.tasks[0].task for one in found[:3]] == ["vision/position", "vision/rotation", "vision/rotation"]
    assert [one.rejection.keep for one in found[:3]] == [1, 2, 1]
    assert {one.out for one in found} == {"out/run/stages"}
    assert found[0].train.seed == 7
    assert found[2].train.seed == 11
    assert len({one.train.seed for one in found}) == 6
    assert {one.eval.seed for one in found} == {1_000_003}
    assert not any(one.stages for one in found)


def test_what_takes_no_stages_says_so() -> None:
    with pytest.raises(
        Ssl4rlError, match=r"^recipe 'run' has 1 stages, and a plan takes none; stages=\[\] repeat=1 takes"
    ):
        recipe(stages=[{}]).single("a plan")
    assert load_recipe(recipe(stages=[{}], repeat=2), ["stages=[]", "repeat=1"]).single("a plan").repeat == 1


def test_a_recipe_without_stages_has_none_and_trains_by_grpo() -> None:
    assert (recipe().stage_recipes(), recipe().kind) == ([], "grpo")


def test_tasks_may_stand_in_the_stages_alone() -> None:
    stages = [{"tasks": [{"task": "vision/position"}]}, {"tasks": [{"task": "vision/jigsaw"}]}]
    run = make_recipe({"name": "run", "model": {"path": "m"}, "stages": stages})
    assert [task.task for task in run.tasks] == ["vision/jigsaw"]
    assert [one.tasks[0].task for one in run.stage_recipes()] == ["vision/position", "vision/jigsaw"]
    with pytest.raises(Ssl4rlError, match=r"^recipe: 'tasks' is missing$"):
        make_recipe({"name": "run", "model": {"path": "m"}, "stages": [*stages, {"name": "third"}]})


def test_an_override_reaches_into_a_stage(tmp_path: Path) -> None:
    run = load_recipe(
        recipe(stages=[{"name": "one"}, {"name": "two", "train": {"steps": 4}}]), ["stages.1.train.steps=6"]
    )
    assert [one.train.steps for one in run.stage_recipes()] == [100, 6]


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"stages": [{"grop": {}}]}, "stages.0: unknown key 'grop'; did you mean 'grpo'"),
        (
            {"stages": [{}, {"grpo": {"group_siz": 4}}]},
            "stages.1: unknown key 'grpo.group_siz'; did you mean 'group_size'",
        ),
        (
            {"stages": [{"kind": "sft"}]},
            "stages.0: kind: input should be 'grpo', 'supervised' or 'rejection', got 'sft'",
        ),
        ({"stages": [{"name": "a/b"}]}, "stages.0: name: string should match"),
        ({"stages": [{"tasks": []}]}, "stages.0: tasks: list should have at least 1 item"),
        ({"stages": [{"train": 5}]}, "stages.0: train: input should be a valid dictionary"),
        ({"stages": [{"held_out": 0.5}]}, "stages.0: 'held_out' is the whole run's and cannot be set in a stage"),
        (
            {"stages": [{"model": {"path": "other"}}]},
            "stages.0: 'model.path' is the whole run's and cannot be set in a stage; allowed: freeze_vision, "
            "gradient_checkpointing",
        ),
        ({"stages": [{"train": {"processes": 2}}]}, "stages.0: 'train.processes' is the whole run's"),
        ({"stages": [{"kind": "rejection", "rejection": {"kep": 1}}]}, "stages.0: unknown key 'rejection.kep'"),
        ({"stages": [5]}, "stages.0: input should be a valid dictionary"),
        ({"stages": [{}], "engine": "trl"}, "engine=trl trains by GRPO alone; stages needs engine=native"),
        ({"kind": "supervised", "engine": "trl"}, "engine=trl trains by GRPO alone; kind needs engine=native"),
        (
            {"kind": "supervised", "curriculum": {"strategy": "goldilocks"}},
            "curriculum.strategy='goldilocks' learns from sampled completions, of which kind=supervised has none; "
            "allowed: fixed, uniform",
        ),
        (
            {"kind": "rejection", "rejection": {"at_least": {"agreement": 1}}},
            "rejection.at_least names 'agreement', which reward does not; it may weigh 0 there",
        ),
        ({"repeat": 2}, "repeat=2 repeats stages, and there are none"),
        ({"repeat": 0, "stages": [{}]}, "repeat: input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_is_wrong_in_a_stage_is_one_line(sections: dict[str, Any], line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        recipe(**sections)
    assert str(error.value).startswith(f"recipe: {line}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (["train.steps=2"], "train.steps"),
        ({"train": {"steps": 2}}, "train.steps"),
        (["tasks.0.level=hard"], "tasks.0.level"),
    ],
)
def test_a_key_that_every_stage_sets_is_refused_beside_the_recipe(given: Any, key: str) -> None:
    tasks = [{"task": "vision/position"}]
    stages = [{"train": {"steps": 3}, "tasks": tasks}, {"train": {"steps": 4}, "tasks": tasks}]
    each = f"stages.0.{key}, stages.1.{key}"
    said = f"{key} is set by every stage, so the recipe's holds in none; set {each} or stages=[]"
    with pytest.raises(Ssl4rlError, match=f"^{re.escape(said)}$"):
        load_recipe({"name": "run", "model": {"path": "m"}, "tasks": tasks, "stages": stages}, given)


def test_a_key_that_one_stage_leaves_alone_holds_there() -> None:
    tasks = [{"task": "vision/position"}]
    tree = {
        "name": "run",
        "model": {"path": "m"},
        "tasks": tasks,
        "stages": [{"train": {"steps": 3}}, {"kind": "grpo"}],
    }
    run = load_recipe(tree, ["train.steps=2", "optim.lr=0.5", "stages.0.optim={lr: 0.1}"])
    assert [(one.train.steps, one.optim.lr) for one in run.stage_recipes()] == [(3, 0.1), (2, 0.5)]
