import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from ssl4rl import Ssl4rlError
from ssl4rl.core.mixture import open_recipe
from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.tools import charts
from ssl4rl.tools.report import mixture_view, report
from ssl4rl.tools.report import text as report_text
from ssl4rl.tools.run_log import pick_rollouts, read_run
from tests.fakes import FAKES
from tests.pages import Page

NASTY = '<script>alert("x")</script>\x07\u202e\ud800'


def measured(accuracy: float, n: int = 100) -> dict[str, Any]:
    interval = [max(0, accuracy - 0.1), min(1, accuracy + 0.1)]
    return {"accuracy": accuracy, "ci95": interval, "chance": 0.25, "unparsed": 0.01, "truncated": 0, "n": n}


def make_run(folder: Path, tasks: tuple[str, ...] = ("picture",), finished: bool = True, **changes: Any) -> Path:
    """A run's folder as a training leaves it: 2 warm-up steps, then 6 GRPO steps with 4 evaluations."""
    tree = {
        "name": folder.name,
        "model": {"path": "a/model"},
        "tasks": [{"task": f"{FAKES}:{task}"} for task in tasks],
        "warmup": {"steps": 2},
        "train": {"steps": 6},
        "grpo": {"prompts_per_step": 2, "group_size": 4},
        **changes,
    }
    recipe = make_recipe(tree)
    train, _ = open_recipe(recipe)
    names = [f"{c.task.id}[{c.level.name}]" for c in train.components]
    metrics: list[dict[str, Any]] = []
    rollouts = []
    for step in range(1, 9):
        seconds = {"step_s": 1.0, "seconds": step * 1.5}
        if step <= 2:
            metrics.append({"step": step, "phase": "warmup", "loss": 1.0, "grad_norm": 2.0, "lr": 1e-3, **seconds})
        else:
            values = {"reward": step / 10, "accuracy": step / 10, "chance": 0.25, "format": 0.9, "zero_variance": 0.5}
            time = {"data": 0.1, "rollout": 0.5, "update": 0.3}
            metrics.append(
                {"step": step, "phase": "train", **values, "completion_tokens": 40, "grad_norm": 1.0}
                | {"time": time, **seconds}
            )
            example = train[step]
            replies = [(NASTY, "unparsed", 0.0), ("<answer>1</answer>", "correct", 1.1), ("", "truncated", 0.0)]
            completions = [
                {"text": text, "verdict": verdict, "reward": reward, "tokens": 3}
                for text, verdict, reward in [*replies, replies[1]]
            ]
            assert example.key
            key = example.key.to_json()
            rollouts.append({"step": step, "key": key, "answer": example.answer, "completions": completions})
        if step % 2 == 0:
            part = measured(0.3 + step / 20, 50 if 2 < step < 8 else 100)
            parts = dict.fromkeys(names, part)
            metrics.append({"step": step, "phase": "eval", "eval": part, "tasks": parts, "seconds": 2.0, "step_s": 0.5})
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.dump(), sort_keys=False))
    for name, records in (("metrics", metrics), ("rollouts", rollouts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if finished:
        before, after = metrics[2]["eval"], metrics[-1]["eval"]
        summary = {
            "name": recipe.name,
            "task": ", ".join(names),
            "data": ["many:60"],
            "model": "a/model",
            "engine": "native",
            "seconds": 15.0,
            "steps": 6,
            "before": before,
            "after": after,
            "tasks": {name: {"before": before, "after": after} for name in names},
            "unusable": {"reasons": {"too <flat>": 3}, "named": ["a<b>.jpg: too <flat>"]},
            "too_long": 2,
            "versions": {"ssl4rl": "0.0.1"},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def page_of(*folders: Path, out: Path | None = None) -> Page:
    return Page(report.report(folders, out).file.read_text())


def words_of(folder: Path) -> str:
    """What a reader sees, with single spaces."""
    page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", (folder / "report.html").read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(page).replace("\u200b", "").split())


def test_a_finished_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    page = page_of(folder)
    assert (folder / "report.html").is_file()
    assert page.open == []
    links = [a.get("src") or a.get("href") or "" for _, a in page.tags if "src" in a or "href" in a]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"url\(|@import|https?:", page.text)
    text = words_of(folder)
    for words in (
        "0.40 → 0.70 accuracy on held-out items; guessing gives 0.25",
        "before GRPO 0.400 0.300–0.500 0.25",
        "after 6 steps 0.700 0.600–0.800 0.25",
        "chance 0.25",
        "Early: step 1",
        "Middle: step 4",
        "Late: step 6",
        "too <flat> 3",
        "prompt longer than prompt.max_tokens 2",
        "a<b>.jpg: too <flat>",
        "15 s; 48 completions of 240 tokens; 44 tokens/s",
        "format warm-up 2.0",
        "path: a/model",
        "ssl4rl 0.0.1",
    ):
        assert words in text
    assert "Unfinished" not in text


@pytest.mark.parametrize(
    ("after", "coloured", "said"),
    [
        ((0.7, 0.6, 0.8), True, False),  # before .4 (.3-.5): apart
        ((0.5, 0.45, 0.6), False, True),  # they overlap
        ((0.2, 0.1, 0.25), False, False),  # apart, and worse
    ],
)
def test_the_headline_is_coloured_only_for_a_gain_beyond_the_intervals(
    tmp_path: Path, after: tuple[float, float, float], coloured: bool, said: bool
) -> None:
    folder = make_run(tmp_path / "one")
    summary = json.loads((folder / "summary.json").read_text())
    changed = {"accuracy": after[0], "ci95": list(after[1:])}
    for place in (summary, *summary["tasks"].values()):
        place["after"] |= changed
    (folder / "summary.json").write_text(json.dumps(summary))
    page = report.report([folder], None).file.read_text()
    assert (f'<span class="to apart">{after[0]:.2f}' in page) == coloured
    assert ("the intervals of before and after overlap" in page) == said


def test_rollouts_show_their_prompts_and_what_was_written(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "one"))
    kinds = [(image["alt"] or "").split()[0].strip(",") for image in page.all("img")]
    assert kinds == ["image", "drawing", "drawing"] * len(page.all("article"))
    assert len(page.all("article")) == 3
    assert page.text.count("<script>x</script> Which?") == 3
    assert page.text.count('<script>alert("x")</script>\\x07\\u202e?') == 3
    assert page.text.count("×2") == 3
    assert page.all("script") == []
    for verdict in ("unparsed", "correct", "truncated"):
        assert sum(span.get("class") == f"verdict {verdict}" for span in page.all("span")) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": "photos-that-moved/"}, "'photos-that-moved/': fakes tasks read no plain paths"),
        ({"data": "many:61"}, "the content of many:61 changed"),
        ({"unheard_of": 1}, "recipe: unknown key 'unheard_of'"),
    ],
)
def test_without_the_source_there_is_text_and_one_line(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    folder = make_run(tmp_path / "one")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | change))
    page = page_of(folder)
    assert page.all("img") == []
    assert page.text.count("Pictures are left out: ") == 1
    assert why in page.text
    assert page.text.count("<answer>1</answer>") == 3


def test_a_task_that_changed_since_is_not_passed_off_as_what_was_trained_on(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    log = (folder / "rollouts.jsonl").read_text()
    (folder / "rollouts.jsonl").write_text(re.sub(r'"answer": \d', '"answer": 7', log))
    assert "has another answer today" in page_of(folder).text


def test_an_unfinished_run_cut_off_in_the_middle_of_a_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", finished=False)
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:-2]) + lines[-2][:40])
    page_of(folder)
    text = words_of(folder)
    assert "Unfinished: it stands at GRPO step 5 of 6." in text
    assert "1 line of metrics.jsonl could not be read" in text
    assert "so far, step 4" in text
    assert "Late: step 4" in text
    assert "Counted when the run ends." in text


@pytest.mark.parametrize("kept", ["recipe.yaml", "metrics.jsonl", "summary.json"])
def test_one_file_is_enough_and_the_others_may_be_broken(tmp_path: Path, kept: str) -> None:
    folder = make_run(tmp_path / "one")
    for broken in (False, True):
        for file in list(folder.iterdir()):
            if file.name != kept:
                file.unlink()
        if broken:
            for name in {"recipe.yaml", "metrics.jsonl", "summary.json", "rollouts.jsonl"} - {kept}:
                (folder / name).write_bytes(b'[{"step": 1, \xff\n\n{}\n[]\n{"step": "x", "phase": 3}\n: {')
        page = page_of(folder)
        assert page.open == []
        assert ("could not be read" if broken else "is missing") in page.text or kept == "summary.json"
    if kept == "summary.json":
        assert "0.40" in page.text


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    log = (folder / "metrics.jsonl").read_text()
    log = log.replace('"grad_norm": 1.0', '"grad_norm": NaN').replace('"reward": 0.5', '"reward": "?"')
    (folder / "metrics.jsonl").write_text(log)
    page = page_of(folder)
    assert "Gradient norm" not in page.text
    assert "nan" not in (folder / "report.html").read_text().lower()


def test_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = make_run(tmp_path / "one", optim={"lr": 0.5})
    two = make_run(tmp_path / "two", tasks=("picture", "letter"), finished=False)
    path = report.report([one, two]).file
    assert path == Path("report.html")
    text = words_of(tmp_path)
    for words in (
        "2 runs compared",
        "one · fakes/picture@1[four]",
        "two · all tasks",
        "two · fakes/letter@1[easy]",
        "Unfinished: it stands at GRPO step 6 of 6.",
        "optim.lr 0.5 1e-06",
        f"tasks.1.task {FAKES}:letter",
    ):
        assert words in text
    assert not (one / "report.html").exists()
    again = report.report([one, one], tmp_path / "same.html").file
    assert again == tmp_path / "same.html"
    assert "All runs have the same recipe." in again.read_text()


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "$_$" / "one"), make_run(tmp_path / "_" / "one")
    for folders in ([one], [one, two]):
        with Image.open(
            report.write_curve([read_run(folder) for folder in folders], tmp_path / "curve.png")
        ) as picture:
            assert picture.size == (1120, 640)


def test_a_report_elsewhere_leaves_the_runs_folder_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    before = sorted(folder.iterdir())
    (tmp_path / "pages").mkdir()
    found = report.report(folder, tmp_path / "pages" / "mine.html")
    assert found.files == [tmp_path / "pages" / "mine.html", tmp_path / "pages" / "mine.png"]
    assert sorted(folder.iterdir()) == before


def test_without_matplotlib_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "one")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Ssl4rlError, match=r"needs matplotlib; pip install 'ssl4rl\[report\]'"):
        report.write_curve([read_run(folder)], tmp_path / "curve.png")


def test_a_curve_needs_an_evaluation(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", finished=False)
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(Ssl4rlError, match="nothing was evaluated yet"):
        report.write_curve([read_run(folder)], tmp_path / "curve.png")
    assert "Unfinished: nothing was logged yet." in page_of(folder).text


def test_tasks_and_levels_of_a_mixture(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mixed", tasks=("picture", "letter"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["phase"] == "train":
            hard = line["step"] / 10
            part = {"groups": 2, "accuracy": 0.5, "signal": 0.2, "chance": 0.25}
            line |= {"weights": {"easy": 1 - hard, "<hard>": hard}, "arms": {"easy": part, "<hard>": part}}
    lines[3]["agreement"] = [["a", "a", 0.5], ["a", "b", -0.25], ["b", "b", 0.75], ["b", "?", "x"], "y"]
    lines[-2]["agreement"] = [["a", "b", 0.05]]
    lines[4]["weights"], lines[5]["arms"] = {"easy": None}, {"easy": 3}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = mixture_view.mixture(read_run(folder))
    assert found
    assert found.arms == [("easy", 0), ("<hard>", 1)]
    shares = found.plots[0]
    assert (shares.stacked, [line.band[0] for line in shares.lines]) == (True, [(1.0, 0.0, 0.7), (1.0, 0.7, 1.0)])
    assert shares.lines[1].band[-1] == pytest.approx((6.0, 0.2, 1.0))
    assert [rule.y for rule in found.plots[1].rules] == [0.25, 0.25]
    assert found.plots[2].top == 0.5
    page = page_of(folder)
    assert page.open == []
    text = words_of(folder)
    assert "Difficulty over time: share of the prompts" in text
    assert "easy <hard>" in text
    assert "a b -0.10 -0.25 0.05 2" in text
    assert "a itself 0.50 0.50 0.50 1" in text
    assert mixture_view.mixture(read_run(make_run(tmp_path / "one"))) is None


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    with pytest.raises(Ssl4rlError, match=r"'.*frist' does not exist; did you mean 'first'"):
        read_run(tmp_path / "frist")
    with pytest.raises(Ssl4rlError, match=r"no run directory: it holds none of recipe\.yaml, metrics\.jsonl"):
        read_run(tmp_path)
    with pytest.raises(
        Ssl4rlError, match=r"metrics\.jsonl, summary\.json; did you mean '.*/first', which lies in it\?$"
    ):
        read_run(tmp_path)
    (tmp_path / "first" / "final").mkdir(exist_ok=True)
    with pytest.raises(Ssl4rlError, match=r"summary\.json; did you mean the run '.*/first'\?$"):
        read_run(tmp_path / "first" / "final")
    with pytest.raises(Ssl4rlError, match="name at least one run directory"):
        report.report([])
    with pytest.raises(Ssl4rlError, match=r"cannot write '/no/x\.html'"):
        report.report([tmp_path / "first"], "/no/x.html")


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    code = f"import sys; from ssl4rl import cli; print(cli.run(['report', {str(folder)!r}]), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(folder / "report.html"), str(folder / "curve.png"), "0 False"]


def test_rollouts_are_picked_by_step(tmp_path: Path) -> None:
    lines = [f'{{"step": {step}, "n": {n}}}\n' for step in (1, 2, 3, 4, 5) for n in (0, 1, 2)]
    (tmp_path / "rollouts.jsonl").write_text("".join(lines) + '{"step": 9, "n"')
    picked = [[(r.step, r.record["n"]) for r in group] for group in pick_rollouts(tmp_path)]
    assert picked == [[(1, 0), (1, 1)], [(3, 0), (3, 1)], [(5, 0), (5, 1)]]
    (tmp_path / "rollouts.jsonl").write_text(lines[0])
    assert len(pick_rollouts(tmp_path)) == 1
    (tmp_path / "rollouts.jsonl").write_text("")
    assert pick_rollouts(tmp_path) == []


def test_table_and_curve_in_the_terminal(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "one"))
    assert report_text.table(run).splitlines() == [
        "held out       accuracy         95 %  chance  unparsed  truncated    n",
        "before GRPO       0.400  0.300-0.500    0.25     0.010      0.000  100",
        "after 6 steps     0.700  0.600-0.800    0.25     0.010      0.000  100",
    ]
    lines = report_text.curve(run).splitlines()
    assert lines[0] == "1.0 │"
    assert lines[3] == "    │" + " " * 47 + "·" * 8 + "●"
    assert lines[8] == "    │" + "┄" * 56 + " chance 0.25"
    assert report_text.curve(run, "latin-1").isascii()
    assert "all tasks\n" in report_text.table(read_run(make_run(tmp_path / "two", tasks=("picture", "letter"))))


def test_ticks_are_round_numbers() -> None:
    assert charts.ticks(1, 4) == [0, 0.25, 0.5, 0.75, 1]
    assert charts.ticks(178, 5) == [0, 50, 100, 150]
    assert charts.ticks(2, 5) == [0, 0.5, 1, 1.5, 2]
    assert [charts.round_up(x) for x in (0, 1.0, 3.2, 8.3, 17)] == [1, 1, 4, 10, 20]


def test_smoothing_and_thinning_keep_the_mean() -> None:
    points = [(float(x), float(x % 2)) for x in range(1000)]
    smooth = charts.smooth(points)
    assert [x for x, _ in smooth] == [x for x, _ in points]
    assert smooth[500][1] == pytest.approx(0.5, abs=0.02)
    thin = charts.thin(points)
    assert len(thin) == 250
    assert {y for _, y in thin} == {0.5}
    assert charts.smooth(points[:3]) == points[:3]


def test_paths_run_from_the_lower_left() -> None:
    plot = charts.Plot("", [charts.Line([(0, 0), (10, 1)])], [charts.Rule(0.25), charts.Rule(0.9)])
    assert plot.path([(0, 0), (5, 0.5), (10, 2)]) == "M0.0 100.0L50.0 50.0L100.0 0"
    assert plot.area([(0, 0, 1), (10, 0.5, 1)]) == "M0.0 0.0L100.0 0.0L100.0 50.0L0.0 100.0Z"
    assert [plot.below(rule) for rule in plot.rules] == [False, True]
    low = charts.Plot("", [charts.Line([(0, 0), (10, 0.1)])], [charts.Rule(2.76e-06), charts.Rule(0.08)])
    assert [low.below(rule) for rule in low.rules] == [False, True]  # below the first are the axis' numbers
