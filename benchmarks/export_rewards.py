"""What an exported row's reward costs: `ssl4rl.score(reply, info)` beside `TaskDataset.score_answer(reply, example)`.

    python benchmarks/export_rewards.py

For every task at its first level: microseconds of this thread a call (the least of the rounds' means), over the same
replies. An info as a mapping, and as the JSON text that most consumers' columns hold. Then, in processes of their own,
the peak memory of exporting 100 and 10,000 rows: what is held does not grow with what is written. Pictures are small
ones, made for it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.task import keyed_rng

RESULTS = Path(__file__).parent / "results" / "export_rewards.json"
ROWS, CALLS = 4, 100
_EXPORT = (
    "import resource, sys\n"
    "from ssl4rl.export.write import export\n"
    "export(sys.argv[1], format=sys.argv[2], n=int(sys.argv[3]), n_held_out=0, out=sys.argv[4],"
    " level=sys.argv[5] or None, data=sys.argv[6] or None)\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def microseconds(call: Callable[[], object], rounds: int) -> float:
    """A call's mean in its quickest round."""
    call()
    found = []
    for _ in range(rounds):
        began = time.thread_time()  # other processes' share of the machine does not count
        for _ in range(CALLS):
            call()
        found.append((time.thread_time() - began) / CALLS)
    return 1e6 * min(found)


def rewards(rounds: int) -> list[dict[str, Any]]:
    found = []
    for name in registry.task_names():
        data = ssl4rl.create_dataset(name, size=ROWS, split="all")
        times = []
        for example, row in zip(data, ssl4rl.rows(data), strict=True):
            reply = data.component_of(example).verifier.complete(example.answer)
            info, text = row["info"], json.dumps(row["info"])
            calls: list[Callable[[], object]] = [
                lambda e=example, r=reply, d=data: d.score_answer(r, e),
                lambda i=info, r=reply: ssl4rl.score(r, i),
                lambda i=text, r=reply: ssl4rl.score(r, i),
            ]
            times.append([microseconds(call, rounds) for call in calls])
        means = [sum(column) / len(column) for column in zip(*times, strict=True)]
        names = ("score_answer_us", "score_us", "score_of_text_us")
        found.append({"task": name, **{n: round(value, 1) for n, value in zip(names, means, strict=True)}})
    return found


def small_pictures(folder: Path) -> str:
    """A folder of 100 pictures of noise, 96 px."""
    rng = keyed_rng("small pictures")
    for at in range(100):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{at}.png")
    return str(folder)


def peak_mib(task: str, level: str, format: str, rows: int, data: str = "") -> dict[str, Any]:
    """Of one export in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _EXPORT, task, format, str(rows), out, level, data],
            capture_output=True,
            text=True,
            check=True,
        )
        written = sum(file.stat().st_size for file in Path(out).rglob("*") if file.is_file())
        seconds = round(time.monotonic() - began, 1)
    peak = round(int(done.stdout) / 1024, 1)
    case = {"task": task, "level": level, "format": format, "rows": rows}
    return {**case, "peak_mib": peak, "written_mib": round(written / 2**20, 1), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    result: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    result["rewards"] = rewards(asked.rounds)
    for row in result["rewards"]:
        print(row, flush=True)
    result["memory"] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = small_pictures(Path(folder))
        cases = [("vision/rotation", "90deg,image_px=56", "verl", pictures), ("graph/hops", "tiny", "swift", "")]
        for task, level, format, data in cases:
            for rows in (100, asked.rows):
                result["memory"].append(peak_mib(task, level, format, rows, data))
                print(result["memory"][-1], flush=True)
    asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
