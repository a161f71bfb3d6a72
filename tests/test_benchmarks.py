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


def run(script: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_export_rewards(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run("export_rewards.py", "--rounds", "1", "--rows", "130", "--json", str(out))
    found = json.loads(out.read_text())
    assert {"score_answer_us", "score_us", "score_of_text_us"} < set(found["rewards"][0])
    assert [case["rows"] for case in found["memory"]] == [100, 130, 100, 130]


SHORT = ("warmup.steps=1", "warmup.prompts_per_step=2", "grpo.prompts_per_step=2", "train.steps=2", "eval.n=4")


@pytest.mark.slow
def test_curricula(tmp_path: Path) -> None:
    recipe, out, picture = "curriculum_hops", tmp_path / "out.json", tmp_path / "out.png"
    options = [recipe, "--seeds", "0", "1", "--out", str(tmp_path), "--json", str(out), "--plot", str(picture), *SHORT]
    told = run("curricula.py", *options)
    assert [line.split(" | ")[0] for line in told.splitlines()[-4:]] == [
        "| goldilocks", "| uniform", "| hard", "| easy",
    ]  # fmt: skip
    found = json.loads(out.read_text())["results"]
    assert [(r["strategy"], r["seed"]) for r in found] == [
        (strategy, seed) for seed in (0, 1) for strategy in ("goldilocks", "uniform", "hard", "easy")
    ]
    assert all([step for step, _ in r["curve"]] == [0, 2] and r["after"]["n"] == 4 for r in found)
    assert picture.stat().st_size > 1000
    assert run("curricula.py", *options).splitlines()[-4:] == told.splitlines()[-4:]  # read, not run again


@pytest.mark.slow
def test_mixtures(tmp_path: Path) -> None:
    recipe, out = "mixed_scenes", tmp_path / "out.json"
    every = "train.gradient_agreement_every=1"
    told = run(
        "mixtures.py", recipe, "--out", str(tmp_path), "--json", str(out), *SHORT, "grpo.prompts_per_step=8", every
    )
    assert "| vision/rotation@1[90deg,image_px=32,original=false] | 0 | 0.25 |" in told
    (found,) = json.loads(out.read_text())["results"]
    assert found["mixed"].keys() == found["alone"].keys()
    assert [entry["n"] for entry in found["alone"].values()] == [4, 4]


@pytest.mark.slow
def test_probe_advice(tmp_path: Path) -> None:
    recipe, out = "curriculum_questions", tmp_path / "out.json"
    options = ["--seeds", "0", "--steps", "2", "--more", "1", "-n", "16", "--out", str(tmp_path), "--json", str(out)]
    warmed = [*SHORT, "warmup.steps=40", "warmup.prompts_per_step=64"]  # a level is advised where answers can be read
    told = run("probe_advice.py", recipe, *options, *warmed)
    assert "| before | 0 | level 1: " in told
    before, after = json.loads(out.read_text())["rows"]
    assert (before["stage"], before["advised"], before["two_off"]["level"]) == ("before", 0, 2)
    assert after["stage"] == "after"
    assert len(after["from_advice"]["accuracies"]) == len(after["probed"]) == 3


@pytest.mark.slow
def test_shared_prompts(tmp_path: Path) -> None:
    recipe, out = "quickstart_graph", tmp_path / "out.json"
    run("shared_prompts.py", recipe, "--steps", "1", "--json", str(out), *SHORT)
    (found,) = json.loads(out.read_text())["results"]
    assert set(found["seconds"]) == {"shared", "unshared"}
    assert found["ratio"] > 0


@pytest.mark.slow
def test_reply_reading(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    told = run("reply_reading.py", "--rounds", "1", "--characters", "5000", "--json", str(out))
    found = json.loads(out.read_text())
    assert [line.split()[0] for line in told.splitlines() if line[0] != " "] == [
        "ordinary",
        "longest_answer",
        "megabyte",
    ]
    assert found["ordinary"]["n"] > 1300
    assert {row["verifier"] for row in found["megabyte"]["slowest"]} <= {
        *("Choice", "Integer", "Angle", "Permutation", "Box", "NodeSet", "EdgeSet", "Path", "Text", "Several")
    }


@pytest.mark.slow
def test_decoding(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run("decoding.py", "--layers", "3", "--tokens", "8", "--rounds", "1", "--json", str(out))
    found = json.loads(out.read_text())
    kernels = {(row["decoder"], row["adapter"]): row["kernels_a_token"] for row in found["rows"]}
    assert kernels["static", "merged"] < kernels["static", "apart"]
    assert {row["waits_a_token"] for row in found["rows"] if row["decoder"] == "static"} == {0.0}
    assert set(found["cpu_seconds_a_step"]) == {"apart", "merged"}
