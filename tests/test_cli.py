"""The command line as a person meets it: exit status, one line for what they can mend, JSON, pipes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ssl4rl
from ssl4rl import cli
from tests.fakes import FAKES

LETTER = f"{FAKES}:letter"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["lits"], "unknown command 'lits'; did you mean 'list'?"),
        (["zzz"], "unknown command 'zzz'; allowed: list, preview, check"),
        (["--versoin"], "ssl4rl: unknown option '--versoin'; did you mean '--version'?"),
        (["preview"], "ssl4rl preview: missing argument 'TASK'"),
        (["preview", LETTER, "--levl", "easy"], "ssl4rl preview: unknown option '--levl'; did you mean '--level'?"),
        (["preview", LETTER, "-q"], "ssl4rl preview: unknown option '-q'; allowed: "),
        (["preview", LETTER, "-n", "x"], "ssl4rl preview: invalid value for '-n': 'x' is not a valid integer range"),
        (["preview", LETTER, "-n", "0"], "ssl4rl preview: invalid value for '-n': 0 is not in the range x>=1"),
        (["preview", LETTER, "-n"], "ssl4rl: option '-n' requires an argument"),
        (["preview", LETTER, "more"], "ssl4rl preview: got unexpected extra argument (more)"),
        (
            ["preview", LETTER, "--seed", "1.5"],
            "ssl4rl preview: invalid value for '--seed': '1.5' is not a valid integer",
        ),
        (["preview", LETTER, "--level", "esay"], "unknown level 'esay' of fakes/letter; did you mean 'easy'?"),
        (["preview", LETTER, "--split", "heldout"], "unknown split 'heldout'; did you mean 'held_out'?"),
        (["preview", LETTER, "--style", "x"], "unknown prompt style 'x'; allowed: think, answer"),
        (
            ["preview", LETTER, "--data", "wrods:a"],
            "unknown kind of source 'wrods:' in 'wrods:a'; did you mean 'words:'?",
        ),
        (["preview", LETTER, "--data", "photos"], "'photos': fakes tasks read no plain paths; allowed: "),
        (
            ["preview", LETTER, "--data", "words:a", "--split", "all", "--out", "/no/x.html"],
            "cannot write '/no/x.html': ",
        ),
        (["preview", LETTER, "--out", "x.html", "--json"], "--out and --json exclude each other; name one"),
        (["preview", "vision/rotatoin"], "unknown task 'vision/rotatoin'; did you mean 'vision/rotation'?"),
        (["preview", "rotatoin"], "unknown task 'rotatoin'; did you mean 'vision/rotation'?"),
        (["preview", "./none.py:TASKS"], "plugin file './none.py' does not exist"),
        (["list", "vision/rotation", "--recipes"], "--recipes lists recipes alone; leave out tasks and --examples"),
        (["train", "quickstart_vison"], "unknown recipe 'quickstart_vison'; did you mean 'quickstart_vision'?"),
        (
            ["preview", f"{FAKES}:TASKS", "--out", "x.html"],
            f"--out shows one task, and {FAKES}:TASKS has 3; name one: ",
        ),
        (
            ["preview", "vision/rotation", "--data", "nx:karate_club"],
            "'nx:karate_club': vision tasks cannot read nx:; allowed: folder:, hf:, ",
        ),
        (
            ["preview", "graph/hops", "--data", "scenes:"],
            "'scenes:': graph tasks cannot read scenes:; allowed: adjlist:, ",
        ),
        (
            ["preview", "graph/hops", "--data", "scene:"],
            "unknown kind of source 'scene:' in 'scene:'; allowed: adjlist:, ",
        ),
        (["preview", "vision/rotation", "--data", "x" * 5000], "' is no path (file name too long)"),
        (["preview", "./" + "x" * 5000 + ".py:TASKS"], "': File name too long"),
        (["train", "x" * 5000 + ".yaml"], "cannot be read: File name too long"),
        (["list", "vision/rotatoin"], "unknown task 'vision/rotatoin'; did you mean 'vision/rotation'?"),
        (["check", "vision/rotatoin"], "unknown task 'vision/rotatoin'; did you mean 'vision/rotation'?"),
        (["check", LETTER, "-n", "1"], "ssl4rl check: invalid value for '-n': 1 is not in the range x>=2"),
        (["preview", "line\nbreak"], "unknown task 'line\\nbreak'"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert line in err
    assert err.startswith("ssl4rl")
    assert err.count("ssl4rl: ") <= 1


def test_broken_promises_are_the_task_authors_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    bad = str(Path(FAKES).with_name("bad_tasks.py"))
    assert cli.run(["check", f"{bad}:card", "--level", "easy", "-n", "4", "--json"]) == 2
    out, err = capsys.readouterr()
    assert err == f"ssl4rl: 1 failure in 1 of 1 task: {bad}:card\n"
    assert [failure["check"] for failure in json.loads(out)["failures"]] == ["card"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["list", "--help"], ["preview", "-h"], ["check", "-h"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: ssl4rl")
    assert err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"ssl4rl {ssl4rl.__version__}\n"


def test_list_names_tasks_levels_and_chance(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", f"{FAKES}:TASKS", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record) == ["tasks", "broken"]
    letter = record["tasks"][0]
    assert list(letter) == ["task", "version", "plugin", "summary", "card", "data", "draws", "levels"]
    assert (letter["summary"], letter["data"], letter["draws"]) == ("Which option is the word?", "many:60", 1)
    assert [(level["level"], level["chance"]) for level in letter["levels"]] == [("easy", 0.5), ("hard", 0.25)]
    assert list(letter["levels"][0]) == ["level", "params", "chance", "instruction"]
    assert cli.run(["list", LETTER, "--examples"]) == 0
    assert (
        capsys.readouterr().out == f"{LETTER}  Which option is the word?\n    easy  chance 0.5\n    hard  chance 0.25\n"
    )


def test_list_names_the_recipes_with_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    first = "Trains a small vision-language model, made on the spot, to see which way up a drawn scene is. No download."
    assert cli.run(["list", "--recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"quickstart_vision     {first}" in lines
    assert cli.run(["list", "--recipes", "--json"]) == 0
    (record,) = [one for one in json.loads(capsys.readouterr().out)["recipes"] if one["recipe"] == "quickstart_vision"]
    assert list(record) == ["recipe", "summary", "path"]
    assert record["summary"] == first
    assert Path(record["path"]).read_text().startswith(f"# {first}\n")
    assert len(lines) == len(list(Path(record["path"]).parent.glob("*.yaml")))


def test_json_stays_json_where_the_terminal_lacks_a_character() -> None:
    arguments = ["x", "preview", LETTER, "-n", "1", "--data", "words:\u4e00,b,c,d", "--split", "all", "--json"]
    code = f"sys.argv = {arguments!r}; cli.main()"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command(code), capture_output=True, env=environment, check=True)
    assert json.loads(done.stdout)["data"] == "words:\u4e00,b,c,d"


def test_list_reports_what_cannot_be_loaded_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl4rl.core import registry

    fine = registry.file_plugin(FAKES)
    lazy = registry.Plugin("lazy", {"gone": "gone:Gone"})
    found = {"bad": registry.Plugin("bad", broken="bad:TASKS: RuntimeError: oh"), "fakes": fine, "lazy": lazy}
    monkeypatch.setattr(registry, "plugins", lambda: found)
    assert cli.run(["list"]) == 0
    out, err = capsys.readouterr()
    assert out.count("fakes/") == 3
    assert err.splitlines() == [
        "ssl4rl: plugin 'bad' cannot be loaded: bad:TASKS: RuntimeError: oh",
        "ssl4rl: lazy/gone: 'gone:Gone' cannot be loaded: ModuleNotFoundError: No module named 'gone'",
    ]


def test_a_fault_of_ours_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl4rl.tools import catalogue

    monkeypatch.setattr(catalogue, "catalogue", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.run(["list"])


def test_an_eof_error_is_no_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ssl4rl.tools import catalogue

    def cut_short(*_: object, **__: object) -> None:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr(catalogue, "catalogue", cut_short)
    with pytest.raises(EOFError, match="Compressed file ended"):
        cli.run(["list"])
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ssl4rl.tools import catalogue

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/metrics.jsonl")

    monkeypatch.setattr(catalogue, "catalogue", full)
    assert cli.run(["list"]) == 2
    assert capsys.readouterr().err == "ssl4rl: 'runs/x/metrics.jsonl': No space left on device\n"


def test_a_long_line_keeps_its_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["preview", "x" * 5000 + "\x1b[31m"]) == 2
    err = capsys.readouterr().err
    assert len(err) == 481
    assert err.startswith("ssl4rl: unknown task 'xxx")
    assert "x ... " in err
    assert err.endswith(", vision/correspondence, vision/depth_order\n")


def test_preview_takes_all_tasks_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["preview", f"{FAKES}:TASKS", "-n", "1", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["task"] for record in records] == ["fakes/letter", "fakes/pair", "fakes/picture"]
    assert cli.run(["preview", f"{FAKES}:TASKS", "-n", "1"]) == 0
    out = capsys.readouterr().out
    assert [name in out for name in ("fakes/letter@", "fakes/pair@", "fakes/picture@")] == [True] * 3


def test_a_plugin_file_may_import_its_neighbour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At once, and later: the lazy import runs when an example is made."""
    (tmp_path / "neighbour_of_mine.py").write_text("WORD, LATER = 'Say A.', 'A'\n")
    (tmp_path / "with_neighbour.py").write_text(
        "from neighbour_of_mine import WORD\n"
        "from ssl4rl import Choice, Example, Task\n\n\n"
        "class Say(Task):\n"
        "    name, version, levels, draws, verifier = 'mine/say', 1, {'easy': {}}, 1, Choice('AB')\n"
        "    data = 'scenes:'\n\n"
        "    def make(self, items, level, rng):\n"
        "        from neighbour_of_mine import LATER\n"
        "        return Example((WORD,), LATER)\n\n\n"
        "TASKS = {'say': Say}\n"
    )
    assert cli.run(["preview", str(tmp_path / "with_neighbour.py") + ":TASKS", "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"][0]["answer"] == "A"


def command(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; from ssl4rl import cli; {code}"]


def test_a_fault_of_ours_exits_1_with_a_traceback() -> None:
    fault = "from ssl4rl.tools import catalogue; catalogue.catalogue = lambda *_, **__: 1 / 0"
    code = f"{fault}; sys.argv = ['x', 'list']; cli.main()"
    done = subprocess.run(command(code), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    arguments = ["x", "preview", LETTER, "-n", "3000", "--json"]
    reader, writer = os.pipe()
    process = subprocess.Popen(command(f"sys.argv = {arguments!r}; cli.main()"), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


def test_interrupting_exits_130() -> None:
    arguments = ["x", "preview", LETTER, "-n", "100000000"]
    # a shell's background job, such as this test may be run in, starts with Ctrl-C ignored
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; sys.argv = {arguments!r}; print('ready', flush=True); cli.main()"
    process = subprocess.Popen(command(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "ssl4rl: interrupted\n")


def test_a_terminal_that_lacks_a_character_is_no_reason_to_stop() -> None:
    arguments = ["x", "preview", LETTER, "-n", "1", "--data", "words:é,ü,\u4e00", "--split", "all"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    code = f"sys.argv = {arguments!r}; cli.main()"
    done = subprocess.run(command(code), capture_output=True, env=environment, check=False)
    assert done.returncode == 0
    assert b"\\u4e00" in done.stdout
