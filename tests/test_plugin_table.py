"""A complete third-party modality in one file, through the command line."""

import json
from pathlib import Path

import pytest

from ssl4rl import cli

FILE = Path(__file__).parents[1] / "examples" / "plugin_table" / "ssl4rl_table.py"
TASKS = f"{FILE}:TASKS"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = cli.run(list(arguments))
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "list", TASKS)
    assert out.splitlines()[1:] == ["    4-way  chance 0.25", "    8-way  chance 0.125"]


def test_preview(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = json.loads(run(capsys, "preview", TASKS, "-n", "3", "--json"))
    for example in record["examples"]:
        column = next(line for line in example["prompt"].splitlines() if "?" in line).split(" | ").index("?")
        options = dict(line.split(": ") for line in example["prompt"].splitlines() if line[1:3] == ": ")
        first_row = example["prompt"].splitlines()[3].split(" | ")
        assert len(options) == 4
        kind = {"capital": str.isalpha, "population": str.isdigit, "top-level domain": lambda cell: cell[0] == "."}
        holds = kind.get(options[example["answer"]])
        assert holds is None or holds(first_row[column].replace(" ", ""))
    page = tmp_path / "page.html"
    assert run(capsys, "preview", TASKS, "--level", "8-way", "-n", "2", "--out", str(page)).endswith(f"{page}\n")
    assert "Which header belongs to this column of a table?" in page.read_text()


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert "1 task at 2 levels: every promise is kept" in run(capsys, "check", TASKS)


def test_a_folder_of_csv_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.csv").write_text(f"a,b,c,d\n{i},x{i},y{i},z{i}\n{i + 1},{i + 2},{i + 3},{i + 4}\n")
    (tmp_path / "ragged.csv").write_text("a,b,c,d\n1,2\n")
    (tmp_path / "equal.csv").write_text("a,b,c,d\n1,1,1,1\n")
    (tmp_path / "narrow.csv").write_text("a,b\n1,2\n")
    arguments = ("preview", TASKS, "--data", str(tmp_path), "-n", "20", "--split", "all", "--json")
    assert set(json.loads(run(capsys, *arguments))["unusable_draws"]) == {
        "a row is longer or shorter than the header",
        "needs 4 columns, has 2",
        "two columns hold the same values",
    }


def test_an_empty_folder_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["preview", TASKS, "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"ssl4rl: '{tmp_path}' holds no .csv files\n"
