"""The figures of docs/findings.md, drawn from benchmarks/results/*.json.

python scripts/make_findings_pictures.py --out docs/images
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "benchmarks/results"
BLUE, ORANGE, GREEN, GREY = "#2a78b5", "#d9822b", "#3a9a5b", "#8a8a8a"
Row = dict[str, Any]
INK = "#757575"
"""Read on white pages and on dark ones, as nothing is drawn behind it."""


def main() -> None:
    for part in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"):
        mpl.rcParams[part] = INK
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="*")
    asked = parser.parse_args()
    for name, draw in FIGURES.items():
        if asked.only and name not in asked.only:
            continue
        figure = Figure(figsize=(7, 3.4), dpi=150, layout="constrained")
        draw(figure)
        figure.savefig(asked.out / f"finding_{name}.png", metadata={"Software": None}, transparent=True)
        print(asked.out / f"finding_{name}.png")


def rows(name: str) -> dict[str, Row]:
    """The runs of a queue by their name, its seed behind a last underscore."""
    return {row["name"]: row for row in json.loads((RESULTS / f"{name}.json").read_text())}


def seeds(found: dict[str, Row], kind: str) -> list[Row]:
    return [row for name, row in found.items() if re.fullmatch(rf"{re.escape(kind)}_\d+", name)]


def plain(axes: Axes, chance: float | None, y: str = "held-out accuracy") -> None:
    axes.set_ylim(0, 1)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if chance is not None:
        axes.axhline(chance, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label=f"chance {chance:.3g}")


def point(axes: Axes, x: float, measure: Row, colour: str, label: str = "", marker: str = "o") -> None:
    """An accuracy with its 95 % interval."""
    low, high = measure["ci95"]
    at = measure["accuracy"]
    off = [[max(0, at - low)], [max(0, high - at)]]
    axes.errorbar(x, at, yerr=off, fmt=marker, color=colour, capsize=2, label=label or None)


def pretrained(figure: Figure) -> None:
    found = rows("pretrained")
    curves, bars = figure.subplots(1, 2, width_ratios=[1, 1.7])
    trained = seeds(found, "smollm2_graph")
    for number, row in enumerate(trained):
        x, y = zip(*row["curve"], strict=True)
        said = f"GRPO, {len(trained)} seeds" if number == 0 else None
        curves.plot(x, y, color=BLUE, marker="o", markersize=3, label=said)
    for row in seeds(found, "smollm2_graph_coin"):
        x, y = zip(*row["curve"], strict=True)
        curves.plot(x, y, color=ORANGE, marker="o", markersize=3, label="a coin as reward")
    plain(curves, 0.25)
    curves.set_xlabel("GRPO steps")
    curves.legend(fontsize=7, frameon=False, loc="lower right")  # below the chance, where no line is
    models = [("before", "smollm2_graph_0", "start", GREY), ("GRPO", "smollm2_graph_0", "final", BLUE)]
    models += [
        ("coin", "smollm2_graph_coin_0", "final", ORANGE),
        ("supervised", "smollm2_graph_labels_0", "final", GREEN),
    ]
    for at, (label, name, weights, colour) in enumerate(models):
        told = [line for line in found[name]["evals"] if line["weights"] == weights] if name in found else []
        for number, line in enumerate(told):
            point(bars, number + (at - 1.5) * 0.17, line, colour, label if number == 0 else "")
    bars.set_xticks(range(len(TRANSFER)), TRANSFER, rotation=40, ha="right", fontsize=7)
    for number, chance in enumerate(CHANCES):
        bars.plot([number - 0.4, number + 0.4], [chance, chance], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    plain(bars, None, "")
    bars.legend(fontsize=7, frameon=False, ncols=2)


TRANSFER = (
    "its own question",
    "words python perl java ruby",
    "words admin libs javascript gnu-r",
    "same words, letters",
    "same words, incidence list",
    "node classification, words",
    "node alone, words",
    "node classification, letters",
    "link prediction",
    "same region?",
    "which text",
    "npm packages",
)
CHANCES = (*[0.25] * 9, 0.5, 0.25, 0.25)


def labels(figure: Figure) -> None:
    found, axes = rows("labels"), figure.subplots()
    kinds = {"masked": "hidden attribute (SSL)", "labels": "true labels", "vote": "group's vote", "coin": "a coin"}
    for at, kind in enumerate(kinds):
        for number, row in enumerate(seeds(found, kind)):
            point(axes, at + (number - 1) * 0.12, row["evals"][0], [BLUE, GREEN, ORANGE, GREY][at])
    axes.set_xticks(range(len(kinds)), kinds.values())
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    plain(axes, 0.25, "node classification, held out")
    axes.legend(fontsize=7, frameon=False)


def mixing(figure: Figure) -> None:
    found, axes = rows("mixtures"), figure.subplots()
    tasks = {"rotation": 0.25, "position": 0.25, "jigsaw": 0.5}
    sets = [name.removeprefix("mix_").rsplit("_", 1)[0].split("_") for name in found]
    every = sorted({tuple(s) for s in sets}, key=lambda s: (len(s), s))
    for at, (task, chance) in enumerate(tasks.items()):
        with_it = [s for s in every if task in s]
        for number, chosen in enumerate(with_it):
            for seed, row in enumerate(seeds(found, "mix_" + "_".join(chosen))):
                measure = row["after"] if len(chosen) == 1 else _of(row["tasks"], task)
                colour = [BLUE, GREEN, ORANGE][len(chosen) - 1]
                point(axes, at + (number - 1.5) * 0.2 + (seed - 1) * 0.05, measure, colour)
        axes.plot([at - 0.4, at + 0.4], [chance, chance], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for colour, said in ((BLUE, "alone"), (GREEN, "with one other"), (ORANGE, "with both")):
        axes.plot([], [], "o", color=colour, label=said)
    axes.set_xticks(range(3), tasks)
    plain(axes, None)
    axes.legend(fontsize=7, frameon=False)


def _of(tasks: dict[str, Row], task: str) -> Row:
    return next(entry["after"] for name, entry in tasks.items() if f"/{task}@" in name)


def goldilocks(figure: Figure) -> None:
    found, axes = rows("goldilocks"), figure.subplots()
    sensitivity = rows("sensitivity")  # 90 degrees: the quickstart's own runs, of other queues
    found |= {"turn_90deg_0": rows("evidence")["quickstart_vision_0"]}
    found |= {f"turn_90deg_{seed}": sensitivity[f"seed_vision_{seed}"] for seed in (1, 2)}
    ways = {180: 2, 90: 4, 45: 8, 30: 12, 15: 24}
    for number, degrees in enumerate(ways):
        runs = [(row["before"]["accuracy"], row["after"]["accuracy"]) for row in seeds(found, f"turn_{degrees}deg")]
        gains = [after - before for before, after in runs]
        axes.bar(number, sum(gains) / len(gains), color=BLUE, width=0.6, alpha=0.5)
        axes.plot([number] * len(gains), gains, "o", color=BLUE, markersize=4)
        before, after = (sum(side) / len(runs) for side in zip(*runs, strict=True))
        axes.text(number, max(gains) + 0.02, f"{before:.2f} to {after:.2f}", ha="center", fontsize=9)
    axes.set_xticks(range(len(ways)), [f"{n} ways\nchance {1 / n:.3g}" for n in ways.values()])
    axes.set_ylabel("gain in 300 steps")
    axes.set_ylim(0, 0.8)
    axes.spines[["top", "right"]].set_visible(False)


def pictures(figure: Figure) -> None:
    found, axes = rows("pictures") | rows("seeds"), figure.subplots()
    sizes = {"train_100": 100, "train_1000": 1000, "train": 6331}
    places = (("clip art never seen", BLUE), ("tuxpaint's stamps", GREEN), ("photographs", ORANGE))
    for at, (said, colour) in enumerate(places):
        for number, (part, size) in enumerate(sizes.items()):
            for seed, row in enumerate(seeds(found, f"clip_contrastive_{part}")):
                label = said if number == seed == 0 else ""
                point(axes, size * (0.8 + 0.2 * at + 0.05 * (seed - 1)), row["evals"][at], colour, label)
    axes.set_xscale("log")
    axes.set_xticks(list(sizes.values()), [f"{size:,}" for size in sizes.values()])
    axes.set_xlim(70, 9000)
    axes.minorticks_off()
    axes.set_xlabel("pictures (a fifth of them held out)")
    plain(axes, 0.5, "contrastive, accuracy")
    axes.legend(fontsize=7, frameon=False)


def downstream(figure: Figure) -> None:
    found = rows("downstream")
    drawings, scenes = figure.subplots(1, 2, sharey=True)
    sources = ("none", "similarity", "contrastive", "jigsaw", "position")
    for at, source in enumerate(sources):
        for seed, row in enumerate(seeds(found, f"kinds_after_{source}")):
            point(drawings, at + (seed - 0.5) * 0.15, row["evals"][0], GREY if source == "none" else BLUE)
    drawings.set_xticks(range(len(sources)), ["random weights", *sources[1:]], rotation=25, ha="right", fontsize=8)
    drawings.set_title("what a drawing shows, after", fontsize=9)
    plain(drawings, 0.25)
    targets = {"rotation": 0.25, "position": 0.25, "jigsaw": 0.5}
    colours = {"none": GREY, "rotation": BLUE, "position": GREEN, "jigsaw": ORANGE}
    for at, (target, chance) in enumerate(targets.items()):
        tried = [source for source in colours if source != target]
        for number, source in enumerate(tried):
            for seed, row in enumerate(seeds(found, f"{target}_after_{source}")):
                point(scenes, at + (number - 1) * 0.2 + (seed - 0.5) * 0.07, row["after"], colours[source])
        scenes.plot([at - 0.4, at + 0.4], [chance, chance], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for source, colour in colours.items():
        scenes.plot([], [], "o", color=colour, label="random weights" if source == "none" else source)
    scenes.set_xticks(range(3), targets)
    scenes.set_title("another question about scenes, after", fontsize=9)
    plain(scenes, None, "")
    scenes.legend(fontsize=7, frameon=False)


FIGURES: dict[str, Callable[[Figure], None]] = {
    "pretrained": pretrained,
    "labels": labels,
    "mixing": mixing,
    "goldilocks": goldilocks,
    "pictures": pictures,
    "downstream": downstream,
}

if __name__ == "__main__":
    main()
