"""Small whole runs: recipes on tiny models and what is compared between two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import Recipe, make_recipe
from tests.fakes import FAKES

TIMES = ("seconds", "step_s", "time", "tokens_per_s")


def recipe(out: Path, path: str | Path = "embedded:tiny_vlm", **sections: Any) -> Recipe:
    """Four steps on two tiny prompts each: turned scenes for a model that sees, fake questions with `text=True`."""
    if sections.pop("text", False):
        tasks = [{"task": f"{FAKES}:letter", "level": "easy"}]
        data: dict[str, Any] = {"tasks": tasks, "data": "many:200"}
    else:
        tasks = [{"task": "vision/rotation", "level": "90deg,original=false,image_px=32"}]
        data = {"tasks": tasks, "data": "scenes:"}
    tree: dict[str, Any] = {
        "name": "run",
        "model": {"path": str(path), "device": "cpu"},
        "out": str(out),
        **data,
        "prompt": {"style": "answer"},
        "sampling": {"max_new_tokens": 4},
        "grpo": {"group_size": 3, "prompts_per_step": 2},
        "warmup": {"prompts_per_step": 4},
        "optim": {"lr": 1e-3},
        "train": {"steps": 4, "checkpoint_every": 2, "tokens_per_microbatch": 512, "log_rollouts": 1},
        "eval": {"n": 4},
    }
    for name, value in sections.items():
        tree[name] = {**tree[name], **value} if isinstance(tree.get(name), dict) else value
    return make_recipe(tree)


def run(recipe: Recipe) -> list[str]:
    """Trains, and returns what was said."""
    said: list[str] = []
    train(recipe, said.append, bar=False)
    return said


SCRIPT = """
import json
import sys
import torch
from pathlib import Path
from ssl4rl.core.grpo.run import train
from ssl4rl.core.grpo.record.console import Interrupted
from tests.core.grpo.runs import recipe
torch.set_num_threads(1)
try:
    train(recipe(Path(sys.argv[1]), **json.loads(sys.argv[2])), bar=False)
except Interrupted as stop:
    print("stopped:", stop)
    sys.exit(130)
"""


def start(out: Path, **sections: Any) -> subprocess.Popen[str]:
    """Another process that trains for long; returns once its log has four lines."""
    given = {**sections, "train": {"steps": 400, "checkpoint_every": 2, **sections.get("train", {})}}
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out), json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    return under_way(child, out)


def under_way(child: subprocess.Popen[str], out: Path) -> subprocess.Popen[str]:
    """The process once its run's log in `out` has four lines; it must not end before."""
    log = out / "run" / "metrics.jsonl"
    for _ in range(2400):
        if child.poll() is not None or (log.exists() and log.read_text().count("\n") > 3):
            break
        time.sleep(0.05)
    assert child.poll() is None, child.communicate()[0]
    return child


class Killed(BaseException):
    """Nothing in ssl4rl catches this."""


def run_until(recipe: Recipe, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains until the log has its line for `step`, and stops there as if killed."""
    log = RunDir.log

    def fatal(self: RunDir, record: Mapping[str, Any]) -> None:
        log(self, record)
        if record["step"] == step and record["phase"] != "eval":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", fatal)
        with pytest.raises(Killed):
            run(recipe)


def resumed(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"resume": True})


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The log's lines without what a clock says."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def weights(folder: Path) -> dict[str, Tensor]:
    """The tensors that a model or adapter folder holds."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def same(left: Path, right: Path) -> bool:
    """Whether two finished runs are equal, bit for bit, but for the time they took."""
    a, b = weights(left / "final"), weights(right / "final")
    assert a
    assert a.keys() == b.keys()
    rollouts = [(folder / "rollouts.jsonl").read_text() for folder in (left, right)]
    equal = all(torch.equal(a[name], b[name]) for name in a)
    return equal and metrics(left) == metrics(right) and rollouts[0] == rollouts[1]


def photographs(folder: Path, n: int = 12) -> Path:
    """`n` JPEGs of 320 x 256 px with something to see: blobs of colour of many sizes, each picture its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(n):
        rng = np.random.default_rng(seed)
        total = np.zeros((256, 320, 3))
        for cells in (2, 3, 5, 9, 17, 33):
            blobs = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            total += np.asarray(blobs.resize((320, 256), Image.Resampling.BICUBIC), dtype=float) / 6
        stretched = (total - total.mean()) * 2 + 128
        Image.fromarray(stretched.clip(0, 255).astype(np.uint8)).save(folder / f"{seed}.jpg", quality=95)
    return folder
