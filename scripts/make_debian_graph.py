"""Makes ssl4rl/embedded/debian/ (packages.tsv.gz and LICENSES.md): a graph of Debian packages and what they depend on.

    python scripts/make_debian_graph.py PACKAGES [--measure]

PACKAGES is the index of Debian's `main` archive for one release, unpacked, as apt keeps it after `apt-get update`:
    /usr/lib/apt/apt-helper cat-file /var/lib/apt/lists/*_bookworm_main_binary-amd64_Packages* > PACKAGES

A node is one source package, shown as one of its binary packages: the one of the same name, else the one most depended
on. So no two nodes are siblings that share a description, which the split into train and held-out nodes could part.
An edge u -> v: u needs (Depends or Pre-Depends, of alternatives the first) v or a sibling of v. Kept are the sections
named below, in each the best connected nodes that have three neighbours or more among those kept.

`--measure` prints what shallow models can tell of a node's section (needs scikit-learn).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OUT = Path(__file__).parents[1] / "ssl4rl" / "embedded" / "debian"
RELEASE = "Debian 12.15 (bookworm), archive section main, architecture amd64, index of 2026-07-11"
SECTIONS = (
    *("admin", "games", "gnu-r", "java", "javascript", "libs"),
    *("net", "perl", "python", "ruby", "science", "sound"),
)
NO_NODE = {"debug", "doc", "localization", "metapackages", "oldlibs", "tasks"}
MOST_PER_SECTION = 500
LEAST_NEIGHBOURS = 3
FIELDS = {"Package", "Source", "Section", "Description", "Depends", "Pre-Depends"}

LICENCES = """# Origin and licence of the embedded Debian package graph

`packages.tsv.gz` was made by scripts/make_debian_graph.py from the package index of
{release}
(SHA-256 of the unpacked index: {digest}).

A line is a package: its name, its archive section, the first line of its description, and the names of the packages
among these that it needs (Depends and Pre-Depends, of alternatives the first; a package stands for all binary packages
of the same source). {nodes} packages, {edges} dependencies. No other field of the index was taken: no maintainers, no
addresses, no versions.

Names, sections and dependencies are facts. The one-line descriptions come from the control files of the packages, each
under the licence of its own package; all are from Debian's section `main`, so every one of these licences meets the
Debian Free Software Guidelines. The licence of package NAME is in its file `/usr/share/doc/NAME/copyright`. The lines
are unchanged, and packages whose line repeats another's were left out. Debian is a registered trademark of Software in
the Public Interest, Inc.; this file is not a product of the Debian project and not endorsed by it.

| section | packages |
|---|---|
{table}
"""


@dataclass(frozen=True)
class Package:
    """One binary package of the index. `needs`: names of binary packages."""

    name: str
    source: str
    section: str
    description: str
    needs: tuple[str, ...]


def read(file: Path) -> dict[str, Package]:
    """The packages of an unpacked index, by name."""
    found = {}
    for fields in stanzas(file):
        needs = [clause for key in ("Pre-Depends", "Depends") for clause in fields.get(key, "").split(",") if clause]
        package = Package(
            fields["Package"],
            fields.get("Source", fields["Package"]).split()[0],
            fields.get("Section", ""),
            " ".join(fields.get("Description", "").split()),
            tuple(re.split(r"[ (:\[]", clause.split("|")[0].strip())[0] for clause in needs),
        )
        found[package.name] = package
    return found


def stanzas(file: Path) -> Iterator[dict[str, str]]:
    """The fields of interest of each stanza, first lines only."""
    fields: dict[str, str] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            key, colon, value = line.rstrip("\n").partition(": ")
            if not line.strip() and fields:
                yield fields
                fields = {}
            elif colon and key in FIELDS:
                fields[key] = value
    if fields:
        yield fields


def representatives(packages: Mapping[str, Package]) -> dict[str, Package]:
    """Of each source its node, by the source's name. A description that several sources share keeps the first."""
    users = Counter(need for package in packages.values() for need in set(package.needs))
    of_source = defaultdict(list)
    for package in packages.values():
        if package.section not in NO_NODE:
            of_source[package.source].append(package)
    chosen, seen = {}, set()
    for source in sorted(of_source):
        node = min(of_source[source], key=lambda p: (p.name != source, -users[p.name], len(p.name), p.name))
        if node.section in SECTIONS and node.description and node.description.casefold() not in seen:
            seen.add(node.description.casefold())
            chosen[source] = node
    return chosen


def edges(nodes: Mapping[str, Package], packages: Mapping[str, Package]) -> set[tuple[str, str]]:
    """Pairs of sources: the first one's node needs something of the second."""
    return {
        (source, packages[need].source)
        for source, node in nodes.items()
        for need in node.needs
        if need in packages and packages[need].source in nodes and packages[need].source != source
    }


def neighbours(pairs: Iterable[tuple[str, str]], kept: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {source: set() for source in kept}
    for u, v in pairs:
        if u in kept and v in kept:
            found[u].add(v)
            found[v].add(u)
    return found


def well_connected(nodes: Mapping[str, Package], pairs: set[tuple[str, str]]) -> set[str]:
    """The sources kept: what has too few neighbours goes, then of full sections the least connected."""
    kept = set(nodes)
    capped = False
    while True:
        around = neighbours(pairs, kept)
        stay = {source for source in kept if len(around[source]) >= LEAST_NEIGHBOURS}
        if stay == kept and capped:
            return kept
        if stay == kept:
            ranked = sorted(stay, key=lambda source: (-len(around[source]), source))
            rank: Counter[str] = Counter()
            for source in ranked:
                rank[nodes[source].section] += 1
                if rank[nodes[source].section] > MOST_PER_SECTION:
                    stay.discard(source)
            capped = True
        kept = stay


def write(nodes: Mapping[str, Package], pairs: set[tuple[str, str]], kept: set[str], digest: str) -> None:
    """The data, the same bytes for the same index, and LICENSES.md."""
    needs = defaultdict(list)
    for u, v in pairs:
        if u in kept and v in kept:
            needs[u].append(nodes[v].name)
    chosen = sorted((nodes[source] for source in kept), key=lambda p: p.name)
    lines = ["name\tsection\tdescription\tneeds"]
    lines += [f"{p.name}\t{p.section}\t{p.description}\t{' '.join(sorted(needs[p.source]))}" for p in chosen]
    data = gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=9, mtime=0)
    OUT.mkdir(exist_ok=True)
    (OUT / "packages.tsv.gz").write_bytes(data)
    sections = Counter(p.section for p in chosen)
    count = sum(map(len, needs.values()))
    table = "\n".join(f"| {section} | {sections[section]} |" for section in SECTIONS)
    text = LICENCES.format(release=RELEASE, digest=digest, nodes=len(chosen), edges=count, table=table)
    (OUT / "LICENSES.md").write_text(text)
    print(f"{len(chosen)} packages, {count} dependencies, {len(data) / 2**20:.2f} MiB; {dict(sections)}")


def measure(options: int = 4, shown: int = 8) -> None:
    """What shallow models make of the section, among `options` offered: accuracy on a fifth of the nodes, held out.

    Bag-of-words logistic regressions on a node's own name and description and on those of up to `shown` neighbours, and
    the majority of all neighbours' sections (ties shared).
    """
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    from ssl4rl.graph.sources.debian import load

    graph = load()
    rng = np.random.default_rng(0)
    label = [graph.value("section", i) for i in range(graph.num_nodes)]
    order = rng.permutation(graph.num_nodes)
    test = order[: graph.num_nodes // 5]
    classes = np.array(sorted(set(label)))
    others = {c: classes[classes != c] for c in classes}
    offered = [{label[i], *rng.permutation(others[label[i]])[: options - 1].tolist()} for i in test]

    def own(i: int, mark: str = "") -> str:
        return " ".join(mark + word for word in f"{graph.name(i)} {graph.value('text', i)}".split())

    def around(i: int) -> str:
        return " ".join(own(int(j)) for j in rng.permutation(graph.neighbours(i))[:shown])

    texts = {
        "own description": [str(graph.value("text", i)) for i in range(graph.num_nodes)],
        "own name and description": [own(i) for i in range(graph.num_nodes)],
        "neighbours only": [around(i) for i in range(graph.num_nodes)],
        "own and neighbours": [f"{own(i, 'own_')} {around(i)}" for i in range(graph.num_nodes)],
    }
    train = order[len(test) :]
    for name, text in texts.items():
        words = CountVectorizer(binary=True, token_pattern=r"\w+", min_df=2)
        x = words.fit_transform(text)
        model = LogisticRegression(max_iter=300).fit(x[train], [label[i] for i in train])
        odds = model.predict_log_proba(x[test])
        column = {c: k for k, c in enumerate(model.classes_)}
        right = []
        for i, odd, names in zip(test, odds, offered, strict=True):
            guess = max(names, key=lambda c, odd=odd: odd[column[c]])
            right.append(guess == label[i])
        print(f"{name:26} {np.mean(right):.3f}")
    votes = []
    for i, names in zip(test, offered, strict=True):
        count = Counter(label[int(j)] for j in graph.neighbours(i))
        best = [name for name in names if count[name] == max(count[n] for n in names)]
        votes.append((label[i] in best) / len(best))
    print(f"{'majority of neighbours':26} {np.mean(votes):.3f}   (chance {1 / options:.3f}, n {len(test)})")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("packages", type=Path)
    arguments.add_argument("--measure", action="store_true")
    given = arguments.parse_args()
    packages = read(given.packages)
    nodes = representatives(packages)
    pairs = edges(nodes, packages)
    write(nodes, pairs, well_connected(nodes, pairs), hashlib.sha256(given.packages.read_bytes()).hexdigest())
    if given.measure:
        measure()


if __name__ == "__main__":
    main()
