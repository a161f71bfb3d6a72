"""The text tasks: right answers by hand, nothing that tells but the text, sources that say what they cannot read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ssl4rl_text import document
from ssl4rl_text.document import Document
from ssl4rl_text.following import Next
from ssl4rl_text.masked import GAP, Masked
from ssl4rl_text.order import Order
from ssl4rl_text.sources import open_descriptions, open_path

from ssl4rl import Example, Ssl4rlError, Task, Unusable, keyed_rng
from ssl4rl.core.source import Split
from ssl4rl.tools.audit.audit import audit_task

HOME = Path(__file__).parents[1]
TEXT = (
    "Alpha is a tool for rivers. It measures the flow of water. The sensors of the tool float downstream.\n\n"
    "Their batteries last for a whole summer. This package holds the tool."
)
DESCRIPTIONS = open_descriptions()


def examples(task: Task[Document], level: str, n: int) -> Iterator[Example]:
    """Examples of successive descriptions, those that give none left out."""
    at = task.level(level)
    for index in range(n):
        items = [DESCRIPTIONS[(7 * index + 131 * k) % len(DESCRIPTIONS)] for k in range(task.draws)]
        try:
            yield task.make(items, at.params, keyed_rng("text", level, index))
        except Unusable:
            continue


def test_sentences_and_runs_by_hand() -> None:
    found = Document(TEXT)
    assert [len(paragraph) for paragraph in found.paragraphs] == [3, 2]
    assert found.runs(2) == [
        ("It measures the flow of water.", "The sensors of the tool float downstream."),
        ("The sensors of the tool float downstream.", "Their batteries last for a whole summer."),
    ]
    assert found.ends() == [("Alpha is a tool for rivers.", "This package holds the tool.")]
    assert Document("Just this one sentence here.").ends() == Document("").ends() == []
    assert Document("A tag </answer> and {braces} are plain now.").sentences == (
        "A tag (/answer) and (braces) are plain now.",
    )


def test_order_asks_for_the_order_in_which_sentences_stood() -> None:
    task = Order()
    level = task.level("medium,pointing=true")
    (example,) = [task.make([Document(TEXT)], level.params, keyed_rng(seed)) for seed in (3,)]
    lines = example.text().split("\n")[:3]
    shown = {int(line[0]): line[3:] for line in lines}
    assert [shown[number] for number in example.answer] == list(Document(TEXT).runs(3)[0])
    verifier = task.verifier_for(level.params)
    assert verifier.score(verifier.complete(example.answer), example).value == 1
    assert verifier.chance(example) == pytest.approx(1 / 6)
    with pytest.raises(Unusable, match="no run of so many sentences"):  # "Their" points back
        task.make([Document(TEXT)], task.level("medium").params, keyed_rng(0))


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_no_sentence_to_order_begins_with_a_connective(level: str) -> None:
    out = document.CONNECTIVES if level == "easy" else document.CONNECTIVES | document.POINTING
    found = list(examples(Order(), level, 300))
    assert len(found) > 20
    for example in found:
        sentences = [line[3:] for line in example.text().split("\n")[:-1]]
        assert not {document.first_word(sentence) for sentence in sentences} & out
        assert all(map(document.is_whole, sentences))
        assert max(map(len, sentences)) <= 2.5 * min(map(len, sentences))


@pytest.mark.parametrize("level", ["word", "words", "sentence", "sentence_hard"])
def test_the_gap_is_filled_by_what_stood_there(level: str) -> None:
    known = {" ".join(run) for item in map(DESCRIPTIONS.__getitem__, range(len(DESCRIPTIONS)))
             for run in item.runs(Masked.levels[level]["sentences"])}  # fmt: skip
    found = list(examples(Masked(), level, 120))
    assert len(found) > 20
    for example in found:
        text, _, *options = example.text().split("\n")
        assert text.count(GAP) == 1
        filled = [text.replace(GAP, option[3:]) in known for option in options]
        assert filled == [option[0] == example.answer for option in options]


@pytest.mark.parametrize(("task", "level"), [(Masked(), "sentence_hard"), (Next(), "hard")])
def test_at_hard_levels_no_option_shares_a_word_with_the_text(task: Task[Document], level: str) -> None:
    found = list(examples(task, level, 120))
    assert len(found) > 20
    for example in found:
        text, _, *options = example.text().split("\n")
        assert not document.content_words(text) & document.content_words(" ".join(option[3:] for option in options))


@pytest.mark.parametrize(("task", "level"), [(Masked(), "word"), (Masked(), "sentence"), (Next(), "easy")])
def test_of_the_options_alone_nothing_tells(task: Task[Document], level: str) -> None:
    """The longest, the first by alphabet and the first shown are right as often as not: within four errors of 1/2."""
    found = list(examples(task, level, 769))
    right: Counter[str] = Counter()
    for example in found:
        _, _, *options = example.text().split("\n")
        right["first"] += options[0][0] == example.answer
        right["longest"] += max(options, key=len)[0] == example.answer
        right["alphabet"] += min(options, key=lambda option: option[3:])[0] == example.answer
    assert len(found) > 200
    for name, count in right.items():
        assert abs(count / len(found) - 0.5) < 4 * 0.5 / len(found) ** 0.5, name


def test_two_texts_are_exchangeable() -> None:
    """Of the same two texts each is asked about as often, with the same options."""
    other = (
        "Beta paints walls of every kind. A roller spreads colours over them. White walls need several first.\n\n"
        "Nobody paints ceilings with rollers alone. Enjoy your walls."
    )
    pair = [Document(TEXT), Document(other)]
    asked: Counter[bool] = Counter()
    for seed in range(200):
        try:
            example = Masked().make(pair, Masked().level("word").params, keyed_rng(seed))
        except Unusable:
            continue
        asked[{*document.words(example.meta["text"])} <= {*document.words(TEXT)}] += 1
    assert asked.total() > 100
    assert abs(asked[True] - asked[False]) <= 4 * asked.total() ** 0.5


def test_a_folder_of_texts(tmp_path: Path) -> None:
    root = tmp_path / "notes"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_text(TEXT)
    (root / "deep" / "twin.txt").write_text(TEXT)
    (root / "b.md").write_text(
        "# Title\n\nThe *first* paragraph, with `code` in it.\n\n- an item\n\n"
        "```\ncode()\n```\n\nThe second\nparagraph.\n"
    )
    rows = ['{"body": "A text in a line."}', "", "not json", '{"title": "no text"}', '"a bare text"']
    (root / "c.jsonl").write_text("\n".join(rows))
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "empty.txt").write_text(" \n")
    (root / "photo.jpg").write_bytes(b"\xff\xd8")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("not yours")
    os.mkfifo(root / "pipe.txt")
    source = open_path(str(root))
    assert [source[i].text for i in range(len(source))] == [
        TEXT,
        "The first paragraph, with code in it.\n\nThe second paragraph.",
        "A text in a line.",
        "a bare text",
    ]
    assert source.taken == "4 texts of 4 files; 1 left out that were there already"
    assert {problem.name: problem.why.partition(";")[0] for problem in source.problems} == {
        "c.jsonl, line 3": "no JSON: Expecting value: line 1 column 1 (char 0)",
        "c.jsonl, line 4": "none of text, content, body, document holds a text",
        "empty.txt": "holds no text",
        "latin.txt": "not UTF-8 (byte 3)",
        "out.txt": "a symbolic link that leads outside the folder",
        "pipe.txt": f"'texts:{root}': pipe.txt is a named pipe",
    }
    (root / "a.txt").write_text("changed meanwhile")
    with pytest.raises(Unusable, match=r"a\.txt has changed since it was opened"):
        source[0]


def test_lines_have_names_and_very_many_broken_ones_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n\n{"text": "Three."}\n')
    (tmp_path / "b.txt").write_text("Four.")
    source = open_path(str(tmp_path))
    assert [source.name(index) for index in range(3)] == ["a.jsonl, line 1", "a.jsonl, line 3", "b.txt"]
    (tmp_path / "c.jsonl").write_text("{'a': 1}\n" * 30)
    monkeypatch.setenv("SSL4RL_PROBLEMS", "20")
    with pytest.raises(Ssl4rlError, match=r"more than 20 rows .* \(c.jsonl, line 1: no JSON: .*set SSL4RL_PROBLEMS"):
        open_path(str(tmp_path))
    monkeypatch.setenv("SSL4RL_LINES", "10")
    assert open_path(str(tmp_path)).problems[-1].why.endswith("set SSL4RL_LINES for more")


def test_what_is_no_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "lines.jsonl").write_text('{"story": "A text."}\n')
    for uri, error in (
        (str(tmp_path / "nots"), "does not exist"),
        (str(tmp_path / "photo.jpg"), r"photo\.jpg is no text; allowed: \.txt"),
        ("", "no folder or file of texts is named"),
        (
            str(tmp_path / "lines.jsonl"),
            "none of text, content, body, document holds a text; name one, .column=; it has",
        ),
        (f"{tmp_path}/lines.jsonl?colum=story", "unknown option 'colum'; did you mean 'column'"),
    ):
        with pytest.raises(Ssl4rlError, match=error):
            open_path(uri)
    assert open_path(f"{tmp_path}/lines.jsonl?column=story")[0].text == "A text."


@pytest.mark.parametrize(
    ("task", "level", "error"),
    [
        (Order(), "easy,sentences=9", "text/order: sentences is 9; allowed: 2 to 6"),
        (Order(), "ends,sentences=3", "text/order: ends is true and sentences is 3; allowed: 2"),
        (Masked(), "word,unit=letter", "text/masked: unit is letter; allowed: word, sentence"),
        (Next(), "easy,options=5", "text/next: options is 5; allowed: 2 to 4"),
    ],
)
def test_levels_that_cannot_be(task: Task[Document], level: str, error: str) -> None:
    with pytest.raises(Ssl4rlError, match=error):
        task.level(level)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package is found as pip leaves it: its folder, and its entry point beside it."""
    info = tmp_path / "ssl4rl_text-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ssl4rl-text\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[ssl4rl.plugins]\ntext = ssl4rl_text:TASKS\n")
    paths = [str(HOME), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_the_commands_know_the_package(installed: dict[str, str]) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "ssl4rl.cli", *arguments]
        return subprocess.run(command, env=installed, capture_output=True, text=True, check=True).stdout

    listed = json.loads(run("list", "--json"))
    assert {task["task"] for task in listed["tasks"]} >= {"text/order", "text/masked", "text/next"}
    shown = json.loads(run("preview", "text/next", "-n", "2", "--json"))
    assert (shown["data"], len(shown["examples"])) == ("descriptions:", 2)
    assert "every promise is kept" in run("check", "text/order")


def test_a_twin_has_as_many_sentences_and_none_of_the_words() -> None:
    found = Document(TEXT)
    twin = found.content_free(np.random.default_rng(0))
    assert [len(paragraph) for paragraph in twin.paragraphs] == [3, 2]
    assert sorted(len(sentence.split()) for sentence in twin.sentences) == [5, 6, 6, 7, 7]
    assert not document.content_words(twin.text) & document.content_words(TEXT)


@pytest.mark.parametrize(
    ("task", "level"),
    [
        (Order(), "ends"),
        pytest.param(Masked(), "word", marks=pytest.mark.slow),
        pytest.param(Next(), "medium", marks=pytest.mark.slow),
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_on_the_twin_nothing_tells(task: Task[Document], level: str) -> None:
    found = audit_task(task, level, Split(DESCRIPTIONS, "all"), n=120)
    assert found.on_twin
    assert not found.leaks
    assert not found.undecided


class Louder(Order):
    """The sentence that stood first ends with more signs than one."""

    name = "test/louder"

    def make(self, items: Sequence[Document], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        made = super().make(items, level, rng)
        lines = made.prompt[0].split("\n")
        lines[made.answer[0] - 1] += ".."
        return Example(("\n".join(lines),), made.answer)


def test_a_sentence_that_is_marked_is_a_leak() -> None:
    found = audit_task(Louder(), "easy", Split(DESCRIPTIONS, "all"), n=120)
    assert "option length" in {row.family for row in found.leaks}
