"""Own labels beside self-supervision: one recipe, one model, two steps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import ssl4rl
from ssl4rl import cli
from ssl4rl.core.grpo import run as running
from ssl4rl.core.recipe.files import shipped
from ssl4rl.core.recipe.recipe import load_recipe
from ssl4rl.qa.drawn import question
from tests.core.grpo.runs import metrics
from tests.vision.files import b64, write_tsv

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.fixture
def table(tmp_path: Path) -> str:
    """40 labelled pictures in VLMEvalKit's layout."""
    rows = []
    for index in range(40):
        item = question("choice", index)
        (tmp_path / "p.png").unlink(missing_ok=True)
        item.photos[0].decode(32).save(tmp_path / "p.png")
        picture = b64((tmp_path / "p.png").read_bytes())
        order = [(index + at) % 4 for at in range(4)]
        texts = [item.options[at] for at in order]
        rows.append([str(index), item.question, *texts, "ABCD"[order.index(0)], picture])
    return write_tsv(tmp_path / "mine.tsv", ["index", "question", "A", "B", "C", "D", "answer", "image"], *rows)


def test_labels_and_rotation_train_one_model(tmp_path: Path, table: str) -> None:
    small = [
        *(
            f"tasks.0.data={table}",
            "model.device=cpu",
            f"out={tmp_path}",
            "warmup.steps=2",
            "warmup.prompts_per_step=4",
        ),
        *("train.steps=2", "train.workers=0", "grpo.prompts_per_step=4", "grpo.group_size=4", "eval.n=4"),
    ]
    said: list[str] = []
    recipe = load_recipe(shipped()["mixed_labels"], small)
    summary = running.train(recipe, say=said.append, bar=False)
    assert (summary["steps"], summary["after"]["n"]) == (2, 4)
    assert (
        f"tsv:{table} (choice): took question=question, options=A,B,C,D, answer=answer, pictures=image (letters); "
        "40 rows" in said
    )
    lines = metrics(recipe.folder)
    assert [line["phase"] for line in lines] == ["warmup", "warmup", "eval", "train", "train", "eval"]
    rollouts = [json.loads(line) for line in (recipe.folder / "rollouts.jsonl").read_text().splitlines()]
    tasks = Counter(rollout["key"]["task"] for rollout in rollouts if "key" in rollout)
    assert {task.partition("@")[0] for task in tasks} == {"qa/choice", "vision/rotation"}
    found = ssl4rl.evaluate(str(recipe.folder / "final"), "qa/choice", data=table, level="given,image_px=32", n=6)
    (result,) = found.results
    assert (result.figures["n"], result.chance) == (6, 0.25)


@pytest.mark.parametrize("command", ["preview", "check", "export"])
def test_the_commands_take_a_table_by_its_path(
    tmp_path: Path, table: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {
        "preview": ["--json"],
        "check": ["-n", "8", "--json"],
        "export": ["--format", "trl", "-n", "6", "--out", str(tmp_path / "out"), "--json"],
    }
    assert cli.run([command, "qa/choice", "--data", table, *more[command]]) == 0
    printed = json.loads(capsys.readouterr().out)
    if command == "preview":
        assert printed["taken"].startswith("took question=question, options=A,B,C,D")
        assert {example["chance"] for example in printed["examples"]} == {0.25}
    if command == "check":
        assert printed["ok"]
    if command == "export":
        assert any((tmp_path / "out").rglob("*"))
