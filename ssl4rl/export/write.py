"""From a plan to a folder: data files that appear whole or not at all, so that a stopped export goes on; a reward file;
a README with the consumer's launch line.

    DIR/train/train-00000-of-00004.parquet ...  DIR/held_out/...  reward.py  README.md  export.json

A shard is a function of the plan and its number, so any process may write any, in any order, on any machine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl4rl.core.types import Ssl4rlError, nearest, shortened
from ssl4rl.export.plan import Asked, Plan, absolute, open_plan, share_of

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, README = "export.json", "README.md"
ENGINES = ("local", "ray")
_UNFINISHED = ".unfinished"
_ROWS_IN_MEMORY = 64  # a parquet row group; what is held of the export at once


@dataclass(frozen=True)
class Shard:
    """One data file: rows `start` to `stop` of the part `split`."""

    split: str
    number: int
    of: int
    start: int
    stop: int
    suffix: str

    @property
    def place(self) -> Path:
        """In the folder."""
        return Path(self.split) / f"{self.split}-{self.number:05d}-of-{self.of:05d}.{self.suffix}"


@dataclass
class Exported:
    """A folder that is written, or this process's share of it.

    `rows`, `shards`: by split, all that there will be; `written`, `kept`: data files of this call, and those that lay
    there finished. `rows_written`, `mib`: of this call's files.
    """

    folder: Path
    format: str
    rows: Mapping[str, int]
    shards: Mapping[str, int]
    launch: str
    written: int = 0
    kept: int = 0
    rows_written: int = 0
    mib: float = 0.0
    seconds: float = 0.0
    mixture: Sequence[tuple[str, float, str]] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "format": self.format,
            "rows": dict(self.rows),
            "shards": dict(self.shards),
            "written": self.written,
            "kept": self.kept,
            "rows_written": self.rows_written,
            "mib": round(self.mib, 3),
            "seconds": round(self.seconds, 3),
            "mixture": [{"task": name, "share": round(share, 6), "data": uri} for name, share, uri in self.mixture],
        }

    def __str__(self) -> str:
        parts = ", ".join(f"{n} {split} in {self.shards[split]}" for split, n in self.rows.items())
        kept = f", {self.kept} were there" if self.kept else ""
        lines = [
            f"{self.format}: rows {parts} files; {self.written} written{kept} "
            f"({self.rows_written} rows, {self.mib:.1f} MiB, {self.seconds:.1f} s)",
            *(f"  {share:6.1%}  {name}" for name, share, _ in self.mixture if len(self.mixture) > 1),
            f"{self.folder / README} has the launch line:",
            *(f"  {line}" for line in self.launch.splitlines()),
        ]
        return "\n".join(lines)


def export(
    what: str,
    *,
    format: str,  # the command's word
    out: str | os.PathLike[str],
    shard: str | None = None,
    engine: str = "local",
    progress: Callable[[int, int], None] = lambda done, rows: None,
    **asked: Any,
) -> Exported:
    """Writes a task's or a recipe's examples for another trainer or harness (`ssl4rl export`).

    Args:
        what: a task, "vision/rotation" or "./my.py:TASKS", or a recipe's name or file.
        format: the consumer: trl, verl, easyr1, swift, verifiers, reasoning-gym, lmms-eval, inspect.
        out: the folder; new, empty, or of an earlier call with the same settings, whose finished files are kept.
        shard: "i/n": write only the i-th (from 0) of n shares of the data files.
        engine: "local", this process; "ray", Ray Data (`on_ray.py`).
        progress: told the rows done and the rows to do of this call, now and then.
        asked: n, data, level, split, n_held_out, seed, only, shard_rows, overrides: see `plan.Asked`.

    Raises:
        Ssl4rlError: anything the caller can mend, before anything is written.
        KeyboardInterrupt: passed on, with a message; what is finished stays, and the same call goes on.
    """
    known = [name for name in Asked.__dataclass_fields__ if name not in ("what", "format")]
    unknown = next((name for name in asked if name not in known), None)
    if unknown is not None:
        raise Ssl4rlError(f"export takes no {unknown!r}{nearest(unknown, known)}")
    if engine not in ENGINES:
        raise Ssl4rlError(f"unknown engine {engine!r}{nearest(engine, ENGINES)}")
    if asked.get("data") is not None:
        asked["data"] = os.fspath(asked["data"])
    began = time.monotonic()
    share = _share(shard)
    plan = open_plan(Asked(what, format, **asked))
    if plan.consumer.suffix == "parquet" and find_spec("pyarrow") is None:
        raise Ssl4rlError(f"{format} reads parquet, and pyarrow is not installed; pip install 'ssl4rl[export]'")
    if engine == "ray" and find_spec("ray") is None:
        raise Ssl4rlError("ray is not installed, which engine ray needs; pip install 'ray[data]'")
    folder = Path(out)
    shards = shards_of(plan)
    found = _open_folder(folder, plan, shards)
    mine = [one for at, one in enumerate(shards) if at % share[1] == share[0]]
    todo = [one for one in mine if not (folder / one.place).exists()]
    found.kept = len(mine) - len(todo)
    try:
        for done in _written(plan, folder, todo, engine, progress):
            found.written += 1
            found.rows_written += done.stop - done.start
            found.mib += (folder / done.place).stat().st_size / 2**20
    except KeyboardInterrupt:
        rows = [one.stop - one.start for one in todo]
        there = [n for n, one in zip(rows, todo, strict=True) if (folder / one.place).exists()]
        raise KeyboardInterrupt(
            f"stopped with {sum(there)} of {sum(rows)} rows in finished files of {str(folder)!r}; the same command "
            "goes on"
        ) from None
    found.seconds = time.monotonic() - began
    return found


def shards_of(plan: Plan) -> list[Shard]:
    """All data files of an export, in order."""
    found = []
    for split, data in plan.parts.items():
        rows, each = data.size or 0, plan.asked.shard_rows
        of = -(-rows // each)
        found += [Shard(split, k, of, k * each, min(rows, k * each + each), plan.consumer.suffix) for k in range(of)]
    return found


def _share(shard: str | None) -> tuple[int, int]:
    """(which, of how many) of "i/n"."""
    which, _, of = ("0/1" if shard is None else shard).partition("/")
    if not (which.isdecimal() and of.isdecimal() and int(which) < int(of)):
        raise Ssl4rlError(f"--shard {shard!r}; allowed: i/n with i from 0 to n-1, for instance 0/8 to 7/8")
    return int(which), int(of)


def _open_folder(folder: Path, plan: Plan, shards: Sequence[Shard]) -> Exported:
    """Makes the folder and all in it that is no data, or finds it made by the same settings."""
    files = {one.split: f"{one.split}/*.{one.suffix}" for one in shards}
    launch = plan.launch(files)
    beside = dict(plan.consumer.files(launch))
    identity = plan.identity()
    manifest = folder / MANIFEST
    if manifest.exists():
        _same(manifest, identity)
    elif folder.exists() and (not folder.is_dir() or any(p.name[0] != "." for p in folder.iterdir())):
        raise Ssl4rlError(f"{str(folder)!r} holds something else; name a new folder, or an export's to go on with it")
    rows = {split: data.size or 0 for split, data in plan.parts.items()}
    of = {one.split: one.of for one in shards}
    start = plan.consumer.launch(launch)
    found = Exported(folder, plan.consumer.name, rows, of, start, mixture=share_of(plan))
    beside[README] = readme(plan, found, beside, files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Ssl4rlError(f"cannot make {str(folder)!r}: {error.strerror}") from None
    if not manifest.exists():
        _put(manifest, json.dumps(identity, indent=1) + "\n")
    for name, text in beside.items():
        if not (folder / name).exists():  # a file that its owner changed stays
            _put(folder / name, text)
    return found


def _same(manifest: Path, identity: Mapping[str, Any]) -> None:
    """Raises Ssl4rlError where a folder was begun with other settings, naming the first that differs."""
    try:
        before = json.loads(manifest.read_text(encoding="utf-8"))
        assert isinstance(before, dict)
    except (OSError, ValueError, AssertionError):
        raise Ssl4rlError(f"{str(manifest)!r} is no export's; name another folder") from None
    now = json.loads(json.dumps(identity))
    other = next((name for name in now if before.get(name) != now[name]), None)
    if other is not None:
        old, new = (shortened(json.dumps(one.get(other)), 120) for one in (before, now))
        raise Ssl4rlError(
            f"{str(manifest.parent)!r} holds an export with other {other}: {old}, now {new}; name another folder"
        )


def readme(plan: Plan, found: Exported, beside: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The folder's README: what is in it, how it is launched, how rewards come about."""
    import jinja2

    from ssl4rl import __version__

    template = Path(__file__).with_name("readme.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        version=__version__,
        plan=plan,
        found=found,
        files=files,
        beside=sorted(beside),
        weights=plan.recipe.reward.model_dump(),
        own=[name for name in plan.recipe.reward.model_dump() if ".py:" in name]
        + sorted({absolute(c.named) for c in next(iter(plan.parts.values())).components if ".py:" in c.named}),
    )


def _written(
    plan: Plan, folder: Path, todo: Sequence[Shard], engine: str, progress: Callable[[int, int], None]
) -> Iterator[Shard]:
    """Writes shards, and gives each when it is finished."""
    rows, before = sum(one.stop - one.start for one in todo), 0
    if engine == "ray":
        from ssl4rl.export.on_ray import write_all

        for one in write_all(plan.asked, folder, todo, write_one):
            before += one.stop - one.start
            progress(before, rows)
            yield one
        return
    for one in todo:
        write_shard(plan, folder, one, partial(_further, progress, before, rows))
        before += one.stop - one.start
        yield one


def _further(progress: Callable[[int, int], None], before: int, rows: int, done: int) -> None:
    progress(before + done, rows)


def write_shard(plan: Plan, folder: Path, shard: Shard, progress: Callable[[int], None] = lambda done: None) -> None:
    """Writes one data file beside its place and then moves it there; what was begun of it is removed if it fails."""
    final = folder / shard.place
    begun = folder / _UNFINISHED / f"{final.name}.{os.getpid()}"
    final.parent.mkdir(parents=True, exist_ok=True)
    _begin(begun)
    records = plan.consumer.records(plan.parts[shard.split], shard.start, shard.stop, plan.system)
    try:
        if shard.suffix == "parquet":
            _parquet(begun, plan, records, progress)
        else:
            _jsonl(begun, records, progress)
        os.replace(begun, final)
    finally:
        begun.unlink(missing_ok=True)
        with suppress(OSError):  # other processes write there still
            begun.parent.rmdir()


def _begin(place: Path) -> None:
    """An empty file at a place, and its folder, which another process may just be taking away as empty."""
    while True:
        place.parent.mkdir(exist_ok=True)
        try:
            place.touch()
        except FileNotFoundError:
            continue
        return


def _jsonl(place: Path, records: Iterator[dict[str, Any]], progress: Callable[[int], None]) -> None:
    with place.open("w", encoding="utf-8") as out:
        for done, record in enumerate(records, 1):
            out.write(json.dumps(record) + "\n")
            progress(done)
        _settle(out)


def _parquet(place: Path, plan: Plan, records: Iterator[dict[str, Any]], progress: Callable[[int], None]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema, done = _schema(plan), 0
    with place.open("wb") as out:
        with parquet.ParquetWriter(out, schema) as writer:
            while batch := list(islice(records, _ROWS_IN_MEMORY)):
                writer.write_table(pa.Table.from_pylist(batch, schema))
                done += len(batch)
                progress(done)
        _settle(out)


def _settle(out: Any) -> None:
    """On the disk before it gets its name: a machine that loses power has no half file under it."""
    out.flush()
    os.fsync(out.fileno())


def _schema(plan: Plan) -> pa.Schema:
    """The columns of a plan's parquet files: those of the first row of each component, so that every shard has the
    same, with what `datasets` reads of pictures."""
    import pyarrow as pa

    from ssl4rl.core.dataset import TaskDataset

    data = next(iter(plan.parts.values()))
    firsts = [
        next(plan.consumer.records(TaskDataset([c], data.seed, 1, data.style), system=plan.system))
        for c in data.components
    ]
    schema = pa.unify_schemas([pa.Table.from_pylist([one]).schema for one in firsts])
    schema = pa.schema([(column.name, _without_null(column.type)) for column in schema])
    return _with_features(schema, plan.consumer.features)


def _without_null(kind: pa.DataType) -> pa.DataType:
    """The type with text where the first rows had nothing to tell a type by (a picture's path)."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _without_null(one.type)) for one in kind])
    return pa.list_(_without_null(kind.value_type)) if pa.types.is_list(kind) else kind


def _with_features(schema: pa.Schema, pictures: Sequence[str]) -> pa.Schema:
    """The schema with the metadata by which `datasets` gives pictures decoded."""
    if not pictures:
        return schema
    features = {
        name: {"feature": {"_type": "Image"}, "_type": "List"}
        if name in pictures
        else _feature(schema.field(name).type)
        for name in schema.names
    }
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    """An Arrow type in the words of `datasets`."""
    import pyarrow.types as t

    if t.is_struct(kind):
        return {one.name: _feature(one.type) for one in kind}
    if t.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _put(file: Path, text: str) -> None:
    """Writes a small file at once: of several processes each writes the same."""
    begun = file.with_name(f".{file.name}.{os.getpid()}")
    begun.write_text(text, encoding="utf-8")
    os.replace(begun, file)


@cache
def _opened(asked: Asked) -> Plan:
    return open_plan(asked)


def write_one(asked: Asked, folder: str, shard: Shard) -> int:
    """Writes one shard in another process, which keeps what it opened; rows written."""
    write_shard(_opened(replace(asked, overrides=tuple(asked.overrides))), Path(folder), shard)
    return shard.stop - shard.start
