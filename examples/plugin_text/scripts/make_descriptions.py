"""Makes ssl4rl_text/descriptions.jsonl.gz out of Debian's long package descriptions.

    make_descriptions.py Packages Translation-en OUT [--count 1500] [--seed 0]

Both files are those of one archive section and release, unpacked. Kept are descriptions with at least eight sentences
of prose, six of them whole, lists left out: of one package for each source, and one of those that share a sentence.
Nothing but names and descriptions is read: no maintainers, no addresses, no versions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import sentencex
from ssl4rl_text.document import is_whole

LEAST = 6


def stanzas(file: Path) -> Iterator[dict[str, str]]:
    """The fields of each stanza; a folded field keeps its line breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line:
            if fields:
                yield fields
            fields = {}
        elif line[0] == " ":
            fields[name] += f"\n{line[1:]}"
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    if fields:
        yield fields


def prose(description: str) -> list[str]:
    """The paragraphs of a long description, without its first line and without lists."""
    _, _, body = description.partition("\n")
    paragraphs = []
    for block in f"\n{body}\n".split("\n.\n"):
        lines = block.strip("\n").split("\n")
        if not any(line.startswith((" ", "*", "-", "o ")) or "://" in line for line in lines):
            paragraphs.append(" ".join(line.strip() for line in lines))
    return [paragraph for paragraph in paragraphs if len(paragraph) >= 40]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", type=Path)
    parser.add_argument("translation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    source = {s["Package"]: s.get("Source", s["Package"]).split(" ")[0] for s in stanzas(asked.packages)}
    found = sorted((s["Package"], s["Description-en"]) for s in stanzas(asked.translation) if "Description-en" in s)
    random.Random(asked.seed).shuffle(found)
    sources: set[str] = set()
    sentences: set[str] = set()
    kept = []
    for package, description in found:
        paragraphs = prose(description)
        parts = [part.strip() for paragraph in paragraphs for part in sentencex.segment("en", paragraph)]
        origin = source.get(package, package)
        if sum(map(is_whole, parts[1:-1])) < LEAST or origin in sources or not sentences.isdisjoint(parts):
            continue
        sources.add(origin)
        sentences.update(parts)
        kept.append({"name": package, "text": "\n\n".join(paragraphs)})
        if len(kept) == asked.count:
            break
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(kept, key=lambda row: row["name"]))
    with gzip.GzipFile(asked.out, "wb", mtime=0) as file:
        file.write(lines.encode())
    print(f"{len(kept)} descriptions, {len(lines)} bytes")


if __name__ == "__main__":
    main()
