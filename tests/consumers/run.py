"""`make test-consumers`: each consumer's own code loads our folder and pays 200 replies what `score_answer` pays.

    python -m tests.consumers.run [NAME ...]

Environments are made under build/consumers on the first call (about 3 GB, a quarter of an hour). Prints a table and
writes it to build/consumers/table.md; exits 1 if a consumer fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.consumers.environments import python_of, wheel_of
from tests.consumers.make import REPLIES, ROWS, make

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "consumers"


@dataclass(frozen=True)
class Consumer:
    """Its environment, the split and kind of rows it is given, and its check's module."""

    environment: str
    split: str = "train"
    kind: str = "pictures"
    check: str = ""
    format: str = ""


CONSUMERS = {
    "trl": Consumer("trl"),
    "verl": Consumer("verl"),
    "easyr1": Consumer("verl"),
    "swift": Consumer("swift"),
    "verifiers": Consumer("verifiers"),
    "reasoning-gym": Consumer("reasoning", kind="text"),
    "lmms-eval": Consumer("lmms", split="held_out"),
    "inspect": Consumer("inspect", split="held_out"),
    "ray": Consumer("ray", format="verl"),
}


def run(name: str, wheel: Path) -> dict[str, Any]:
    """One consumer's row of the table; `wrong` counts replies that were paid something else."""
    consumer = CONSUMERS[name]
    if name == "easyr1" and "EASYR1" not in os.environ:
        return {"consumer": name, "not_run": "EASYR1 names no checkout of it, and no registry has it"}
    python = python_of(consumer.environment, BUILD, wheel)
    folder, replies, paid, pictures = make(BUILD, consumer.format or name, consumer.split, consumer.kind)
    module = f"tests.consumers.check_{name.replace('-', '_')}"
    began = time.monotonic()
    home = {name: str(BUILD / "home") for name in ("HOME", "HF_HOME", "TMPDIR")}
    (BUILD / "home").mkdir(exist_ok=True)
    given = {**os.environ, **home, "HF_HUB_OFFLINE": "1", "USE_HF": "1", "OMP_NUM_THREADS": "1"}
    given["PYTHONPATH"] = str(BUILD / "tests_alone")  # the checks, and not this tree's ssl4rl: the wheel's is tried
    done = subprocess.run(
        [str(python), "-m", module, str(folder), str(replies)], env=given, capture_output=True, text=True, cwd=BUILD
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    if line is None:
        return {"consumer": name, "failed": (done.stderr or done.stdout).strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(line.removeprefix("FOUND "))
    rewards = found.pop("rewards")
    expected = [] if name == "ray" else paid
    wrong = sum(abs(a - b) > 1e-6 for a, b in zip(rewards, expected, strict=True))
    lost = found["rows"] != ROWS or (name != "ray" and found["pictures"] != pictures)
    seconds = round(time.monotonic() - began, 1)
    return {"consumer": name, **found, "paid": len(rewards), "wrong": wrong, "lost": lost, "seconds": seconds}


def main() -> int:
    names = sys.argv[1:] or list(CONSUMERS)
    BUILD.mkdir(parents=True, exist_ok=True)
    alone = BUILD / "tests_alone" / "tests"
    alone.parent.mkdir(exist_ok=True)
    if not alone.exists():
        alone.symlink_to(ROOT / "tests")
    wheel = wheel_of(BUILD)
    rows = []
    for name in names:
        rows.append(run(name, wheel))
        print(json.dumps(rows[-1]), flush=True)
    lines = ["| consumer | version | what ran | rows in = out | pictures | replies paid alike | s |", "|" + "---|" * 7]
    for row in rows:
        if "release" in row:
            alike = f"{row['paid'] - row['wrong']} of {row['paid']}" if row["paid"] else "-"
            out = f"{ROWS} = {row['rows']}"
            cells = [row["consumer"], row["release"], row["ran"], out, row["pictures"], alike, row["seconds"]]
        else:
            cells = [row["consumer"], "-", f"not run: {row.get('not_run') or row['failed']}", "-", "-", "-", "-"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    (BUILD / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), f"\n{ROWS} rows, {REPLIES} replies to each")
    return int(any("failed" in row or row.get("wrong") or row.get("lost") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
