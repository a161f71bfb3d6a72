"""A run that goes on only with the data it was on, or says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.grpo.record.data_seen import data_seen, differences
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.run_log import read_run
from tests.core.grpo.runs import metrics, photographs, recipe, resumed, run, run_until
from tests.fakes import FAKES


def on_photos(out: Path, photos: Path) -> Recipe:
    return recipe(out, data=str(photos), min_items=1, held_out=0.4)


def test_names_and_order_do_not_matter_and_contents_do(tmp_path: Path) -> None:
    def seen(words: str) -> dict[str, Any]:
        train = create_dataset(f"{FAKES}:letter", f"words:{words}", split="train")
        found = data_seen(train, create_dataset(f"{FAKES}:letter", f"words:{words}", split="held_out"))
        for part, uris in found["sources"].items():
            (ids,) = uris.values()
            found["sources"][part] = {"words:": ids}
        return found

    first = seen("a,b,c,d,e,f,g,h")
    assert differences(first, seen("h,g,f,e,d,c,b,a,a")) == []
    assert differences(first, seen("a,b,c,d,e,f,g,i"))
    assert differences(json.loads(json.dumps(first)), first) == []


@pytest.mark.parametrize("change", ["gone", "new", "other"])
def test_a_run_is_not_resumed_on_other_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    photos = photographs(tmp_path / "photos", 12)
    made = on_photos(tmp_path / "runs", photos)
    run_until(made, 3, monkeypatch)
    more = photographs(tmp_path / "more", 20)
    if change != "new":
        (photos / "3.jpg").unlink()
    if change != "gone":
        shutil.copy(more / "15.jpg", photos / "a.jpg")
    with pytest.raises(Ssl4rlError) as error:
        run(resumed(made))
    line = str(error.value)
    assert line.startswith(f"the data has changed since step 2: {str(photos)!r} h")
    assert line.endswith("; train.changed_data=go_on goes on with what is there now, name=... starts another run")
    assert "\n" not in line

    go_on = made.model_copy(update={"train": made.train.model_copy(update={"changed_data": "go_on"}), "resume": True})
    said = run(go_on)
    warned = [text for text in said if text.startswith("WARNING the data has changed since step 2: ")]
    assert warned
    summary = json.loads((made.folder / "summary.json").read_text())
    assert [text.startswith(f"after step 2: {str(photos)!r} ha") for text in summary["changed_data"]] == [True]
    notes = read_run(made.folder).notes
    assert [note.startswith("went on with changed data after step 2: ") for note in notes] == [True]


def test_a_renamed_folder_of_the_same_pictures_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = photographs(tmp_path / "photos", 12)
    made = on_photos(tmp_path / "runs", photos)
    run_until(made, 3, monkeypatch)
    (photos / "0.jpg").rename(photos / "z.jpg")
    shutil.copy(photos / "5.jpg", photos / "twice.jpg")
    run(resumed(made))
    whole = on_photos(tmp_path / "whole", photos)
    run(whole)
    assert metrics(made.folder) == metrics(whole.folder)
    assert json.loads((made.folder / "summary.json").read_text())["changed_data"] == []


def test_another_version_of_a_task_is_said(tmp_path: Path) -> None:
    now = {"tasks": {"train": ["t@2[a]"], "held_out": ["t@2[a]"]}, "sources": {"train": {}, "held_out": {}}}
    then = {"tasks": {"train": ["t@1[a]"], "held_out": ["t@2[a]"]}, "sources": {"train": {}, "held_out": {}}}
    assert differences(then, now) == ["t@1[a] was to train on, now t@2[a]"]
