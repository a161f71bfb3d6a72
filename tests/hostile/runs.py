"""Damage to a finished and to an unfinished run, and what every command that reads a run makes of it.

`python -m tests.hostile.runs [--only WORD]`: a line for each damage and command: what it went on from, or its one line.
An exception, or a run that goes on to other weights than an undisturbed one's, counts against us.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl4rl import cli
from ssl4rl.core.grpo.record.files import SUMS, write_sums
from ssl4rl.core.recipe.recipe import load_recipe
from tests.core.grpo.runs import run_until, weights
from tests.fakes import FAKES
from tests.hostile.results import keep
from tests.hostile.whole_runs import recipe_file

UNFINISHED_AFTER = 7  # of nine steps; checkpoints of steps 4 and 6 are there
STATES = ("finished", "unfinished")
COMMANDS = ("train", "report", "eval", "probe")
_RAN = "hurt-canary"


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("step_*"))


def every(folder: Path) -> list[Path]:
    return list((folder / "checkpoints").glob("step_*"))


def cut(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(path: Path, at: float = 0.7) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x10
    path.write_bytes(content)


def garble(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 7)


class _Bomb:
    """Whoever unpickles it without care makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ[_RAN],))


def other_state(value: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The newest state.pt replaced by somebody who knows about the checksums."""

    def apply(folder: Path) -> None:
        path = newest(folder)
        state = torch.load(path / "state.pt", weights_only=True)
        torch.save(value(state), path / "state.pt")
        write_sums(path)

    return apply


def _wrong_shapes(state: dict[str, Any]) -> dict[str, Any]:
    for one in state["optimizer"]["state"].values():
        one["exp_avg"] = torch.zeros(3)
    return state


def strays(folder: Path) -> None:
    """What people, backups and desktops leave."""
    inside, last = folder / "checkpoints", newest(folder)
    for name in ("step_000099 (copy)", "step_abc", "step_", "old", "tmp-checkpoint-7"):
        (inside / name).mkdir()
    for name in (".DS_Store", "step_000098", "notes.txt", ".step_000097.partial"):
        (inside / name).write_text("x")
    (last / "policy" / ".DS_Store").write_text("x")
    os.symlink("/nowhere/at/all", inside / "step_000096")


def line_lost(folder: Path) -> None:
    """The evaluation before GRPO."""
    log = folder / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"phase": "eval"' in line)
    log.write_text("".join(lines[:first] + lines[first + 1 :]))


def middle_garbled(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b'\xff\xfe{"step": \x00, "pha\n'
    lines.insert(1, b'{"step": "three", "phase": 4}\n[1, 2]\n"step"\n{"step": 1e999}\n{"step": -1, "phase": "train"}\n')
    log.write_bytes(b"".join(lines))


def in_final(name: str, how: Callable[[Path], None], sums: bool = True) -> Callable[[Path], None]:
    """Damage to a file of final/, or of the newest checkpoint's policy where there is none."""

    def apply(folder: Path) -> None:
        for place in (folder / "final", newest(folder) / "policy"):
            if (place / name).is_file():
                how(place / name)
                if not sums:
                    (place / SUMS).unlink(missing_ok=True)
                    (place.parent / SUMS).unlink(missing_ok=True)

    return apply


def replaced_by(how: Callable[[Path], Any], *names: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            how(path)

    return apply


def each(names: str, how: Callable[[Path], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for path in folder.glob(names):
            shutil.rmtree(path) if how is remove and path.is_dir() else how(path)

    return apply


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def damage_table() -> dict[str, Callable[[Path], None]]:
    """Every damage by name."""
    deep = "[" * 100_000
    return {
        "nothing": lambda folder: None,
        "state.pt missing": lambda folder: remove(newest(folder) / "state.pt"),
        "state.pt cut short": lambda folder: cut(newest(folder) / "state.pt"),
        "state.pt empty": lambda folder: cut(newest(folder) / "state.pt", 0),
        "state.pt one bit": lambda folder: flip(newest(folder) / "state.pt"),
        "state.pt garbled": lambda folder: garble(newest(folder) / "state.pt"),
        "state.pt runs code": other_state(lambda state: {**state, "unusable": _Bomb()}),
        "state.pt other shapes": other_state(_wrong_shapes),
        "state.pt another thing": other_state(lambda state: [1, 2]),
        "state.pt without optimizer": other_state(lambda state: {**state, "optimizer": {}}),
        "state.pt of another step": other_state(lambda state: {**state, "step": 3}),
        "weights cut short": lambda folder: cut(newest(folder) / "policy" / "model.safetensors"),
        "weights one bit": lambda folder: flip(newest(folder) / "policy" / "model.safetensors"),
        "policy missing": lambda folder: shutil.rmtree(newest(folder) / "policy"),
        "policy tokenizer.json garbled": lambda folder: garble(newest(folder) / "policy" / "tokenizer.json"),
        "checksums garbled": lambda folder: garble(newest(folder) / SUMS),
        "checksums a list": lambda folder: (newest(folder) / SUMS).write_text("[]") and None,
        "all states missing": lambda folder: [remove(path / "state.pt") for path in every(folder)] and None,
        "all checkpoints gone": lambda folder: [shutil.rmtree(path) for path in every(folder)] and None,
        "checkpoints a file": replaced_by(text("x"), "checkpoints"),
        "strays among checkpoints": strays,
        "empty step_999999": lambda folder: (folder / "checkpoints" / "step_999999").mkdir(),
        "a copy as step_000012": lambda folder: (
            shutil.copytree(newest(folder), folder / "checkpoints/step_000012") and None
        ),
        "metrics.jsonl cut short": lambda folder: cut(folder / "metrics.jsonl"),
        "metrics.jsonl garbled within": lambda folder: middle_garbled(folder / "metrics.jsonl"),
        "metrics.jsonl binary": lambda folder: garble(folder / "metrics.jsonl"),
        "metrics.jsonl nested deep": lambda folder: (folder / "metrics.jsonl").write_text(deep + "\n") and None,
        "metrics.jsonl missing": lambda folder: remove(folder / "metrics.jsonl"),
        "metrics.jsonl a folder": replaced_by(Path.mkdir, "metrics.jsonl"),
        "metrics.jsonl a pipe": replaced_by(os.mkfifo, "metrics.jsonl"),
        "first evaluation lost": line_lost,
        "rollouts.jsonl binary": lambda folder: garble(folder / "rollouts.jsonl"),
        "rollouts.jsonl garbled within": lambda folder: middle_garbled(folder / "rollouts.jsonl"),
        "rollouts.jsonl missing": lambda folder: remove(folder / "rollouts.jsonl"),
        "summary.json cut short": lambda folder: each("summary.json", cut)(folder),
        "summary.json binary": lambda folder: garble(folder / "summary.json"),
        "summary.json a list": lambda folder: text("[]")(folder / "summary.json"),
        "summary.json wrong kinds": lambda folder: text(
            '{"steps": "9", "seconds": null, "before": 3, "after": [], "tasks": 1, "unusable": 8, "task": 5, "data": 7}'
        )(folder / "summary.json"),
        "summary.json nested deep": lambda folder: text(deep)(folder / "summary.json"),
        "summary.json a pipe": replaced_by(os.mkfifo, "summary.json"),
        "summary.json missing": lambda folder: remove(folder / "summary.json"),
        "recipe.yaml cut short": lambda folder: cut(folder / "recipe.yaml", 0.5),
        "recipe.yaml binary": lambda folder: garble(folder / "recipe.yaml"),
        "recipe.yaml empty": lambda folder: text("")(folder / "recipe.yaml"),
        "recipe.yaml nested deep": lambda folder: text("[" * 5000)(folder / "recipe.yaml"),
        "recipe.yaml impossible date": lambda folder: text("name: 2024-99-99\n")(folder / "recipe.yaml"),
        "recipe.yaml other values": lambda folder: text("{name: 3, model: [], train: x, warmup: {steps: -4}}\n")(
            folder / "recipe.yaml"
        ),
        "recipe.yaml missing": lambda folder: remove(folder / "recipe.yaml"),
        "final missing": lambda folder: shutil.rmtree(folder / "final", ignore_errors=True),
        "final weights cut short": in_final("model.safetensors", cut),
        "final config.json garbled": in_final("config.json", garble),
        "final tokenizer.json garbled": in_final("tokenizer.json", garble),
        "the same without checksums": in_final("tokenizer.json", garble, sums=False),
        "config.json, no checksums": in_final("config.json", garble, sums=False),
        "evals.jsonl garbled": lambda folder: garble(folder / "evals.jsonl"),
        "everything cut in half": lambda folder: [cut(p, 0.5) for p in folder.rglob("*") if p.is_file()] and None,
    }


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@dataclass(frozen=True)
class Outcome:
    """What a command made of it. `fault`: why it counts against us; "" if it does not."""

    damage: str
    state: str
    command: str
    said: str
    fault: str


def command(name: str, recipe: Path, folder: Path) -> list[str]:
    """The command line; `folder` lies in the recipe's `out`."""
    task = ["--task", f"{FAKES}:letter", "--level", "easy", "--data", "many:40", "-n", "4"]
    return {
        "train": ["train", str(recipe), f"out={folder.parent}", "resume=true"],
        "report": ["report", str(folder)],
        "eval": ["eval", str(folder), *task],
        "probe": ["probe", str(folder), *task, "--group", "2"],
    }[name]


def attempt(arguments: list[str]) -> tuple[int | None, str, str]:
    """Runs a command here: its status (None: it raised, and stderr then ends with what), stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            status: int | None = cli.run(arguments)
        except Exception as error:
            status = None
            err.write(f"{type(error).__name__}: {error}")
    return status, out.getvalue(), err.getvalue()


def judge(name: str, status: int | None, out: str, err: str) -> tuple[str, str]:
    """In a few words what was done, and what is wrong with that."""
    if status is None:
        return "", f"EXCEPTION {err.strip().splitlines()[-1][:150]}"
    if status == 2:
        lines = err.strip().splitlines()
        return err.strip(), "" if len(lines) == 1 and len(err) < 500 else f"{len(lines)} lines, {len(err)} characters"
    if status != 0:
        return err.strip(), f"status {status}"
    lines = out.splitlines()
    if name == "train":
        notes = [line.partition(": ")[2] for line in lines if line.startswith(str(Path("/"))) and "/run: " in line]
        went = [line.rpartition("after ")[2] for line in lines if line.startswith("resuming ")]
        done = "finished" if any("nothing to resume" in line for line in lines) else "began anew"
        return "; ".join([f"went on from {went[0]}" if went else done, *notes]), ""
    return "; ".join(["done", *err.strip().splitlines()]), ""


def prepared(root: Path) -> tuple[Path, dict[str, Path]]:
    """The recipe, and the folders of a finished and an unfinished run of it."""
    file = recipe_file(root)
    recipe = load_recipe(file, [f"out={root / 'finished'}"])
    with contextlib.redirect_stderr(io.StringIO()):
        status, _, err = attempt(["train", str(file), f"out={root / 'finished'}"])
        assert status == 0, err
        stopped = recipe.model_copy(update={"out": str(root / "unfinished")})
        run_until(stopped, UNFINISHED_AFTER, pytest.MonkeyPatch())
    return file, {"finished": recipe.folder, "unfinished": stopped.folder}


def try_damage(
    name: str,
    apply: Callable[[Path], None],
    file: Path,
    runs: dict[str, Path],
    root: Path,
    states: Sequence[str] = STATES,
    commands: Sequence[str] = COMMANDS,
) -> list[Outcome]:
    """Every command on a fresh copy of each damaged run."""
    found = []
    straight = weights(runs["finished"] / "final")
    for state in states:
        for one in commands:
            folder = root / "copy" / "run"
            shutil.rmtree(folder.parent, ignore_errors=True)
            shutil.copytree(runs[state], folder, symlinks=True)
            canary = root / "canary"
            os.environ[_RAN] = str(canary)
            apply(folder)
            status, out, err = attempt(command(one, file, folder))
            said, fault = judge(one, status, out, err)
            if canary.exists():
                canary.rmdir()
                fault = "CODE OF THE CHECKPOINT WAS RUN"
            if one == "train" and status == 0 and not fault:
                ended = weights(folder / "final")
                if ended.keys() != straight.keys() or not all(torch.equal(ended[k], straight[k]) for k in straight):
                    fault = "OTHER WEIGHTS"
            found.append(Outcome(name, state, one, said.replace(str(folder), "RUN").replace(str(root), ""), fault))
    return found


def full_disks(file: Path, root: Path) -> list[Outcome]:
    """A new run on a disk that is full at once, in a log or a checkpoint, then with room; and places to keep off."""
    found = []
    straight = weights(root / "finished" / "run" / "final")
    for name, limit in (("disk full at once", 0), ("disk full in a log", 2_500), ("disk full in a checkpoint", 40_000)):
        folder = root / "full" / "run"
        shutil.rmtree(folder.parent, ignore_errors=True)
        arguments = ["train", str(file), f"out={folder.parent}"]
        with full_disk(limit):
            status, out, err = attempt(arguments)
        said, fault = judge("train", status, out, err)
        found.append(Outcome(name, "new", "train", said, fault or ("" if status == 2 else f"status {status}")))
        partial = [str(path) for path in folder.rglob("*.partial")]
        status, out, err = attempt([*arguments, "resume=true"])
        said, fault = judge("train", status, out, err)
        ended = weights(folder / "final")
        if not fault and not all(torch.equal(ended[k], straight[k]) for k in straight):
            fault = "OTHER WEIGHTS"
        found.append(Outcome(f"{name}, then room", "new", "train", said, fault or "; ".join(partial)))
    for name, out_folder in (("read-only file system", "/proc/runs"), ("a file in the way", str(file))):
        status, out, err = attempt(["train", str(file), f"out={out_folder}"])
        said, fault = judge("train", status, out, err)
        found.append(Outcome(name, "new", "train", said, fault or ("" if status == 2 else f"status {status}")))
    return [replace(one, said=one.said.replace(str(root), "ROOT")) for one in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="damages whose name holds this")
    parser.add_argument("--json", type=Path, help="a file that keeps the figures of all hostile scripts")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="hurt"))
    file, runs = prepared(root)
    found: list[Outcome] = []
    for name, apply in damage_table().items():
        if options.only in name:
            found += _shown(try_damage(name, apply, file, runs, root))
    if options.only in "disk full":
        found += _shown(full_disks(file, root))
    faults = [one for one in found if one.fault]
    counts = {
        "damages": len({one.damage for one in found}),
        "attempts": len(found),
        "exceptions": sum("EXCEPTION" in one.fault for one in faults),
        "other_faults": sum("EXCEPTION" not in one.fault for one in faults),
    }
    print(
        "{damages} damages, {attempts} attempts: exceptions {exceptions}, other faults {other_faults}".format(**counts)
    )
    keep(options.json, "runs", {**counts, "outcomes": [asdict(one) for one in found]})
    shutil.rmtree(root)
    return 1 if faults else 0


def _shown(outcomes: list[Outcome]) -> list[Outcome]:
    for one in outcomes:
        print(f"{one.damage:30} {one.state:10} {one.command:6} {one.fault or 'ok':4} {one.said[:230]}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
