"""Runs of several stages: each begins where the last ended, and whatever stops one, the end is the same to the bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.record.console import Interrupted
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.update.keeping import kept_completions
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.recipe.stages import RejectionSection
from ssl4rl.core.types import Score, Ssl4rlError
from ssl4rl.tools.report import text
from ssl4rl.tools.report.report import report
from ssl4rl.tools.run_log import read_run
from ssl4rl.tools.weights import find_weights
from tests.core.grpo.runs import Killed, metrics, recipe, resumed, run
from tests.fakes import FAKES

STAGES: list[dict[str, Any]] = [
    {"name": "answers", "kind": "supervised", "train": {"steps": 2}},
    {"name": "best", "kind": "rejection", "warmup": {"steps": 1}},
    {"name": "rl", "tasks": [{"task": f"{FAKES}:letter", "level": "hard"}], "train": {"steps": 2}},
]


def staged(out: Path, stages: list[dict[str, Any]] = STAGES, **sections: Any) -> Recipe:
    train = {"steps": 1, "checkpoint_every": 1, "shared": "on", **sections.pop("train", {})}
    settings = {"warmup": {"rehearsal": 0.3}, "eval": {"n": 2}, **sections}
    return recipe(out, text=True, stages=stages, train=train, **settings)


def ends(folder: Path) -> dict[str, str]:
    """The SHA-256 of the weights that each stage ended with, and of the run's own."""
    files = sorted(folder.glob("**/final/model.safetensors"))
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all three stages that nothing stopped."""
    made = staged(tmp_path_factory.mktemp("whole"))
    run(made)
    return made.folder


def test_each_stage_begins_where_the_last_ended(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    found = [(one["name"], one["kind"], one["folder"], one["steps"]) for one in summary["stages"]]
    assert found == [
        ("01_answers", "supervised", "stages/01_answers", 2),
        ("02_best", "rejection", "stages/02_best", 1),
        ("03_rl", "grpo", "stages/03_rl", 2),
    ]
    first, second, third = summary["stages"]
    assert (summary["steps"], summary["name"], summary["seed"]) == (5, "run", 0)
    assert (summary["before"], summary["after"]) == (
        third["before"],
        third["after"],
    )  # of other questions than the first
    assert summary["tasks"]["fakes/letter@1[easy]"] == {"before": first["before"], "after": second["after"]}
    assert summary["task"] == "fakes/letter@1[easy], fakes/letter@1[hard]"
    hashes = ends(whole)
    assert len(hashes) == 4
    assert hashes["final/model.safetensors"] == hashes["stages/03_rl/final/model.safetensors"]
    assert len(set(hashes.values())) == 3
    phases = [[line["phase"] for line in metrics(whole / "stages" / name)] for name in ("01_answers", "02_best")]
    assert phases == [["eval", "supervised", "supervised", "eval"], ["warmup", "eval", "train", "eval"]]
    assert (whole / "final" / "model.safetensors").stat().st_nlink == 2  # its weights take no room twice
    cards = [(place / "final" / "README.md").read_text() for place in (whole, whole / "stages" / "01_answers")]
    assert (
        "in 3 stages, 01_answers (supervised, 2 steps), 02_best (rejection, 1 steps), 03_rl (grpo, 2 steps)" in cards[0]
    )
    assert "trained on the right answers of self-supervised tasks: fakes/letter@1[easy]." in cards[1]


class _Stop:
    """Stops a run at its nth write to a log, by a signal or as if killed; or before a summary is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | str, how: str) -> None:
        self.left, self.how = at, how
        log, summarise = RunDir.log, RunDir.write_summary

        def logged(run: RunDir, record: Mapping[str, Any]) -> None:
            log(run, record)
            if isinstance(self.left, int):
                self.left -= 1
                if self.left == 0:
                    self.stop()

        def summarised(run: RunDir, summary: Mapping[str, Any]) -> None:
            if run.folder.name == at:
                self.stop()
            summarise(run, summary)
            if f"after {run.folder.name}" == at:
                self.stop()

        monkeypatch.setattr(RunDir, "log", logged)
        monkeypatch.setattr(RunDir, "write_summary", summarised)

    def stop(self) -> None:
        if self.how == "killed":
            raise Killed
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("at", "how"),
    [
        (2, "stopped"),  # in the first stage, after a step
        pytest.param(2, "killed", marks=pytest.mark.slow),
        pytest.param(7, "killed", marks=pytest.mark.slow),  # in the second
        pytest.param(7, "stopped", marks=pytest.mark.slow),
        ("after 01_answers", "killed"),  # between two
        *(pytest.param(at, "killed", marks=pytest.mark.slow) for at in ("01_answers", "after 02_best")),
        pytest.param("run", "killed", marks=pytest.mark.slow),  # after the last, before the run's own summary
    ],
)
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, at: int | str, how: str
) -> None:
    made = staged(tmp_path)
    with monkeypatch.context() as patch:
        _Stop(patch, at, how)
        with pytest.raises(Killed if how == "killed" else Interrupted) as stopped:
            run(made)
    if how == "stopped":
        stage, step, of = ("1 of 3, 01_answers", 1, 2) if at == 2 else ("2 of 3, 02_best", 2, 2)
        assert str(stopped.value) == f"stage {stage}: stopped after step {step} of {of}; resume=true goes on from here"
        assert isinstance(stopped.value, Interrupted)
        assert stopped.value.status == 130
    with pytest.raises(Ssl4rlError, match="already holds a run; resume=true continues it"):
        run(made)
    run(resumed(made))
    assert ends(made.folder) == ends(whole)
    for stage in ("01_answers", "02_best", "03_rl"):
        assert metrics(made.folder / "stages" / stage) == metrics(whole / "stages" / stage)
    assert run(resumed(made)) == [f"{made.folder} is finished; nothing to resume"]


@pytest.mark.slow
def test_rounds_see_other_examples_and_go_on(tmp_path: Path) -> None:
    made = staged(tmp_path, [{"name": "sft", "kind": "supervised"}, {"name": "rl"}], repeat=2)
    said = run(made)
    assert [line for line in said if line.startswith("stage ")] == [
        "stage 1 of 4, 01_sft: supervised, 1 steps",
        "stage 2 of 4, 02_rl: grpo, 1 steps",
        "stage 3 of 4, 03_sft: supervised, 1 steps",
        "stage 4 of 4, 04_rl: grpo, 1 steps",
    ]
    keys = [
        (made.folder / "stages" / name / "rollouts.jsonl").read_text().split('"completions"')[0]
        for name in ("02_rl", "04_rl")
    ]
    assert keys[0] != keys[1]
    _, second, third, _ = json.loads((made.folder / "summary.json").read_text())["stages"]
    assert third["before"] == second["after"]  # the same weights on the same questions


def test_a_wrong_name_in_a_later_stage_is_found_before_the_first_trains(tmp_path: Path) -> None:
    wrong = [STAGES[0], {"name": "rl", "tasks": [{"task": f"{FAKES}:leter"}]}]
    with pytest.raises(Ssl4rlError) as error:
        run(staged(tmp_path, wrong))
    assert str(error.value).startswith("stages.1 (02_rl): ")
    assert "letter" in str(error.value)
    assert not (tmp_path / "run" / "stages").exists()
    unweighed = [STAGES[0], {"reward": {"./none.py:f": 1.0}}]
    with pytest.raises(Ssl4rlError, match=r"^stages\.1 \(02_grpo\): .*none\.py"):
        run(staged(tmp_path, unweighed))


def test_a_staged_run_is_resumed_with_the_same_stages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = staged(tmp_path)
    with monkeypatch.context() as patch:
        _Stop(patch, 2, "killed")
        with pytest.raises(Killed):
            run(made)
    longer = [{**STAGES[0], "train": {"steps": 3}}, *STAGES[1:]]
    with pytest.raises(Ssl4rlError, match=r"was started with stages\.0\.train\.steps=2, now it is 3; resume with"):
        run(resumed(staged(tmp_path, longer)))
    with pytest.raises(Ssl4rlError, match=r"was started with train\.steps=1, now it is 2; resume with"):
        run(resumed(staged(tmp_path, train={"steps": 2})))


def test_the_report_shows_all_stages_and_their_weights_are_found(whole: Path, tmp_path: Path) -> None:
    found = read_run(whole)
    assert [(stage.name, stage.offset) for stage in found.stages] == [("01_answers", 0), ("02_best", 2), ("03_rl", 3)]
    assert found.notes == ()
    lines = text.table(found).splitlines()
    assert [line for line in lines if line.endswith(")")] == [
        "01_answers (supervised)",
        "02_best (rejection)",
        "03_rl (grpo)",
    ]
    assert [line.split("  ")[0] for line in lines if line[:1] in "ba"] == [
        *("before", "after 2 steps", "before", "after 1 step", "before GRPO", "after 2 steps")
    ]
    assert [measure.step for measure in found.curve()] == [0, 2, 2, 3, 3, 5]
    page = report(whole, out=tmp_path / "report.html").file.read_text()
    assert "trained in 3 stages" in page
    assert all(f"{name}</span>" in page for name in ("01_answers", "02_best", "03_rl"))

    def weights(place: Path, before: bool = False) -> tuple[str, str]:
        at = find_weights(str(place), before)
        return (str(Path(at.path).relative_to(whole)) if whole.name in at.path else at.path), at.weights

    assert weights(whole) == ("stages/03_rl/final", "final")
    assert weights(whole / "final") == ("final", "final")
    assert weights(whole / "stages" / "01_answers") == ("stages/01_answers/final", "final")
    assert weights(whole, before=True) == ("embedded:tiny_vlm", "model")
    assert weights(whole / "stages" / "02_best", before=True) == ("stages/01_answers/final", "01_answers/final")


def completion(*ids: int, truncated: bool = False) -> Completion:
    return Completion(torch.tensor(ids), "".join(map(str, ids)), truncated)


def score(verdict: str, **parts: float) -> Score:
    return Score(float(verdict == "correct"), verdict, "A", parts)  # type: ignore[arg-type]  # a literal


def test_the_best_completions_are_kept() -> None:
    row = [completion(1), completion(2), completion(3), completion(2), completion(4, truncated=True), completion(5)]
    verdicts = ["wrong", "correct", "correct", "correct", "correct", "partial"]
    votes = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    scores = [score(verdict, agreement=vote) for verdict, vote in zip(verdicts, votes, strict=True)]
    rewards = torch.tensor([[0.0, 1.0, 1.1, 1.0, 1.2, 0.5], [0.0] * 6])
    nothing = [score("wrong", agreement=0.0)] * 6
    rollouts = Rollouts([], [row, row], [scores, nothing], rewards, [])

    def kept(**settings: Any) -> list[list[str]]:
        return [[c.text for c in one] for one in kept_completions(rollouts, RejectionSection(**settings))]

    assert kept() == [["3"], []]
    assert kept(keep=5) == [["3", "2"], []]
    assert kept(keep=5, correct=False) == [["3", "2", "5", "1"], ["1", "2", "3", "5"]]
    assert kept(keep=5, correct=False, at_least={"agreement": 1}) == [["3", "5", "1"], []]
    assert kept(keep=5, at_least={"agreement": 1, "none": 1}) == [[], []]


@pytest.mark.slow
def test_supervised_on_right_answers_and_on_the_best_replies_teaches_the_task(tmp_path: Path) -> None:
    """The right letter stands in the question; chance is .5."""
    stages = [
        {"name": "answers", "kind": "supervised", "train": {"steps": 30}},
        {"name": "best", "kind": "rejection", "train": {"steps": 2}, "rejection": {"keep": 2}},
    ]
    made = staged(
        tmp_path, stages, grpo={"group_size": 4, "prompts_per_step": 8}, sampling={"max_new_tokens": 8}, eval={"n": 16}
    )
    run(made)
    losses = [line["loss"] for line in metrics(made.folder / "stages" / "01_answers") if line["phase"] == "supervised"]
    assert losses[-1] < 0.3 * losses[0]
    steps = [line for line in metrics(made.folder / "stages" / "02_best") if line["phase"] == "train"]
    assert all(0 < line["kept_prompts"] <= line["kept"] <= 2 * line["kept_prompts"] for line in steps)
    summary = json.loads((made.folder / "summary.json").read_text())
    assert summary["after"]["truncated"] < 0.2 < summary["stages"][0]["before"]["truncated"]
