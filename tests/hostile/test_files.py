"""A sample of the hostile files at every run; all of them by `python -m tests.hostile.files`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hostile import containers, pictures
from tests.hostile.corpus import Case, Corpus
from tests.hostile.files import FAULTS, import_ahead, run

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = Corpus(tmp_path_factory.mktemp("hostile") / "files", seed=0)
    small = list(pictures.kinds())
    for name, suffix, data in small:
        made.damaged("picture", name, "", f"x{suffix}", data, cuts=1, flips=1)
    pictures._special(made, small[0][2])
    pictures._tails(made, small)
    containers._pipes(made)
    good = {f"{name}{suffix}": data for name, suffix, data in small[:2]}
    containers._tar(made, {"0.png": small[4][2], "1.jpeg": small[0][2]} | good, 2, 2)
    containers._braces(made)
    import_ahead()
    return made


def test_no_case_of_the_sample_breaks_hangs_swells_or_escapes(corpus: Corpus) -> None:
    slow = ("random", "pax_chain", "many_members")
    sample = [case for case in corpus.cases if not any(word in case.name for word in slow)]
    assert len(sample) > 300
    results = [run(case) for number, case in enumerate(sample) if number % (3 if case.bomb else 9) == 0]
    assert [(r.case.family, r.case.name, r.outcome, r.text) for r in results if r.outcome in FAULTS] == []
    assert {result.outcome for result in results} == {"opened", "refused"}


def test_the_runner_sees_what_it_looks_for(tmp_path: Path) -> None:
    """An opener that does each forbidden thing is called a fault."""
    made = Corpus(tmp_path / "files", seed=0)
    secret = str(made.root / "outside")
    assert run(Case("inside", "check", "vision", secret)).outcome == "escape"
    assert run(Case("missing", "check", "vision", f"{secret}/nothing")).outcome == "refused"
    assert run(Case("broken", "check", "no plugin", secret)).outcome == "exception"


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    data = next(pictures.kinds())[2]
    contents = []
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        made = Corpus(tmp_path / name, seed)
        made.damaged("picture", "jpeg", "", "x.jpg", data, cuts=2, flips=3)
        files = sorted(path for path in made.root.rglob("*.jpg"))
        contents.append({os.path.relpath(path, made.root): path.read_bytes() for path in files})
    assert contents[0] == contents[1] != contents[2]
