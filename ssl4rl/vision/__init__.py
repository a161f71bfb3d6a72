"""Pictures: ten self-supervised tasks and the sources that feed them. Lazy: nothing is imported until it is used."""

TASKS = {
    "rotation": "ssl4rl.vision.tasks.rotation:Rotation",
    "jigsaw": "ssl4rl.vision.tasks.jigsaw:Jigsaw",
    "position": "ssl4rl.vision.tasks.position:Position",
    "masked_patch": "ssl4rl.vision.tasks.masked_patch:MaskedPatch",
    "contrastive": "ssl4rl.vision.tasks.contrastive:Contrastive",
    "similarity": "ssl4rl.vision.tasks.similarity:Similarity",
    "flipped": "ssl4rl.vision.tasks.flipped:Flipped",
    "difference": "ssl4rl.vision.tasks.difference:Difference",
    "correspondence": "ssl4rl.vision.tasks.correspondence:Correspondence",
    "depth_order": "ssl4rl.vision.tasks.depth_order:DepthOrder",
}

SOURCES = {
    "": "ssl4rl.vision.sources:open_folder",
    "folder": "ssl4rl.vision.sources:open_folder",
    "hf": "ssl4rl.vision.sources:open_hf",
    "tsv": "ssl4rl.vision.sources:open_tsv",
    "tar": "ssl4rl.vision.sources:open_tar",
    "parquet": "ssl4rl.vision.sources:open_parquet",
    "sample": "ssl4rl.vision.sources:open_sample",
    "scenes": "ssl4rl.vision.scenes:open_scenes",
    "rgbd": "ssl4rl.vision.sources:open_rgbd",
    "layers": "ssl4rl.vision.layers:open_layers",
}

BENCHMARKS = {"tsv": "ssl4rl.vision.benchmark:open_benchmark"}
CORRUPTIONS = {"image": "ssl4rl.vision.corruption:corruption"}
