"""Draws the README's picture: one example of each vision task, one of a graph task, and held-out curves.

python scripts/make_readme_picture.py runs/quickstart_vision runs/quickstart_graph --out docs/images/readme.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import networkx as nx

mpl.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image

import ssl4rl
from ssl4rl import Example

TASKS = {
    "vision/rotation": "90deg,original=false,image_px=192",
    "vision/jigsaw": "2x2,form=picture,image_px=192",
    "vision/position": "2x2,image_px=192,piece_px=120",
    "vision/masked_patch": "medium,image_px=192,patch_px=80",
    "vision/contrastive": "medium,view_px=192",
}
SHOWN = {
    "vision/rotation": 3,
    "vision/jigsaw": 2,
    "vision/position": 4,
    "vision/masked_patch": 9,
    "vision/contrastive": 5,
}


def side_by_side(example: Example, height_px: int = 192, gap_px: int = 8, most: int = 5) -> Image.Image:
    """The example's pictures in a row."""
    pictures = [medium.data for medium in example.media][:most]
    width_px = sum(p.width for p in pictures) + gap_px * (len(pictures) - 1)
    row = Image.new("RGB", (width_px, height_px), "white")
    x = 0
    for picture in pictures:
        row.paste(picture, (x, (height_px - picture.height) // 2))
        x += picture.width + gap_px
    return row


def curve(run: Path) -> tuple[list[float], list[float], float]:
    """Minutes, held-out accuracy and chance of a run."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evals = [record for record in records if record["phase"] == "eval"]
    minutes = [record["seconds"] / 60 for record in evals]
    return minutes, [record["eval"]["accuracy"] for record in evals], evals[-1]["eval"]["chance"]


def draw_graph(axes: Any) -> None:
    """A graph with its hidden edge dashed."""
    data = ssl4rl.create_dataset(
        "graph/masked_edge", "nx:karate_club", level="easy,names=letters", seed=1, style="answer"
    )
    example = data[0]
    shown = example.meta["drawing"]
    graph = nx.Graph([*shown["edges"], *shown["hidden_edges"]])
    place = nx.kamada_kawai_layout(graph)
    nx.draw_networkx_edges(graph, place, shown["edges"], ax=axes, edge_color="grey")
    nx.draw_networkx_edges(graph, place, shown["hidden_edges"], ax=axes, edge_color="tab:red", style="dashed", width=2)
    nx.draw_networkx_nodes(graph, place, ax=axes, node_size=130, node_color="tab:blue")
    nx.draw_networkx_labels(graph, place, ax=axes, font_size=7, font_color="white")
    axes.set_title("masked_edge: " + "-".join(sorted(shown["hidden_edges"][0])), fontsize=9)
    axes.axis("off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/readme.png"))
    arguments = parser.parse_args()
    figure = plt.figure(figsize=(12, 3.9), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=[1.2, 2.0, 1.1, 1.9])
    for place, (task, level) in zip([(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)], TASKS.items(), strict=True):
        data = ssl4rl.create_dataset(task, "sample:", level=level, seed=4, style="answer")
        axes = figure.add_subplot(grid[place])
        example = data[SHOWN[task]]
        axes.imshow(side_by_side(example, most=5))
        axes.set_title(f"{task.split('/')[1]}: {data.components[0].verifier.render(example.answer)}", fontsize=9)
        axes.axis("off")
    draw_graph(figure.add_subplot(grid[1, 2]))
    axes = figure.add_subplot(grid[:, 3])
    for run in arguments.runs:
        minutes, accuracy, chance = curve(run)
        axes.plot(minutes, accuracy, marker="o", markersize=3, label=run.name)
        axes.axhline(chance, color="grey", linestyle="--", linewidth=1)
    axes.set(ylim=(0, 1), xlabel="minutes on one CPU core")
    axes.set_title("held-out accuracy, dashed: chance", fontsize=10)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)
    print(arguments.out)


if __name__ == "__main__":
    main()
