"""The same data files by Ray Data, for sources that outgrow a machine: each file is an item, each worker opens the
source once. Files go to the export's folder, which all machines of the cluster see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.export.plan import Asked, with_files_absolute


class _Writer:
    """A worker's actor: opens the plan with its first file, and keeps it."""

    def __init__(self, asked: dict[str, Any], folder: str, kind: type, write: Callable[[Asked, str, Any], int]) -> None:
        self.asked, self.folder = Asked(**{**asked, "overrides": tuple(asked["overrides"])}), folder
        self.kind, self.write = kind, write

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            self.write(self.asked, self.folder, self.kind(**item))
        except Ssl4rlError as error:
            return {**item, "error": str(error)}
        return {**item, "error": ""}


def write_all(
    asked: Asked, folder: Path, shards: Sequence[Any], write: Callable[[Asked, str, Any], int]
) -> Iterator[Any]:
    """Writes the data files by all CPUs of the cluster that Ray is connected to, or of this machine; gives each when
    it is finished, in whatever order. `write` writes one, in a worker.

    Raises:
        Ssl4rlError: a worker met what the user can mend.
    """
    if not shards:
        return
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = max(1, min(len(shards), int(ray.cluster_resources().get("CPU", 1))))
    items = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    kind = type(shards[0])
    arguments = (asdict(with_files_absolute(asked)), str(folder.resolve()), kind, write)
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
    done = items.map(_Writer, fn_constructor_args=arguments, compute=pool)
    for row in done.iter_rows():
        error = row.pop("error")
        if error:
            raise Ssl4rlError(error)
        yield kind(**row)
