"""The site's gallery: every task and level of every installed plugin, with two examples as pictures or drawn graphs.

python scripts/make_gallery.py --out docs/gallery [./plugin.py:TASKS ...]

Examples are those of `ssl4rl preview` with seed 0, made at their true size and shown small; the same call writes the
same bytes. Tasks that are added later appear by themselves.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

import ssl4rl
from ssl4rl import Example, Ssl4rlError
from ssl4rl.tools.catalogue import EXAMPLES as CHANCES
from ssl4rl.tools.catalogue import Entry, card, catalogue, mean_chance, paragraphs, show_chance, summary
from ssl4rl.tools.page import blocks, drawings
from ssl4rl.tools.preview.preview import Preview

EXAMPLES = 2
LONGEST_PX = 168  # of a picture as it is stored
SHOWN_PX = {1: 168, 2: 126, 4: 96}  # by how many stand in a row, at most; 64 beyond
DARK = "@media (prefers-color-scheme: dark)"  # of a drawing; the site has a switch of its own
MODALITIES = {
    "vision": "Pictures",
    "graph": "Graphs",
    "video": "Clips",
    "text": "Plain texts",
    "qa": "Own labels",
    "ssl4rl_table": "Tables",
}
"""Titles, in the order of the navigation; a plugin without one comes after them under its name."""


def make(out: Path, named: Sequence[str] = ()) -> dict[str, list[Entry]]:
    """Writes `index.md`, and for each plugin a page and a folder of pictures; returns what is in it, by plugin.

    Args:
        out: the folder, which is emptied first.
        named: further tasks or files of tasks ("./plugin.py:TASKS") beside those of the installed plugins.

    Raises:
        Ssl4rlError: a plugin cannot be loaded or a level gives no example: the gallery is whole or not at all.
    """
    entries, broken = catalogue()
    if broken:
        raise Ssl4rlError(f"no gallery of a part: {broken[0]}")
    by_plugin: dict[str, list[Entry]] = {}
    place = {plugin: number for number, plugin in enumerate(MODALITIES)}
    every = [*entries, *(catalogue(named)[0] if named else ())]
    for entry in sorted(every, key=lambda entry: place.get(entry.plugin, len(place))):
        by_plugin.setdefault(entry.plugin, []).append(entry)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for plugin, members in by_plugin.items():
        write_page(out, plugin, members)
    (out / "index.md").write_text(index(by_plugin), encoding="utf-8")
    return by_plugin


def write_page(out: Path, plugin: str, entries: Sequence[Entry]) -> None:
    (out / plugin).mkdir()
    tasks = [
        {
            "name": entry.task.name,
            "anchor": anchor(entry.task.name),
            "summary": summary(entry.task),
            "card": paragraphs(card(entry.task)),
            "levels": [level(out, plugin, entry, name, chance) for name, chance in levels(entry)],
        }
        for entry in entries
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lead = (
        f"Each level with {EXAMPLES} examples as a model is asked them, shown small, with answer and key below. "
        "`ssl4rl preview` shows as many as you like, on your own data."
    )
    page = environment.get_template("gallery.md.jinja").render(title=title(plugin), lead=lead, tasks=tasks)
    (out / f"{plugin}.md").write_text(page, encoding="utf-8")


def levels(entry: Entry) -> list[tuple[str, float | None]]:
    return [(level.name, chance) for level, chance in entry.levels]


def level(out: Path, plugin: str, entry: Entry, name: str, chance: float | None) -> dict[str, Any]:
    found = ssl4rl.preview(entry.name, level=name, n=EXAMPLES, split="all")
    stem = f"{plugin}/{anchor(entry.task.name.partition('/')[2])}-{anchor(name)}"
    return {
        "name": name,
        "anchor": anchor(f"{entry.task.name}-{name}"),
        "chance": show_chance(chance) if chance is not None else by_example(entry.name, name),
        "params": found.level.params,
        "data": found.uri,
        "examples": [
            shown(out, f"{stem}-{number}", found, example, number) for number, example in enumerate(found.examples, 1)
        ],
    }


def by_example(task: str, name: str) -> str:
    """Of a level whose chance differs by example: two examples may both be the commonest answer, so more are asked."""
    return f"{show_chance(mean_chance(task, name))}, the mean of {CHANCES} examples"


def shown(out: Path, stem: str, found: Preview, example: Example, number: int) -> dict[str, Any]:
    """One example: its prompt's blocks with pictures in files, and the plugin's drawings, light and dark."""
    parts = list(blocks(example, found.plugin))
    figures = [figure for block in parts for figure in block.get("figures", ())]
    for block in parts:
        for figure in block.get("figures", ()):
            if figure["src"]:
                small(out, f"{stem}-{figures.index(figure) + 1}.webp", figure, len(block["figures"]))
        if "text" in block:
            block["text"] = block["text"].strip("\n")
    drawn = [
        drawing(out, f"{stem}-drawing{place}", source)
        for place, source in enumerate(drawings(example, found.plugin), start=1)
    ]
    return {
        "number": number,
        "blocks": parts,
        "drawings": drawn,
        "answer": found.verifier.render(example.answer),
        "key": str(example.key),
    }


def small(out: Path, name: str, figure: dict[str, Any], beside: int) -> None:
    """Stores a figure's picture no larger than it is shown, and puts the file in its place."""
    picture = Image.open(io.BytesIO(base64.b64decode(figure["src"].partition(",")[2])))
    room_px = next((px for count, px in SHOWN_PX.items() if beside <= count), 64)
    long_px = max(picture.size)
    if long_px > LONGEST_PX:
        picture.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
    scale = max(1, room_px // long_px) if long_px <= room_px else room_px / long_px
    picture.save(out / name, "WEBP", quality=82, method=4)
    figure |= {
        "src": name,
        "shown_px": max(1, round(figure["width"] * scale)),
        "shown_height_px": max(1, round(figure["height"] * scale)),
        "crisp": scale > 1,
    }


def drawing(out: Path, stem: str, source: str) -> dict[str, str]:
    """A drawing that follows the reader's system, as one for light and one for dark."""
    svg = base64.b64decode(source.partition(",")[2]).decode()
    names = {"light": f"{stem}-light.svg", "dark": f"{stem}-dark.svg"}
    for look, query in (("light", "@media not all"), ("dark", "@media all")):
        (out / names[look]).write_text(svg.replace(DARK, query), encoding="utf-8")
    return names


def index(by_plugin: dict[str, list[Entry]]) -> str:
    """The table of all tasks."""
    lines = ["# Gallery", "", "Every task and level of every installed plugin, with two examples each.", ""]
    for plugin, entries in by_plugin.items():
        lines += [f"## [{title(plugin)}]({plugin}.md)", "", "| task | levels | what it asks |", "|---|---|---|"]
        for entry in entries:
            linked = ", ".join(
                f"[{name}]({plugin}.md#{anchor(f'{entry.task.name}-{name}')})" for name, _ in levels(entry)
            )
            asks = summary(entry.task).replace("|", "\\|")
            lines.append(f"| [{entry.task.name}]({plugin}.md#{anchor(entry.task.name)}) | {linked} | {asks} |")
        lines.append("")
    return "\n".join(lines)


def title(plugin: str) -> str:
    return MODALITIES.get(plugin, plugin)


def anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("named", nargs="*", metavar="PLUGIN", help="tasks beside the installed ones: ./plugin.py:TASKS")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        found = make(given.out, given.named)
    except Ssl4rlError as error:
        print(f"make_gallery: {error}", file=sys.stderr)
        return 2
    counts = [f"{plugin} {sum(len(e.levels) for e in entries)}" for plugin, entries in found.items()]
    size = sum(file.stat().st_size for file in given.out.rglob("*") if file.is_file())
    print(f"{given.out}: levels: {', '.join(counts)}; {size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
