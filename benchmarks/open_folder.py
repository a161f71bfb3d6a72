"""Seconds to open a folder of many small pictures, for the first and for the second time.

    python benchmarks/open_folder.py [--files 100000] [--compared 5000] [--json benchmarks/results/open_folder.json]

The files are PPMs of 16 x 16 random pixels in folders of 1,000. First: the listing and every header and content hash.
Second: the listing and the index. Comparing how they look takes the square of their number; it is timed with
`--compared` of the files, and its result for all files is put into the index as if none were twins, so that the second
opening reads it as it would.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ssl4rl import keyed_rng
from ssl4rl.core.source import Split
from ssl4rl.vision.sources import open_folder


def write(root: Path, files: int) -> None:
    rng = keyed_rng("many small pictures")
    for start in range(0, files, 1000):
        folder = root / f"{start // 1000:04}"
        folder.mkdir(parents=True)
        for number in range(start, min(files, start + 1000)):
            (folder / f"{number:06}.ppm").write_bytes(b"P6\n16 16\n255\n" + rng.bytes(768))


def opened(root: Path, part: Any = "train", by: Any = None) -> tuple[float, Any]:
    started = time.perf_counter()
    split = Split(open_folder(str(root)), part, by=by)
    len(split)
    return round(time.perf_counter() - started, 2), split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--compared", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        write(Path(scratch, "some"), given.compared)
        found: dict[str, Any] = {"files": given.files, "compared": given.compared}
        found["first_compared_s"], _ = opened(Path(scratch, "some"))
        write(Path(scratch, "all"), given.files)
        found["first_s"], split = opened(Path(scratch, "all"), by="content")
        source = split.source
        source._index.keep_groups({source.id(i): source.id(i) for i in range(len(source))})
        found["second_s"] = [opened(Path(scratch, "all"))[0] for _ in range(3)]
        started = time.process_time()
        opened(Path(scratch, "all"))
        found["second_cpu_s"] = round(time.process_time() - started, 2)
        found["load"] = os.getloadavg()
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
