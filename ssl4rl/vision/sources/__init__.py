"""Where pictures come from: one opener for each URI scheme of `ssl4rl.vision.SOURCES`."""

from ssl4rl.vision.sources.base import PhotoSource
from ssl4rl.vision.sources.depth import open_rgbd
from ssl4rl.vision.sources.folder import open_folder, open_sample
from ssl4rl.vision.sources.hub import open_hf
from ssl4rl.vision.sources.parquet import open_parquet
from ssl4rl.vision.sources.tar import open_tar
from ssl4rl.vision.sources.tsv import open_tsv

__all__ = [
    "PhotoSource",
    "open_folder",
    "open_hf",
    "open_parquet",
    "open_rgbd",
    "open_sample",
    "open_tar",
    "open_tsv",
]
