"""What a person gets wrong is exactly one line on stderr, whatever the libraries below would have liked to add.

Libraries set up their own warnings and logs only in a fresh process. Importing them takes seconds, so one such process
runs all commands one after another, each with a stderr of its own; `-m slow` gives each a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import build

ROOT = Path(__file__).parents[1]
RECIPE: dict[str, Any] = {
    "name": "t",
    "model": {"path": "embedded:tiny_vlm"},
    "data": "scenes:",
    "tasks": [{"task": "vision/rotation", "level": "90deg,original=false,image_px=32"}],
    "grpo": {"group_size": 2, "prompts_per_step": 2},
    "train": {"steps": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, a Qwen without weights, and two folders that are no models."""
    folder = tmp_path_factory.mktemp("stderr")
    (folder / "r.json").write_text(json.dumps(RECIPE | {"out": str(folder / "runs")}))
    build("qwen2_5_vl", folder / "qwen")
    (folder / "qwen" / "model.safetensors").unlink()
    for name, content in (("unknown", '{"model_type": "nope"}'), ("broken", "{")):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(content)
    return folder


def train(*overrides: str) -> Callable[[Path], list[str]]:
    return lambda place: ["train", str(place / "r.json"), *(text.replace("PLACE", str(place)) for text in overrides)]


CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "a value": (train("optim.lr=.inf"), "ssl4rl: override 'optim.lr=.inf': .inf is no finite number"),
    "a date": (
        train("held_out=2026-02-31"),
        "ssl4rl: PLACE/r.json: held_out: input should be a valid number, unable to parse string as a number, got "
        "'2026-02-31'",
    ),
    "an unknown model": (
        train("model.path=PLACE/unknown"),
        "ssl4rl: model folder 'PLACE/unknown' does not load: The checkpoint you are trying to load has model type",
    ),
    "a broken model": (
        lambda place: ["eval", str(place / "broken"), "--task", "vision/rotation", "--data", "scenes:"],
        "ssl4rl: model folder 'PLACE/broken' does not load: It looks like the config file at",
    ),
    "a processor key": (
        train("model.path=PLACE/qwen", "model.processor={max_pixel: 3}"),
        "ssl4rl: PLACE/qwen: unknown key 'model.processor.max_pixel' for Qwen2VLImageProcessorPil; did you mean "
        "'max_pixels'?",
    ),
    "no resizing": (
        train("model.path=PLACE/qwen", "model.processor={do_resize: false}"),
        "ssl4rl: with model.processor={'do_resize': False} the model's processor refuses vision/rotation@1[90deg,"
        "image_px=32,original=false] seed=0 index=0 attempt=0 with pictures of 32x32 px: cannot reshape array of size "
        "3072 into shape (3,1,2,14,1,2,14)",
    ),
    "too long before weights": (
        train("model.path=PLACE/qwen", "prompt.max_tokens=3"),
        "ssl4rl: 64 of the first 64 prompts are longer than prompt.max_tokens=3 (the longest has ",
    ),
    "a target": (
        train("model.lora.target=(x"),
        "ssl4rl: PLACE/r.json: model.lora.target: no regular expression: missing ), unterminated subpattern at "
        "position 0, got '(x'",
    ),
    "a curriculum": (
        train("model.path=PLACE/qwen", "curriculum.strategy=PLACE/no.py:Mine"),
        "ssl4rl: plugin file 'PLACE/no.py' does not exist",
    ),
    "a logger": (
        train("engine=trl", "trl.report_to=tensorboard"),
        "ssl4rl: trl.report_to=tensorboard: TensorBoardCallback requires tensorboard to be installed.",
    ),
    "TRL's warning": (
        train("engine=trl", "trl.fsdp=nope"),
        "ssl4rl: engine trl: TRL refuses trl.fsdp=nope: Unknown `fsdp` option: nope",
    ),
    "a long source": (
        lambda place: ["probe", "embedded:tiny_vlm", "--data", "x" * 5000],
        "ssl4rl: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxx': File name too long",
    ),
    "a foreign source": (
        lambda place: ["probe", "embedded:tiny_vlm", "--data", "scenes:", "--task", "graph/hops"],
        "ssl4rl: 'scenes:': graph tasks cannot read scenes:; allowed: adjlist:, ba:, debian:, edgelist:, edges:, ",
    ),
}


ONE_BY_ONE = """
import json, os, sys
from ssl4rl import cli
for name, arguments in json.loads(sys.argv[1]).items():
    for stream, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}.{kind}", os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = ["ssl4rl", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        open(f"{name}.status", "w").write(str(end.code))
"""


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONWARNINGS", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, cwd=cwd
    )


@pytest.fixture(scope="module")
def said(place: Path) -> Path:
    """A folder with each case's exit status, stdout and stderr."""
    folder = place / "said"
    folder.mkdir()
    commands = {case: arguments(place) for case, (arguments, _) in CASES.items()}
    done = python("-c", ONE_BY_ONE, json.dumps(commands), cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def check(place: Path, case: str, status: int, out: str, err: str) -> None:
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(CASES[case][1].replace("PLACE", str(place)))
    assert len(err) <= 500


@pytest.mark.parametrize("case", CASES)
def test_exactly_one_line(place: Path, said: Path, case: str) -> None:
    status, out, err = ((said / f"{case}.{kind}").read_text() for kind in ("status", "out", "err"))
    check(place, case, int(status), out, err)


@pytest.mark.parametrize(
    "case", [case if case == "a value" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_exactly_one_line_of_a_process_of_its_own(place: Path, case: str) -> None:
    done = python("-m", "ssl4rl", *CASES[case][0](place))
    check(place, case, done.returncode, done.stdout, done.stderr)
