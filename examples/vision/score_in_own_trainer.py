"""Score replies in a trainer of one's own: rows go out, replies come back, the reward needs no picture.

    python examples/vision/score_in_own_trainer.py photos/

Writes 20 rows with their pictures, as any loader reads them, then scores three replies to each from the row alone.
Expect 1.00 of the right reply, 0.35 of the constant one on the embedded photographs (7 of 20; chance 0.25) and 0.00 of
one without an answer; it takes a second on a CPU core.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import ssl4rl


def write_rows(photos, folder, n=20):
    """A line of JSON a row, its pictures as PNG files beside it."""
    data = ssl4rl.create_dataset("vision/rotation", data=photos, level="90deg,image_px=112", size=n, seed=0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.jsonl").open("w") as lines:
        for number, row in enumerate(ssl4rl.rows(data)):
            names = [f"{number}-{place}.png" for place in range(len(row["images"]))]
            for name, picture in zip(names, row["images"], strict=True):
                picture.save(folder / name)
            print(json.dumps({"prompt": row["prompt"], "images": names, "info": row["info"]}), file=lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", default="sample:")
    parser.add_argument("--out", type=Path, default=Path("rows"))
    given = parser.parse_args(arguments)
    write_rows(given.photos, given.out)
    rows = [json.loads(line) for line in (given.out / "rows.jsonl").read_text().splitlines()]
    replies = {
        "right": lambda row: f"<think>I looked.</think><answer>{row['info']['answer']}</answer>",
        "constant": lambda row: "<think>Always this.</think><answer>90</answer>",
        "no answer": lambda row: "It looks turned to me.",
    }
    means = {
        name: fmean(ssl4rl.score(reply(row), row["info"]).value for row in rows) for name, reply in replies.items()
    }
    for name, mean in means.items():
        print(f"{name}: {mean:.2f}")
    return means


if __name__ == "__main__":
    main()
