"""Several processes against one: the same rollouts, the same gradients, one log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ssl4rl.core.grpo.logps.attention import COPYING
from ssl4rl.core.grpo.opening import open_run
from ssl4rl.core.grpo.preflight import Ways
from ssl4rl.core.grpo.ranks import ALONE, Ranks, open_ranks
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo import ranked
from tests.core.grpo.runs import metrics, recipe, resumed, run, same, under_way, weights

ROOT = Path(__file__).parents[3]


def torchrun(*arguments: Any, processes: int = 2) -> list[str]:
    options = [f"--nproc_per_node={processes}", "--standalone", "-m"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def launch(*arguments: Any, **options: Any) -> str:
    done = subprocess.run(
        torchrun(*arguments, **options), capture_output=True, text=True, env=environment(), timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_divide() -> None:
    def shares(size: int, *owners: int) -> list[list[int]]:
        return [Ranks(rank, size).divide(owners) for rank in range(size)]

    assert shares(2, 0, 1, 0, 1) == [[0, 2], [1, 3]]
    assert shares(2, 0, 0, 0, 1) == [[0, 1], [2, 3]]
    assert shares(2, 1, 1, 0, 1, 1) == [[2, 4], [0, 1, 3]]
    assert shares(3, 0, 0, 0, 0) == [[0, 1], [2], [3]]
    assert shares(3, 2) == [[], [], [0]]
    assert shares(2) == [[], []]
    assert ALONE.divide([0, 0, 0]) == [0, 1, 2]


def test_alone_nothing_changes() -> None:
    assert ALONE.sums([1.5, 2]) == [1.5, 2]
    assert ALONE.gather("x") == ["x"]
    assert ALONE.by_first(lambda: 3) == 3
    assert not ALONE.any(False)
    assert all(ALONE.own(index) for index in range(5))
    with open_ranks(1, "cpu") as (ranks, device):
        assert (ranks, device) == (ALONE, "cpu")


@pytest.mark.parametrize(
    ("told", "processes", "message"),
    [
        ({}, 2, "train.processes=2, but 1 of them run; start it with `torchrun --nproc_per_node=2 -m ssl4rl train"),
        ({"WORLD_SIZE": "2"}, None, "WORLD_SIZE=2 without RANK, MASTER_ADDR, MASTER_PORT: no launcher started this"),
        ({"WORLD_SIZE": "2"}, 4, "train.processes=4, but 2 of them run"),
        (
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "ACCELERATE_MIXED_PRECISION": "no"},
            None,
            "accelerate launch was asked for several processes and started one",
        ),
        ({"WORLD_SIZE": "two"}, None, "WORLD_SIZE='two' in the environment; allowed: a whole number from 1"),
    ],
)
def test_a_launcher_that_did_not(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], processes: int | None, message: str
) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Ssl4rlError) as error, open_ranks(processes, "cpu"):
        pass
    assert str(error.value).startswith(message)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What two processes did: by `train.shard`, the folder. One after another, for starting processes takes long."""
    root = tmp_path_factory.mktemp("two")
    folders = {shard: root / shard for shard in ("none", "optimizer", "gradients")}
    arguments: list[Any] = []
    for shard, folder in folders.items():
        folder.mkdir()
        arguments += ["then", folder, shard]
    launch("tests.core.grpo.ranked", *arguments[1:])
    return folders


@pytest.fixture
def two(by_two: dict[str, Path]) -> Path:
    return by_two["none"]


def test_two_processes_do_what_one_does(tmp_path: Path, two: Path) -> None:
    one = tmp_path
    ranked.main(one)
    alone, first, second = (json.loads(p.read_text()) for p in (one / "rank0.json", *sorted(two.glob("rank?.json"))))
    assert alone["sizes"] == [1, 1]
    assert first["sizes"] == second["sizes"] == [2, 2]
    for whole, a, b in zip(alone["computed"], first["computed"], second["computed"], strict=True):
        assert sorted(a + b) == whole
        assert abs(len(a) - len(b)) <= 1
    assert second["said"] == []
    assert any("2 processes, the first on cpu" in line for line in first["said"])
    left, right = torch.load(one / "rank0.pt"), torch.load(two / "rank0.pt")
    assert len(left) == len(right) == 3
    for a, b in zip(left, right, strict=True):
        assert float((a - b).norm() / a.norm()) < 1e-5
    for a, b in zip(torch.load(two / "rank1.pt"), right, strict=True):
        assert torch.equal(a, b)
    assert (one / "run/rollouts.jsonl").read_text() == (two / "run/rollouts.jsonl").read_text()
    logs = [metrics(folder / "run") for folder in (one, two)]
    assert len(logs[0]) == len(logs[1]) == 5
    for mine, theirs in zip(*logs, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert theirs[name] == (
                pytest.approx(mine[name], rel=1e-4, abs=1e-6) if isinstance(mine[name], float) else mine[name]
            )
    steps = [line for line in logs[1] if line["phase"] == "train"]
    assert sum(line["refilled"] for line in steps) > 0
    assert all(line["groups"] <= 5 and line["sampled"] > 5 for line in steps)


def test_a_divided_optimizer_changes_no_bit(by_two: dict[str, Path], two: Path) -> None:
    shares = by_two["optimizer"]
    assert same(shares / "run", two / "run")
    for rank in range(2):
        divided, whole = (torch.load(folder / f"rank{rank}.pt") for folder in (shares, two))
        assert all(torch.equal(a, b) for a, b in zip(divided, whole, strict=True))
    whole, *parts = (
        json.loads((folder / f"rank{rank}.json").read_text())["state_elements"]
        for folder, rank in ((two, 0), (shares, 0), (shares, 1))
    )
    assert sum(parts) == whole
    assert max(parts) < 0.51 * whole
    states = [checkpoint(folder / "run")["optimizer"] for folder in (shares, two)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    for i, entry in states[1]["state"].items():
        assert entry.keys() == states[0]["state"][i].keys()
        assert all(torch.equal(entry[name], states[0]["state"][i][name]) for name in entry)


def test_divided_gradients_change_no_bit(by_two: dict[str, Path], two: Path) -> None:
    """One micro-batch a rank, so that the sums have the order of undivided ones."""
    shares = by_two["gradients"]
    assert same(shares / "run", two / "run")
    states = [checkpoint(folder / "run")["optimizer"] for folder in (shares, two)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    for i, entry in states[1]["state"].items():
        assert all(torch.equal(entry[name], states[0]["state"][i][name]) for name in entry)
    whole, *parts = (
        json.loads((folder / f"rank{rank}.json").read_text())["gradient_elements"]
        for folder, rank in ((two, 0), (shares, 0), (shares, 1))
    )
    assert [one[0] for one in parts] == [0, 0], "whole gradients when the optimiser steps"
    assert sum(one[1] for one in parts) == whole[0]
    assert max(one[1] for one in parts) < 0.51 * whole[0]


@pytest.mark.slow
def test_divided_gradients_of_several_micro_batches(tmp_path: Path, two: Path) -> None:
    """Three micro-batches on one rank, two on the other: the sums have another order, and nothing else differs."""
    launch("tests.core.grpo.ranked", tmp_path, "gradients", "tokens_per_microbatch=50", "gradient_agreement_every=1")
    found, whole = metrics(tmp_path / "run"), metrics(two / "run")
    for mine, theirs in zip(found, whole, strict=True):
        for name in theirs:
            assert mine[name] == (
                pytest.approx(theirs[name], rel=1e-4, abs=1e-6) if isinstance(theirs[name], float) else theirs[name]
            )
    left, right = weights(tmp_path / "run/final"), weights(two / "run/final")
    assert any(not torch.equal(left[name], right[name]) for name in right)
    assert all(float((left[name] - right[name]).abs().max()) < 1e-4 for name in right)


@pytest.mark.slow
def test_half_precision_keeps_float32_weights_in_shares(tmp_path: Path) -> None:
    """Bfloat16 weights and float32 masters: a resumed run ends as the straight one, bit for bit; and goes on alone."""
    given = ("tests.core.grpo.ranked", tmp_path, "gradients", "half=1", "checkpoint_every=1", "shared=on")
    launch(*given)
    kept = checkpoint(tmp_path / "run")["masters"]
    policy = weights(tmp_path / "run/final")
    assert {x.dtype for x in policy.values()} == {torch.bfloat16}
    assert {x.dtype for x in kept.values()} == {torch.float32}
    assert any(not torch.equal(x, x.bfloat16().float()) for x in kept.values())
    shutil.rmtree(sorted((tmp_path / "run/checkpoints").iterdir())[-1])
    shutil.rmtree(tmp_path / "run/final")
    (tmp_path / "run/summary.json").unlink()
    launch(*given, "resume=1")
    again = checkpoint(tmp_path / "run")["masters"]
    assert all(torch.equal(again[i], kept[i]) for i in kept)
    assert all(torch.equal(x, policy[name]) for name, x in weights(tmp_path / "run/final").items())
    run(resumed(ranked.everything(tmp_path, train={"steps": 3})))
    moved = weights(tmp_path / "run/final")
    assert {x.dtype for x in moved.values()} == {torch.float32}
    assert any(not torch.equal(x, x.bfloat16().float()) for x in moved.values())


def checkpoint(run: Path) -> dict[str, Any]:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    state: dict[str, Any] = torch.load(newest / "state.pt", weights_only=True)
    return state


class Second(Ranks):
    """The other of two ranks, which hears what the first one found: the fast attention is wrong here."""

    def by_first(self, decide: Any) -> Any:
        return Ways(COPYING, True, {})

    def share_weights(self, parameters: Any) -> None:
        pass


def test_all_ranks_take_the_attention_that_the_first_found(tmp_path: Path) -> None:
    said: list[str] = []
    opened = open_run(recipe(tmp_path), Second(1, 2), "cpu", said.append, lambda run, ranks: None)
    text = opened.trainer.policy.model.config.get_text_config(decoder=True)
    assert text._attn_implementation == COPYING
    assert opened.trainer.learner.shared
    assert isinstance(opened.trainer.backend, Native)
    assert opened.trainer.backend.shared
    assert opened.trainer.backend.static


def recipe_file(folder: Path, **train: Any) -> Path:
    made = recipe(folder, train={"processes": 2, **train})
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(made.dump()))
    return file


@pytest.mark.slow
def test_the_command_and_resuming_with_another_number_of_processes(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, steps=2)
    said = launch("ssl4rl", "train", file)
    assert said.count("held out, before GRPO") == 1
    assert said.count("report.html") == 1
    run(resumed(recipe(tmp_path, train={"steps": 4})))
    straight = recipe(tmp_path / "straight")
    run(straight)
    left, right = weights(tmp_path / "run/final"), weights(straight.folder / "final")
    assert all(float((left[name] - right[name]).abs().max()) < 1e-4 for name in right)
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [1, 2, 3, 4]
    said = launch("ssl4rl", "train", file, "train.steps=6", "resume=true")
    assert said.count("after step 4") == 1
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_stages_of_an_adapter_begun_alone_are_ended_by_two(tmp_path: Path) -> None:
    def file(folder: Path) -> Path:
        stages = [
            {"name": "answers", "kind": "supervised"},
            {"name": "best", "kind": "rejection"},
            {"name": "rl", "train": {"steps": 2}},
        ]
        sections = {"model": {"lora": {"r": 4}}, "stages": stages, "warmup": {"steps": 2}}
        folder.mkdir()
        made = recipe(folder, train={"steps": 1, "checkpoint_every": 1}, **sections)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(made.dump()))
        return folder / "recipe.yaml"

    straight, broken = file(tmp_path / "straight"), file(tmp_path / "broken")
    alone = [sys.executable, "-m", "ssl4rl", "train"]
    subprocess.run([*alone, straight], check=True, capture_output=True, env=environment(), timeout=600)
    begun = subprocess.Popen([*alone, broken], stdout=subprocess.PIPE, text=True, env=environment())
    assert begun.stdout is not None
    for line in begun.stdout:
        if line.startswith("stage 2 of 3"):
            begun.send_signal(signal.SIGINT)
            break
    begun.communicate(timeout=600)
    assert begun.returncode == 130
    said = launch("ssl4rl", "train", broken, "train.processes=2", "resume=true")
    assert "stage 1 of 3, 01_answers: supervised" not in said
    ended = [json.loads((made.parent / "run/summary.json").read_text()) for made in (straight, broken)]
    told = [[(stage["name"], stage["after"]["accuracy"]) for stage in one["stages"]] for one in ended]
    assert told[0] == told[1]
    adapters = [weights(made.parent / "run/final") for made in (straight, broken)]
    assert adapters[0].keys() == adapters[1].keys()
    assert all(float((adapters[0][name] - adapters[1][name]).abs().max()) < 1e-4 for name in adapters[0])


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["optimizer", "gradients"])
def test_a_divided_optimizer_resumes_alone_and_back(shard: str, tmp_path: Path) -> None:
    """Two processes with shares, then one, then two with the whole state each, then with shares again."""
    file = recipe_file(tmp_path, steps=2, shard=shard)
    launch("ssl4rl", "train", file)
    run(resumed(recipe(tmp_path, train={"steps": 4})))
    launch("ssl4rl", "train", file, "train.steps=6", "train.shard=none", "resume=true")
    launch("ssl4rl", "train", file, "train.steps=8", "resume=true")
    straight = recipe(tmp_path / "straight", train={"steps": 8})
    run(straight)
    left, right = weights(tmp_path / "run/final"), weights(straight.folder / "final")
    assert all(float((left[name] - right[name]).abs().max()) < 1e-4 for name in right)
    left_state, right_state = (
        checkpoint(folder)["optimizer"]["state"] for folder in (tmp_path / "run", straight.folder)
    )
    assert left_state.keys() == right_state.keys()
    for i, entry in right_state.items():
        assert left_state[i]["step"] == entry["step"] == 8
        assert (
            float((left_state[i]["exp_avg"] - entry["exp_avg"]).norm()) <= 1e-3 * float(entry["exp_avg"].norm()) + 1e-9
        )


def accelerate(*options: str) -> list[str]:
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "--num_machines=1", "--mixed_precision=no"]


SHOW = """
from ssl4rl.core.grpo.ranks import ALONE, open_ranks
from ssl4rl.core.types import Ssl4rlError
try:
    with open_ranks(None, "cpu") as (ranks, device):
        print("alone" if ranks == ALONE else ranks)
except Ssl4rlError as error:
    print(error)
"""


@pytest.mark.slow
def test_one_process_where_accelerate_was_asked_for_two(tmp_path: Path) -> None:
    """`accelerate launch --cpu --num_processes 2` starts one process; nothing is trained, and one line says so."""
    (tmp_path / "show.py").write_text(SHOW)
    told = {name: value for name, value in environment().items() if name not in ("MASTER_ADDR", "WORLD_SIZE")}
    for processes, expected in (("2", "several processes and started one"), ("1", "alone")):
        command = [*accelerate("--cpu", f"--num_processes={processes}"), str(tmp_path / "show.py")]
        done = subprocess.run(command, capture_output=True, text=True, env=told, timeout=120, check=False)
        assert expected in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_accelerate_starts_two(tmp_path: Path) -> None:
    """--multi_gpu is what makes it start processes by itself; without a GPU they meet by gloo."""
    command = accelerate("--multi_gpu", "--num_processes=2", "--main_process_port=0", "--dynamo_backend=no")
    done = subprocess.run(
        [*command, "-m", "ssl4rl", "train", str(recipe_file(tmp_path, steps=2))],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 processes, the first on cpu") == 1
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [1, 2]


@pytest.mark.slow
def test_ctrl_c_stops_all_after_the_step(tmp_path: Path) -> None:
    command = torchrun("ssl4rl", "train", recipe_file(tmp_path, steps=400))
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), start_new_session=True
    )
    under_way(child, tmp_path)
    os.killpg(child.pid, signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert "resume=true goes on from here" in said
    done = max(line["step"] for line in metrics(tmp_path / "run"))
    checkpoints = sorted(folder.name for folder in (tmp_path / "run/checkpoints").iterdir())
    assert checkpoints[-1] == f"step_{done:06d}"
