"""The Python door: what the command line does, from Python, with the same figures, and as pages in a notebook."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ssl4rl
from ssl4rl import Ssl4rlError, cli
from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.tools import asked
from ssl4rl.tools.shown import Shown
from ssl4rl.tools.train import Trained
from tests.core.grpo.runs import photographs
from tests.fakes import FAKES
from tests.pages import Page

LETTER, PICTURE = (f"{FAKES}:{name}" for name in ("letter", "picture"))
LEAKY = str(Path(FAKES).parent / "tools" / "audit" / "leaky_tasks.py")
SCENES: dict[str, Any] = {"level": "90deg,original=false,image_px=32", "data": "scenes:"}
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "model": {"path": "embedded:tiny_vlm", "device": "cpu"},
    "data": "scenes:",
    "tasks": [{"task": "vision/rotation", "level": SCENES["level"]}],
    "prompt": {"style": "answer"},
    "sampling": {"max_new_tokens": 6},
    "warmup": {"steps": 1, "prompts_per_step": 2},
    "grpo": {"group_size": 2, "prompts_per_step": 2},
    "eval": {"n": 8, "every": 1, "n_during": 4},
}


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Trained:
    out = tmp_path_factory.mktemp("runs")
    return ssl4rl.train(RECIPE, say=said.append, out=out, train={"steps": 2}, **{"grpo.group_size": 3})


def shown(found: Shown) -> Page:
    """The page in a notebook's output: in a frame where no script runs, with nothing loaded from elsewhere."""
    outer = Page(found._repr_html_())
    assert outer.open == []
    (frame,) = outer.all("iframe")
    assert frame["sandbox"] == "allow-same-origin"
    text = frame["srcdoc"]
    assert text == found.page()
    assert "http:" not in text
    assert "https:" not in text
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert "url(" not in text
    assert "@import" not in text
    return page


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.run([*arguments, "--json"]) == status
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def test_training_from_python(trained: Trained, said: list[str]) -> None:
    assert trained.summary == json.loads((trained.folder / "summary.json").read_text())
    assert (trained.before["n"], trained.after["n"], trained.after["chance"]) == (8, 8, 0.25)
    assert trained.final.is_dir()
    assert trained.report
    assert trained.report.files == [trained.folder / "report.html", trained.folder / "curve.png"]
    assert all(file.is_file() for file in trained.report.files)
    recipe = (trained.folder / "recipe.yaml").read_text()
    assert "group_size: 3" in recipe
    assert "prompts_per_step: 2" in recipe
    assert any(line.startswith("first completion:") for line in said)
    assert repr(trained).startswith("<Trained: held out ")
    assert str(trained).splitlines()[-1] == str(trained.final)


def test_a_run_in_a_notebook_shows_its_table_curve_and_examples(trained: Trained) -> None:
    page = shown(trained)
    assert "Held-out accuracy" in page.text
    accuracy = f"{trained.after['accuracy']:.3f}"
    assert accuracy in page.text
    assert any("results" in (table.get("class") or "") for table in page.all("table"))
    assert any(path.get("class") == "line c0" for path in page.all("path"))
    assert len(page.all("article")) == len(page.all("img")) == 4


def test_the_same_run_by_the_command_line(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(RECIPE))
    overrides = [f"out={tmp_path}", "train.steps=2", "grpo.group_size=3"]
    record = printed(capsys, "train", str(file), *overrides)
    clocks = {"seconds", "tokens_per_s"}
    assert {k: v for k, v in record.items() if k not in clocks} == {
        k: v for k, v in trained.to_json().items() if k not in clocks
    }


def test_a_recipe_object_goes_on_where_it_stopped(trained: Trained, tmp_path: Path) -> None:
    recipe = make_recipe(RECIPE | {"out": str(tmp_path), "train": {"steps": 1, "checkpoint_every": 1}})
    quiet: list[str] = []
    first = ssl4rl.train(recipe, say=quiet.append)
    with pytest.raises(Ssl4rlError, match="already holds a run; resume=true continues it"):
        ssl4rl.train(recipe, say=quiet.append)
    more = ssl4rl.train(recipe, say=quiet.append, resume=True, train={"steps": 2})
    assert (first.summary["steps"], more.summary["steps"]) == (1, 2)
    assert any(line.endswith("after step 2") for line in quiet), quiet
    again = ssl4rl.train(recipe, say=quiet.append, resume=True, **{"train.steps": 2})
    assert again.summary == more.summary
    assert quiet[-1].endswith("is finished; nothing to resume")


def test_a_run_stands_for_its_folder(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ssl4rl.evaluate(trained, "vision/rotation", n=6, **SCENES)
    assert found.model == str(trained.folder)
    compared = ssl4rl.report([trained, trained], tmp_path / "both.html")
    assert compared.files == [tmp_path / "both.html", tmp_path / "both.png"]
    assert "2 runs compared" in shown(compared).text
    assert printed(capsys, "report", str(trained.folder))["files"] == [
        str(trained.folder / name) for name in ("report.html", "curve.png")
    ]


def test_evaluating_gives_the_command_lines_figures(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    found = ssl4rl.evaluate(trained.final, ["vision/rotation"], n=12, **SCENES)
    options = ["--level", SCENES["level"], "--data", "scenes:", "-n", "12"]
    record = printed(capsys, "eval", str(trained.final), "--task", "vision/rotation", *options)
    ours = found.to_json()
    for results in (record["results"], ours["results"]):
        del results[0]["seconds"]
    assert ours == record
    (result,) = found.results
    assert (result.accuracy, result.chance) == (record["results"][0]["accuracy"], 0.25)
    page = shown(found)
    assert f"{result.accuracy:.3f}" in page.text
    assert 1 <= len(page.all("article")) == len(page.all("img")) == len(result.examples) <= 4
    assert found.saved is None
    assert str(found).startswith("vision/rotation@")


def test_what_an_evaluation_saves_is_named(trained: Trained) -> None:
    found = ssl4rl.evaluate(trained, "vision/rotation", n=2, save=True, **SCENES)
    assert found.saved == trained.folder / "evals.jsonl"
    assert json.loads(found.saved.read_text())["n"] == 2


def test_probing_gives_the_command_lines_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = ssl4rl.probe("embedded:tiny_vlm", "vision/rotation", n=3, group=2, max_new_tokens=4, **SCENES)
    options = ["--level", SCENES["level"], "--data", "scenes:", "-n", "3", "--group", "2", "--max-new-tokens", "4"]
    record = printed(capsys, "probe", "embedded:tiny_vlm", "--task", "vision/rotation", *options)
    ours = found.to_json()
    for part in (record, ours):
        del part["seconds"], part["rows"][0]["seconds_per_prompt"]
    assert ours == record
    (row,) = found.rows
    page = shown(found)
    assert f"{row.success:.3f}{row.low:.3f}–{row.high:.3f}" in page.text
    assert row.level in page.text
    assert "Advice" in page.text


def test_a_preview_gives_the_command_lines_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = ssl4rl.preview(PICTURE, n=3, seed=5)
    assert found.to_json() == printed(capsys, "preview", PICTURE, "-n", "3", "--seed", "5")
    page = shown(found)
    assert len(page.all("article")) == 3
    assert len([image for image in page.all("img") if "image" in (image["alt"] or "")]) == 3
    assert "<script>x</script> Which?" in page.text, "what a prompt says is text, not markup"
    assert found.save(tmp_path / "page.html").read_text() == found.page()
    assert repr(found) == "<Preview: fakes/picture@1  four  many:60 (train), seed 5>"


def test_an_audit_gives_the_command_lines_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = ssl4rl.audit(f"{LEAKY}:skewed", level="honest", n=200)
    arguments = ("audit", f"{LEAKY}:skewed", "--level", "honest", "-n", "200")
    assert found.to_json() == printed(capsys, *arguments, status=3)  # the task has no content-free twin
    assert found.leaks == []
    assert "Undecided: there is no content-free twin to ask" in shown(found).text
    leaky = ssl4rl.audit(f"{LEAKY}:skewed", level="leaky", n=200)
    assert [row.family for row in leaky.leaks] == ["answer frequency"]
    page = shown(leaky)
    assert "Its answers can be guessed without understanding" in page.text
    assert "constant guesses" in page.text
    assert len([row for row in page.all("tr") if row.get("class") == "leak"]) == 1


def test_a_check_gives_the_command_lines_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = ssl4rl.check(LETTER, level="easy", n=4)
    record, ours = printed(capsys, "check", LETTER, "--level", "easy", "-n", "4"), found.to_json()
    for part in (record, ours):
        del part["checked"][0]["seconds"]
    assert ours == record
    assert found.ok
    assert "1 task at 1 level: every promise is kept" in shown(found).text
    bad = str(Path(FAKES).with_name("bad_tasks.py"))
    broken = ssl4rl.check(f"{bad}:card", level="easy", n=4)
    assert not broken.ok
    assert "1 failure in 1 of 1 task" in shown(broken).text


def test_what_a_model_or_a_file_says_is_text_in_a_notebook() -> None:
    """Markup, half a surrogate pair, quotes that would end the frame's attribute."""

    class Said(Shown):
        def to_json(self) -> dict[str, Any]:
            return {}

        def __str__(self) -> str:
            return "said"

        def page(self) -> str:
            return "<p>&lt;b&gt; \" ' \ud800</p>"

    (frame,) = Page(Said()._repr_html_()).all("iframe")
    assert frame["srcdoc"] == "<p>&lt;b&gt; \" ' ?</p>"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: ssl4rl.train("quickstart_vison"), "unknown recipe 'quickstart_vison'; did you mean 'quickstart_vi"),
        (lambda: ssl4rl.train("quickstart_vision", trian={"steps": 2}), "unknown key 'trian'; did you mean 'train'?"),
        (lambda: ssl4rl.train("quickstart_vision", **{"train.stesp": 2}), "unknown key 'train.stesp'; did you mean"),
        (lambda: ssl4rl.preview(LETTER, n=0), "n is 0; allowed: 1 or more"),
        (lambda: ssl4rl.preview(LETTER, style="thnk"), "unknown prompt style 'thnk'; did you mean 'think'?"),
        (lambda: ssl4rl.check(LETTER, n=1), "n is 1; allowed: 2 or more"),
        (lambda: ssl4rl.audit(LETTER, n=99), "n is 99; allowed: 100 or more"),
        (lambda: ssl4rl.evaluate("embedded:tiny_vlm", LETTER, n=0), "n is 0; allowed: 1 or more"),
        (lambda: ssl4rl.evaluate("embedded:tiny_vlm", LETTER, temperature=-1), "temperature is -1; allowed: 0 or more"),
        (lambda: ssl4rl.evaluate("embedded:tiny_vlm", LETTER, save=True), "'embedded:tiny_vlm' is not in a run's"),
        (lambda: ssl4rl.probe("embedded:tiny_vlm", LETTER, group=1), "group is 1; allowed: 2 or more"),
        (lambda: ssl4rl.probe("embedded:tiny_vlm", LETTER, temperature=0), "temperature is 0; allowed: above 0"),
        (lambda: ssl4rl.report([]), "name at least one run directory"),
        (lambda: ssl4rl.report("no/such/run"), "run directory 'no/such/run' does not exist"),
    ],
)
def test_what_a_caller_can_mend_is_one_line(call: Callable[[], Any], line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        call()
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ssl4rl.train("quickstart_vision"),
        lambda: ssl4rl.evaluate("embedded:tiny_vlm", LETTER),
        lambda: ssl4rl.probe("embedded:tiny_vlm", LETTER),
    ],
)
def test_without_torch_there_is_one_line(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], Any] = asked.find_spec
    monkeypatch.setattr(asked, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(Ssl4rlError, match=r"^torch is not installed; pip install 'ssl4rl\[train\]'$"):
        call()


def test_users_settings_of_transformers_stay(trained: Trained) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    ssl4rl.evaluate(trained, "vision/rotation", n=1, **SCENES)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_cells_of_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cell by cell in one namespace, on a thread as some kernels run them; what a cell ends with is shown."""
    cells = [
        "import ssl4rl",
        "ssl4rl.preview('vision/rotation', data='scenes:', level='90deg,image_px=32', n=2)",
        f"run = ssl4rl.train('quickstart_vision', out={str(tmp_path)!r}, train={{'steps': 1}}, warmup={{'steps': 1}},"
        " **{'grpo.prompts_per_step': 2, 'warmup.prompts_per_step': 2, 'eval.n': 4})",
        "run",
        "ssl4rl.evaluate(run, 'vision/rotation', data='scenes:', level='90deg,original=false,image_px=32', n=4)",
    ]
    outputs: list[str] = []
    faults: list[BaseException] = []

    def kernel() -> None:
        namespace: dict[str, Any] = {}
        try:
            for cell in cells:
                if cell.startswith(("ssl4rl.", "run")) and " = " not in cell.partition("(")[0]:
                    outputs.append(eval(cell, namespace)._repr_html_())
                else:
                    exec(cell, namespace)
        except BaseException as fault:  # handed to the test's own thread
            faults.append(fault)

    thread = threading.Thread(target=kernel)
    thread.start()
    thread.join()
    assert faults == []
    assert len(outputs) == 3
    assert all("srcdoc" in output for output in outputs)
    assert "first completion:" in capsys.readouterr().out


def test_the_readmes_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of it, in order, in a folder with photos/; what is trained is trained for a step."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = [part.partition("```")[0] for part in readme.split("```python\n")[1:]]
    assert "create_dataset" in blocks[0]
    photographs(tmp_path / "photos", 12)
    small = {"warmup.steps": 1, "warmup.prompts_per_step": 2, "grpo.prompts_per_step": 2, "eval.n": 4, "train.steps": 1}
    train = ssl4rl.train
    monkeypatch.setattr(ssl4rl, "train", lambda recipe, **overrides: train(recipe, **{**overrides, **small}))
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), "README.md", "exec"), {"__name__": "__main__"})
    assert (tmp_path / "page.html").read_text().count("<article") == 4
    assert str(Path("runs") / "quickstart_vision" / "final") in capsys.readouterr().out
