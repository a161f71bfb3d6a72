"""benchmarks/clip_categories.py: as many of each category a side, no picture on both, rows that qa/choice reads."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
from PIL import Image

import ssl4rl

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "clip_categories.py"


def test_labelled_questions_from_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, category, count in (
        ("train", "cats", 30),
        ("test", "cats", 10),
        ("train", "dogs", 20),
        ("train", "x", 3),
    ):
        for i in range(count):
            file = tmp_path / "clip" / part / category / f"sub{i % 2}" / f"{part}{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((32, 32), Image.Resampling.NEAREST).save(file)
    runpy.run_path(str(SCRIPT))["main"]([str(tmp_path), "--categories", "cats", "dogs", "--held-out", "0.4"])
    shown: dict[str, set[bytes]] = {}
    for part in ("train", "test"):
        rows = [json.loads(line) for line in (tmp_path / "kinds" / f"{part}.jsonl").read_text().splitlines()]
        answers = [row["answer"] for row in rows]
        assert answers.count("cats") == answers.count("dogs") == len(rows) // 2 > 0
        assert all(row["image"].startswith(f"{part}/{row['answer']}/") for row in rows)
        shown[part] = {(tmp_path / "kinds" / row["image"]).read_bytes() for row in rows}
        assert len(shown[part]) == len(rows)
    assert not shown["train"] & shown["test"]
    data = ssl4rl.create_dataset(
        "qa/choice", data=str(tmp_path / "kinds" / "test.jsonl"), size=4, split="all", level="given,shuffle=false"
    )
    assert {data[i].answer for i in range(4)} <= {"A", "B"}
    assert data[0].media[0].data.size == (32, 32)
