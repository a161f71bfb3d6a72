"""Opens hundreds of hostile files, each in a child process: `python -m tests.hostile.files [--seed N] [--keep DIR]`.

A case passes when it ends with a source or with one `Ssl4rlError` on one line; its pictures or graphs are then used as
a task would. Counted: other exceptions, children that died, more than 20 s, more than 2 GB, and anything of the folder
`outside` that came in.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.source import content_id
from ssl4rl.core.types import Ssl4rlError, Unusable
from tests.hostile import containers, graphs, pictures
from tests.hostile.corpus import SECRET_WORD, Case, Corpus, load, secret_picture
from tests.hostile.results import keep

HANG_S = 20.0
"""Seconds of work, or of waiting for something else than a processor, so that a busy machine makes no faults."""
_LONGEST_S = 600.0
_LOOK_S = 0.25
MEMORY_MB = 2000.0
FAULTS = ("exception", "died", "hang", "memory", "escape")


@dataclass(frozen=True)
class Result:
    """What became of a case. `outcome` is "opened", "refused" or one of FAULTS; `seconds` of work, not the clock's."""

    case: Case
    outcome: str
    text: str
    seconds: float
    peak_mb: float


def make(root: Path, seed: int = 0) -> Corpus:
    """The whole corpus under `root`, the same for the same seed."""
    corpus = Corpus(root, seed)
    for maker in (pictures, containers, graphs):
        maker.make(corpus)
    corpus.save()
    return corpus


def use(case: Case) -> tuple[str, str]:
    """Open a case here and use a few of its items: (outcome, text)."""
    try:
        source = registry.open_source(case.uri, registry.plugins()[case.plugin])
        indices = sorted({0, len(source) // 2, len(source) - 1})
        text = f"{len(source)} items, {len(source.problems)} problems"
        if case.plugin == "vision":
            escaped = content_id(secret_picture()) in {source.id(index) for index in range(min(len(source), 1000))}
            for index in indices:
                try:
                    text += f" {source[index].decode(448).size}"
                except Unusable as unusable:
                    text += f" {str(unusable)[:200]}"
        else:
            shown = " ".join(f"{source.id(index)} {_columns(source[index])}" for index in indices)
            escaped = SECRET_WORD in shown
        return ("escape" if escaped else "opened"), text
    except Ssl4rlError as error:
        message = str(error)
        return ("exception", f"several lines: {message[:300]!r}") if "\n" in message else ("refused", message[:300])


def _columns(node: Any) -> str:
    """What a graph's node shows of its graph: the columns' first values."""
    columns = getattr(getattr(node, "graph", node), "columns", {})
    return repr({name: list(values[:2]) for name, values in columns.items()})[:2000]


def import_ahead() -> None:
    """What readers import when they are first used: seconds that every child would take again."""
    for plugin in registry.plugins().values():
        for opener in plugin.sources.values():
            registry.load(opener)
    for name in ("torch", "pyarrow.parquet", "pyarrow.compute", "datasets"):
        with suppress(ImportError):
            import_module(name)


def run(case: Case, address_space_gb: float = 9.0) -> Result:
    """Use a case in a forked child. The child may take `address_space_gb` at most, so that no machine is filled."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        _in_child(case, write_fd, address_space_gb)
    os.close(write_fd)
    received, hangs = _answer(child, read_fd)
    if hangs:
        os.kill(child, signal.SIGKILL)
    os.close(read_fd)
    _, _, usage = os.wait4(child, 0)
    seconds, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000
    try:
        outcome, text = json.loads(received)
    except ValueError:
        outcome, text = "died", "the child said nothing"
    if hangs or seconds > HANG_S:
        outcome = "hang"
    elif peak_mb > MEMORY_MB and outcome != "escape":
        outcome = "memory"
    return Result(case, outcome, text, seconds, peak_mb)


def _answer(child: int, read_fd: int) -> tuple[bytes, bool]:
    """What a child (not yet waited for) says, and whether it hangs: it works or waits for longer than HANG_S."""
    received, waited_s, start = b"", 0.0, time.monotonic()
    while waited_s < HANG_S and time.monotonic() - start < _LONGEST_S:
        if select.select([read_fd], [], [], _LOOK_S)[0]:
            piece = os.read(read_fd, 65536)
            if not piece:
                return received, False
            received += piece
        else:
            busy, worked_s = _work(child)
            waited_s += 0.0 if busy else _LOOK_S
            if worked_s > HANG_S:
                break
    return received, True


def _work(process: int) -> tuple[bool, float]:
    """Whether a thread of a process has work (it runs, could, or waits for a disk), and the seconds it took so far."""
    states, folder = [], Path(f"/proc/{process}")
    for thread in (folder / "task").iterdir():
        with suppress(OSError):  # it has just ended
            states.append(_fields(thread / "stat")[0])
    user, system = _fields(folder / "stat")[11:13]
    return bool({"R", "D"} & {*states}), (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _fields(stat: Path) -> list[str]:
    """What follows a process's name in its line of /proc, which may hold blanks itself."""
    return stat.read_text().rpartition(") ")[2].split()


def _in_child(case: Case, write_fd: int, address_space_gb: float) -> None:
    limit = int(address_space_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(int(2 * _LONGEST_S))  # should whoever waits for it be gone
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        answer = use(case)
    except BaseException as error:
        answer = ("exception", f"{type(error).__name__}: {str(error)[:200]}")
    os.write(write_fd, json.dumps(answer).encode())
    os._exit(0)


def report(results: Iterable[Result], slowest: int = 12) -> int:
    """Print counts, every fault and the dearest cases; the number of faults."""
    done = list(results)
    counts = Counter(result.outcome for result in done)
    for family in sorted({result.case.family for result in done}):
        ours = [result for result in done if result.case.family == family]
        found = ", ".join(f"{outcome} {count}" for outcome, count in Counter(r.outcome for r in ours).most_common())
        print(f"{family:10} {len(ours):5}  {found}")
    for result in sorted(done, key=lambda result: result.outcome):
        if result.outcome in FAULTS:
            print(f"FAULT {_line(result)}")
    for title, key in (("slowest", lambda r: r.seconds), ("largest", lambda r: r.peak_mb)):
        for result in sorted(done, key=key)[-slowest:]:
            print(f"{title} {_line(result)}")
    print(
        f"cases {len(done)}: " + ", ".join(f"{outcome} {counts[outcome]}" for outcome in ("opened", "refused", *FAULTS))
    )
    return sum(counts[outcome] for outcome in FAULTS)


def _line(result: Result) -> str:
    text = " ".join(result.text.split())[:160]
    case = result.case
    return f"{result.outcome:9} {case.family}-{case.name}: {result.seconds:.1f} s, {result.peak_mb:.0f} MB, {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the files are made and stay; used again when it is there")
    parser.add_argument("--only", default="", help="cases whose family-name contains this")
    parser.add_argument("--out", type=Path, help="a JSON line for each case")
    parser.add_argument("--json", type=Path, help="a file that keeps the figures of all hostile scripts")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="hostile-"))
    if not (folder / "cases.json").exists():
        made = multiprocessing.get_context("spawn").Process(target=make, args=(folder.resolve(), arguments.seed))
        made.start()  # elsewhere: bombs of gigabytes are put together, and children have what their parent has
        made.join()
    cases = [case for case in load(folder) if arguments.only in f"{case.family}-{case.name}"]
    import_ahead()
    results = []
    for case in cases:
        result = run(case)
        results.append(result)
        if arguments.out:
            with arguments.out.open("a") as file:
                record = (case.family, case.name, result.outcome, result.text, result.seconds, result.peak_mb)
                file.write(json.dumps(record) + "\n")
    faults = report(results)
    outcomes = Counter(result.outcome for result in results)
    largest, slowest = max(r.peak_mb for r in results), max(r.seconds for r in results)
    counts = {outcome: outcomes[outcome] for outcome in ("opened", "refused", *FAULTS)}
    keep(arguments.json, "files", {"cases": len(results), **counts, "largest_mb": largest, "slowest_s": slowest})
    if arguments.keep is None:
        shutil.rmtree(folder)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
