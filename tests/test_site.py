"""What the site is made with: the gallery is whole and the same every time, and requests to elsewhere are noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssl4rl.tools.catalogue import catalogue
from tests.docs_commands import ROOT
from tests.pages import Page
from tests.scripts import load_script

TABLE = f"{ROOT / 'examples' / 'plugin_table' / 'ssl4rl_table.py'}:TASKS"


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("name", "levels", "pictures", "drawings"),
    [
        (TABLE, ["4-way", "8-way"], 0, 0),
        ("graph/hops", ["tiny", "easy", "medium", "path"], 0, 8),
        ("vision/contrastive", ["easy", "medium", "hard"], 12, 0),
    ],
    ids=["table", "graph", "vision"],
)
def test_a_page_of_the_gallery(name: str, levels: list[str], pictures: int, drawings: int, tmp_path: Path) -> None:
    gallery = load_script("make_gallery")
    entries, _ = catalogue([name])
    for folder in ("once", "again"):
        (tmp_path / folder).mkdir()
        gallery.write_page(tmp_path / folder, "plugin", entries)
    made = files(tmp_path / "once")
    assert made == files(tmp_path / "again")
    text = made["plugin.md"].decode()
    assert re.findall(r"^### (\S+)", text, re.M) == levels
    page = Page(text)
    assert len(page.all("article")) == 2 * len(levels)
    stored = {str(image["src"]).partition("#")[0] for image in page.all("img")}
    assert stored == set(made) - {"plugin.md"}
    assert sum(name.endswith(".webp") for name in stored) == pictures
    assert sum(name.endswith(".svg") for name in stored) == 2 * drawings  # light and dark
    assert not any("prefers-color-scheme" in made[name].decode() for name in stored if name.endswith(".svg"))


def test_a_chance_that_differs_by_example_is_a_mean() -> None:
    """Both examples shown of qa/number may have the commonest answer: "chance 1" would say nothing of the level."""
    assert load_script("make_gallery").by_example("qa/number", "relaxed") == "0.25, the mean of 8 examples"


@pytest.mark.slow
def test_the_gallery_is_whole(tmp_path: Path) -> None:
    gallery = load_script("make_gallery")
    found = gallery.make(tmp_path / "gallery", [TABLE])
    entries = [*catalogue()[0], *catalogue([TABLE])[0]]
    assert sorted(entry.name for members in found.values() for entry in members) == sorted(e.name for e in entries)
    pages = "".join(page.read_text() for page in (tmp_path / "gallery").glob("*.md") if page.name != "index.md")
    assert pages.count("\n### ") == sum(len(entry.levels) for entry in entries)
    assert pages.count("<article>") == 2 * pages.count("\n### ")


def test_requests_to_elsewhere_are_noticed(tmp_path: Path) -> None:
    check = load_script("check_site")
    (tmp_path / "good.html").write_text(
        '<link rel="stylesheet" href="a.css"><img src="data:image/png;base64,AA"><a href="https://arxiv.org">paper</a>'
    )
    (tmp_path / "a.css").write_text("@import 'b.css'; i { background: url(data:image/svg+xml,x) }")
    assert check.requests(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<link rel="stylesheet" href="//fonts.example/a.css"><script src="https://cdn.example/x.js"></script>'
        '<p style="background: url(http://pictures.example/1.png)"><pre class="mermaid"></pre>'
    )
    (tmp_path / "b.css").write_text("@import 'https://fonts.example/b.css'; i { background: url(\"//c.example/d\") }")
    (tmp_path / "c.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><image href="https://e.example/f"/></svg>')
    assert check.requests(tmp_path) == [
        "b.css: https://fonts.example/b.css",
        "b.css: //c.example/d",
        "bad.html: //fonts.example/a.css",
        "bad.html: https://cdn.example/x.js",
        "bad.html: http://pictures.example/1.png",
        "bad.html: a mermaid diagram",
        "c.svg: https://e.example/f",
    ]
