"""What does a drawing show? Labelled questions about `clip_art.py`'s clip art, whose first folder is its category.

    python benchmarks/clip_categories.py OUT [--categories animals computer food people] [--held-out 0.3]

Reads OUT/clip/train and OUT/clip/test and writes OUT/kinds/train and OUT/kinds/test, equally many pictures of each
category in each (groups of near-twins stay on one side), and OUT/kinds/train.jsonl and test.jsonl beside them, rows
for `qa/choice`. So self-supervised tasks train on kinds/train, true labels on kinds/train.jsonl, and both are tested on
kinds/test.jsonl: `queues/categories.yaml`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from ssl4rl.core.source import is_held_out
from ssl4rl.vision.sources.folder import open_folder

QUESTION = "What does the picture show?"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--categories", nargs="+", default=["animals", "computer", "food", "people"])
    parser.add_argument("--held-out", type=float, default=0.3)
    asked = parser.parse_args(arguments)
    kinds = asked.out / "kinds"
    for category in asked.categories:
        for part in ("train", "test"):
            folder = asked.out / "clip" / part / category
            for file in sorted(folder.rglob("*.png")):
                name = "-".join(file.relative_to(folder).parts)
                place = kinds / "all" / category / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
    source = open_folder(str(kinds / "all"))
    groups = source.groups("look")
    chosen: dict[tuple[str, str], list[Path]] = {}
    first = {source.id(index): index for index in range(len(source))}  # one for each content
    for _, index in sorted(first.items()):
        part = "test" if is_held_out(groups[index], asked.held_out) else "train"
        file = kinds / "all" / source[index].name
        chosen.setdefault((part, file.parent.name), []).append(file)
    for part in ("train", "test"):
        most = min(len(chosen[part, category]) for category in asked.categories)
        rows = []
        for category in asked.categories:
            for file in chosen[part, category][:most]:
                place = kinds / part / category / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                shown = place.relative_to(kinds).as_posix()
                rows.append({"question": QUESTION, "options": asked.categories, "answer": category, "image": shown})
        (kinds / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        print(f"{part}: {most} pictures of each of {len(asked.categories)} categories")
    shutil.rmtree(kinds / "all")


if __name__ == "__main__":
    main()
