"""What a source took is said by every command that reads data, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl4rl import cli
from ssl4rl.tools.audit import audit as audits
from ssl4rl.tools.evaluate.evaluate import evaluate
from ssl4rl.tools.probe.probe import probe

LINE = (
    "edges from column 'from' to 'to' of 3 (cut at commas, header, 1 comment lines skipped); 12 nodes, 24 edges, "
    "undirected; nodes carry nothing"
)
FEW = ["--level", "easy", "-n", "2", "--max-new-tokens", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people on a ring, each a friend of the next two."""
    path = tmp_path_factory.mktemp("taken") / "friends.csv"
    rows = [f"p{person},p{(person + step) % 12},2020" for person in range(12) for step in (1, 2)]
    path.write_text("\n".join(["from,to,since", "# a note", *rows, ""]))
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["audit", "graph/hops", "--level", "easy", "-n", "100", "--no-twin"],
        ["eval", "embedded:tiny_vlm", "--task", "graph/hops", *FEW],
        ["probe", "embedded:tiny_vlm", "--task", "graph/hops", *FEW, "--group", "2"],
    ],
    ids=lambda command: str(command[0]),
)
def test_commands_say_it(command: list[str], table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--data", str(table)]) in (0, 1, 3)
    assert capsys.readouterr().out.splitlines()[0] == f"edges:{table}: {LINE}"
    assert cli.run([*command, "--data", str(table), "--json"]) in (0, 1, 3)
    assert json.loads(capsys.readouterr().out)["taken"] == {f"edges:{table}": LINE}


def test_pages_say_it(table: Path) -> None:
    shown = f"Taken from edges:{table}: "
    assert shown in audits.audit("graph/hops", table, "easy", n=100, twin=False).page()
    assert shown in evaluate("embedded:tiny_vlm", "graph/hops", data=table, level="easy", n=2, max_new_tokens=1).page()
    few = {"level": "easy", "n": 2, "group": 2, "max_new_tokens": 1}
    assert shown in probe("embedded:tiny_vlm", "graph/hops", data=table, **few).page()


def test_a_source_without_anything_to_say_adds_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["eval", "embedded:tiny_vlm", "--task", "vision/rotation", "-n", "2", "--max-new-tokens", "1"]) == 0
    assert capsys.readouterr().out.startswith("vision/rotation@")
