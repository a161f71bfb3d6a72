"""Pictures: five self-supervised tasks and the sources that feed them. Lazy: nothing is imported until it is used."""

TASKS = {
    "rotation": "ssl4rl.vision.tasks.rotation:Rotation",
    "jigsaw": "ssl4rl.vision.tasks.jigsaw:Jigsaw",
    "position": "ssl4rl.vision.tasks.position:Position",
    "masked_patch": "ssl4rl.vision.tasks.masked_patch:MaskedPatch",
    "contrastive": "ssl4rl.vision.tasks.contrastive:Contrastive",
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
