"""The table of transfer: what `eval --save` keeps, and what the report makes of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ssl4rl import Ssl4rlError, cli, evaluate
from ssl4rl.core import registry
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.tools.report.transfer import Column, transfer
from ssl4rl.tools.run_log import read_run
from tests.tools.report.test_report import make_run, page_of, words_of

NASTY = "<script>alert(1)</script>"


def saved(accuracy: float, task: str = "fakes/picture@1", level: str = "four", **more: Any) -> dict[str, Any]:
    """A line of evals.jsonl."""
    interval = [round(max(0.0, accuracy - 0.1), 3), round(min(1.0, accuracy + 0.1), 3)]
    record = {"weights": "final", "model": "a/model", "steps": 6, "task": task, "level": level, "data": "many:60"}
    record |= {"split": "held_out", "seed": 0, "style": "think", "accuracy": accuracy, "ci95": interval, "chance": 0.25}
    record |= {"value": accuracy, "unparsed": 0.0, "truncated": 0.0, "n": 40, "answers": {"A": 30, "B": 10}}
    return {**record, "max_new_tokens": 6, "temperature": 0.0, "system": None, "held_out": 0.2, **more}


def keep(folder: Path, *records: dict[str, Any]) -> Path:
    (folder / "evals.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_rows_are_what_was_trained_and_columns_what_was_tested(tmp_path: Path) -> None:
    one = keep(
        make_run(tmp_path / "one"),
        saved(0.3),
        saved(0.85),
        saved(0.3, level="two", seed=3),
        saved(0.1, weights="model", steps=None, unparsed=0.5, truncated=0.25),
        saved(0.05, weights="start", steps=None),
        saved(0.5, weights="checkpoints/step_000004", steps=None, data="elsewhere:"),
    )
    two = keep(make_run(tmp_path / "two", tasks=("letter",)), saved(0.5), saved(0.2, weights="model", steps=None))
    found = transfer([read_run(one), read_run(two)], ["one", "two"])
    assert found
    assert found.columns == [
        Column("fakes/picture@1", "four", "many:60", ""),
        Column("fakes/picture@1", "two", "many:60", "seed 3"),
        Column("fakes/picture@1", "four", "elsewhere:", ""),
    ]
    assert [(line.label, line.weights, line.colour) for line in found.lines] == [
        ("a/model", "as it came", None),
        ("one", "before GRPO", 0),
        ("one", "checkpoints/step_000004", 0),
        ("one", "after 6 steps", 0),
        ("two", "after 6 steps", 1),
    ]
    accuracies = [[cell and cell.measure.accuracy for cell in line.cells] for line in found.lines]
    assert accuracies == [
        [0.2, None, None],
        [0.05, None, None],
        [None, None, 0.5],
        [0.85, 0.3, None],
        [0.5, None, None],
    ]
    own = [[bool(cell and cell.own) for cell in line.cells] for line in found.lines]
    assert own[1:] == [[True, False, False], [False] * 3, [True, False, False], [False] * 3]
    last = found.lines[3].cells
    assert last[0]
    assert last[1]
    assert last[0].gain == 0.8  # (0.85 - 0.25) / 0.75
    assert last[1].gain == 0.0  # its interval, 0.2 to 0.4, holds chance
    below = found.lines[1].cells[0]
    assert below
    assert below.gain == -0.8
    assert last[0].asked == "reply style think, up to 6 tokens, n 40; most often: A (30x), B (10x)"


def test_replies_without_an_answer_are_not_shown_as_ignorance(tmp_path: Path) -> None:
    folder = keep(make_run(tmp_path / "one"), saved(0.05, unparsed=0.5, truncated=0.25), saved(0.05, level="two"))
    found = transfer([read_run(folder)], ["one"])
    assert found
    mute, wrong = found.lines[0].cells
    assert mute
    assert wrong
    assert (mute.no_answer, mute.mute, mute.gain) == (0.75, True, 0.0)
    assert (wrong.no_answer, wrong.mute, wrong.gain) == (0.0, False, -0.8)
    page = page_of(folder)
    classes = [td["class"] for td in page.all("td") if "--far" in (td.get("style") or "")]
    assert classes == ["own mute", "worse"]
    assert "no answer 75.0 %" in words_of(folder)


def test_the_report_shows_it_escaped(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    assert "Transfer" not in page_of(folder).text
    keep(folder, saved(0.85, answers={NASTY: 2}), saved(0.4, task=f"fakes/{NASTY}@1", data=f"{NASTY}:"))
    page = page_of(folder)
    assert page.open == []
    assert page.all("script") == []
    assert page.text.replace("\u200b", "").count(NASTY) == 2
    assert any(f"most often: {NASTY} (2x)" in (td.get("title") or "") for td in page.all("td"))
    text = words_of(folder)
    assert "Transfer Trained on rows, tested on columns" in text
    assert "one after 6 steps 0.850 0.750–0.950 chance 0.25 no answer 0.0 %" in text


def test_lines_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    folder = keep(make_run(tmp_path / "one"), saved(0.85), saved(float("nan")), {"weights": 3})
    with (folder / "evals.jsonl").open("a") as file:
        file.write('{"weights": "fi\n[]\n')
    run = read_run(folder)
    assert "2 lines of evals.jsonl could not be read" in run.notes
    found = transfer([run], ["one"])
    assert found
    assert [len(line.cells) for line in found.lines] == [1]


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "model": {"path": "embedded:tiny_vlm"},
    "data": "scenes:",
    "tasks": [{"task": "vision/rotation", "level": "90deg,original=false,image_px=32"}],
    "prompt": {"style": "answer"},
    "sampling": {"max_new_tokens": 6},
    "warmup": {"steps": 1, "prompts_per_step": 2, "rehearsal": 1.0},
    "grpo": {"group_size": 2, "prompts_per_step": 2},
    "optim": {"lr": 0.01},
    "train": {"steps": 2, "keep_start": True, "checkpoint_every": 2},
    "eval": {"n": 4},
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("transfer")
    (out / "tiny.yaml").write_text(yaml.safe_dump(RECIPE | {"out": str(out)}))
    assert cli.run(["train", str(out / "tiny.yaml"), "--json"]) == 0
    return out / "tiny"


def test_a_run_can_keep_the_policy_as_it_was_before_grpo(run_folder: Path) -> None:
    start, final = (load_file(run_folder / name / "model.safetensors") for name in ("start", "final"))
    fresh = load_policy("embedded:tiny_vlm").model.state_dict()
    moved = [name for name in start if not torch.equal(start[name], final[name])]
    warmed = [name for name in start if not torch.equal(start[name], fresh[name])]
    assert moved
    assert warmed
    assert not (run_folder / ".start.partial").exists()


def test_eval_saves_what_it_measures_into_the_run(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rotation, jigsaw = (registry.resolve(f"vision/{name}")[0].id for name in ("rotation", "jigsaw"))
    own, other = f"{rotation}[90deg,image_px=32,original=false]", "vision/jigsaw[1x2,image_px=32]"
    options = ["--task", own, "--task", other, "-n", "2", "--data", "scenes:", "--save"]
    for place, *flags in (["", "--before"], ["/checkpoints/step_000002"], [""]):
        assert cli.run(["eval", f"{run_folder}{place}", *flags, *options]) == 0
    untouched = run_folder / "start"
    shutil.move(untouched, run_folder / "elsewhere")
    assert cli.run(["eval", str(run_folder), "--before", *options]) == 0
    shutil.move(run_folder / "elsewhere", untouched)
    capsys.readouterr()
    lines = [json.loads(line) for line in (run_folder / "evals.jsonl").read_text().splitlines()]
    made = [(line["weights"], line["model"], line["steps"], line["task"], line["level"]) for line in lines]
    start, checkpoint, final, model = [made[i : i + 2] for i in range(0, 8, 2)]
    tiny = "embedded:tiny_vlm"
    level = "90deg,image_px=32,original=false"
    assert final == [
        ("final", tiny, 2, rotation, level),
        ("final", tiny, 2, jigsaw, "1x2,image_px=32"),
    ]
    assert start[0] == ("start", tiny, None, rotation, level)
    assert checkpoint[0] == ("checkpoints/step_000002", tiny, None, rotation, level)
    assert model[0] == ("model", tiny, None, rotation, level)
    first = lines[4]
    assert (first["n"], first["style"], first["max_new_tokens"], first["data"]) == (2, "answer", 6, "scenes:")
    assert (first["held_out"], first["temperature"], first["system"]) == (0.2, 0.0, None)
    assert set(first["versions"]) == {"ssl4rl", "torch", "transformers"}
    assert set(first) >= {"accuracy", "ci95", "chance", "unparsed", "truncated", "seed", "split", "answers"}
    found = transfer([read_run(run_folder)], ["tiny"])
    assert found
    weights = [line.weights for line in found.lines]
    assert weights == ["as it came", "before GRPO", "checkpoints/step_000002", "after 2 steps"]
    assert [[bool(cell and cell.own) for cell in line.cells] for line in found.lines[1:]] == [[True, False]] * 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["embedded:tiny_vlm", "--save"], "save: 'embedded:tiny_vlm' is not in a run's folder"),
        (["embedded:tiny_vlm", "--before"], "before: 'embedded:tiny_vlm' is not in a run's folder"),
        (
            ["embedded:tiny_vlm", "--task", "vision/jigsaw@777[2x2]"],
            "'vision/jigsaw@777[2x2]': got version 777; allowed: ",
        ),
        (["embedded:tiny_vlm", "--task", "vision/jigsaw[9x9]"], "unknown level '9x9' of vision/jigsaw"),
        (["embedded:tiny_vlm", "--task", "vision/jigsw[2x2]"], "unknown task 'vision/jigsw'; did you mean"),
    ],
)
def test_what_a_person_can_mend(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["eval", *arguments, "--task", "vision/rotation"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert line in err


def test_an_evals_file_that_cannot_be_written(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    (copy / "evals.jsonl").unlink(missing_ok=True)
    (copy / "evals.jsonl").mkdir()
    with pytest.raises(Ssl4rlError, match=r"cannot write '.*evals\.jsonl'"):
        evaluate(copy, ["vision/rotation"], data="scenes:", n=1, save=True)
