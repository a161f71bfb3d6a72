from pathlib import Path

import pytest

from ssl4rl.core.recipe import load_recipe, make_recipe
from ssl4rl.core.types import Ssl4rlError

RECIPE = """
name: toy
model: {path: "embedded:tiny_vlm"}
data: "scenes:"
tasks:
  - {task: vision/rotation, level: 90deg}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE)
    return file


def test_defaults_and_overrides(path: Path) -> None:
    recipe = load_recipe(
        path, ["optim.lr=1e-5", "tasks.0.level=45deg", "model.lora.r=4", "resume=true", "data=photos/"]
    )
    assert recipe.optim.lr == 1e-5
    assert recipe.tasks[0].level == "45deg"
    assert recipe.model.lora is not None
    assert (recipe.model.lora.r, recipe.model.lora.alpha) == (4, 32)
    assert recipe.resume
    assert recipe.data == "photos/"
    assert recipe.grpo.group_size == 8
    assert load_recipe(path, ["data=scenes:"]).data == "scenes:"


def test_the_stored_recipe_reads_back_equal(path: Path) -> None:
    recipe = load_recipe(path)
    assert make_recipe(recipe.dump()) == recipe


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.lrr=1", "unknown key 'optim.lrr'; did you mean 'lr'?"),
        ("grop.group_size=4", "unknown key 'grop'; did you mean 'grpo'?"),
        ("model.lora.rank=4", "unknown key 'model.lora.rank'; allowed: r, alpha, dropout, target"),
        ("grpo.group_size=1", "grpo.group_size: input should be greater than or equal to 2, got 1"),
        ("grpo.group_size=many", "grpo.group_size: input should be a valid integer, unable to parse string as an"),
        ("grpo.loss=ppo", "grpo.loss: input should be 'grpo', 'dr_grpo', 'dapo', 'gspo' or 'cispo', got 'ppo'"),
        ("grpo.updates_per_step=3", "grpo: grpo.updates_per_step=3 must divide grpo.prompts_per_step=32"),
        ("tasks.1.level=x", "'1' is no position in a list of 1; allowed: 0 to 0"),
        ("tasks.0.weight=0", "the weights of all tasks are 0"),
        ("resume", "override 'resume': write it as section.key=value"),
        ("data=[", "override 'data=[': the value is not YAML"),
        ("name=../x", "name: string should match pattern"),
    ],
)
def test_wrong_overrides(path: Path, override: str, line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        load_recipe(path, [override])
    message = str(error.value)
    assert line.removeprefix("grpo: ") in message
    assert "\n" not in message


def test_wrong_files(tmp_path: Path, path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=r"cannot be read: No such file or directory; did you mean 'toy.yaml'\?"):
        load_recipe(tmp_path / "toi.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(Ssl4rlError, match="is not YAML"):
        load_recipe(broken)
    broken.write_text("- 1")
    with pytest.raises(Ssl4rlError, match="holds list, not keys and values"):
        load_recipe(broken)
    broken.write_text("name: x\ntasks: []\nmodel: {path: y}")
    with pytest.raises(Ssl4rlError, match="tasks: list should have at least 1 item"):
        load_recipe(broken)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("tasks.0.levels=all", "level '90deg' and levels exclude each other"),
        ("tasks.0={task: x, levels: every}", "levels is 'every'; allowed: a list of levels, or 'all'"),
        ("tasks.0={task: x, levels: []}", "levels is empty; name at least one"),
        ("tasks.0={task: x, shares: [1]}", "shares are of levels, and there are none"),
        ("tasks.0={task: x, levels: [a, b], shares: [0, 0]}", "shares must be >= 0 and not all 0"),
        ("curriculum.strateyg=staged", "unknown key 'curriculum.strateyg'; did you mean 'strategy'?"),
        ("curriculum.floor=0.6", "curriculum.floor: input should be less than 0.5, got 0.6"),
    ],
)
def test_wrong_levels_and_curricula(path: Path, override: str, line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        load_recipe(path, [override])
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_levels_may_have_parameters(path: Path) -> None:
    recipe = load_recipe(path, ['tasks.0={task: x, levels: "all,image_px=32"}', "curriculum.strategy=staged"])
    assert recipe.tasks[0].levels == "all,image_px=32"
    assert recipe.curriculum.strategy == "staged"
