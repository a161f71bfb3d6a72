"""A sample of what `make hostile` does to runs: damage, kills, two runs in one folder, workers without a parent."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ssl4rl.core.grpo.record.files import SUMS, damage, whole_folder
from ssl4rl.core.grpo.record.lock import LOCK, locked
from ssl4rl.core.types import Ssl4rlError
from tests.hostile import kills, runs, soak
from tests.hostile.whole_runs import fork_command, of_session, orphans, recipe_file, wait

Prepared = tuple[Path, dict[str, Path], Path]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("hurt")
    return (*runs.prepared(root), root)


SAMPLE = {
    "state.pt runs code": (
        "went on from step 4; damaged and set aside: step_000006: state.pt holds more than tensors and plain values, "
        "or is no state; nothing of it was run"
    ),
    "state.pt other shapes": (
        "ssl4rl: state.pt does not fit the policy beside it: ValueError exp_avg of parameter 0 is (3,), the parameter "
        "(2047, 128)"
    ),
    "weights one bit": (
        "went on from step 4; damaged and set aside: step_000006: policy/model.safetensors is not what was written"
    ),
    "strays among checkpoints": "went on from step 6",
    "metrics.jsonl garbled within": "went on from step 6; 6 lines of metrics.jsonl could not be read; dropped",
    "first evaluation lost": ("went on from step 6; metrics.jsonl had lost 1 evaluation, which the checkpoint kept"),
    "config.json, no checksums": (
        "ssl4rl: model folder 'RUN/checkpoints/step_000006/policy' does not load: It looks like the config file at "
        "'RUN/checkpoints/step_000006/policy/config.json' is not a valid JSON file."
    ),
    "recipe.yaml cut short": "went on from step 6; recipe.yaml is damaged; it is written anew",
}


_QUICK = ("config.json, no checksums", "state.pt runs code", "metrics.jsonl garbled within", "recipe.yaml cut short")


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLE]
)
def test_damage_to_runs(prepared: Prepared, name: str) -> None:
    """No exception, no code run, no other weights; and the line that a person reads."""
    apply = runs.damage_table()[name]
    found = runs.try_damage(name, apply, *prepared, states=["unfinished"], commands=["train", "eval"])
    assert [one for one in found if one.fault] == []
    assert found[0].said == SAMPLE[name]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_nothing_is_lost(prepared: Prepared) -> None:
    file, _, root = prepared
    assert [one for one in runs.full_disks(file, root) if one.fault] == []


@pytest.mark.parametrize("number", [4, 5])
def test_kills(prepared: Prepared, tmp_path: Path, number: int) -> None:
    """SIGKILL and SIGTERM, with a worker."""
    _, folders, _ = prepared
    one = kills.kill(tmp_path, number, folders["finished"], [3.0, 3.0], seed=1)
    assert (one.workers, one.signal) == (1, [signal.SIGKILL, signal.SIGTERM][number - 4])
    assert one.equal
    assert not one.traceback
    assert not one.orphans


def begun(folder: Path, *settings: str) -> int:
    """A long run's process, once its log has a line."""
    child = fork_command(["train", str(recipe_file(folder)), "train.steps=100000", *settings], folder / "said.txt")
    log = folder / "runs" / "run" / "metrics.jsonl"
    for _ in range(1200):
        if log.exists() and log.read_text().count("\n") > 2:
            return child
        time.sleep(0.05)
    raise AssertionError((folder / "said.txt").read_text())


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """The second says so and ends, whatever it wants to do there; the first goes on. Killed, it is in nobody's way."""
    first = begun(tmp_path)
    try:
        for wish in ("resume=true", "overwrite=true"):
            said = tmp_path / f"{wish}.txt"
            arguments = ["train", str(tmp_path / "recipe.yaml"), "train.steps=100000", wish]
            assert wait(fork_command(arguments, said)) == 2
            (line,) = said.read_text().splitlines()
            assert f"is being trained by process {first} on " in line
        assert of_session(first) == [first]
    finally:
        os.kill(first, signal.SIGKILL)
        wait(first)
    again = fork_command(["train", str(tmp_path / "recipe.yaml"), "resume=true"], tmp_path / "again.txt")
    assert wait(again) == 0, (tmp_path / "again.txt").read_text()
    assert not (tmp_path / "runs" / "run" / LOCK).exists()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGHUP]
)
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    child = begun(tmp_path, "train.workers=2")
    assert len(of_session(child)) == 3
    os.kill(child, number)
    assert wait(child) == (137 if number == signal.SIGKILL else 128 + number)
    assert orphans(child) == []
    if number != signal.SIGKILL:
        last = (tmp_path / "said.txt").read_text().splitlines()[-1]
        assert last.startswith(f"ssl4rl: stopped by {number.name} after step ")
        assert last.endswith(" of 100001; resume=true goes on from here")


def test_workers_heed_nobody_but_their_parent(tmp_path: Path) -> None:
    """A cluster signals every process of a job: the run finishes its step, and needs its workers for that."""
    child = begun(tmp_path, "train.workers=1")
    (worker,) = set(of_session(child)) - {child}
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(worker, number)
    time.sleep(0.3)
    assert {child, worker} <= set(of_session(child))  # an evaluation may have brought a worker of its own meanwhile
    os.kill(child, signal.SIGTERM)
    assert wait(child) == 143
    assert orphans(child) == []


def test_a_lock_is_one_processs(tmp_path: Path) -> None:
    """A refused run leaves no folder; a child that was forked meanwhile holds nothing."""
    folder = tmp_path / "deep" / "run"
    with locked(folder):
        with pytest.raises(Ssl4rlError, match=rf"is being trained by process {os.getpid()} on "), locked(folder):
            pass
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with locked(folder):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    (folder / LOCK).write_text("process 1 on a machine that is gone\n")
    with locked(folder):
        pass


def _fill_a_full_disk(done: Path) -> None:
    with whole_folder(done) as partial:
        (partial / "a.txt").write_text("two")
        Path("/dev/full").write_text("x")


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with whole_folder(done) as partial:
        (partial / "a.txt").write_text("one")
    assert damage(done) is None
    with pytest.raises(Ssl4rlError, match=f"cannot write '{done}': No space left on device; "):
        _fill_a_full_disk(done)
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
    assert (done / "a.txt").read_text() == "one"
    (done / "a.txt").write_text("two")
    assert damage(done) == "a.txt is not what was written"
    (done / "a.txt").unlink()
    assert damage(done) == "a.txt is missing"
    (done / SUMS).unlink()
    assert damage(done) is None
    assert damage(tmp_path / "none") == "none is missing"


def test_the_soak_sees_a_leak() -> None:
    flat = [soak.Sample(step, 400 + step % 7, 30, 2) for step in range(1000)]
    leaking = [soak.Sample(step, 400 + step / 4, 30, 2) for step in range(1000)]
    opening = [soak.Sample(step, 400, 30 + step // 100, 2) for step in range(1000)]
    grown = [soak.grows(soak.tenths(samples, 1000)) for samples in (flat, leaking, opening, flat[:5])]
    assert grown == [False, True, True, True]
