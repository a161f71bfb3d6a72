"""Pages tell the truth: commands parse and run, code is what the files hold, and nothing that is linked is missing."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssl4rl import cli
from ssl4rl.core import registry
from ssl4rl.export.consumer import consumer
from tests.docs_commands import (
    NOT_RUN,
    PAGES,
    ROOT,
    RUN,
    RUN_SLOWLY,
    Command,
    check_names,
    commands,
    parsed,
    targets,
)
from tests.scripts import load_script

ALL = commands()
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def different(verbs: tuple[str, ...]) -> list[Command]:
    """Commands with one of the verbs, each once."""
    return list({command.words: command for command in ALL if command.verb in verbs}.values())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: photos/, clips/, mine.tsv, the files of docs/extending.md, and the text plugin installed."""
    (tmp_path / "photos").mkdir()
    for file in sorted((ROOT / "ssl4rl" / "embedded" / "photos").glob("*.jpg"))[:16]:
        shutil.copy(file, tmp_path / "photos")
    for number in range(12):
        frames = [
            Image.new("RGB", (96, 96), (20 * step, 255 - 20 * step, 10 * number + 5 * step)) for step in range(12)
        ]
        for step, frame in enumerate(frames):
            frame.paste((255, 255, 255), (7 * step, 6 * number, 7 * step + 14, 6 * number + 20))
        (tmp_path / "clips").mkdir(exist_ok=True)
        frames[0].save(tmp_path / "clips" / f"{number}.gif", save_all=True, append_images=frames[1:], duration=80)
    for file in (ROOT / "examples" / "extending").glob("*.py"):
        shutil.copy(file, tmp_path)
    rows = [f"Is {n} even?\tyes\tno\t{'AB'[n % 2]}\n" for n in range(60)]
    (tmp_path / "mine.tsv").write_text("question\tA\tB\tanswer\n" + "".join(rows))
    info = tmp_path / "installed" / "ssl4rl_text-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ssl4rl-text\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ssl4rl.plugins]\ntext = ssl4rl_text:TASKS\n")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugin_text"))
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.chdir(tmp_path)
    registry.plugins.cache_clear()
    yield tmp_path
    registry.plugins.cache_clear()


def test_commands_are_found() -> None:
    assert len(ALL) > 60
    assert {command.page for command in ALL} >= {"README.md", "docs/quickstart.md", "docs/trainers.md", "docs/bench.md"}


def test_every_command_parses_and_names_what_exists(place: Path) -> None:
    wrong = []
    for command in ALL:
        if command.verb == "make":
            wrong += [] if set(command.words[1:]) <= targets() else [str(command)]
            continue
        try:
            check_names(parsed(command))
        except Exception as error:  # all of them in one look
            wrong.append(f"{command}: {error}")
    assert wrong == []


def test_a_wrong_command_is_noticed(place: Path) -> None:
    for words, part in [
        (("preview", "vision/rotatoin"), "rotatoin"),
        (("preview", "vision/rotation", "--level", "95deg"), "95deg"),
        (("preview", "vision/rotation", "--lvel", "90deg"), "--lvel"),
        (("train", "quickstart_visoin"), "quickstart_visoin"),
        (("train", "quickstart_vision", "grpo.groupsize=3"), "groupsize"),
        (("prevew", "vision/rotation"), "prevew"),
    ]:
        with pytest.raises(Exception, match=re.escape(part)):
            check_names(parsed(Command("page", "", words)))


def test_every_command_is_run_or_has_a_reason() -> None:
    assert {command.verb for command in ALL} <= {*RUN, *RUN_SLOWLY, *NOT_RUN}
    assert not {*RUN, *RUN_SLOWLY} & set(NOT_RUN)


@pytest.mark.parametrize("command", different(RUN), ids=lambda command: " ".join(command.words))
def test_cheap_commands_run(command: Command, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(list(command.words)) == 0
    out, err = capsys.readouterr()
    assert (bool(out), err) == (True, "")


@pytest.mark.slow
@pytest.mark.parametrize("command", different(RUN_SLOWLY), ids=lambda command: " ".join(command.words))
def test_dear_commands_run(command: Command, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = {"export": ["-n", "4"], "audit": ["-n", "100", "--no-twin"], "check": []}[command.verb]
    if command.verb == "export" and consumer(parsed(command)["format"]).trains:
        few += ["--n-held-out", "4"]
    done = (0, 3) if command.verb == "audit" else (0,)  # 16 photographs decide nothing
    assert cli.run([*command.words, *few]) in done, capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = [link.partition("#")[0] for link in _LINK.findall(prose) if "://" not in link]
    missing = [t for t in targets if t and not os.path.exists(page.parent / t)]
    assert missing == []


def test_pages_hold_the_code_as_it_is() -> None:
    """`python scripts/fill_docs.py` writes it."""
    fill = load_script("fill_docs")
    pages = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [
        page.name for page in pages if fill.filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")
    ] == []
    assert sum(len(fill._FILE.findall(page.read_text(encoding="utf-8"))) for page in pages) == 4
