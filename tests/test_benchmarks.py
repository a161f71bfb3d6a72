"""Benchmarks run to the end at their smallest; what they measure is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_step_vs_trl(tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "page.md"
    page.write_text("before\n<!-- step_vs_trl: begin -->\nold\n<!-- step_vs_trl: end -->\nafter\n")
    options = ["--quick", "--rounds", "1", "--uncounted", "0", "--json", str(out), "--doc", str(page)]
    command = [sys.executable, str(ROOT / "benchmarks" / "step_vs_trl.py"), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    full, lora = json.loads(out.read_text())["results"]
    assert (full["name"], full["token_limit"]) == ("qwen2_5_vl full G=2 C=4 P=240", 1.97)  # 2 x 244 / 248
    assert set(full["seconds"]) == {"head", "as_is", "native"}
    for engine in full["seconds"]:
        assert full["seconds"][engine]["reference"] == 0 < lora["seconds"][engine]["reference"]
        assert full["peak_mib"][engine] > 0
    assert set(lora["ratio"]) == {"head", "as_is"}
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text.splitlines()
    assert "| qwen2_5_vl lora G=2 C=4 P=240 |" in text
