"""Audits every task at every level on its own data and on its content-free twin, and keeps what tells something.

    python benchmarks/audits.py [--n 500] [--seed 0] [--keys 0] [--data URI] [--json OUT] [--table] [TASK ...]

TASK as for strategies.py; without any, all that are installed. URI: other data than each task's own. Levels that OUT
holds at this n, seed, data and version of the task are passed over. A family is kept, with its best guess on the data
and on the twin, where it is a leak, a cue or allowed. With --keys K the answers are dealt anew K times, and every leak
that is then said is a false alarm; they are counted. Exits with 1 where a level leaks. One process, five seconds to a
minute a level, and as much for each key.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from strategies import MORE, SMALL, opened  # beside this file

from ssl4rl.core import registry
from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.audit.audit import Audit, audit_task, judge, twin_of
from ssl4rl.tools.audit.guess import Guess
from ssl4rl.tools.audit.records import records, reshuffled


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--data", metavar="URI", help="other data than each task's own")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", action="store_true", help="audit nothing, print what OUT holds as a table")
    chosen = parser.parse_args()
    kept: list[dict[str, Any]] = []
    if chosen.json and chosen.json.exists():
        kept = [json.loads(line.rstrip(",")) for line in chosen.json.read_text().splitlines()[1:-1]]
    if not chosen.table:
        for name, _, only in (task.partition("[") for task in chosen.tasks or registry.task_names()):
            task, _ = registry.resolve(name)
            for level in [only.rstrip("]")] if only else [*task.levels, *MORE.get(name, [])]:
                key = {"task": task.id, "level": level, "n": chosen.n, "seed": chosen.seed, "keys": chosen.keys}
                key |= {"data": chosen.data} if chosen.data else {}
                if any(key.items() <= ({"keys": 0} | row).items() for row in kept):
                    continue
                start = time.perf_counter()
                text = ",".join(part for part in (level, SMALL.get(name, "")) if part)
                split = opened(name, text, chosen.n, chosen.seed, chosen.data).components[0].split
                if chosen.keys:
                    dataset = TaskDataset([Component(task, task.level(text), split)], chosen.seed, chosen.n)
                    told = {"alarms": _alarms(dataset, chosen.keys)}
                else:
                    told = _told(audit_task(task, text, split, chosen.n, chosen.seed))
                kept.append({**key, **told, "seconds": round(time.perf_counter() - start, 1)})
                print(_line(kept[-1]), flush=True)
                if chosen.json:
                    chosen.json.write_text("[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n")
    else:
        print(_table(kept))
    return 1 if any(row.get("leaks") for row in kept) else 0


def _alarms(dataset: TaskDataset, keys: int) -> list[str]:
    """With so many answer keys of which nothing is left to guess: the families that are said to leak, by key."""
    twin = twin_of(dataset)
    sides = [records(dataset, list(dataset)), []]
    with suppress(Ssl4rlError):  # noise or chance may make no example of this task
        sides[1] = records(twin, list(twin)) if twin else []
    found = []
    for key in range(keys):
        rng = np.random.default_rng(key)
        leaks = judge(dataset, *(reshuffled(side, rng) for side in sides)).leaks
        found += [f"{key}: {', '.join(row.family for row in leaks)}"] if leaks else []
    return found


def _told(found: Audit) -> dict[str, Any]:
    return {
        "data": found.uri,
        "items": found.items,
        "twin": found.no_twin or "yes",
        "undecided": found.undecided,
        "leaks": len(found.leaks),
        "families": [
            {"family": row.family, "verdict": row.verdict, "data": _guess(row.data), "twin": _guess(row.twin)}
            for row in found.rows
            if row.verdict != "ok"
        ],
    }


def _guess(guess: Guess | None) -> dict[str, float] | None:
    return guess and {
        "accuracy": round(guess.accuracy, 4),
        "chance": round(guess.chance, 4),
        "p": float(f"{guess.p:.2g}"),
    }


def _line(row: dict[str, Any]) -> str:
    if "alarms" in row:
        return f"{row['task']}[{row['level']}] n {row['n']}: {len(row['alarms'])} alarms in {row['keys']} keys"
    told = [
        f"{one['family']} {one['verdict']} {_side(one['data'])}, twin {_side(one['twin'])}" for one in row["families"]
    ]
    twin = "" if row["twin"] == "yes" else f" (no twin: {row['twin']})"
    return f"{row['task']}[{row['level']}] n {row['n']}{twin}: {'; '.join(told) or 'nothing'}"


def _table(kept: list[dict[str, Any]]) -> str:
    """What docs/audit.md shows: a row a task, the families that tell something by verdict."""
    lines = ["| task | levels | what tells something |", "|---|---|---|"]
    for task in dict.fromkeys(row["task"] for row in kept):
        rows = [row for row in kept if row["task"] == task and "alarms" not in row]
        told: dict[str, list[str]] = {}
        for row in rows:
            for one in row["families"]:
                side = "on the twin " if one["verdict"] == "LEAK" and not one["data"] else ""
                figures = f"{side}{_side(one['data'] or one['twin'])}".replace("0.", ".")
                twin = f", twin {_side(one['twin'])}".replace("0.", ".") if one["verdict"] != "content cue" else ""
                told.setdefault(f"{one['verdict']}: {one['family']}", []).append(f"{row['level']} {figures}{twin}")
        undecided = [row["level"] for row in rows if row["undecided"]]
        parts = [f"{what} {', '.join(where)}" for what, where in told.items()]
        parts += [f"undecided: {', '.join(undecided)}"] if undecided else []
        levels = ", ".join(row["level"] for row in rows).replace("|", "\\|")
        lines.append(f"| {task.partition('@')[0]} | {levels} | {'; '.join(parts) or 'nothing'} |")
    return "\n".join(lines)


def _side(guess: dict[str, float] | None) -> str:
    return f"{guess['accuracy']:.3f} ({guess['chance']:.3f})" if guess else "-"


if __name__ == "__main__":
    sys.exit(main())
