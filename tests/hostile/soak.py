"""A long run watched from outside: memory and open files of the run and of its worker must not grow.

`python -m tests.hostile.soak [--steps 2000]`
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.hostile.results import keep
from tests.hostile.whole_runs import fork_command, import_ahead, of_session, orphans, recipe_file, status_of

MOST_GROWTH = 1.10
"""Of the last tenth's median memory over that of the second tenth: the allocator settles for a while."""
SPARE_MIB = 16


@dataclass(frozen=True)
class Sample:
    """What all processes of the run hold together at one moment; `rss_mib` counts shared pages in each."""

    step: int
    rss_mib: float
    files: int
    processes: int


def watch(folder: Path, steps: int, every_s: float) -> tuple[list[Sample], int, int]:
    """A run of `steps` steps with a worker: samples, its exit status, and how many processes it left."""
    import_ahead()
    sections = {"train": {"steps": steps, "checkpoint_every": 50, "keep_checkpoints": 2, "workers": 1, "threads": 1}}
    evaluation = {"n": 8, "every": 50, "n_during": 4}
    arguments = ["train", str(recipe_file(folder, eval=evaluation, **sections))]
    child = fork_command(arguments, folder / "said.txt")
    samples: list[Sample] = []
    while (status := status_of(child)) is None:
        time.sleep(every_s)
        if (one := _look(child, folder / "runs" / "run" / "metrics.jsonl")) is not None:
            samples.append(one)
    return samples, status, len(orphans(child))


def _look(leader: int, log: Path) -> Sample | None:
    try:
        step = log.read_bytes().count(b'"phase": "train"')
        found = of_session(leader)
        pages = [int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) for pid in found]
        files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in found)
    except OSError:  # it has not begun, or one is just ending
        return None
    return Sample(step, sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20, files, len(found))


def tenths(samples: Sequence[Sample], steps: int) -> list[tuple[float, float]]:
    """Median (MiB, open files) of each tenth of the steps; a tenth without a sample is left out."""
    found = []
    for tenth in range(10):
        part = [s for s in samples if tenth * steps <= s.step * 10 < (tenth + 1) * steps]
        if part:
            found.append((median(s.rss_mib for s in part), median(s.files for s in part)))
    return found


def grows(parts: Sequence[tuple[float, float]]) -> bool:
    """Whether the last tenth holds more than the second."""
    if len(parts) < 3:
        return True  # too few to say that it does not
    (first_mib, first_files), (last_mib, last_files) = parts[1], parts[-1]
    return last_mib > max(first_mib * MOST_GROWTH, first_mib + SPARE_MIB) or last_files > first_files + 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="a file that keeps the figures of all hostile scripts")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    started = time.monotonic()
    samples, status, left = watch(folder, options.steps, every_s=0.5)
    parts = tenths(samples, options.steps)
    for number, (mib, files) in enumerate(parts, 1):
        print(f"tenth {number:2}: {mib:7.1f} MiB, {files:.0f} open files")
    bad = status != 0 or bool(left) or grows(parts)
    print(
        f"{options.steps} steps in {time.monotonic() - started:.0f} s, {len(samples)} samples: status {status}, "
        f"{'GROWS' if grows(parts) else 'flat'}, orphans {left}"
    )
    counts = {"steps": options.steps, "status": status, "grows": grows(parts), "orphans": left}
    keep(options.json, "soak", {**counts, "tenths_mib_files": parts})
    if bad:
        print(f"left for a look: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
