"""Ray: `ssl4rl export --engine ray` on a local Ray of two CPUs writes the files that `--engine local` writes, and a
second call keeps them all. No replies are paid here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    os.environ["RAY_AUTH_MODE"] = "disabled"  # or it writes a token into the home folder
    import pyarrow.parquet as pq
    import ray

    from ssl4rl.export.write import export

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    recipe = str(folder.parent.parent / "pictures.yaml")
    beside = folder.with_name("ray")
    shutil.rmtree(beside, ignore_errors=True)
    first = export(recipe, format="verl", out=beside, n=25, shard_rows=10, engine="ray")
    again = export(recipe, format="verl", out=beside, n=25, shard_rows=10, engine="ray")
    assert (first.written, again.written, again.kept) == (23, 0, 23)
    files = sorted(folder.rglob("*.parquet"))
    assert len(files) == 23
    rows = 0
    for file in files:
        table = pq.read_table(beside / file.relative_to(folder))
        assert table.equals(pq.read_table(file)), file
        rows += table.num_rows if file.parent.name == "train" else 0
    return Ran("", "--engine ray on two CPUs: files equal to --engine local, kept by a second call", rows, 0, [])


if __name__ == "__main__":
    main("ray", check)
