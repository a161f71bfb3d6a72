"""Pictures through the datasets library: saved datasets, folders of parquet or pictures, and ids of its hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from ssl4rl.core.limits import require_regular
from ssl4rl.core.source import Problem
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import missing, split_options
from ssl4rl.vision.photo import EncodedPhoto
from ssl4rl.vision.sources.base import PhotoSource, examine, named, one_line
from ssl4rl.vision.sources.parquet import cell_parts, choose_column, is_list, open_cell, pick, require_small_groups

BENCHMARKS = {
    "lmms-lab/mmbench": "MMBench",
    "lmms-lab/mmbench_en": "MMBench",
    "lmms-lab/seed-bench": "SEED-Bench",
    "ailab-cvc/seed-bench": "SEED-Bench",
    "lin-chen/mmstar": "MMStar",
    "blink-benchmark/blink": "BLINK",
    "xai-org/realworldqa": "RealWorldQA",
    "lmms-lab/realworldqa": "RealWorldQA",
    "mmmu/mmmu": "MMMU",
    "lmms-lab/mme": "MME",
    "mmvp/mmvp": "MMVP",
    "nyu-visionx/cv-bench": "CV-Bench",
}
"""Hub ids, in lower case, of pictures that models are measured on."""

_ARCHIVES = frozenset({".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".7z", ".rar", ".tar"})
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class HubPhoto(EncodedPhoto):
    """The `part`-th picture in row `row` of a dataset in Arrow format (so nothing is decoded on the way)."""

    table: Any
    column: str
    row: int
    part: int
    roots: tuple[str, ...]
    name: str

    def open(self) -> BinaryIO:
        cell = self.table[self.row][self.column][0]
        return open_cell(cell, self.part, self.roots, self.label)


def open_hf(text: str) -> PhotoSource:
    """Pictures of a dataset: `hf:PATH_OR_ID[@CONFIG][?column=NAME][#SPLIT]`.

    PATH is a folder written by `save_to_disk`, or one of parquet files or pictures; ID one of the hub ("owner/name").
    SPLIT is what the datasets library takes ("train", "test[:1000]"); left out, it is "train", or the only one. The
    column is found by its type. Pictures are read as bytes and decoded late; a path without bytes is followed inside
    the dataset's own folder (or the library's cache) only. No code of a dataset is run.

    Raises:
        Ssl4rlError: datasets is missing, no such dataset, configuration, split or column, or no usable picture.
    """
    uri = f"hf:{one_line(text)}"
    name, config, split, column = parse(text)
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise Ssl4rlError("hf: needs the datasets library, which is not installed; pip install datasets") from None
    local = named(uri, name)
    if not local.is_dir() and (local.exists() or not _HUB_ID.fullmatch(name)):
        raise (
            Ssl4rlError(f"{uri!r} is a file; allowed: a folder or a hub id") if local.exists() else missing(uri, local)
        )
    if local.is_dir():
        _require_files(uri, local)
    loaded = _load(datasets, uri, local if local.is_dir() else None, name, config, split)
    dataset = _choose_split(uri, loaded, split)
    pictures = [name for name, feature in dataset.features.items() if _is_image(datasets, feature)]
    schema = dataset.features.arrow_schema
    chosen = pick(uri, pictures, schema.names) if pictures and not column else choose_column(uri, schema, column)
    roots = (str(local),) if local.is_dir() else _caches(datasets)
    problems: list[Problem] = []
    table = dataset.select_columns([chosen]).with_format("arrow")
    several = is_list(schema.field(chosen).type)
    photos = []
    for row in range(len(table)):
        for part in cell_parts(f"row {row + 1}", table[row][chosen][0] if several else None, problems):
            label = f"row {row + 1} picture {part + 1}" if part else f"row {row + 1}"
            photos.append(HubPhoto(table, chosen, row, part, roots, label))
    if not photos and not problems:
        raise Ssl4rlError(f"{uri!r} has no rows")
    source = examine(uri, photos, problems, f"column {chosen!r} of {len(schema.names)}")
    source.benchmark = BENCHMARKS.get(name.lower(), "")
    info = getattr(dataset, "info", None)
    source.licence = str(getattr(info, "license", "") or "")
    return source


def _require_files(uri: str, folder: Path) -> None:
    """The datasets library opens whatever has the right name, unpacks archives and writes dictionaries out.

    Raises:
        Ssl4rlError: the folder holds something else than regular files (a pipe would be waited for), an archive, or a
            parquet file with a row group that is too large.
    """
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            file = Path(place, name)
            require_regular(uri, file)
            if file.suffix.lower() in _ARCHIVES:
                raise Ssl4rlError(f"{uri!r}: {one_line(name)} is an archive, unpack it; allowed: parquet, pictures")
            if file.suffix.lower() == ".parquet":
                require_small_groups(uri, file)


def parse(text: str) -> tuple[str, str | None, str | None, str | None]:
    """ "owner/name@config?column=photo#test[:100]" -> (name, config, split, column), None where left out.

    A folder whose own name holds "@", "?" or "#" is taken whole.

    Raises:
        Ssl4rlError: no name, or an unknown option.
    """
    if text and named(f"hf:{one_line(text)}", text).is_dir():
        return text, None, None, None
    rest, _, split = text.partition("#")
    rest, options = split_options("hf", rest, ["column"])
    name, _, config = rest.partition("@")
    if not name:
        raise Ssl4rlError(f"'hf:{text}' names no dataset; allowed: hf:PATH_OR_ID[@CONFIG][?column=NAME][#SPLIT]")
    return name, config or None, split or None, options.get("column")


def _load(datasets: Any, uri: str, folder: Path | None, name: str, config: str | None, split: str | None) -> Any:
    """What the datasets library loads: a dataset, or a mapping of splits."""
    try:
        if folder is not None and ((folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()):
            return datasets.load_from_disk(str(folder))
        # before version 4 the library could run a dataset's script, and had to be told not to
        older = {"trust_remote_code": False} if int(datasets.__version__.split(".")[0]) < 4 else {}
        return datasets.load_dataset(str(folder) if folder else name, name=config, split=split, **older)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        where = "" if folder else f" (and there is no folder {name!r})"
        raise Ssl4rlError(f"{uri!r} cannot be loaded{where}: {type(error).__name__}: {reason[:300]}") from error


def _choose_split(uri: str, loaded: Any, split: str | None) -> Any:
    if not isinstance(loaded, Mapping):
        return loaded
    if split is None:
        split = "train" if "train" in loaded or len(loaded) != 1 else next(iter(loaded))
    if split not in loaded:
        raise Ssl4rlError(f"{uri!r} has no split {split!r}{nearest(split, loaded)}")
    return loaded[split]


def _caches(datasets: Any) -> tuple[str, ...]:
    """Where the library puts the files of a hub dataset."""
    return str(datasets.config.HF_DATASETS_CACHE), str(import_module("huggingface_hub.constants").HF_HUB_CACHE)


def _is_image(datasets: Any, feature: Any) -> bool:
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
    return isinstance(inner, datasets.Image)
