"""A folder for another trainer: the rows it must hold, whole or not at all, by any process, and what is refused."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow.parquet as pq
import pytest

import ssl4rl
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.export import write
from ssl4rl.export.consumer import MODULES, consumer, plain_messages
from ssl4rl.export.plan import Asked, open_plan
from ssl4rl.export.rows import Row
from ssl4rl.export.write import export

SMALL = "90deg,image_px=56"
MEASURE = ("lmms-eval", "inspect")


def small(format: str, out: Path, **asked: Any) -> write.Exported:
    """Six rows of two pictures or of text, in files of four."""
    text = format == "reasoning-gym"
    given: dict[str, Any] = {"level": "tiny" if text else SMALL, "n": 6, "shard_rows": 4}
    if format not in MEASURE:
        given["n_held_out"] = 2
    return export("graph/hops" if text else "vision/rotation", format=format, out=out, **given | asked)


def records(folder: Path, split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted((folder / split).iterdir()):
        if file.suffix == ".parquet":
            found += pq.read_table(file).to_pylist()
        else:
            found += [json.loads(line) for line in file.read_text().splitlines()]
    return found


def told(record: dict[str, Any]) -> tuple[str, str]:
    """(the info, the text of the question), wherever a consumer has them."""
    info = record.get("info") or record.get("solution") or (record.get("reward_model") or {}).get("ground_truth")
    info = info or (record.get("metadata") or {}).get("info") or record["answer"]
    asked = record.get("prompt") or record.get("problem") or record.get("messages") or record.get("question")
    asked = asked or record["input"]
    if isinstance(asked, str):
        return info, asked
    return info, json.dumps(asked)


@pytest.mark.parametrize("format", MODULES)
def test_every_consumers_rows(format: str, tmp_path: Path) -> None:
    found = small(format, tmp_path / "out")
    split = "held_out" if format in MEASURE else "train"
    assert found.rows == ({"held_out": 6} if format in MEASURE else {"train": 6, "held_out": 2})
    assert (found.written, found.kept) == (2 + (format not in MEASURE), 0)
    rows = records(tmp_path / "out", split)
    assert len(rows) == 6
    asked = {"level": "tiny" if format == "reasoning-gym" else SMALL, "split": split}
    seed = 1_000_003 if split == "held_out" else 0
    data = ssl4rl.create_dataset(
        "graph/hops" if format == "reasoning-gym" else "vision/rotation", size=6, seed=seed, **asked
    )
    for record, row in zip(rows, ssl4rl.rows(data), strict=True):
        info, question = told(record)
        assert json.loads(info) == row["info"]
        reply = f"<think>a</think><answer>{row['info']['answer']}</answer>"
        assert ssl4rl.score(reply, info).reward({"accuracy": 1, "format": 0.1}) == 1.1
        places = question.count("<image>") + question.replace("\\", "").count('"type": "image')
        if format != "reasoning-gym":
            assert places == len(row["images"]) == 2, question
    text = (tmp_path / "out" / "README.md").read_text()
    assert "```bash" in text
    assert found.launch in text
    assert [file.name for file in (tmp_path / "out").iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("format", ["trl", "verl", "easyr1", "lmms-eval"])
def test_pictures_in_parquet_are_the_examples_own(format: str, tmp_path: Path) -> None:
    small(format, tmp_path / "out")
    split = "held_out" if format == "lmms-eval" else "train"
    data = open_plan(Asked("vision/rotation", format, n=6, level=SMALL)).parts[split]
    for record, row in zip(records(tmp_path / "out", split), ssl4rl.rows(data), strict=True):
        for stored, picture in zip(record["images"], row["images"], strict=True):
            (tmp_path / "one.png").write_bytes(stored["bytes"])
            assert PIL.Image.open(tmp_path / "one.png").tobytes() == picture.tobytes()
            assert stored["path"] is None


def test_parquet_that_datasets_decodes(tmp_path: Path) -> None:
    import datasets

    small("trl", tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 6, "held_out": 2}
    assert [picture.size for picture in loaded["train"][0]["images"]] == [(56, 56), (56, 56)]


def test_training_holds_no_held_out_item(tmp_path: Path) -> None:
    small("swift", tmp_path / "out", n=30, n_held_out=20)
    of = {
        split: {
            s for record in records(tmp_path / "out", split) for s in json.loads(record["solution"])["key"]["sources"]
        }
        for split in ("train", "held_out")
    }
    assert of["train"]
    assert of["held_out"]
    assert not of["train"] & of["held_out"]


def test_shards_make_the_whole_and_a_second_call_keeps_them(tmp_path: Path) -> None:
    whole, shares = tmp_path / "whole", tmp_path / "shares"
    small("swift", whole)
    for share in ("1/3", "0/3", "2/3"):
        assert small("swift", shares, shard=share).written == 1
    again = small("swift", shares)
    assert (again.written, again.kept) == (0, 3)
    for file in whole.rglob("*"):
        if file.is_file():
            assert (shares / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_an_interrupted_export_goes_on(tmp_path: Path) -> None:
    def stop(done: int, rows: int) -> None:
        assert rows == 8
        if done == 6:  # in the second of three files, before it has its name
            raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped with 4 of 8 rows in finished files of .*; the same command go"
    ):
        small("trl", tmp_path / "out", progress=stop, shard_rows=4)
    left = sorted(file.name for file in (tmp_path / "out").rglob("*.*") if file.is_file())
    assert left == ["README.md", "export.json", "reward.py", "train-00000-of-00002.parquet"]
    again = small("trl", tmp_path / "out")
    assert (again.written, again.kept) == (2, 1)
    assert len(records(tmp_path / "out", "train")) == 6


def test_a_folder_that_another_process_takes_away_as_empty_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, mkdir = [], Path.mkdir

    def taken_away_once(place: Path, *args: Any, **given: Any) -> None:
        mkdir(place, *args, **given)
        if place.name == write._UNFINISHED and not made:
            made.append(place)
            place.rmdir()

    monkeypatch.setattr(Path, "mkdir", taken_away_once)
    done = export("graph/hops", format="reasoning-gym", level="tiny", n=4, out=tmp_path / "rows")
    assert made
    assert done.written == 2


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path) -> None:
    small("swift", tmp_path / "out")
    file = tmp_path / "out" / "train" / "train-00001-of-00002.jsonl"
    begun = tmp_path / "out" / ".unfinished" / f"{file.name}.1"
    begun.parent.mkdir()
    begun.write_bytes(file.read_bytes()[:100])
    right = file.read_bytes()
    file.unlink()
    assert small("swift", tmp_path / "out").written == 1
    assert file.read_bytes() == right


MIXED = {
    "name": "mixed",
    "model": {"path": "org/model"},
    "tasks": [{"task": "vision/rotation", "level": SMALL}, {"task": "graph/hops"}],
}


def recipe(tmp_path: Path, **changes: Any) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps({**MIXED, **changes}))
    return str(file)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"format": "verll"}, "unknown format 'verll'; did you mean 'verl'?"),
        (
            {"format": "x"},
            "unknown format 'x'; allowed: trl, verl, easyr1, swift, verifiers, reasoning-gym, lmms-eval, ",
        ),
        ({"what": "vision/rotatoin"}, "unknown task or recipe 'vision/rotatoin'; did you mean 'vision/rotation'?"),
        ({"what": "rotatoin"}, "unknown task 'rotatoin'; did you mean 'vision/rotation'?"),
        ({"what": "quickstart_vison"}, "unknown task or recipe 'quickstart_vison'; did you mean 'quickstart_vision'?"),
        ({"what": "none.yaml"}, "recipe 'none.yaml' cannot be read: No such file or directory"),
        ({"level": "90dg"}, "unknown level '90dg' of vision/rotation; did you mean '90deg'?"),
        ({"split": "heldout"}, "unknown split 'heldout'; did you mean 'held_out'?"),
        ({"split": "all"}, "swift trains, and split 'all' holds held-out items; allowed: train (with held-out rows "),
        (
            {"split": "held_out", "n_held_out": 3},
            "held-out rows stand beside trained ones, and held_out is written alone",
        ),
        ({"shard": "3/3"}, "--shard '3/3'; allowed: i/n with i from 0 to n-1, for instance 0/8 to 7/8"),
        ({"shard": "a"}, "--shard 'a'; allowed: i/n"),
        ({"engine": "rai"}, "unknown engine 'rai'; did you mean 'ray'?"),
        ({"only": "texts"}, "--only 'texts'; did you mean 'text'?"),
        ({"only": "text"}, "--only text: no task of export_rotation shows text alone"),
        (
            {"format": "reasoning-gym"},
            "reasoning-gym asks in text alone, and vision/rotation@1[180deg] shows pictures; ",
        ),
        (
            {"format": "easyr1", "overrides": ("prompt.system=Be brief.",)},
            "easyr1 has no place for a system message, and ",
        ),
        ({"overrides": ("reward.lenght=0.1",)}, "reward: unknown part 'lenght'; did you mean 'length'?"),
        (
            {"format": "verl", "overrides": ("reward.length=-0.1",)},
            "reward 'length' counts tokens, and verl does not tell ",
        ),
        (
            {"format": "inspect", "overrides": ("reward.agreement=1",)},
            "reward 'agreement' reads the replies to a prompt together, and inspect hands over one at a time; ",
        ),
        (
            {"what": "graph/hops", "format": "reasoning-gym", "overrides": ("reward.length=1",)},
            "reasoning-gym pays accuracy alone, and length is weighed too; leave it out here",
        ),
        ({"n": 0}, "n=0, n_held_out=None, shard_rows=500; allowed: 1 or more, 0 held out"),
        ({"rows": 3}, "export takes no 'rows'; allowed: n, data, level, "),
        (
            {"what": "curriculum_hops"},
            "graph/hops has several levels, which the curriculum 'goldilocks' moves along in training, and a file "
            "cannot; name one: --level L, --level target, or --level all for each alike",
        ),
    ],
)
def test_what_is_refused_before_anything_is_written(asked: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        export(**{"what": "vision/rotation", "format": "swift", "out": tmp_path / "out", **asked})
    assert str(caught.value).startswith(line)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Ssl4rlError, match=r"holds something else; name a new folder, or an export's to go on with it$"):
        small("swift", tmp_path)
    with pytest.raises(Ssl4rlError, match="holds something else"):
        small("swift", tmp_path / "mine.txt")
    small("swift", tmp_path / "out")
    with pytest.raises(Ssl4rlError, match=r"holds an export with other parts: .*, now .*; name another folder$"):
        small("swift", tmp_path / "out", n=7)
    with pytest.raises(Ssl4rlError, match='other format: "swift", now "verifiers"'):
        small("verifiers", tmp_path / "out")
    (tmp_path / "out" / "export.json").write_text("{")
    with pytest.raises(Ssl4rlError, match=r"export\.json' is no export's; name another folder$"):
        small("swift", tmp_path / "out")


def test_a_mixture_of_pictures_and_text(tmp_path: Path) -> None:
    given: dict[str, Any] = {"n": 8, "n_held_out": 0}
    with pytest.raises(
        Ssl4rlError, match=r"trl cannot batch prompts with and without pictures: graph/hops@\d+\[tiny\] "
    ):
        export(recipe(tmp_path), format="trl", out=tmp_path / "no", **given)
    for only, has in (("pictures", True), ("text", False)):
        export(recipe(tmp_path), format="trl", out=tmp_path / only, only=only, **given)
        rows = records(tmp_path / only, "train")
        assert len(rows) == 8
        assert {"images" in row for row in rows} == {has}
        assert isinstance(rows[0]["prompt"][0]["content"], list) == has
    export(recipe(tmp_path), format="verl", out=tmp_path / "both", **given)
    both = [len(row["images"] or ()) for row in records(tmp_path / "both", "train")]
    assert sorted(both) == [0, 0, 0, 0, 2, 2, 2, 2]


def test_a_mixture_keeps_its_weights_and_its_levels(tmp_path: Path) -> None:
    tasks = [
        {"task": "graph/hops", "levels": ["tiny", "easy"], "shares": [3, 1], "weight": 3},
        {"task": "graph/motifs"},
    ]
    file = recipe(tmp_path, tasks=tasks, reward={"accuracy": 2.0, "format": 0.5, "repetition": 0.25})
    found = export(file, format="swift", out=tmp_path / "out", n=64, n_held_out=0)
    assert [round(share, 4) for _, share, _ in found.mixture] == [0.5625, 0.1875, 0.25]
    counted: dict[str, int] = {}
    for row in records(tmp_path / "out", "train"):
        info = json.loads(row["solution"])
        name = f"{info['task'].partition('@')[0]} {info['level']}"
        counted[name] = counted.get(name, 0) + 1
    assert [counted["graph/hops tiny"], counted["graph/hops easy"]] == [36, 12]
    assert sum(counted.values()) == 64
    assert "{'accuracy': 2.0, 'format': 0.5, 'repetition': 0.25}" in (tmp_path / "out" / "reward.py").read_text()


@pytest.mark.parametrize(
    ("level", "levels"), [("target", {"easy"}), ("all", {"tiny", "easy"}), ("easy,nodes=9", {"easy,nodes=9"})]
)
def test_the_level_of_a_curriculum(level: str, levels: set[str], tmp_path: Path) -> None:
    tasks = [{"task": "graph/hops", "levels": ["tiny", "easy"]}]
    file = recipe(tmp_path, tasks=tasks, curriculum={"strategy": "staged"})
    export(file, format="swift", out=tmp_path / "out", n=8, n_held_out=2, level=level)
    for split in ("train", "held_out"):
        assert {json.loads(row["solution"])["level"] for row in records(tmp_path / "out", split)} == levels


def test_text_that_holds_the_tag_of_a_picture() -> None:
    info = {"task": "t@1", "level": "l", "key": {"index": 7}}
    row = Row(
        prompt=[{"role": "user", "content": [{"type": "text", "text": "what is <image>?"}]}], images=[], info=info
    )
    with pytest.raises(Ssl4rlError) as caught:
        plain_messages(row)
    assert str(caught.value) == (
        "t@1[l] index=7 has '<image>' in its text, which this consumer takes for a picture; allowed: texts without it"
    )


BREVITY = "def brevity(completion):\n    return -len(completion) / 1000\n"


def test_reward_files_weigh_what_the_recipe_weighs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replies through each reward file that needs only ssl4rl: 1 + .1 - .2 x 34/1000, and -.2 x 2/1000."""
    (tmp_path / "mine.py").write_text(BREVITY)
    monkeypatch.chdir(tmp_path)
    weights = ("reward.format=0.1", "reward={accuracy: 1.0, format: 0.1, './mine.py:brevity': 0.2}")
    paid = {}
    for format in ("verl", "easyr1", "trl", "lmms-eval"):
        out = tmp_path / format
        given: dict[str, Any] = {} if format in MEASURE else {"n_held_out": 0}
        export("graph/hops", format=format, out=out, n=2, level="tiny", overrides=weights, **given)
        monkeypatch.chdir("/")  # a trainer's own folder
        made = runpy.run_path(str(out / "reward.py"))
        monkeypatch.chdir(tmp_path)
        infos = [told(record)[0] for record in records(out, "held_out" if format in MEASURE else "train")]
        right = f"<think>a</think><answer>{json.loads(infos[0])['answer']}</answer>"
        assert len(right) == 34
        said = [(right, infos[0]), ("no", infos[1])]
        if format == "verl":
            found = [made["compute_score"]("s", text, info, extra_info={})["score"] for text, info in said]
        elif format == "easyr1":
            inputs = [{"response": t, "response_length": 3, "ground_truth": i} for t, i in said]
            found = [one["overall"] for one in made["compute_score"](inputs)]
        elif format == "trl":
            texts, columns = [text for text, _ in said], [info for _, info in said]
            parts = [function(completions=texts, info=columns) for function in made["REWARDS"]]
            assert [function.__name__ for function in made["REWARDS"]] == ["accuracy", "format", "brevity"]
            found = [sum(w * part[at] for w, part in zip(made["WEIGHTS"], parts, strict=True)) for at in (0, 1)]
        else:
            found = [made["process_results"]({"info": info}, [text])["reward"] for text, info in said]
        paid[format] = [round(value, 6) for value in found]
    assert list(paid.values()) == [[1.0932, -0.0004]] * 4


def test_a_groups_reward_is_asked_by_prompt(tmp_path: Path) -> None:
    """Three replies to one prompt and one to another: the vote is among the three."""
    from ssl4rl.export.easyr1 import reward_function

    rows = list(ssl4rl.rows(ssl4rl.create_dataset("vision/rotation", size=2, level=SMALL)))
    infos = [json.dumps(row["info"]) for row in rows]
    said = [("90", 0), ("0", 1), ("180", 0), ("90", 0)]
    given = [{"response": f"<answer>{a}</answer>", "response_length": 3, "ground_truth": infos[i]} for a, i in said]
    found = reward_function({"agreement": 1.0})(given)
    assert [one["agreement"] for one in found] == [1.0, 1.0, 0.0, 1.0]


def test_rewards_decode_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: next(consumer(name).records(_rotation(), 0, 1)) for name in MODULES if name != "reasoning-gym"}

    def decoded(*others: Any, **more: Any) -> Any:
        raise AssertionError("a picture was made")

    for name in ("open", "new", "fromarray", "frombytes"):
        monkeypatch.setattr(PIL.Image, name, decoded)
    monkeypatch.setattr(PIL.Image.Image, "load", decoded)
    for record in rows.values():
        info, _ = told(record)
        assert ssl4rl.score(f"<answer>{json.loads(info)['answer']}</answer>", info).value == 1.0
    with pytest.raises(AssertionError, match="a picture was made"):  # the trap itself works
        _ = _rotation()[0]


def _rotation() -> Any:
    return ssl4rl.create_dataset("vision/rotation", size=1, level=SMALL)
