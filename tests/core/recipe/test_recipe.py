import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl4rl.core.recipe.files import SHIPPED, headline, shipped
from ssl4rl.core.recipe.recipe import load_recipe, make_recipe
from ssl4rl.core.types import Ssl4rlError, shortened

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


def test_overrides_as_values(path: Path) -> None:
    recipe = load_recipe(
        path,
        {
            "optim.lr": 1e-5,
            "tasks.0.level": "45deg",
            "train": {"steps": 20, "seed": 3},
            "model": {"lora": {"r": 4}},
            "optim": {"betas": (0.8, 0.9)},
            "data": Path("photos"),
            "out": path.parent,
        },
    )
    assert (recipe.optim.lr, recipe.optim.betas) == (1e-5, (0.8, 0.9))
    assert recipe.tasks[0].level == "45deg"
    assert (recipe.train.steps, recipe.train.seed, recipe.train.workers) == (20, 3, 0)
    assert recipe.model.path == "embedded:tiny_vlm", "a section's other keys stay"
    assert recipe.model.lora is not None
    assert (recipe.model.lora.r, recipe.model.lora.alpha) == (4, 32)
    assert (recipe.data, recipe.out) == ("photos", str(path.parent))
    again = load_recipe(path, {"tasks": [{"task": "vision/jigsaw"}], "model": {"lora": None}})
    assert [task.task for task in again.tasks] == ["vision/jigsaw"], "a list takes the place of a list"


def test_texts_are_values_as_they_are_in_python_and_yaml_on_the_command_line(path: Path) -> None:
    assert load_recipe(path, {"prompt.system": "1e-5"}).prompt.system == "1e-5"
    assert load_recipe(path, ["optim.lr=1e-5"]).optim.lr == 1e-5


def test_a_recipe_is_a_path_a_name_values_or_a_recipe(path: Path) -> None:
    from_file = load_recipe(path, {"train": {"steps": 3}})
    tree: dict[str, Any] = {
        "name": "toy",
        "model": {"path": "embedded:tiny_vlm"},
        "data": "scenes:",
        "tasks": [{"task": "vision/rotation", "level": "90deg"}],
    }
    assert load_recipe(tree, {"train.steps": 3}) == load_recipe(load_recipe(tree), {"train.steps": 3}) == from_file
    assert "train" not in tree, "what was given stays as it was"
    assert load_recipe(load_recipe(tree, {"resume": True})).resume
    with pytest.raises(Ssl4rlError, match="a recipe is int; allowed: a path, a name, a mapping or a Recipe"):
        load_recipe(7)  # type: ignore[arg-type]


def test_a_name_is_a_recipe_of_the_package_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("quickstart_vision") == load_recipe(SHIPPED / "quickstart_vision.yaml")
    (tmp_path / "quickstart_vision").mkdir()
    assert load_recipe("quickstart_vision").name == "quickstart_vision"
    (tmp_path / "quickstart_graph").write_text(RECIPE)
    assert load_recipe("quickstart_graph").name == "toy"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("quickstart_vison", "unknown recipe 'quickstart_vison'; did you mean 'quickstart_vision'?"),
        ("zzz", "unknown recipe 'zzz'; allowed: curriculum_hops, curriculum_questions, "),
        (
            "recipes/quickstart_vision.yaml",
            "recipe 'recipes/quickstart_vision.yaml' cannot be read: No such file or directory; did you mean "
            "'quickstart_vision'?",
        ),
        (
            "quickstart_graph.yaml",
            "recipe 'quickstart_graph.yaml' cannot be read: No such file or directory; did you mean "
            "'quickstart_graph'?",
        ),
    ],
)
def test_an_unknown_name_is_one_line(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Ssl4rlError) as error:
        load_recipe(name)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_recipes_ship_with_the_package_and_lie_there_alone() -> None:
    top = Path(__file__).parents[3] / "recipes"
    if top.exists():  # in a clone, for `ssl4rl train recipes/NAME.yaml`; an sdist leaves the link out
        assert top.is_symlink()
        assert top.resolve() == SHIPPED.resolve()
    assert {"quickstart_vision", "quickstart_graph", "qwen2_5_vl_3b_lora"} <= shipped().keys()


@pytest.mark.parametrize("name", shipped())
def test_a_recipes_first_line_stands_for_itself(name: str) -> None:
    """`ssl4rl list --recipes` shows it."""
    line = headline(shipped()[name])
    assert line[0].isupper()
    assert line.endswith((".", "?"))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"grop": {"group_size": 4}}, "unknown key 'grop'; did you mean 'grpo'?"),
        ({"grpo": {"gruop_size": 4}}, "unknown key 'grpo.gruop_size'; did you mean 'group_size'?"),
        ({"grpo.group_size": 1}, "grpo.group_size: input should be greater than or equal to 2, got 1"),
        ({"tasks.1.level": "x"}, "override \"tasks.1.level='x'\": '1' is no position in a list of 1; allowed: 0 to 0"),
        ({"optim.betas": [0.5, 0.9], "optim.betas.0.x": 1}, "'optim.betas.0' is 0.5 and holds no keys"),
        ({"train": 20}, "train: input should be a valid dictionary or instance of TrainSection, got 20"),
    ],
)
def test_wrong_overrides_as_values(path: Path, overrides: dict[str, Any], line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        load_recipe(path, overrides)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.lrr=1", "unknown key 'optim.lrr'; did you mean 'lr'?"),
        ("grop.group_size=4", "unknown key 'grop'; did you mean 'grpo'?"),
        ("model.lora.rank=4", "unknown key 'model.lora.rank'; allowed: r, alpha, dropout, target"),
        ("grpo.group_size=1", "grpo.group_size: input should be greater than or equal to 2, got 1"),
        (
            "tasks=vision/jigsaw",
            "tasks: input should be a valid list, got 'vision/jigsaw'; a list is written tasks=[{task: vision/jigsaw}]",
        ),
        (
            "train.log_to=wandb",
            "train.log_to: input should be a valid list, got 'wandb'; a list is written train.log_to=[wandb]",
        ),
        ("grpo.group_size=many", "grpo.group_size: input should be a valid integer, unable to parse string as an"),
        ("grpo.loss=ppo", "grpo.loss: input should be 'grpo', 'dr_grpo', 'dapo', 'gspo' or 'cispo', got 'ppo'"),
        ("grpo.updates_per_step=3", "grpo: grpo.updates_per_step=3 must divide grpo.prompts_per_step=32"),
        ("tasks.1.level=x", "'1' is no position in a list of 1; allowed: 0 to 0"),
        ("tasks.0.weight=0", "the weights of all tasks are 0"),
        ("resume", "override 'resume': write it as section.key=value"),
        ("data=[", "override 'data=[' is not YAML: expected the node content, but found '<stream end>'"),
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


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.lr=.inf", "override 'optim.lr=.inf': .inf is no finite number"),
        ("optim.lr=inf", "PATH: optim.lr: input should be a finite number, got 'inf'"),
        ("optim.lr=nan", "PATH: optim.lr: input should be a finite number, got 'nan'"),
        ("optim.lr=1e400", "PATH: optim.lr: input should be a finite number, got '1e400'"),
        ("optim.betas=[0.9, 2]", "PATH: optim.betas.1: input should be less than 1, got 2"),
        ("optim.betas.0=0.5", "PATH: optim.betas: input should be a valid tuple"),
        ("held_out=2026-02-31", "PATH: held_out: input should be a valid number, unable to parse string as a number, "
         "got '2026-02-31'"),
        ("tasks.0.task.x=1", "override 'tasks.0.task.x=1': 'tasks.0.task' is 'vision/rotation' and holds no keys"),
        ("name.x.y=1", "override 'name.x.y=1': 'name' is 'toy' and holds no keys"),
        ("train.seed=" + "1" * 5000, "override 'train.seed=11111111111111111111111111111...11111111111111111111': "
         "a number of 5,000 digits; allowed: 64 bits"),
        ("tasks." + "1" * 5000 + ".x=1", "override 'tasks.1111111111111111111111111111111111...1111111111111111.x=1': "
         "'1111111111111111111111111111111111111111...11111111111111111111' is no position in a list of 1; "
         "allowed: 0 to 0"),
        ("curriculum.options=" + "[" * 99, "override 'curriculum.options=[[[[[[[[[[[[[[[[[[[[[...[[[[[[[[[[[[[[[[[[[['"
         ": nested deeper than 32 levels"),
        ("name=" + "x" * 101, "PATH: name: string should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$', got "
         "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxx'"),
    ],
)  # fmt: skip
def test_hostile_overrides_are_one_line(path: Path, override: str, line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        load_recipe(path, [override])
    assert str(error.value).replace(shortened(str(path)), "PATH") == line


def test_hostile_files_are_one_line(tmp_path: Path, path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, content, line in [
        ("empty.yaml", b"", "recipe PATH is empty"),
        ("twice.yaml", b"name: a\nname: b\n", "recipe PATH, line 2: the key 'name' stands on line 1 already"),
        ("pipe.yaml", None, "recipe PATH is a pipe that nobody may write to; allowed: a file"),
        ("sub", None, "recipe PATH cannot be read: Is a directory"),
        ("a\0b", None, "recipe PATH cannot be read: embedded null byte; allowed: "),
    ]:
        file = tmp_path / name
        (tmp_path / "sub").mkdir(exist_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(Ssl4rlError) as error:
            load_recipe(file)
        assert str(error.value).replace(repr(shortened(str(file))), "PATH").startswith(line)
    with pytest.raises(Ssl4rlError, match="cannot be read: File name too long"):
        load_recipe(tmp_path / ("x" * 5000))


def test_a_recipe_in_utf_16_and_a_name_like_a_date(path: Path) -> None:
    path.write_bytes(RECIPE.replace("toy", "2026-02-31").encode("utf-16"))
    recipe = load_recipe(path, ["data=2026-01-31", "model.processor.max_pixels=3e3"])
    assert (recipe.name, recipe.data, recipe.model.processor) == ("2026-02-31", "2026-01-31", {"max_pixels": 3000.0})


KEYS = st.sampled_from(
    ["name", "model", "model.lora.r", "tasks", "tasks.0", "tasks.0.level.x", "tasks.0.shares", "optim.lr",
     "optim.betas", "train.seed", "trl", "trl.a.b", "curriculum.options.a", "data", "", ".", "a..b"]
)  # fmt: skip
VALUES = st.text(max_size=30) | st.sampled_from(["[", "{a: *a}", "&a [*a]", ".inf", "2026-02-31", "9" * 5000, "!!x y"])


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_and_any_override_is_a_recipe_or_one_line(path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(RECIPE)))
    inserted = data.draw(st.text(max_size=12) | VALUES)
    path.write_text(RECIPE[:at] + inserted + RECIPE[at:], encoding="utf-8", errors="surrogatepass")
    overrides = [f"{data.draw(KEYS)}={data.draw(VALUES)}" for _ in range(data.draw(st.integers(0, 3)))]
    line = ""
    try:
        recipe = load_recipe(path, overrides)
        assert make_recipe(recipe.dump()) == recipe
    except Ssl4rlError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 700
