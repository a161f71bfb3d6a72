"""TRL's own trainer takes our dataset and rewards: a real step with two pictures a prompt."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.export.trl import dataset, reward_functions
from tests.tiny_models import build

EXAMPLE = Path(__file__).parents[2] / "examples" / "trainers" / "trl_grpo.py"


@pytest.mark.filterwarnings("ignore")  # TRL's and transformers' own
def test_the_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    model = build("idefics3", tmp_path / "model")
    lines = runpy.run_path(str(EXAMPLE))["main"]([str(model)])
    assert [sorted(n for n in line if n.startswith("rewards/") and n.endswith("mean")) for line in lines] == [
        ["rewards/accuracy/mean", "rewards/format/mean"]
    ] * 2
    for line in lines:
        expected = line["rewards/accuracy/mean"] + 0.1 * line["rewards/format/mean"]
        assert line["reward"] == pytest.approx(expected, abs=1e-6)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def test_rows_and_rewards() -> None:
    rows = dataset("vision/rotation", size=6, level="90deg,image_px=56", style="answer")
    assert len(rows) == 6
    found = rows[:3]
    assert sorted(found) == ["images", "info", "prompt"]
    assert [len(pictures) for pictures in found["images"]] == [2, 2, 2]
    right = [f"<answer>{json.loads(info)['answer']}</answer>" for info in found["info"]]
    talk: list[Any] = [[{"role": "assistant", "content": text}] for text in right]
    accuracy, format_ = reward_functions()
    assert accuracy(completions=talk, info=found["info"], prompts=found["prompt"]) == [1.0, 1.0, 1.0]
    assert format_(completions=[*right[:2], "no"], info=found["info"]) == [1.0, 1.0, 0.0]
    assert [f.__name__ for f in reward_functions()] == ["accuracy", "format"]


def test_text_alone_has_no_pictures() -> None:
    assert sorted(dataset("graph/masked_edge", size=2)[0]) == ["info", "prompt"]


def test_a_mixture_that_trl_would_die_of_is_refused() -> None:
    with pytest.raises(Ssl4rlError) as caught:
        dataset(["vision/rotation", "graph/hops"], size=4)
    assert str(caught.value).startswith("TRL cannot batch prompts with and without pictures: graph/hops@")
    assert str(caught.value).endswith("shows none; make two datasets (export: --only pictures, --only text)")
