"""Pictures: five self-supervised tasks and the sources that feed them. Lazy: nothing is imported until it is used."""

TASKS = {
    "rotation": "ssl4rl.vision.rotation:Rotation",
    "jigsaw": "ssl4rl.vision.jigsaw:Jigsaw",
    "position": "ssl4rl.vision.position:Position",
    "masked_patch": "ssl4rl.vision.masked_patch:MaskedPatch",
    "contrastive": "ssl4rl.vision.contrastive:Contrastive",
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
}

BENCHMARKS = {"tsv": "ssl4rl.vision.benchmark:open_benchmark"}
CORRUPTIONS = {"image": "ssl4rl.vision.corruption:corruption"}
