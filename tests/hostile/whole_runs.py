"""Whole runs for the hostile tests: a tiny recipe in a file, and processes that can be killed without paying for
another import of torch."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from ssl4rl import cli
from tests.core.grpo.runs import recipe

torch.set_num_threads(1)
_AHEAD = (
    *("ssl4rl.core.grpo.native", "ssl4rl.embedded.models", "ssl4rl.tools.report.report", "ssl4rl.tools.report.text"),
    *("transformers.models.llama.modeling_llama", "torch._dynamo", "matplotlib.figure", "jinja2", "tqdm"),
    "matplotlib.backends.backend_agg",
)


def import_ahead() -> None:
    """What a run imports, so that the processes forked from here need not."""
    for name in _AHEAD:
        importlib.import_module(name)


def recipe_file(folder: Path, **sections: Any) -> Path:
    """A tiny run that reads text, as the graph quickstart does: one step of warm-up, then a few of GRPO.

    It rehearses, so that every step moves the weights.
    """
    made = recipe(
        folder / "runs",
        **{
            "path": "embedded:tiny_llama",
            "text": True,
            "warmup": {
                "steps": 1,
                "prompts_per_step": 4,
                "rehearsal": 0.2,
            },
            "train": {"steps": 8, "checkpoint_every": 2, "keep_checkpoints": 2, "log_rollouts": 1, "threads": 1},
            "eval": {"n": 8, "every": 4, "n_during": 4},
            **sections,
        },
    )
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(made.dump()))
    return file


def fork_command(arguments: Sequence[str], said: Path) -> int:
    """`ssl4rl ARGUMENTS` in a process of its own session; returns its id. What it says goes to the file `said`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = cli.run(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def status_of(child: int) -> int | None:
    """The exit status as a shell tells it; None while it runs. Not to be asked again once it has ended."""
    done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def wait(child: int, limit_s: float = 300.0) -> int:
    """Its exit status; a process that outlives the limit is killed and raises."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if (status := status_of(child)) is not None:
            return status
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} ran longer than {limit_s} s")


def of_session(leader: int) -> list[int]:
    """Processes that are alive in the session that `leader` began."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def orphans(leader: int, patience_s: float = 5.0) -> list[int]:
    """Those of a session whose leader is gone that are still there after a while."""
    end = time.monotonic() + patience_s
    while (left := of_session(leader)) and time.monotonic() < end:
        time.sleep(0.05)
    return left
