"""Examples per second and core of every vision task, from a folder of 12-megapixel JPEGs, at a first and second visit.

    python benchmarks/examples_per_second.py [--rounds 5] [--examples 8] [--files 24] [--data FOLDER [--name NAME]]

A first visit decodes every picture from its file (nothing is kept: SSL4RL_PIXEL_CACHE_MIB=0); a second makes the same
examples from the pixels that were kept, in a cache folder of this run alone.

Beside them a plain Pillow pipeline: open, lay upright, convert to RGB and rotate by a multiple of 90 degrees, all at
full size. It makes no crop, no resize and no question, so the ratios are if anything too kind to it. One process, one
thread; the contenders take turns in every round, the files are in the page cache, times are CPU time (so that a busy
machine blurs them less), and the medians over the rounds count. The folder is synthesised: the embedded photographs
enlarged to 4000 x 3000 with noise of a sensor's size, saved at quality 90. With --data the results are kept under NAME.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL
from PIL import Image, ImageOps

import ssl4rl
from ssl4rl.core import registry
from ssl4rl.core.limits import LIMITS, variable
from ssl4rl.vision.cache.decoded import pixels_folder
from ssl4rl.vision.sources import open_folder, open_sample

SIZE_PX = (4000, 3000)
NOISE = 16
RESULTS = Path(__file__).parent / "results" / "examples_per_second.json"
PLAIN = "plain Pillow, full size"
VISITS = ("first", "second")


def synthesise(folder: Path, files: int) -> None:
    """Writes `files` JPEGs of 12 megapixels."""
    photos = open_sample()
    for number in range(files):
        small = photos[number % len(photos)].decode(384)
        large = np.asarray(small.resize(SIZE_PX, Image.Resampling.BICUBIC), dtype=np.int16)
        noise = ssl4rl.keyed_rng("12 megapixels", number).integers(-NOISE, NOISE + 1, large.shape, dtype=np.int16)
        Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=90)


def plain_pillow(files: list[Path]) -> Callable[[int], object]:
    """What one writes without this library: everything at full size."""

    def make(index: int) -> object:
        with Image.open(files[index % len(files)]) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        return upright.rotate(90 * (index % 4), expand=True)

    return make


def contenders(folder: Path, files: list[Path]) -> tuple[dict[str, Callable[[int], object]], dict[str, str]]:
    """What is timed, by name, and the tasks that cannot be made, with the reason."""
    made: dict[str, Callable[[int], object]] = {PLAIN: plain_pillow(files)}
    missing: dict[str, str] = {}
    for name in registry.task_names():
        if not name.startswith("vision/"):
            continue
        try:
            task, _ = registry.resolve(name)
            levels = list(task.levels)
            for level in dict.fromkeys([levels[0], levels[-1]]):
                data = ssl4rl.create_dataset(name, str(folder), level=level, split="all")
                data[0]
                for visit in VISITS:
                    made[f"{name} {level}, {visit} visit"] = partial(visited, data, visit)
        except ssl4rl.Ssl4rlError as error:
            missing[name] = str(error)
    return made, missing


def visited(data: Any, visit: str, index: int) -> object:
    """An example, made with or without the pixels that are kept."""
    os.environ[variable("pixel_cache_mib")] = str(LIMITS["pixel_cache_mib"][0] if visit == "second" else 0)
    return data[index]


def measure(made: dict[str, Callable[[int], object]], rounds: int, examples: int) -> dict[str, list[float]]:
    """Examples per CPU second of each contender in each round; those of a second visit were made before."""
    for name in made:
        for index in range(1, rounds * examples + 1 if name.endswith("second visit") else 1):
            made[name](index)
    rates: dict[str, list[float]] = {name: [] for name in made}
    indices = {name: count(1) for name in made}
    for _ in range(rounds):
        for name, make in made.items():
            start = time.process_time()
            for _ in range(examples):
                make(next(indices[name]))
            rates[name].append(examples / (time.process_time() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=8, help="examples a round")
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--data", type=Path, help="a folder of JPEGs, in place of the synthesised one")
    parser.add_argument("--name", help="what the results of --data are kept under")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")
        folder = options.data or Path(scratch) / "photos"
        if options.data is None:
            folder.mkdir()
            synthesise(folder, options.files)
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
        sizes, pixels = [file.stat().st_size for file in files], [megapixels(file) for file in files]
        start = time.perf_counter()
        open_folder(str(folder))
        opening_s = time.perf_counter() - start
        made, missing = contenders(folder, files)
        rates = measure(made, options.rounds, options.examples)
        kept = [file.stat().st_size for file in pixels_folder().iterdir()]
        record = report(rates, missing)
    record |= {
        "files": len(files),
        "megapixels": round(sum(pixels) / len(pixels), 1),
        "mean_file_mib": round(sum(sizes) / len(sizes) / 2**20, 2),
        "opening_s": round(opening_s, 2),
        "kept_files": len(kept),
        "kept_mib": round(sum(kept) / 2**20, 1),
        "rounds": options.rounds,
        "examples_a_round": options.examples,
        "python": platform.python_version(),
        "pillow": PIL.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if options.data is None or options.name:
        keep(options.name or "synthesised", record)


def megapixels(file: Path) -> float:
    with Image.open(file) as image:
        return image.width * image.height / 1e6


def keep(name: str, record: dict[str, Any]) -> None:
    """Writes one folder's results beside those of others."""
    RESULTS.parent.mkdir(exist_ok=True)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**before, name: record}, indent=2) + "\n")


def report(rates: dict[str, list[float]], missing: dict[str, str]) -> dict[str, Any]:
    """Prints a table of a row for each contender, and gives it as a record."""
    base = statistics.median(rates[PLAIN])
    results: dict[str, Any] = {}
    print(f"{'':48} {'examples/s/core':>15} {'range':>15} {'ratio':>7}")
    for name, values in rates.items():
        median = statistics.median(values)
        results[name] = {
            "examples_per_s_core": round(median, 2),
            "low": round(min(values), 2),
            "high": round(max(values), 2),
            "cpu_ms": round(1000 / median, 1),
            "ratio_to_plain": round(median / base, 2),
        }
        print(f"{name:48} {median:15.1f} {min(values):7.1f}-{max(values):<7.1f} {median / base:6.1f}x")
    for name, why in missing.items():
        print(f"{name:48} not measured: {why}")
    return {"results": results, "not_measured": missing}


if __name__ == "__main__":
    sys.exit(main())
