"""What content-free strategies earn on every task and level, against what the verifier expects of guessing.

    python benchmarks/strategies.py [--n 2500] [--seed 0] [--json OUT] [TASK ...]

TASK is "graph/hops" or, for one level, "graph/hops[tiny]"; without any, all tasks of pictures and graphs. Of each level
the strategy that earns most beyond `expected` (`ssl4rl.tools.audit.strategies`) is printed, with whether its family is
named in the task's `cues`. Pictures are made small: a strategy sees little of them. One process; graph tasks take about
a minute a level.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.source import Source, Split
from ssl4rl.tools.audit.audit import cues_at
from ssl4rl.tools.audit.strategies import measure

SMALL = {
    "vision/rotation": "image_px=48",
    "vision/jigsaw": "image_px=72",
    "vision/position": "image_px=64,piece_px=32",
    "vision/contrastive": "view_px=48",
    "vision/masked_patch": "image_px=64,patch_px=32",
    "vision/similarity": "view_px=48",
    "vision/flipped": "image_px=64",
    "vision/difference": "image_px=64",
    "vision/correspondence": "image_px=48",
    "vision/depth_order": "image_px=48",
}

MORE = {
    "vision/jigsaw": ["2x2,ask=pair", "3x3,ask=pair,form=picture"],
    "video/arrow": ["easy,shown=video"],
    "video/next": ["easy,shown=video"],
}
"""Level texts beside a task's levels, for what none of them asks."""


class Kept(Source[Any]):
    """A source of few pictures, each decoded once for each size that is asked for."""

    def __init__(self, source: Source[Any]) -> None:
        self.uri, self.source = source.uri, source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return KeptPhoto(self.source[index])

    def id(self, index: int) -> str:
        return self.source.id(index)


@dataclass(frozen=True)
class KeptPhoto:
    photo: Any

    @lru_cache(maxsize=256)  # noqa: B019 - the photos live as long as the process
    def decode(self, min_side_px: int) -> Any:
        return self.photo.decode(min_side_px)


def opened(name: str, level: str, n: int, seed: int, uri: str | None = None) -> TaskDataset:
    """The task's own data, or what lies at `uri`; the embedded photographs are kept."""
    data = ssl4rl.create_dataset(name, uri, level=level, size=n, seed=seed, split="all")
    if data.components[0].split.source.uri != "sample:":
        return data
    component = data.components[0]
    kept = Component(component.task, component.level, Split(Kept(component.split.source), "all"))
    return TaskDataset([kept], seed=seed, size=n)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--n", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    names = chosen.tasks or [name for name in registry.task_names() if name.partition("/")[0] in ("vision", "graph")]
    results = []
    for name, _, only in (task.partition("[") for task in names):
        task, _ = registry.resolve(name)
        for level in [only.rstrip("]")] if only else [*task.levels, *MORE.get(name, [])]:
            start = time.perf_counter()
            text = ",".join(part for part in (level, SMALL.get(name, "")) if part)
            data = opened(name, text, chosen.n, chosen.seed)
            found = measure(data.components[0].verifier, [example.spread() for example in data])
            results.append({"task": task.id, "level": level, "n": chosen.n, "strategies": [asdict(f) for f in found]})
            results[-1]["seconds"] = round(time.perf_counter() - start, 1)
            best = min(found, key=lambda one: one.p, default=None)
            told = "nothing to try"
            if best:
                told = (
                    f"{best.strategy}: {best.reward:.3f} ({best.low:.3f}-{best.high:.3f}), expected {best.expected:.3f}"
                )
                told += f", p {best.p:.1g}{', named in cues' if best.family in cues_at(task.cues, level) else ''}"
            print(f"{task.id}[{level}]  {told}", flush=True)
            if chosen.json:
                chosen.json.write_text(
                    json.dumps({"python": sys.version.split()[0], "results": results}, indent=1) + "\n"
                )


if __name__ == "__main__":
    main()
