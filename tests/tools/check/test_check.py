from pathlib import Path

import pytest

from ssl4rl import Ssl4rlError
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import Sources
from ssl4rl.core.source import Part
from ssl4rl.tools.check import check, conformance
from tests.bad_tasks import TASKS as BAD_TASKS
from tests.fakes import FAKES, Letter

BAD = str(Path(FAKES).with_name("bad_tasks.py"))


@pytest.fixture(scope="module")
def bad() -> check.Checked:
    return check.check([f"{BAD}:TASKS"], level="easy", n=24)


@pytest.mark.parametrize("name", BAD_TASKS)
def test_a_broken_promise_is_found_and_shown(bad: check.Checked, name: str) -> None:
    promise = {"hash": "same", "slow": "texts", "generous": "chance"}.get(name, name)
    failures = [failure for failure in bad.failures if failure.task == f"{BAD}:{name}"]
    assert promise in {failure.check for failure in failures}
    if name not in ("chance", "generous", "balance", "card", "make"):
        assert all(failure.key for failure in failures if failure.check == promise)


def test_whys(bad: check.Checked) -> None:
    text = str(bad)
    for why in (
        "made again in another order, the example differs",
        "the example differs in a process with another hash seed",
        "chance is said to be 0.9; a random answerer gets 0.",
        "expected is said to be 0.5; the best guess gets 0.7",
        "raises ZeroDivisionError: division by zero",
        "characters take more than 1 s",
        "answers are not balanced: {'\"B\"': 24}",
        "the prompt says '<answer>', which the verifier says too",
        "answer or meta is no JSON: Object of type set is not JSON serializable",
        "the card (the task's docstring) lacks: sees, answers, reward, chance, shortcut, source, version",
        "make: raised KeyError: 'oh'",
    ):
        assert why in text
    assert bad.summary.endswith(
        f"failures in 13 of 13 tasks: {', '.join(sorted(f'{BAD}:{name}' for name in BAD_TASKS))}"
    )


def test_good_tasks_pass() -> None:
    report = check.check([f"{FAKES}:TASKS"], n=20)
    assert [str(failure) for failure in report.failures] == []
    assert report.summary == "3 tasks at 5 levels: every promise is kept"
    record = report.to_json()
    assert list(record) == ["ok", "summary", "taken", "checked", "failures"]
    assert record["ok"] is True
    assert list(record["checked"][0]) == ["task", "level", "checks", "skipped", "seconds"]
    assert list(record["checked"][0]["checks"]) == ["make", *conformance.CHECKS]


def test_data_too_small_to_hold_out_is_skipped_not_failed() -> None:
    report = check.check([f"{FAKES}:letter"], data="words:one", level="easy", n=4)
    assert [row.outcomes for row in report.rows if row.outcomes.get("split") == "-"]


class Shifted(conformance.Subject):
    """Reasoning Gym's trap: the generator of an example is Random(seed + index)."""

    def dataset(self, size: int, split: Part = "train", seed_shift: int = 0) -> TaskDataset:
        data = super().dataset(size, split)

        class Later(TaskDataset):
            def __iter__(self):
                return (data[(index + seed_shift) % size] for index in range(size))

        return Later(data.components, size=size)


def test_seeds_that_share_examples_are_found() -> None:
    arguments = (f"{FAKES}:letter", Letter(), "easy", None, 24, 0, Sources())
    assert list(conformance.check_seeds(conformance.Subject(*arguments))) == []
    assert "seeds 0 and 1 share 23 of 23 examples" in str(list(conformance.check_seeds(Shifted(*arguments))))


def test_names_levels_and_sources_are_the_users_to_mend() -> None:
    for arguments in ({"tasks": ["fakes/leter"]}, {"tasks": [f"{FAKES}:letter"], "level": "x"}):
        with pytest.raises(Ssl4rlError, match="unknown"):
            check.check(**arguments)  # type: ignore[arg-type]
    with pytest.raises(Ssl4rlError, match="unknown kind of source"):
        check.check([f"{FAKES}:letter"], data="wrods:a")
