"""One of each from outside, and the files it takes: what CONTRIBUTING.md counts. Nothing of ours is touched."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import Recipe, make_recipe
from ssl4rl.core.types import Ssl4rlError

PLUGIN = '''
from pathlib import Path

from ssl4rl import Choice, Example, Source, Task

class Words(Source):
    """A source: a line of the file a word."""
    uri = ""
    problems = ()
    def __init__(self, path): self.words = Path(path).read_text().split()
    def __len__(self): return len(self.words)
    def __getitem__(self, i): return self.words[i]
    def id(self, i): return self.words[i]

class FirstLetter(Task):
    """Is the word's first letter an a or a b?"""
    name, version = "words/first_letter", 1
    levels = {"easy": {}}
    draws = 1
    verifier = Choice("AB")
    def make(self, items, level, rng):
        (word,) = items
        return Example(prompt=(f"Which letter is first in {word}?",), answer=word[0].upper())

TASKS = {"first_letter": FirstLetter}
SOURCES = {"": Words}
'''
REWARD = "def brief(completion, tokens): return -tokens"
LOGGER = """
import json
class Lines:
    def __init__(self, name, folder, recipe):
        self.file = open(folder / "mine.txt", "a")
        print(name, recipe["train"]["steps"], "begins", file=self.file)
    def log(self, record): print(json.dumps(record), file=self.file)
    def log_rollouts(self, step, rows):
        row = rows[0]
        print("table", step, len(rows), sorted(row), len(row["pictures"]), file=self.file)
    def finish(self): print("ends", file=self.file); self.file.close()
"""


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A folder with a plugin, a reward and a logger, a file each, and words to read."""
    for name, code in {"words": PLUGIN, "rewards": REWARD, "loggers": LOGGER}.items():
        (tmp_path / f"my_{name}.py").write_text(code)
    (tmp_path / "words.txt").write_text("\n".join(f"{'ab'[i % 2]}{i}" for i in range(60)))
    return tmp_path


def recipe(folder: Path, **changes: Any) -> Recipe:
    tree: dict[str, Any] = {
        "name": "run",
        "model": {"path": "embedded:tiny_vlm"},
        "tasks": [{"task": f"{folder / 'my_words.py'}:first_letter"}],
        "data": str(folder / "words.txt"),
        "prompt": {"style": "answer"},
        "sampling": {"max_new_tokens": 4},
        "grpo": {"group_size": 2, "prompts_per_step": 2},
        "reward": {"accuracy": 1.0, f"{folder / 'my_rewards.py'}:brief": 0.01},
        "train": {"steps": 2, "log_to": [f"{folder / 'my_loggers.py'}:Lines"]},
        "eval": {"n": 4},
        "out": str(folder),
    }
    return make_recipe({**tree, **changes})


def test_a_task_a_source_a_reward_and_a_logger_in_one_run(brought: Path) -> None:
    train(recipe(brought), lambda line: None, bar=False)
    first, *lines, last = (brought / "run" / "mine.txt").read_text().splitlines()
    assert (first, last) == ("run 2 begins", "ends")
    logged = (brought / "run" / "metrics.jsonl").read_text().splitlines()
    (table,) = [line for line in lines if line.startswith("table")]
    columns = ["answer", "completion", "pictures", "prompt", "reward", "step", "verdict"]
    assert table == f"table 1 {2 * 2} {columns} 0"
    lines.remove(table)
    assert lines == logged
    steps = [json.loads(line) for line in lines if '"phase": "train"' in line]
    assert len(steps) == 2
    for step in steps:
        (brief,) = step["parts"].values()
        assert -4 <= brief < 0
        assert step["reward"] == pytest.approx(step["accuracy"] + 0.1 * step["format"] + 0.01 * brief, abs=1e-5)


def test_a_consumer_of_ones_own(brought: Path) -> None:
    """Another trainer's rows and its reward function: what any export is made of."""
    data = ssl4rl.create_dataset(
        f"{brought / 'my_words.py'}:first_letter", data=str(brought / "words.txt"), size=5, style="answer"
    )
    lines = [json.dumps({"question": row["prompt"], "info": row["info"]}) for row in ssl4rl.rows(data)]

    def compute_score(solution: str, line: str) -> float:
        return ssl4rl.score(solution, json.loads(line)["info"]).value

    assert [compute_score(f"<answer>{data[i].answer}</answer>", line) for i, line in enumerate(lines)] == [1.0] * 5
    assert compute_score("<answer>C</answer>", lines[0]) == 0.0


def test_a_model_made_by_a_package(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point `ssl4rl.models`, here written into a folder on the path as pip would."""
    (brought / "my_models.py").write_text(
        "from ssl4rl.embedded.models import build as ours\ndef build(name): return ours(name)"
    )
    info = brought / "my_models-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ssl4rl.models]\nmine = my_models:build\n")
    monkeypatch.syspath_prepend(str(brought))
    summary = train(recipe(brought, model={"path": "mine:tiny_vlm"}), lambda line: None, bar=False)
    assert summary["model"] == "mine:tiny_vlm"


def test_a_modality_of_a_package_is_found(brought: Path) -> None:
    info = brought / "my_words-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-words\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ssl4rl.plugins]\nwords = my_words:TASKS\n")
    done = subprocess.run(
        [sys.executable, "-m", "ssl4rl", "list", "words/first_letter"],
        env={"PYTHONPATH": f"{brought}:{Path(ssl4rl.__file__).parents[1]}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("words/first_letter")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (
            ["tensorbord"],
            "train.log_to: unknown logger 'tensorbord'; did you mean 'tensorboard'?; allowed: tensorboard, wandb, "
            "trackio, or './my.py:Class'",
        ),
        (["wandb"], "train.log_to: wandb is not installed; pip install wandb"),
    ],
)
def test_a_logger_that_is_not_there_is_one_line(brought: Path, names: list[str], line: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        train(recipe(brought, train={"steps": 1, "log_to": names}), lambda text: None, bar=False)
    assert str(caught.value) == line
    assert not (brought / "run").exists()


def test_shipped_rewards_are_entry_points() -> None:
    assert registry.names(registry.REWARDS) == ["agreement", "length", "overlong", "repetition"]
