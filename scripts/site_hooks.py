"""What mkdocs is told beyond docs/: the gallery, the commands' help, and the repository's files that pages link to.

A page in docs/ says `[reward.py](../ssl4rl/core/reward.py)`, which any file viewer follows. Here each such file becomes
a page of the site, so that the site needs no repository beside it.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
SOURCE = "source"  # where the repository's files stand on the site
GALLERY = "the site's Gallery"  # named on the first page; it is made for the site alone, so no file links to it
LONGEST = 60_000  # characters of a file that are shown
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_INCLUDE = re.compile(r"The table stands in [^\n]*\n\n<!-- include: README\.md, ([^\n]+) -->\n")
_MADE = re.compile(r"^(\.|__pycache__)|\.egg-info$")  # what no repository holds
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".css": "css"}


def on_config(config: Any) -> Any:
    """Adds to the navigation the gallery, made before by scripts/make_gallery.py, and guides that it does not name."""
    named = str(config["nav"])
    guides = next(entry["Guides"] for entry in config["nav"] if "Guides" in entry)
    guides += [page.name for page in sorted(Path(config["docs_dir"]).glob("*.md")) if f"'{page.name}'" not in named]
    folder = Path(config["docs_dir"]) / "gallery"
    if folder.exists():
        pages = re.findall(r"^## \[[^]]*\]\((.+)\)$", (folder / "index.md").read_text(encoding="utf-8"), re.M)
        first = next(number for number, entry in enumerate(config["nav"]) if "Your trainer" in entry)
        config["nav"].insert(first, {"Gallery": ["gallery/index.md", *(f"gallery/{page}" for page in pages)]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made from the repository; a page may link to a file that links to others."""
    files.append(File.generated(config, "commands.md", content=commands()))
    waiting = [page for page in files if page.src_uri.endswith(".md")]
    while waiting:
        page = waiting.pop()
        for target in links(with_readme(page.content_string)):
            path = repository_path(page.src_uri, target)
            if path is None or path.startswith("docs/"):
                continue
            name = source_page(path)
            if files.get_file_from_path(name) is None:
                added = File.generated(config, name, content=source_text(path))
                files.append(added)
                waiting.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links to the repository's files into links to their pages."""
    here = page.file.src_uri
    markdown = with_readme(markdown)
    if here == "index.md" and files.get_file_from_path("gallery/index.md") is not None:
        markdown = markdown.replace(GALLERY, f"[{GALLERY}](gallery/index.md)")

    def turned(match: re.Match[str]) -> str:
        path = repository_path(here, match[2])
        if path is None:
            return match[0]
        home = "docs/" if path.startswith("docs/") else ""
        name = path.removeprefix("docs/") if home else source_page(path)
        fragment = match[2].partition("#")[2]
        relative = posixpath.relpath(name, posixpath.dirname(here) or ".")
        return f"{match[1]}{relative}{'#' + fragment if fragment else ''}{match[3]}"

    return "".join(_LINK.sub(turned, text) if prose else text for text, prose in pieces(markdown))


def with_readme(markdown: str) -> str:
    """A page of docs/ with the README's sections that it only points to, for whoever reads it as a file."""

    def section(match: re.Match[str]) -> str:
        text = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {match[1]}\n")[2].partition("\n## ")[0]
        if not text:
            raise PluginError(f"README.md has no section {match[1]!r}")
        return re.sub(r"\]\((?![a-z]+:|#)(docs/)?", lambda found: "](" if found[1] else "](../", text)

    return _INCLUDE.sub(section, markdown)


def pieces(markdown: str) -> Iterator[tuple[str, bool]]:
    """Lines with whether they are prose: links in code stay as they are."""
    fenced = False
    for line in markdown.splitlines(keepends=True):
        edge = _FENCE.match(line) is not None
        yield line, not fenced and not edge
        fenced ^= edge


def links(markdown: str) -> list[str]:
    return [match[2] for text, prose in pieces(markdown) if prose for match in _LINK.finditer(text)]


def repository_path(page: str, target: str) -> str | None:
    """The file or folder of the repository that a page's link means, if it lies outside the page's own docs/.

    Args:
        page: the page's place on the site, "engine.md" or "source/CONTRIBUTING.md.md".
    """
    target = unquote(target.partition("#")[0])
    if not target or target.startswith(("/", "data:", "mailto:")) or "://" in target:
        return None
    own = page.startswith(f"{SOURCE}/")
    at = page.removeprefix(f"{SOURCE}/").removesuffix(".md") if own else f"docs/{page}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
    if path.startswith("..") or not (ROOT / path).exists() or (not own and path.startswith("docs/")):
        return None  # mkdocs complains of what is not there
    return path


def source_page(path: str) -> str:
    if (ROOT / path).is_dir():
        return f"{SOURCE}/{path}/index.md"
    return f"{SOURCE}/{path}.md"


def source_text(path: str) -> str:
    """A page with a file's text: Markdown as it is, the rest as code; of a folder the files in it."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(child.name for child in file.iterdir() if not _MADE.search(child.name))
        return f"# {path}/\n\n" + "\n".join(f"- [{name}]({posixpath.basename(path)}/{name})" for name in names)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"# {path}\n\nA binary file of {file.stat().st_size:,} bytes, in the repository."
    if file.suffix == ".md":
        return text
    if file.suffix == ".ipynb":
        return notebook_text(text)
    cut = "" if len(text) <= LONGEST else f"\n(The first {LONGEST:,} of {len(text):,} characters.)\n"
    return f"# {path}\n{cut}\n~~~~~~{_LANGUAGES.get(file.suffix, 'text')}\n{text[:LONGEST].rstrip()}\n~~~~~~\n"


def notebook_text(text: str) -> str:
    """A notebook's cells: its prose as it is, its code as code."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(f"~~~~~~python\n{body}\n~~~~~~" if kind == "code" else body for kind, body in cells)


def commands() -> str:
    """Every command's own help."""
    from ssl4rl.cli import cli

    found = [
        "# Commands",
        "",
        "What `ssl4rl COMMAND --help` prints. Every command exits 2 with one line where you can mend it.",
    ]
    for name, command in cli.commands.items():
        above = click.Context(cli, info_name="ssl4rl", **cli.context_settings)
        with click.Context(command, above, name, terminal_width=100, max_content_width=100) as context:
            found += ["", f"## {name}", "", "```text", command.get_help(context).strip(), "```"]
    return "\n".join(found)
