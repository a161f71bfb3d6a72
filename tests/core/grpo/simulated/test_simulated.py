"""Runs on the simulated device, in a process of their own: PyTorch counts devices at its first backward pass."""

import subprocess
import sys
from pathlib import Path

RUNS = Path(__file__).with_name("whole_runs.py")


def test_runs_on_a_gpu_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(RUNS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert done.stdout.count(".") >= 8  # none was passed over
