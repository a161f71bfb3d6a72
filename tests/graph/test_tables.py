"""Tables as people have them: delimiters, quotes, comments, indices; each right value written out."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl4rl.graph.sources.text.dialect import Dialect, rows, sniff
from tests.graph.test_sources import error, opened, problems


def write(tmp_path: Path, text: str, name: str = "e.csv") -> str:
    (tmp_path / name).write_text(text)
    return f"edges:{tmp_path / name}"


def edges(uri: str) -> list[tuple[str, str]]:
    graph = opened(uri)[0].graph
    return [(graph.name(u), graph.name(v)) for u, v in graph.edges()]


def test_the_delimiter_cuts_all_rows_alike_tabs_first(tmp_path: Path) -> None:
    """Names with commas between tabs."""
    uri = write(tmp_path, "Smith, John\tDoe, Jane\nDoe, Jane\tMiller, Ann\nMiller, Ann\tSmith, John\n", "authors.tsv")
    source = opened(uri)
    assert source[0].graph.names == ["Smith, John", "Doe, Jane", "Miller, Ann"]
    assert source[0].graph.num_edges == 3
    assert source.taken == (
        "edges from column 1 to 2 of 2 (cut at tabs, no header); 3 nodes, 3 edges, undirected; nodes carry nothing"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,5;2,5\n2,5;3,5\n", [("1,5", "2,5"), ("2,5", "3,5")]),
        ("a b,c\n" * 4 + "d e,f,g\n", [("a b", "c"), ("d e", "f")]),
        ("source,target\na b,c d\n", [("a b", "c d")]),
        ('"Smith, J.", "Doe, J."\n"Doe, J.", "Roe, R."\n', [("Smith, J.", "Doe, J."), ("Doe, J.", "Roe, R.")]),
        ('a,"b"c\nb"d",e\n', [("a", '"b"c'), ('b"d"', "e")]),
        ("#cats\t#dogs\n#dogs\t#birds\n", [("#cats", "#dogs"), ("#dogs", "#birds")]),
        ('"from" "to"\n"1" "a" "b"\n"2" "b" "c"\n', [("a", "b"), ("b", "c")]),
        ("Unnamed: 0,who,whom\n0,a,b\n1,b,c\n", [("a", "b"), ("b", "c")]),
        ("<http://a#x> <http://b>\n<http://b> <http://c>\n", [("<http://a#x>", "<http://b>"), ("<http://b>", "<http://c>")]),
        ("a,b\r\nb,c\r\n", [("a", "b"), ("b", "c")]),
        ("a,b\rb,c\r", [("a", "b"), ("b", "c")]),
        ("% bip unweighted\n1 1\n2 1\n", [("L1", "R1"), ("R1", "L2")]),
    ],
)  # fmt: skip
def test_tables_of_every_kind(text: str, found: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(text.encode())
    assert edges(f"edges:{tmp_path / 'e'}") == found


def test_a_quote_that_nothing_closes_swallows_no_lines(tmp_path: Path) -> None:
    nodes = 'id\ttitle\tlabel\n1\t"Deep learning" in practice\tml\n2\t"Unfinished title\tdb\n3\tPlain\tml\n'
    (tmp_path / "nodes.tsv").write_text(nodes + '4\tAnother "quoted" one\tdb\n5\t"whole"\tdb\n6\tscreen 15"\tml\n')
    graph = opened(f"{write(tmp_path, '1,2')}?nodes=nodes.tsv")[0].graph
    titles = [
        '"Deep learning" in practice',
        '"Unfinished title',
        "Plain",
        'Another "quoted" one',
        "whole",
        'screen 15"',
    ]
    assert graph.columns == {"title": titles, "label": ["ml", "db", "ml", "db", "db", "ml"]}


def test_texts_of_several_lines_in_a_tab_file(tmp_path: Path) -> None:
    """As pandas writes them; but a line that is a row by itself is one."""
    (tmp_path / "nodes.tsv").write_text('id\ttitle\n1\t"two\nlines"\n2\t"a\tb"\n3\t"open\n4\tclosed"\n')
    graph = opened(f"{write(tmp_path, '1,2')}?nodes=nodes.tsv")[0].graph
    assert graph.columns == {"title": ["two\nlines", "a\tb", '"open', 'closed"']}


def test_cells_have_no_limit(tmp_path: Path) -> None:
    uri = write(tmp_path, f'source,target\na,{"b" * 200_000}\na,"{"c" * 200_000}\nb,c\n')
    assert [len(name) for name in opened(uri)[0].graph.names or ()] == [1, 200_000, 200_001, 1, 1]


def test_comments_wherever_they_stand(tmp_path: Path) -> None:
    """KONECT, SNAP."""
    source = opened(write(tmp_path, "% sym unweighted\n% 5 4 4\n1 2\n2 3\n# half\n3 4\n4 1\n", "out.konect"))
    assert (source[0].graph.names, source[0].graph.num_edges) == (["1", "2", "3", "4"], 4)
    assert "3 comment lines skipped" in source.taken
    snap = "# Directed graph\n# Nodes: 3 Edges: 2\n# FromNodeId\tToNodeId\n0\t1\n1\t2\n"
    assert edges(write(tmp_path, snap)) == [("0", "1"), ("1", "2")]
    (tmp_path / "s.txt.gz").write_bytes(gzip.compress(snap.encode()))
    assert edges(f"edges:{tmp_path / 's.txt.gz'}") == [("0", "1"), ("1", "2")]


def test_an_unnamed_first_column_is_an_index(tmp_path: Path) -> None:
    """As pandas writes it; what was taken is said."""
    source = opened(write(tmp_path, ",person,friend\n0,anna,bert\n1,bert,cora\n2,cora,dora\n3,dora,anna\n"))
    assert source[0].graph.names == ["anna", "bert", "cora", "dora"]
    assert source[0].graph.edges() == [(0, 1), (0, 3), (1, 2), (2, 3)]
    assert source.taken == (
        "edges from column 'person' to 'friend' of 3 (cut at commas, header, first column taken for an index); 4 "
        "nodes, 4 edges, undirected; nodes carry nothing"
    )
    matrix = write(tmp_path, ",a,b,c\na,0,1,0\nb,1,0,1\nc,0,1,0\n", "m.csv")
    assert error(matrix) == f"'{matrix}' is a matrix of nodes by nodes; allowed: a row for each edge, or npz:, mtx:"


def test_a_first_row_that_is_nearly_a_header_is_said(tmp_path: Path) -> None:
    """It is taken for an edge, since names stand below it."""
    assert opened(write(tmp_path, "sorce,traget\na,b\nb,c\n")).taken.startswith(
        "edges from column 1 to 2 of 2 (cut at commas, no header, row 1 (sorce, traget) is an edge; meant as 'source "
        "target'?)"
    )
    assert opened(write(tmp_path, "anna,bert\nbert,cora\n")).taken.startswith(
        "edges from column 1 to 2 of 2 (cut at commas, no header);"
    )


@pytest.mark.parametrize(("before", "ends"), [(9_998, ["x\ny", "z"]), (10_000, ['y"', "z"])])
def test_after_very_many_quotes_that_open_nothing_none_is_looked_after(before: int, ends: list[str]) -> None:
    """Else a small file takes minutes: each of them is sought in the lines below."""
    lines = [*['a,"b\n'] * before, "a,b\n", '"x\n', 'y",z\n']
    assert list(rows(lines, Dialect(",", "", 2)))[-1] == (before + 3, ends)


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("J\u00fcrgen\tZo\u00eb\n", encoding="utf-16")
    assert edges(f"edges:{tmp_path / 'e'}") == [("J\u00fcrgen", "Zo\u00eb")]


def test_names_with_hashes_in_lists_of_words(tmp_path: Path) -> None:
    pairs = ["a#Reject b#Afford", "c b#Afford", "c d", "d a#Reject", "e#x c"]
    (tmp_path / "rdf").write_text("# by hand\n" + "\n".join(pairs))
    for scheme in ("edgelist", "adjlist"):
        graph = opened(f"{scheme}:{tmp_path / 'rdf'}")[0].graph
        assert (graph.names, graph.num_edges) == (["a#Reject", "b#Afford", "c", "d", "e#x"], 5)
    assert opened(f"edgelist:{tmp_path / 'rdf'}").taken.startswith("two words a line, 1 comment lines skipped; 5 nodes")


def test_edge_lists_with_data(tmp_path: Path) -> None:
    file, uri = tmp_path / "e", f"edgelist:{tmp_path / 'e'}"
    file.write_text("a b {'weight': 2, 'cost': 5}\nb c {'cost': 7}\n")
    assert (
        opened(uri)[0].graph.to_networkx().edges(data="weight").__repr__() == "EdgeDataView([(0, 1, 2.0), (1, 2, 1.0)])"
    )
    assert opened(f"{uri}?weight=cost")[0].graph.to_networkx().edges[1, 2]["weight"] == 7
    assert error(f"{uri}?weight=costs") == f"'{uri}?weight=costs' has no edge attribute 'costs'; did you mean 'cost'?"
    file.write_text("a b 1.5 1999\n")
    assert problems(opened(uri)) == {"further words": "of 1 lines not kept"}
    file.write_text("a b heavy\n")
    assert error(uri) == f"'{uri}', line 1: the weight is 'heavy'; allowed: a number"
    file.write_text("a b {'weight': " + "[" * 5000 + "}\n")
    assert error(uri).startswith(f"'{uri}' cannot be read as edgelist (line 1: \"{{'weight': [[[")


MTX = "%%MatrixMarket matrix coordinate {} {}\n% a comment\n4 4 3\n"


def test_matrix_market(tmp_path: Path) -> None:
    """The size line is no edge, rows without an entry are nodes."""
    file, uri = tmp_path / "g.mtx", f"mtx:{tmp_path / 'g.mtx'}"
    file.write_text(MTX.format("pattern", "symmetric") + "2 1\n3 2\n3 1\n")
    source = opened(uri)
    assert (source[0].graph.names, source[0].graph.edges()) == (["1", "2", "3", "4"], [(0, 1), (0, 2), (1, 2)])
    assert source.taken == (
        "a symmetric matrix of 4 rows and 3 entries, 1 comment lines skipped; 4 nodes, 3 edges, undirected; nodes "
        "carry nothing"
    )
    file.write_text(MTX.format("real", "general") + "2 1 0.5\n3 2 2\n3 1 1\n")
    graph = opened(uri)[0].graph
    assert (graph.directed, graph.edges()) == (True, [(1, 0), (2, 0), (2, 1)])
    assert graph.to_networkx().edges[1, 0]["weight"] == 0.5
    for body, why in (
        ("2 1 1\n", " holds 1 entries, its size line says 3"),
        ("2 9 1\n", ", line 4: entry 2 9; allowed: 1 to 4"),
        ("2 1\n", ", line 4 lacks its value"),
        ("a b 1\n", ", line 4: 'a b'; allowed: 2 whole numbers"),
    ):
        file.write_text(MTX.format("real", "general") + body)
        assert error(uri) == f"'{uri}'{why}"
    file.write_text(MTX.format("complex", "general"))
    assert error(uri).startswith(f"'{uri}' holds a matrix of field 'complex'; allowed: pattern, real")
    file.write_text("%%MatrixMarket matrix coordinate real general\n3 4 1\n1 1 1\n")
    assert error(uri) == f"'{uri}' holds a matrix of 3x4; allowed: square, rows are nodes"
    assert error(f"edges:{file}") == f"'edges:{file}' is a Matrix Market file; did you mean 'mtx:{file}'?"


def test_the_extension_says_which_reader(tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text("a\tb\n")
    (tmp_path / "n.csv").write_text("id,t\na,1\nb,2\n")
    assert opened(str(tmp_path / "e.tsv")).uri == f"edges:{tmp_path / 'e.tsv'}"
    assert opened(f"{tmp_path / 'e.tsv'}?nodes=n.csv")[0].graph.columns == {"t": ["1", "2"]}
    (tmp_path / "g.mtx.gz").write_bytes(gzip.compress((MTX.format("pattern", "general") + "2 1\n3 2\n3 1\n").encode()))
    assert opened(str(tmp_path / "g.mtx.gz"))[0].graph.num_edges == 3
    (tmp_path / "g.txt").write_text("a b\n")
    assert error(str(tmp_path / "g.txt")).startswith(
        f"{str(tmp_path / 'g.txt')!r}: nothing says which reader; allowed: ."
    )
    assert error(str(tmp_path)).endswith(f"or of a PyG dataset; or name one, as in 'edges:{tmp_path}'")
    assert error(str(tmp_path / "e.tsw")).endswith(f"did you mean {str(tmp_path / 'e.tsv')!r}?")


def test_what_hangs_or_swells_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert error(f"edges:{tmp_path / 'pipe.csv'}").endswith("pipe.csv is a named pipe; allowed: regular files")
    uri = write(tmp_path, "a,b\n")
    assert error(f"{uri}?nodes=pipe.csv").endswith("pipe.csv is a named pipe; allowed: regular files")
    monkeypatch.setenv("SSL4RL_GRAPH_MIB", "1")
    uri = write(tmp_path, "".join(f"{i},{i + 1}\n" for i in range(5000)))
    assert error(uri).endswith("as estimated while it is read; set SSL4RL_GRAPH_MIB for more")
    monkeypatch.setenv("SSL4RL_DECODED_MIB", "1")
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 300_000))
    monkeypatch.setenv("SSL4RL_GRAPH_MIB", "1000")
    assert error(f"edges:{tmp_path / 'bomb.csv.gz'}").endswith("set SSL4RL_DECODED_MIB for more")
    monkeypatch.setenv("SSL4RL_LINES", "1000")
    assert error(uri).endswith("1000 lines that one text may have; set SSL4RL_LINES for more")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(uri.encode() * 99)[:-20])
    assert "cut.csv.gz is broken or cut off" in error(f"edges:{tmp_path / 'cut.csv.gz'}")


QUOTED = '"a b","c d"\n"c d","e f"\n'  # four quotes a row, of one step each
ODD = 'a,"b\nc,"d\n'  # one quote a row, of four steps; after it a look at the line below


def chain(lines: int) -> str:
    """Each line ends a quote and begins one, and the last is open: all are letters, told at the end only."""
    return "x,y\n" * 2100 + 'a,"b\n' + 'c","d\n' * lines


def test_quotes_are_counted_before_they_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        " steps (about .3 microseconds each) that quotes and dicts in one text may take; set SSL4RL_TEXT_STEPS for more"
    )
    uri = write(tmp_path, QUOTED * 1000)
    assert opened(uri)[0].graph.names == ["a b", "c d", "e f"]
    monkeypatch.setenv("SSL4RL_TEXT_STEPS", "8000")  # and those of the rows that are read to find a header
    assert error(uri) == f"{uri!r}: it asks for more than allowed: 8000{said}"
    monkeypatch.setenv("SSL4RL_TEXT_STEPS", "8400")
    assert opened(uri)[0].graph.num_edges == 2
    monkeypatch.setenv("SSL4RL_TEXT_STEPS", "20000")
    assert error(write(tmp_path, ODD * 10_000)).endswith(f"20000{said}")
    assert error(write(tmp_path, 'a b {"k": 1}\n' * 10_000, "e.txt")).endswith(f"20000{said}")
    monkeypatch.setenv("SSL4RL_TEXT_STEPS", "200000")
    assert error(write(tmp_path, chain(3000))).endswith(f"200000{said}")  # of 100 looks at all lines below
    assert len(edges(write(tmp_path, chain(100)))) > 0


def test_dicts_are_counted_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edgelist(line: str, lines: int = 1000) -> str:
        (tmp_path / "e").write_text(f"{line}\n" * lines)
        return f"edgelist:{tmp_path / 'e'}"

    simple, python = "a b {'weight': 2.5}", "a b {'weight': 2.5, 'new': True}"
    for line, steps in ((simple, 12 + 15 // 4), (python, 12 + 28 // 4 + 30 + 2 * 28), ("a b {}", 0)):
        monkeypatch.setenv("SSL4RL_TEXT_STEPS", str(1000 * steps or 1))
        assert opened(edgelist(line))[0].graph.num_edges == 1
        monkeypatch.setenv("SSL4RL_TEXT_STEPS", str(max(1, 1000 * steps - 1)))
        if steps:
            assert error(edgelist(line)).endswith("may take; set SSL4RL_TEXT_STEPS for more")
    assert "the weight is '{{{" in error(edgelist("a b " + "{" * 1_000_000, 1))  # hours, if each were the start of one


# --- properties -------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85"), max_size=12)
CELL = st.one_of(TEXT, st.text('ab",;\t|\n #%', max_size=8))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8), st.sampled_from(",;"), st.booleans())
def test_what_csv_writes_is_read_back(table: list[list[str]], delimiter: str, everywhere: bool) -> None:
    """Quotes, delimiters and ends of lines inside of cells; a row of empty cells is none."""
    table = [[f"k{number}", *row] for number, row in enumerate(table)]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL if everywhere else csv.QUOTE_MINIMAL).writerows(table)
    lines = io.StringIO(out.getvalue(), newline="")
    expected = list(csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter))
    assert expected == table
    found = [row for _, row in rows(lines, Dialect(delimiter, columns=4))]
    assert found == table


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.text('ab" ,;|', min_size=1, max_size=8), min_size=2, max_size=2), min_size=1, max_size=9),
    st.booleans(),
)
def test_tab_files_without_quoting_are_read_as_they_stand(table: list[list[str]], comments: bool) -> None:
    """No letter but the tab means anything, unless both quotes of a cell are there; nothing is swallowed."""
    table = [[f"k{number}", *row] for number, row in enumerate(table)]
    text = "".join("\t".join(row) + "\n" + ("# said in between\n" if comments else "") for row in table)
    dialect = sniff(io.StringIO(text))
    assert (dialect.delimiter, dialect.columns) == ("\t", 3)
    found = [row for _, row in rows(io.StringIO(text), dialect)]
    assert len(found) == len(table)
    for row, expected in zip(found, table, strict=True):
        for cell, wanted in zip(row, expected, strict=True):
            inner = wanted.strip(" ")
            whole = len(inner) > 1 and inner[0] == inner[-1] == '"' and '"' not in inner[1:-1].replace('""', "")
            assert cell == (inner[1:-1].replace('""', '"') if whole else wanted)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('ab"\t,;| \n\r#%1'), max_size=60))
def test_any_text_is_read_in_one_way(text: str) -> None:
    """Every line that is neither blank nor a comment belongs to one row, in order."""
    lines = list(io.StringIO(text, newline=""))
    numbers = [number for number, _ in rows(lines, sniff(lines))]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= len(lines) for number in numbers)
