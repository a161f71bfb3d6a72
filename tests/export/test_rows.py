"""A row scored without its source earns what `score_answer` gives, for every task, level and style."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import Sources, TaskSpec, open_mixture
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Ssl4rlError

PLUGIN = f"{Path(__file__).parents[2] / 'examples' / 'plugin_table' / 'ssl4rl_table.py'}:TASKS"


SOURCES = Sources()


def every_level() -> Iterator[tuple[str, str]]:
    for name in [*registry.task_names(), PLUGIN]:
        task, _ = registry.resolve(name)
        yield from ((name, level) for level in task.levels)
    yield "vision/rotation", "90deg,image_px=64,questions=2"


def replies(data: TaskDataset, example: ssl4rl.Example) -> list[str]:
    """The right answer, random valid ones, one in a sentence, none, and one cut off."""
    verifier = data.component_of(example).verifier
    rng = keyed_rng("replies", example.key.index if example.key else 0)
    answers = [example.answer, verifier.random_answer(example, rng), verifier.random_answer(example, rng)]
    said = [verifier.complete(answer, data.style) for answer in answers]
    return [*said, verifier.render(example.answer), "", "<answer>", f"I think {said[0]}", "<answer>maybe 3</answer>"]


@pytest.mark.parametrize("style", ["think", "answer"])
@pytest.mark.parametrize(("name", "level"), list(every_level()))
def test_a_row_is_scored_as_its_example(name: str, level: str, style: Any) -> None:
    data = open_mixture([TaskSpec(name, level)], size=2, style=style, split="all", sources=SOURCES)
    for example, row in zip(data, ssl4rl.rows(data), strict=True):
        travelled = json.loads(json.dumps(row["info"]))
        for reply in replies(data, example):
            for cut in (False, True):
                assert ssl4rl.score(reply, travelled, truncated=cut) == data.score_answer(reply, example, truncated=cut)
        assert ssl4rl.score(replies(data, example)[0], json.dumps(travelled)).verdict == "correct"
        shown = [part for part in row["prompt"][-1]["content"] if part["type"] == "image"]
        assert len(shown) == len(row["images"]) == len(example.media)


def test_the_row_of_a_rotation() -> None:
    data = ssl4rl.create_dataset("vision/rotation", level="90deg,image_px=64", size=1, style="answer")
    (row,) = ssl4rl.rows(data, system="Be brief.")
    info = row["info"]
    assert sorted(info) == ["answer", "key", "level", "meta", "style", "task"]
    assert (info["task"], info["level"], info["style"]) == ("vision/rotation@1", "90deg,image_px=64", "answer")
    assert info["answer"] == data[0].answer
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert [picture.size for picture in row["images"]] == [(64, 64), (64, 64)]


def test_scoring_makes_no_picture_and_needs_no_torch() -> None:
    data = ssl4rl.create_dataset("vision/jigsaw", size=1)
    (row,) = ssl4rl.rows(data)
    code = (
        "import sys, json, ssl4rl, PIL.Image\n"
        "PIL.Image.open = PIL.Image.new = PIL.Image.fromarray = None\n"
        "info = json.loads(sys.argv[1])\n"
        "print(ssl4rl.score('<answer>' + ','.join(map(str, info['answer'])) + '</answer>', info).value)\n"
        "print(sorted({'torch', 'transformers', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(row["info"])], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["1.0", "[]"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"task": "vision/rotatoin@1"}, "unknown task 'vision/rotatoin'; did you mean 'vision/rotation'?"),
        (
            {"task": "vision/rotation@0"},
            "the row is of vision/rotation@0 and here is version 1; install the ssl4rl that wrote the rows, or write "
            "them again",
        ),
        ({"style": "chat"}, "info has the style 'chat'; allowed: think, answer"),
        ({"level": None}, "info lacks 'level'; it is what ssl4rl.export.rows put beside the prompt"),
    ],
)
def test_an_info_that_is_none_is_one_line(change: dict[str, Any], line: str) -> None:
    (row,) = ssl4rl.rows(ssl4rl.create_dataset("vision/rotation", size=1))
    info = {name: value for name, value in (row["info"] | change).items() if value is not None}
    with pytest.raises(Ssl4rlError) as caught:
        ssl4rl.score("<answer>90</answer>", info)
    assert str(caught.value) == line


def test_an_unbounded_dataset_has_no_last_row() -> None:
    data = ssl4rl.create_dataset("vision/rotation")
    with pytest.raises(Ssl4rlError, match=r"^rows of an unbounded dataset never end; name size= or stop=$"):
        next(ssl4rl.rows(data))
    assert len(list(ssl4rl.rows(data, 3, 5))) == 2
