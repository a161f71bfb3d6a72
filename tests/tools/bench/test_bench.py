"""Benchmarks: VLMEvalKit's scores on the same replies, files that cannot be asked, and the command on a tiny model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ssl4rl
from ssl4rl import Media, Ssl4rlError, cli
from ssl4rl.core.benchmark import Item, Question, arranged, chosen
from ssl4rl.core.task import keyed_rng
from ssl4rl.tools.bench import lmms
from ssl4rl.tools.bench.asking import Told, reply
from ssl4rl.tools.bench.scores import Answered, by_group, figures, paired
from ssl4rl.tools.report.report import render
from ssl4rl.tools.run_log import read_run
from ssl4rl.vision.benchmark import open_benchmark
from ssl4rl.vision.corruption import SEVERITIES, corruption
from tests.tools.bench import cases
from tests.vision.files import b64, encoded, write_tsv

VLMEVALKIT = json.loads((Path(__file__).parent / "vlmevalkit.json").read_text())
"""What VLMEvalKit makes of the replies of `cases`, by scripts/score_with_vlmevalkit.py."""
PICTURE = b64(encoded(1))


def answered(folder: Path, name: str, circular: bool) -> list[Answered]:
    """The imagined model's replies to a case, scored."""
    rows = {row["index"]: row for row in cases.rows(name)}
    found = []
    for item in open_benchmark(cases.write(folder, name)).items:
        asked = item.asked if circular else item.asked[:1]
        told = [Told(cases.reply(name, rows[q.index]), truncated=False, empty=False) for q in asked]
        found.append(Answered(Item(asked), tuple(reply(q, t, "answer") for q, t in zip(asked, told, strict=True))))
    return found


@pytest.mark.parametrize("name", cases.NAMES)
@pytest.mark.parametrize(("way", "hits"), [("circular", "hits"), ("once", "hits_once")])
def test_scores_are_vlmevalkits(tmp_path: Path, name: str, way: str, hits: str) -> None:
    found = answered(tmp_path, name, way == "circular")
    kit = VLMEVALKIT[name]
    assert "".join(str(int(one.right)) for one in found) == kit[hits]
    assert figures(found)["accuracy"] == kit[way]["Overall"]
    groups = by_group(found)
    assert "split" not in groups
    for values in groups.values():
        assert {value: one["accuracy"] for value, one in values.items()} == pytest.approx(
            {value: kit[way][value] for value in values}, abs=5e-5
        )
    assert sum(one["n"] for one in groups["category"].values()) == 40


def test_circular_figures_written_out(tmp_path: Path) -> None:
    """23 of 40; chance is that of guessing 2, 3 or 4 rotations right, each by itself."""
    found = answered(tmp_path, "MMBench_made", circular=True)
    sizes = [len(one.replies) for one in found]
    assert {n: sizes.count(n) for n in sorted(set(sizes))} == {2: 8, 3: 18, 4: 14}
    told = figures(found)
    assert (told["accuracy"], told["n"], told["ci95"]) == (0.575, 40, [0.4220, 0.7149])
    assert told["chance"] == pytest.approx((8 / 4 + 18 / 27 + 14 / 256) / 40, abs=1e-4)


def question(options: str = "ABC", answer: str = "B", **further: Any) -> Question:
    return Question(1, "5", "Which?", {x: f"text {x}" for x in options}, answer, **further)


def test_rotations_move_the_texts_on_by_one_letter_at_a_time() -> None:
    item = arranged(Item((question(),)), circular=True, shuffle=False, seed=0)
    assert [list(q.options.values()) for q in item.asked] == [
        ["text A", "text B", "text C"],
        ["text C", "text A", "text B"],
        ["text B", "text C", "text A"],
    ]
    assert [q.answer for q in item.asked] == ["B", "C", "A"]
    assert item.chance == pytest.approx(1 / 27)


def test_shuffled_options_keep_the_right_text_and_the_letters() -> None:
    orders = set()
    for seed in range(20):
        (asked,) = arranged(Item((question("ABD", "D"),)), circular=False, shuffle=True, seed=seed).asked
        assert list(asked.options) == ["A", "B", "D"]
        assert asked.options[asked.answer] == "text D"
        orders.add(tuple(asked.options.values()))
    assert len(orders) == 6


def test_the_prompt_has_pictures_hint_question_and_options() -> None:
    picture = Media("image", Image.new("RGB", (9, 9)))
    asked = question(hint="Look.", media=lambda: [picture, picture]).example()
    assert asked.media == (picture, picture)
    assert asked.text("") == "Hint: Look.\nQuestion: Which?\nOptions:\nA. text A\nB. text B\nC. text C\n"
    assert question("ABD").verifier.instruction == "Answer with one letter: A, B or D."


@pytest.mark.parametrize(
    ("text", "truncated", "verdict"),
    [
        ("<answer>B</answer>", False, "correct"),
        ("<answer>B. text B</answer>", False, "correct"),
        ("<answer>B. text C</answer>", False, "unparsed"),
        ("<answer>D</answer>", False, "unparsed"),
        ("<answer>A</answer>", False, "wrong"),
        ("It is the secon", True, "truncated"),
        ("", False, "unparsed"),
    ],
)
def test_replies_are_read_by_the_choice_verifier(text: str, truncated: bool, verdict: str) -> None:
    assert reply(question(), Told(text, truncated, not text), "answer").score.verdict == verdict


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ("110000000", "001111111", 0.1797),  # 2 against 7: 2 * (1 + 9 + 36) / 2^9
        ("100000000", "011111111", 0.03906),  # 1 against 8: 2 * (1 + 9) / 2^9
        ("1010", "1010", 1.0),
    ],
)
def test_mcnemar_by_hand(first: str, second: str, p: float) -> None:
    found = paired([x == "1" for x in first], [x == "1" for x in second])
    assert found["p"] == p
    assert found["first_alone"] == sum(a > b for a, b in zip(first, second, strict=True))
    assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]


def test_bonett_and_prices_interval_by_hand() -> None:
    """b = 1, c = 8, n = 9: (2/11, 9/11), so 7/11 +- 1.96 sqrt((1 - 49/121) / 11)."""
    found = paired([True] + [False] * 8, [False] + [True] * 8)
    assert found["ci95"] == [round(7 / 11 - 1.959964 * 0.232583, 4), 1.0]


HEAD = ["index", "question", "A", "B", "answer", "image"]


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        (HEAD[:4], ["0", "Q?", "x", "y"], "has no column 'answer'; it has: index, question, A, B (a test split"),
        (["image"], [PICTURE], "is no multiple-choice TSV: it has no column 'question', 'A', 'B', 'answer'"),
        (HEAD, ["0", "Q?", "x", "y", "C", PICTURE], "row 1: its answer is 'C'; allowed: A, B"),
        (HEAD, ["0", "Q?", "x", "y", "", PICTURE], "row 1: it has no answer; allowed: A, B"),
        (HEAD, ["0", "Q?", "x", "nan", "A", PICTURE], "row 1: it has 1 options; allowed: 2 or more"),
        (HEAD, ["0", "", "x", "y", "A", PICTURE], "row 1: it asks nothing"),
        (HEAD, ["0", "Q?", "x", "y", "A", ""], "row 1: no picture"),
        (HEAD, ["0", "Q?", "x", "y", "A", "17"], "row 1: refers to row '17', which has no picture"),
        (HEAD, ["0", "Q?", "x", "y", "A"], "row 1: has 5 columns, the header 6"),
        ([*HEAD[:5], "image_path"], ["0", "Q?", "x", "y", "A", "../a.png"], "row 1: '../a.png' leads outside"),
        ([*HEAD[:5], "image_path"], ["0", "Q?", "x", "y", "A", "a.png"], "row 1: its picture 'a.png' is no file"),
    ],
)
def test_files_that_cannot_be_asked(tmp_path: Path, columns: list[str], row: list[str], message: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        open_benchmark(write_tsv(tmp_path / "bad.tsv", columns, row))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "header.tsv").write_text("\t".join(HEAD) + "\n")
    (tmp_path / "broken.tsv").write_text("\t".join(HEAD) + f"\n0\tQ?\tx\ty\tA\t{'A' * 99}\n")
    for name, message in {"absent.tsv": "does not exist", "header.tsv": "has no rows", "": "is a folder"}.items():
        with pytest.raises(Ssl4rlError, match=message):
            open_benchmark(str(tmp_path / name))
    with pytest.raises(Ssl4rlError, match=r"row 1: .*broken base64"):
        open_benchmark(str(tmp_path / "broken.tsv")).items[0].main.example()


def test_large_indices_alone_are_no_rotations_and_orphans_are_said(tmp_path: Path) -> None:
    def rows(*indices: str) -> str:
        return write_tsv(tmp_path / "t.tsv", HEAD, *([i, "Q?", "x", "None", "A", PICTURE] for i in indices))

    found = open_benchmark(rows("3000001", "5000001", "abc"))
    assert (len(found.items), found.circular, found.notes) == (3, False, [])
    found = open_benchmark(rows("1000004", "4", "1000009"))
    assert [[q.index for q in item.asked] for item in found.items] == [["4", "1000004"]]
    assert found.notes == ["1 rotations whose question is missing are left out"]
    assert found.items[0].main.options["B"] == "None"  # pandas would take it for an empty cell


def test_pictures_by_path_and_several(tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"{i}.png").write_bytes(encoded(i))
    columns = [*HEAD[:5], "image_path"]
    path = write_tsv(tmp_path / "p.tsv", columns, ["0", "Q?", "x", "y", "A", "['1.png', '2.png']"])
    media = open_benchmark(path).items[0].main.example().media
    assert [m.data.tobytes() for m in media] == [Image.open(tmp_path / f"{i}.png").tobytes() for i in (1, 2)]


def test_some_questions_are_chosen_by_the_seed_in_the_files_order() -> None:
    items = [Item((Question(i, str(i), "Q?", {"A": "x", "B": "y"}, "A"),)) for i in range(1, 31)]
    found = [[item.main.row for item in chosen(items, 5, seed)] for seed in (0, 0, 1)]
    assert found[0] == found[1] == sorted(found[0])
    assert found[0] != found[2]
    assert chosen(items, 99, 0) == items


@pytest.mark.parametrize("kind", SEVERITIES)
def test_corruption_grows_and_is_the_questions_own(kind: str) -> None:
    pytest.importorskip("kornia")
    pixels = np.kron(keyed_rng("corrupt me").integers(0, 256, (16, 18, 3)), np.ones((14, 14, 1))).astype(np.uint8)
    picture = Media("image", Image.fromarray(pixels))

    def changed(severity: int, seed: int = 0) -> np.ndarray:
        found = corruption(f"{kind}:{severity}")(picture, keyed_rng(seed))
        assert found.data.size == picture.data.size
        return np.asarray(found.data, dtype=float)

    away = [np.abs(changed(severity) - pixels).mean() for severity in (1, 3, 5)]
    assert 0 < away[0] < away[1] < away[2]
    assert (changed(3) == changed(3)).all()
    asked = question(media=lambda: [picture, picture]).rearranged([1, 0, 2])
    one, two = (asked.example(corruption(f"{kind}:3"), seed=4).media for _ in range(2))
    assert [m.data.tobytes() for m in one] == [m.data.tobytes() for m in two]
    if kind == "noise":
        assert one[0].data.tobytes() != one[1].data.tobytes()
        expected = 0.18 * 255 * np.sqrt(2 / np.pi)  # of a normal variable, before what lies outside 0..255 is cut
        grey = Media("image", Image.new("RGB", (64, 64), (128, 128, 128)))
        noisy = np.asarray(corruption("noise:3")(grey, keyed_rng(1)).data, dtype=float)
        assert np.abs(noisy - 128).mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [("nois:3", "did you mean 'noise'"), ("noise", "a severity from 1 to 5"), ("noise:6", "a severity from 1 to 5")],
)
def test_corruptions_that_are_none(text: str, message: str) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        corruption(text)


def small(folder: Path) -> str:
    rows = [[str(i), f"Which {i}?", "left", "right", "AB"[i % 2], b64(encoded(i, size=(32, 32)))] for i in range(3)]
    return write_tsv(folder / "small.tsv", HEAD, *rows)


def test_a_stopped_call_goes_on_and_models_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"max_new_tokens": 3, "style": "answer", "out": tmp_path / "kept", "say": pytest.fail}
    counts: list[tuple[int, int]] = []
    model = "embedded:tiny_vlm"
    first = ssl4rl.bench([model], small(tmp_path), circular="on", done=lambda *a: counts.append(a), **options)
    assert counts == [(0, 6), (6, 6)]
    (file,) = (tmp_path / "kept").iterdir()
    lines = file.read_text().splitlines()
    assert len(lines) == 7
    file.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while it wrote
    counts.clear()
    again = ssl4rl.bench([model, model], small(tmp_path), circular="on", done=lambda *a: counts.append(a), **options)
    assert counts == [(2, 6), (6, 6), (6, 6)]
    assert file.read_text().splitlines() == lines
    assert again.results[0].to_json()["overall"] == first.results[0].to_json()["overall"]
    (pair,) = again.paired()
    assert (pair["n"], pair["difference"], pair["p"]) == (3, 0.0, 1.0)
    assert "McNemar's exact p 1" in str(again)
    page = again.page()
    assert "Compared question by question" in page
    assert '<th class="given">embedded:tiny_vlm</th>' in page  # a model's name is not set in capitals
    for table in page.split("<table")[1:]:  # a column's head stands where its cells do
        heads, cells = (re.findall(f'<{tag}(?: class="([^"]*)")?>', table) for tag in ("th", "td"))
        assert [head == "num" for head in heads] == [cell == "num" for cell in cells[: len(heads)]]
    assert "http" not in page.replace("http://www.w3.org", "")


def test_results_are_kept_for_the_runs_report(tmp_path: Path) -> None:
    run = tmp_path / "a_run"
    run.mkdir()
    recipe = {"name": "a_run", "model": {"path": "embedded:tiny_vlm"}, "prompt": {"style": "answer"}}
    recipe |= {"sampling": {"max_new_tokens": 3}, "data": "tsv:elsewhere/small.tsv"}
    (run / "recipe.yaml").write_text(json.dumps(recipe))
    (run / "metrics.jsonl").write_text("")
    said: list[str] = []
    with pytest.raises(Ssl4rlError, match="no good checkpoint"):
        ssl4rl.bench(run, small(tmp_path), say=said.append)
    from ssl4rl.core.grpo.model.policy import load_policy

    load_policy("embedded:tiny_vlm").save(run / "final")
    found = ssl4rl.bench(["embedded:tiny_vlm", run], small(tmp_path), out=tmp_path / "kept", say=said.append)
    assert said[-1] == "WARNING a_run was trained on pictures of this benchmark (tsv:elsewhere/small.tsv)"
    assert {result.how.style for result in found.results} == {"answer"}  # both as the run was asked
    assert found.saved == (run / "bench.jsonl",)
    (record,) = read_run(run).benches
    assert (record["benchmark"], record["overall"]["n"], record["overall"]["chance"]) == ("small", 3, 0.5)
    html = render([read_run(run)])
    assert "<h2>small</h2>" in html
    assert "each question once, seed 0" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m"], "name a benchmark: either --tsv FILE or --lmms TASK"),
        (["m", "--tsv", "f", "--lmms", "t"], "either --tsv FILE or --lmms TASK"),
        (["m", "--tsv", "absent.tsv"], "'absent.tsv' does not exist"),
        (["m", "--tsv", "f", "--circular", "of"], "unknown circular 'of'; did you mean 'off'?"),
        (["m", "--tsv", "f", "--style", "thnk"], "unknown style 'thnk'; did you mean 'think'?"),
        (["m", "--lmms", "t", "--shuffle"], "--lmms takes no --shuffle: the task says how it asks"),
        (["m", "--tsv", "f", "--before"], "before: 'm' is no run"),
    ],
)
def test_the_command_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["bench", *arguments]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1


def test_a_folder_of_a_task_of_lmms_eval_holds_one_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine")
    assert lmms._task_in(tmp_path) == "mine"
    (tmp_path / "other.yaml").write_text("task: other")
    with pytest.raises(Ssl4rlError, match=r"^lmms: '.*' holds 2 YAML files; allowed: one, the task's$"):
        lmms._task_in(tmp_path)


def test_lmms_eval_is_asked_for_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.util import find_spec

    if find_spec("lmms_eval"):
        pytest.skip("lmms-eval is installed")
    assert cli.run(["bench", "embedded:tiny_vlm", "--lmms", "mme"]) == 2
    assert capsys.readouterr().err == "ssl4rl: lmms: lmms-eval is not installed; pip install lmms-eval\n"
