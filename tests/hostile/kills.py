"""Runs killed at random moments and resumed: the same weights to the bit, and no process left.

`python -m tests.hostile.kills -n 50`
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.core.grpo.runs import same
from tests.hostile.results import keep
from tests.hostile.whole_runs import fork_command, import_ahead, orphans, recipe_file, wait

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Kill:
    """What came of one. `step`: the one that the resumed run went on from; 0 began anew, None had finished."""

    signal: signal.Signals
    group: bool
    workers: int
    after_s: float
    status: int
    step: int | None
    equal: bool
    traceback: bool
    orphans: int

    @property
    def good(self) -> bool:
        return self.equal and not self.traceback and not self.orphans


def undisturbed(folder: Path) -> tuple[Path, list[float]]:
    """A run's folder, and how many seconds it took without a worker and with one."""
    import_ahead()
    lengths_s = []
    for workers in (0, 1):
        started = time.monotonic()
        arguments = ["train", str(recipe_file(folder)), f"train.workers={workers}", "overwrite=true"]
        child = fork_command(arguments, folder / "said.txt")
        assert wait(child) == 0, (folder / "said.txt").read_text()
        lengths_s.append(time.monotonic() - started)
    return folder / "runs" / "run", lengths_s


def kill(folder: Path, number: int, straight: Path, lengths_s: list[float], seed: int) -> Kill:
    """Kill `number` of those that `seed` plans, of a new run in `folder`, and its resumption to the end."""
    rng = random.Random(f"{seed}/{number}")
    chosen, workers = SIGNALS[number % len(SIGNALS)], number // len(SIGNALS) % 2
    group = chosen != signal.SIGKILL and rng.random() < 0.5
    after_s = rng.uniform(0.02, lengths_s[workers])
    arguments = ["train", str(recipe_file(folder)), f"train.workers={workers}"]
    said = folder / "said.txt"
    child = fork_command(arguments, said)
    time.sleep(after_s)
    (os.killpg if group else os.kill)(child, chosen)
    status = wait(child)
    left = orphans(child)
    child = fork_command([*arguments, "resume=true"], folder / "resumed.txt")
    resumed_status = wait(child)
    left += orphans(child)
    text = (folder / "resumed.txt").read_text()
    told = [line for line in text.splitlines() if line.startswith("resuming ")]
    step = None if "is finished; nothing to resume" in text else int(told[0].split()[-1]) if told else 0
    equal = resumed_status == 0 and same(straight, folder / "runs" / "run")
    broken = "Traceback" in said.read_text() + text
    return Kill(chosen, group, workers, after_s, status, step, equal, broken, len(left))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a file that keeps the figures of all hostile scripts")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kills"))
    (root / "straight").mkdir()
    straight, lengths_s = undisturbed(root / "straight")
    print("undisturbed: " + ", ".join(f"{s:.1f} s with {workers} workers" for workers, s in enumerate(lengths_s)))
    found = []
    for number in range(options.n):
        folder = root / str(number)
        folder.mkdir()
        one = kill(folder, number, straight, lengths_s, options.seed)
        found.append(one)
        to = "group" if one.group else "process"
        went_on = "was finished" if one.step is None else f"went on from step {one.step}"
        verdict = "bit-equal" if one.equal else "DIFFERS"
        print(
            f"{number:3} {one.signal.name:7} to the {to:7} after {one.after_s:5.2f} s, workers {one.workers}: status "
            f"{one.status:3}, {went_on}, {verdict}, orphans {one.orphans}{', TRACEBACK' * one.traceback}",
            flush=True,
        )
        if one.good:
            shutil.rmtree(folder)
    bad = [one for one in found if not one.good]
    steps = Counter("finished" if one.step is None else one.step for one in found)
    print(
        f"{len(found)} kills ({', '.join(f'{n} {s.name}' for s, n in Counter(k.signal for k in found).items())}): "
        f"bit-equal {sum(k.equal for k in found)}, tracebacks {sum(k.traceback for k in found)}, orphans "
        f"{sum(k.orphans for k in found)}; went on from step: {dict(sorted(steps.items(), key=str))}"
    )
    counts = {
        "kills": len(found),
        "seed": options.seed,
        "bit_equal": sum(one.equal for one in found),
        "tracebacks": sum(one.traceback for one in found),
        "orphans": sum(one.orphans for one in found),
    }
    keep(options.json, "kills", {**counts, "each": [{**asdict(one), "signal": one.signal.name} for one in found]})
    if bad:
        print(f"left for a look: {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
