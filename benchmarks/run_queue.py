"""Runs many recipes one after another, and goes on where it was stopped.

    python benchmarks/run_queue.py benchmarks/queues/evidence.yaml --out results/ [--jobs 1] [--only NAME ...]

The file is a list of runs: {name, recipe, set: [section.key=value, ...], eval: ["--task T -n 200", ...]}. A run that
has a summary.json is done and passed over; one that was interrupted is resumed from its last checkpoint; one that fails
is said and the next is begun. `eval` holds what `ssl4rl eval RUN --save` is asked after it, once each (RUN.evals).
Ctrl-C stops the run in progress at its step. At the end (and with --table alone) stands a table: held-out accuracy
before and after with 95 % intervals, chance, steps, minutes; --json keeps it, a line a run, with
curves and evaluations, and --keep what `ssl4rl report` reads of each run.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

EVAL = ("weights", "task", "level", "data", "split", "temperature", "accuracy", "ci95", "chance", "unparsed", "n")
"""What is told of an evaluation after a run."""


ROLLOUTS = 24
"""Steps of which rollouts are kept at most, evenly spaced (and the last)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--only", nargs="*", help="the beginnings of the names of the runs to do")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for what ssl4rl report reads of the runs")
    asked = parser.parse_args()
    runs = yaml.safe_load(asked.file.read_text())
    if asked.only:
        runs = [run for run in runs if run["name"].startswith(tuple(asked.only))]
    asked.out.mkdir(parents=True, exist_ok=True)
    failed = []
    if not asked.table:
        with ThreadPoolExecutor(asked.jobs) as pool:
            failed = [name for name in pool.map(lambda run: _run(run, asked.out), runs) if name]
    rows = [row for run in runs if (row := _row(run, asked.out))]
    _show(rows)
    if asked.json:
        asked.json.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    if asked.keep:
        for row in rows:
            _keep(row["name"], asked.out, asked.keep)
    return 1 if failed else 0


def _run(run: dict[str, Any], out: Path) -> str | None:
    """Its name where it failed."""
    name = run["name"]
    if not (out / name / "summary.json").exists() and _train(run, out):
        return name
    return name if any(_evaluate(name, asked, out) for asked in run.get("eval", [])) else None


def _train(run: dict[str, Any], out: Path) -> int:
    name = run["name"]
    more = ["resume=true"] if (out / name / "checkpoints").is_dir() else ["overwrite=true"]
    command = [sys.executable, "-m", "ssl4rl.cli", "train", run["recipe"], f"name={name}", f"out={out}"]
    print(f"{name} ...", flush=True)
    return _do(name, [*command, *run.get("set", []), *more], out)


def _evaluate(name: str, asked: str, out: Path) -> int:
    kept = out / f"{name}.evals"
    if kept.exists() and asked in kept.read_text().splitlines():
        return 0
    print(f"{name} {asked} ...", flush=True)
    command = [sys.executable, "-m", "ssl4rl.cli", "eval", str(out / name), "--save", *shlex.split(asked)]
    status = _do(name, command, out)
    if not status:
        with kept.open("a") as done:
            done.write(f"{asked}\n")
    return status


def _do(name: str, command: list[str], out: Path) -> int:
    with (out / f"{name}.log").open("a") as log:
        status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if status:
        print(f"{name}: exit {status}, see {out / name}.log", flush=True)
    return status


def _row(run: dict[str, Any], out: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((out / run["name"] / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    kept = {key: summary[key] for key in ("task", "steps", "seconds")}
    measured = {when: summary.get(when) for when in ("before", "after")}
    measured |= {"tasks": summary["tasks"]} if len(summary.get("tasks", ())) > 1 else {}
    log, evals = (_lines(out / run["name"] / f"{name}.jsonl") for name in ("metrics", "evals"))
    start = next((line["step"] for line in log if line["phase"] == "eval"), 0)
    curve = [[line["step"] - start, line["eval"]["accuracy"]] for line in log if line["phase"] == "eval"]
    told = [{key: line.get(key) for key in EVAL} for line in evals]
    return {
        "name": run["name"], "recipe": run["recipe"], "set": run.get("set", []), **kept, **measured, "curve": curve,
        "evals": told,
    }  # fmt: skip


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _keep(name: str, out: Path, folder: Path) -> None:
    """What `ssl4rl report` reads of a run and of its stages, without weights; of very many rollouts a part."""
    for part in (out / name, *sorted((out / name).glob("stages/*/"))):
        place = folder / part.relative_to(out)
        place.mkdir(parents=True, exist_ok=True)
        for file in ("recipe.yaml", "summary.json", "metrics.jsonl", "rollouts.jsonl", "evals.jsonl"):
            if (part / file).exists():
                shutil.copyfile(part / file, place / file)
        if (rollouts := place / "rollouts.jsonl").exists():
            lines = rollouts.read_text().splitlines(keepends=True)
            steps = sorted({json.loads(line)["step"] for line in lines})
            kept = {*steps[:: 1 + len(steps) // ROLLOUTS], *steps[-1:]}
            rollouts.write_text("".join(line for line in lines if json.loads(line)["step"] in kept))


def _show(rows: list[dict[str, Any]]) -> None:
    def said(measure: dict[str, Any] | None) -> str:
        if not measure:
            return "-"
        low, high = measure["ci95"]
        return f"{measure['accuracy']:.3f} ({low:.2f}-{high:.2f})"

    width = max([4, *(len(row["name"]) for row in rows)])
    print(f"{'run':{width}}  {'before':19}  {'after':19}  chance  unparsed  {'n':>4}  steps  minutes")
    for row in rows:
        after = row["after"] or row["before"] or {"chance": 0, "unparsed": 0, "n": 0}
        print(
            f"{row['name']:{width}}  {said(row['before']):19}  {said(row['after']):19}  {after['chance']:6.3f}  "
            f"{after['unparsed']:8.3f}  {after['n']:4}  {row['steps']:5}  {row['seconds'] / 60:7.1f}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
