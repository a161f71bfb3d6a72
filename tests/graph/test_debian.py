"""The embedded graph of Debian packages is what it says, and is made from an index as its script says."""

from __future__ import annotations

import gzip
import pickle
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from ssl4rl.core import registry
from ssl4rl.core.source import Split
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.graph.graph import Rooted
from ssl4rl.graph.sources.debian import FILE, load, open_debian
from tests.scripts import load_script

INDEX = """\
Package: alpha
Source: first (1.0)
Section: games
Description: A game
Depends: libbeta1 (>= 2) | libother, gamma:any, absent

Package: alpha-data
Source: first
Section: games
Description: A game (data files)
Depends: libbeta1

Package: libbeta-dev
Source: beta
Section: libdevel
Description: A library (headers)

Package: libbeta1
Source: beta
Section: libs
Description: A library
Pre-Depends: gamma

Package: gamma
Section: net
Description: A client
Tag: role::program,
 use::chatting
Depends: alpha-data

Package: twin
Section: net
Description: a CLIENT
Depends: gamma

Package: words-doc
Section: doc
Description: Words
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_debian_graph")


def needs(name: str) -> list[str]:
    graph = load(directed=True)
    assert graph.names is not None
    return [graph.name(int(v)) for v in graph.neighbours(list(graph.names).index(name))]


def test_sizes() -> None:
    graph, directed = load(), load(directed=True)
    assert (graph.num_nodes, graph.num_edges, graph.directed) == (5682, 31711, False)
    assert (directed.num_nodes, directed.num_edges, directed.directed) == (5682, 31725, True)
    assert min(map(graph.degree, range(graph.num_nodes))) == 3
    assert Counter(graph.columns["section"]) == {
        "gnu-r": 500,
        "python": 499,
        "libs": 495,
        "perl": 491,
        "net": 489,
        "java": 488,
        "ruby": 480,
        "science": 479,
        "admin": 460,
        "javascript": 459,
        "games": 458,
        "sound": 384,
    }
    assert FILE.stat().st_size < 250_000


def test_a_package() -> None:
    graph = load()
    assert graph.names is not None
    node = list(graph.names).index("frozen-bubble")
    assert graph.value("text", node) == "cool game where you pop out the bubbles!"
    assert graph.value("section", node) == "games"
    assert needs("frozen-bubble") == [
        "libc6",
        "libglib2.0-0",
        "libsdl-mixer1.2",
        "libsdl-perl",
        "libsdl1.2debian",
        "perl",
    ]


def test_no_two_packages_read_alike_and_none_names_an_address() -> None:
    graph = load()
    texts = [str(text) for text in graph.columns["text"]]
    assert len({text.casefold() for text in texts}) == len(texts)
    assert all(texts)
    assert [text for text in texts if re.search(r"\w@\w|https?:", text)] == []
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        assert {line.count("\t") for line in lines} == {3}


def test_the_source() -> None:
    source = registry.open_source("debian:", registry.plugins()["graph"])
    assert (source.uri, len(source), source.problems) == ("debian:", 5682, ())
    item = source[17]
    assert isinstance(item, Rooted)
    assert (item.graph is load(), item.root) == (True, 17)
    assert len({source.id(i) for i in range(len(source))}) == 5682
    assert len(Split(source, "held_out", 0.2)) == pytest.approx(0.2 * 5682, rel=0.1)
    again = pickle.loads(pickle.dumps(source))
    assert again[3].graph is load(), "a worker of the same process opens nothing twice"
    assert open_debian("directed")[0].graph is load(directed=True)
    with pytest.raises(Ssl4rlError, match=r"^source 'debian:sid'; allowed: 'debian:', 'debian:directed'$"):
        open_debian("sid")


def test_the_script_reads_an_index(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "Packages").write_text(INDEX)
    packages = script.read(tmp_path / "Packages")
    assert packages["alpha"].needs == ("libbeta1", "gamma", "absent")
    nodes = script.representatives(packages)
    assert {source: node.name for source, node in nodes.items()} == {
        "first": "alpha-data",
        "beta": "libbeta1",
        "gamma": "gamma",
    }, "of a source the package most needed, no documentation, of equal descriptions one"
    assert script.edges(nodes, packages) == {("first", "beta"), ("beta", "gamma"), ("gamma", "first")}


def test_the_script_keeps_what_is_well_connected(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {name: script.Package(name, name, "net", name, ()) for name in "abcdefg"}
    clique = {(u, v) for u in "abcd" for v in "abcd" if u < v}
    pairs = {*clique, ("e", "a"), ("e", "b"), ("e", "c"), ("f", "e"), ("f", "a"), ("g", "a")}
    assert script.well_connected(nodes, pairs) == set("abcde"), "g has one neighbour, f two"
    monkeypatch.setattr(script, "MOST_PER_SECTION", 4)
    assert script.well_connected(nodes, pairs) == set("abcd"), "of d and e, alike connected, the first by name"
