"""Does a built page ask for anything from elsewhere? Prints each such place, and exits 1 if there is one.

python scripts/check_site.py build/site

Links that a reader may follow (`<a href>`) are no requests. Scripts are looked at for what they load by themselves:
Material's own bundle names the address of mermaid, which it loads on pages with a mermaid diagram alone, so a page with
such a diagram is refused.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z+.-]*:)?//", re.I)
_LOADS = ("src", "srcset", "poster", "data", "action")
_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])\s*([^'\")]+)", re.I)
_PICTURE_NEEDS = re.compile(r"(?:href|src)\s*=\s*[\"']\s*((?:[a-z]+:)?//[^\"']+)", re.I)


class _Page(HTMLParser):
    """What a page loads: of all elements but links that a reader follows."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.mermaid = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [value for name, value in attrs if value and name in _LOADS]
        if tag == "link" and given.get("href"):
            self.loads.append(given["href"] or "")
        self.loads += _STYLE.findall(given.get("style") or "")
        self.mermaid |= "mermaid" in (given.get("class") or "").split()


def requests(folder: Path) -> list[str]:
    """`FILE: ADDRESS` of everything below `folder` that a browser would load from elsewhere."""
    found = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.suffix == ".html":
            page = _Page()
            text = file.read_text(encoding="utf-8")
            page.feed(text)
            styles = [
                url for block in re.findall(r"<style[^>]*>(.*?)</style>", text, re.S) for url in _STYLE.findall(block)
            ]
            found += [f"{name}: {load}" for load in [*page.loads, *styles] if _ELSEWHERE.match(load)]
            found += [f"{name}: a mermaid diagram"] if page.mermaid else []
        elif file.suffix == ".css":
            loads = _STYLE.findall(file.read_text(encoding="utf-8"))
            found += [f"{name}: {load}" for load in loads if _ELSEWHERE.match(load)]
        elif file.suffix == ".svg":
            text = file.read_text(encoding="utf-8")
            loads = [*_STYLE.findall(text), *_PICTURE_NEEDS.findall(text)]
            found += [f"{name}: {load}" for load in loads if _ELSEWHERE.match(load)]
    return found


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    pages = list(folder.rglob("*.html"))
    if not pages:
        print(f"check_site: no pages in {str(folder)!r}", file=sys.stderr)
        return 2
    found = requests(folder)
    print("\n".join(found) or f"{folder}: {len(pages)} pages, nothing is loaded from elsewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
