"""Time per example and memory against the size of a memory-mapped graph, from 1e3 to 1e7 edges.

    python benchmarks/graph_sampling.py [--rounds 7] [--examples 40] [--largest 7] [--keep FOLDER]

The graphs are of mean degree 20: stochastic blocks of 50 nodes, so that what lies around a node looks alike at any
size, under a Chung-Lu graph (Chung and Lu 2002) of power-law weights, so that the largest have hubs of thousands. They
are written as uncompressed .npz and opened through `npz:`. What is timed are an ego network with its induced subgraph,
and whole examples of tasks as a training run draws them. One process, one thread; the sizes take turns in every round,
the files are in the page cache, times are CPU time, and the medians over the rounds count. Memory is measured in a
process of its own for each size: what is resident beyond the mapped file (RssAnon), its highest value after opening and
after each example, less what it was before anything was opened. Draws are those that an example took, of which the
last was usable: they depend on what a task asks of the sampled graph.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.source import Split
from ssl4rl.graph.graph import Graph
from ssl4rl.graph.sampling import ego
from ssl4rl.graph.sources.npz import open_npz, save_npz

MEAN_DEGREE = 20
BLOCK = 50
INSIDE = 0.9
EXPONENT = 0.7
TASKS = ("graph/masked_edge", "graph/neighbours", "graph/perturbed_edge")
EGO = "ego network"
RESULTS = Path(__file__).parent / "results" / "graph_sampling.json"


def communities(edges: int) -> Graph:
    """A graph of about so many edges: nine in ten join two nodes of a block, the others any two, by the weights
    (i + 10)^-EXPONENT of a node's rank i."""
    rng = ssl4rl.keyed_rng("communities", edges)
    nodes = 2 * edges // MEAN_DEGREE
    inside, across = int(edges * INSIDE * 1.3), int(edges * (1 - INSIDE) * 1.1)  # some are loops or repetitions
    block = rng.integers(nodes // BLOCK, size=inside)
    cumulated = np.cumsum((np.arange(nodes) + 10.0) ** -EXPONENT)
    rank = rng.permutation(nodes)
    ends = (
        np.concatenate(
            [
                block * BLOCK + rng.integers(BLOCK, size=inside),
                rank[np.searchsorted(cumulated, rng.random(across) * cumulated[-1])],
            ]
        )
        for _ in range(2)
    )
    return Graph.from_edges(nodes, *ends)


def contenders(file: Path) -> dict[str, Callable[[int], object]]:
    """What is timed, by name: each makes the example at an index."""
    source = open_npz(str(file))
    split = Split(source, "train")

    def one_ego(index: int) -> object:
        rng = ssl4rl.keyed_rng("ego", index)
        (root,) = split.draw(1, 0, index, rng)
        return source.graph.subgraph(ego(source.graph, root, rng, max_nodes=24))

    made: dict[str, Callable[[int], object]] = {EGO: one_ego}
    for name in TASKS:
        if name in registry.task_names():
            made[name] = ssl4rl.create_dataset(name, f"npz:{file}", split="train").__getitem__
    for make in made.values():
        make(0)
    return made


Times = dict[str, dict[int, list[float]]]


def measure(files: Mapping[int, Path], rounds: int, examples: int) -> tuple[Times, Times]:
    """Milliseconds of CPU time an example, and draws an example: by name and size, in each round."""
    made = {size: contenders(file) for size, file in files.items()}
    times: Times = {}
    draws: Times = {}
    indices = count(1)
    for _ in range(rounds):
        for size, makers in made.items():
            for name, make in makers.items():
                wanted = [next(indices) for _ in range(examples)]
                start = time.process_time()
                results = [make(index) for index in wanted]
                spent_ms = 1000 * (time.process_time() - start)
                drawn = [result.key.attempt + 1 for result in results if isinstance(result, ssl4rl.Example)]
                draws.setdefault(name, {}).setdefault(size, []).append(sum(drawn or [examples]) / examples)
                times.setdefault(name, {}).setdefault(size, []).append(spent_ms / examples)
    return times, draws


def resident_mib() -> float:
    """What this process holds in memory that is no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("no RssAnon in /proc/self/status: this part needs Linux")


def memory(file: Path, examples: int) -> dict[str, float]:
    """MiB beyond the map, and seconds to open."""
    before = resident_mib()
    start = time.perf_counter()
    open_npz(str(file))
    opening_s, highest = time.perf_counter() - start, resident_mib()
    for make in contenders(file).values():
        for index in range(examples):
            make(index)
            highest = max(highest, resident_mib())
    return {"opening_s": round(opening_s, 3), "beyond_the_map_mib": round(highest - before, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--examples", type=int, default=40, help="examples a round")
    parser.add_argument("--largest", type=int, default=7, help="the largest graph has 10^LARGEST edges")
    parser.add_argument("--keep", type=Path, help="a folder for the graphs, which are found there again")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(memory(options.memory_of, options.examples)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        files: dict[int, Path] = {}
        for size in [10**power for power in range(3, options.largest + 1)]:
            files[size] = folder / f"{size}.npz"
            if not files[size].exists():
                save_npz(communities(size), files[size])
        times, draws = measure(files, options.rounds, options.examples)
        report(files, times, draws, options)


def report(files: Mapping[int, Path], times: Times, draws: Times, options: argparse.Namespace) -> None:
    graphs: dict[str, Any] = {}
    for size, file in files.items():
        command = [sys.executable, __file__, "--memory-of", str(file), "--examples", str(options.examples)]
        used = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        graph = open_npz(str(file)).graph
        graphs[str(size)] = {
            "nodes": graph.num_nodes,
            "edges": graph.num_edges,
            "largest_degree": int(np.diff(graph.indptr).max()),
            "file_mib": round(file.stat().st_size / 2**20, 1),
            **used,
        }
        print(f"{graph.num_edges:>9} edges: {json.dumps(graphs[str(size)])}")
    smallest, largest = min(files), max(files)
    results: dict[str, Any] = {}
    for name, by_size in times.items():
        median = {size: statistics.median(values) for size, values in by_size.items()}
        results[name] = {
            "ms_per_example": {str(size): round(value, 3) for size, value in median.items()},
            "draws_per_example": {str(size): round(statistics.mean(draws[name][size]), 2) for size in median},
            "largest_to_smallest": round(median[largest] / median[smallest], 2),
            "slowest_to_fastest": round(max(median.values()) / min(median.values()), 2),
        }
        shown = "  ".join(f"{value:7.2f}" for value in median.values())
        print(f"{name:20} ms: {shown}   largest / smallest {median[largest] / median[smallest]:.2f}")
    record = {
        "graphs": graphs,
        "rounds": options.rounds,
        "examples_a_round": options.examples,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "results": results,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
