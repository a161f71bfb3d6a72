import pytest

import ssl4rl
from ssl4rl import Ssl4rlError
from ssl4rl.core.mixture import Sources, TaskSpec, open_mixture, open_recipe
from ssl4rl.core.recipe.recipe import make_recipe
from tests.fakes import FAKES

LETTER, PAIR = f"{FAKES}:letter", f"{FAKES}:pair"


def test_create_dataset_takes_a_name_names_mappings_or_specs() -> None:
    one = ssl4rl.create_dataset(LETTER, size=4, level="hard")
    assert [example.key.level for example in one if example.key] == ["hard"] * 4
    mixed = ssl4rl.create_dataset([LETTER, {"task": PAIR, "level": "hard", "weight": 2}, TaskSpec(PAIR)], size=60)
    kinds = {(example.key.task, example.key.level) for example in mixed if example.key}
    assert kinds == {("fakes/letter@1", "easy"), ("fakes/pair@1", "hard"), ("fakes/pair@1", "easy")}


def test_each_part_may_have_its_own_data() -> None:
    mixed = ssl4rl.create_dataset([LETTER, {"task": PAIR, "data": "endless:"}], data="words:a,b,c,d,e", split="all")
    assert [component.split.source.uri for component in mixed.components] == ["words:a,b,c,d,e", "endless:"]


def test_a_source_is_opened_once() -> None:
    sources = Sources()
    datasets = [
        open_mixture([TaskSpec(LETTER), TaskSpec(PAIR)], split=s, sources=sources) for s in ("train", "held_out")
    ]  # type: ignore[arg-type]
    assert len({id(c.split.source) for data in datasets for c in data.components}) == 1
    assert len(list(sources)) == 1


def test_training_and_held_out_examples_share_no_item() -> None:
    train, held = (ssl4rl.create_dataset(PAIR, size=80, split=part) for part in ("train", "held_out"))
    used = [{source for example in data if example.key for source in example.key.sources} for data in (train, held)]
    assert used[0]
    assert used[1]
    assert not used[0] & used[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": LETTER, "split": "trian"}, "unknown split 'trian'; did you mean 'train'?"),
        ({"task": LETTER, "style": "thinking"}, "unknown prompt style 'thinking'; did you mean 'think'?"),
        ({"task": LETTER, "level": "eesy"}, "unknown level 'eesy' of fakes/letter; did you mean 'easy'?"),
        ({"task": LETTER, "data": "wrods:a"}, "unknown kind of source 'wrods:' in 'wrods:a'; did you mean 'words:'?"),
        ({"task": LETTER, "held_out": 0.0}, "held_out is 0.0; allowed: a share between 0 and 1"),
        ({"task": [{"task": LETTER, "wieght": 1}]}, "unknown key 'wieght' in a mixture; did you mean 'weight'?"),
        ({"task": [{"level": "easy"}]}, "a part of the mixture names no task: {'level': 'easy'}"),
        ({"task": []}, "a dataset needs at least one task, and weights >= 0 that are not all 0"),
    ],
)
def test_mistakes_are_explained(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        ssl4rl.create_dataset(**arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_levels_of_a_line_share_its_weight() -> None:
    mixed = ssl4rl.create_dataset([{"task": LETTER, "levels": "all,share=0.7", "weight": 3}, {"task": PAIR}])
    assert [(c.level.name, c.weight, c.entry) for c in mixed.components] == [
        ("easy,share=0.7", 1.5, 0),
        ("hard,share=0.7", 1.5, 0),
        ("easy", 1.0, 1),
    ]
    assert len({id(component.split) for component in mixed.components}) == 1
    unequal = ssl4rl.create_dataset([{"task": LETTER, "levels": ["easy", "hard"], "shares": [1, 3]}])
    assert [component.weight for component in unequal.components] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"levels": ["easy", "easy"]}, "fakes/letter: the level 'easy' is listed twice"),
        ({"levels": "all", "shares": [1]}, "fakes/letter: 1 shares for 2 levels (easy, hard)"),
        ({"levels": ["easy", "hrad"]}, "unknown level 'hrad' of fakes/letter; did you mean 'hard'?"),
    ],
)
def test_mistakes_in_levels(line: dict[str, object], message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        ssl4rl.create_dataset([{"task": LETTER, **line}])
    assert str(error.value) == message


def test_the_held_out_part_has_the_target_or_all_levels() -> None:
    def held_out(**sections: object) -> list[str]:
        lines = [{"task": LETTER, "levels": ["easy", "easy,share=0.7", "hard"], "shares": [1, 0, 0]}, {"task": PAIR}]
        recipe = make_recipe({"name": "x", "model": {"path": "y"}, "tasks": lines, **sections})
        train, held = open_recipe(recipe)
        assert [c.weight for c in train.components] == [1, 0, 0, 1]
        return [f"{c.level.name} {c.weight:.3f}" for c in held.components]

    assert held_out() == ["hard 1.000", "easy 1.000"]
    assert held_out(curriculum={"target": "easy,share=0.7"}) == ["easy,share=0.7 1.000", "easy 1.000"]
    assert held_out(eval={"levels": "all"}) == ["easy 0.333", "easy,share=0.7 0.333", "hard 0.333", "easy 1.000"]
