"""`ssl4rl export` as a person meets it: what it prints, JSON, one line where they can mend it, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl4rl import cli

HOPS = ["export", "graph/hops", "--format", "swift", "--level", "tiny", "-n", "6", "--n-held-out", "2"]


def test_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*HOPS, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("swift: rows 6 train in 1, 2 held_out in 1 files; 2 written (8 rows, ")
    assert "NPROC_PER_NODE=8 swift rlhf --rlhf_type grpo" in told.out
    assert told.err == ""
    assert cli.run([*HOPS, "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["written"], found["kept"]) == ({"train": 6, "held_out": 2}, 0, 2)
    assert found["mixture"][0]["share"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["export", "graph/hops", "--format", "versl", "--out", "x"], "unknown format 'versl'; did you mean 'verl'?"),
        (["export", "graph/hops", "--out", "x"], "ssl4rl export: missing option '--format'"),
        (["export", "graph/hops", "--format", "verl"], "ssl4rl export: missing option '--out'"),
        (["export", "graph/hop", "--format", "verl", "--out", "x"], "unknown task or recipe 'graph/hop'; did you "),
        ([*HOPS, "--out", "/proc/no/x"], "cannot make '/proc/no/x': No such file or directory"),
        ([*HOPS, "--out", "x", "-n", "0"], "ssl4rl export: invalid value for '-n': 0 is not in the range x>=1"),
        ([*HOPS, "--engine", "ray", "--out", "x"], "ray is not installed, which engine ray needs; pip install "),
        ([*HOPS, "promt.style=answer", "--out", "x"], "unknown key 'promt'; did you mean 'prompt'?"),
    ],
)
def test_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_ctrl_c_and_on(tmp_path: Path) -> None:
    """Stopped when the first file is there; the same command then writes the rest alone."""
    files = 4_000
    command = [sys.executable, "-m", "ssl4rl", "export", "graph/hops", "--format", "swift"]
    command += [
        "--out",
        str(tmp_path / "out"),
        "-n",
        str(files),
        "--n-held-out",
        "0",
        "--shard-rows",
        "1",
        "--level",
        "tiny",
    ]
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ,
        # a shell's background job, which this may be, is born deaf to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(tmp_path.glob("out/train/*")):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.startswith("ssl4rl: stopped with ")
    assert told.endswith("; the same command goes on\n")
    there = sorted(file.name for file in (tmp_path / "out" / "train").iterdir())
    assert 0 < len(there) < files
    assert told.startswith(f"ssl4rl: stopped with {len(there)} of {files} rows in finished files")
    assert not (tmp_path / "out" / ".unfinished").exists()
