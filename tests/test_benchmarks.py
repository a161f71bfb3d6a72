"""Benchmarks run to the end at their smallest; what they measure is not looked at."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ssl4rl
from ssl4rl.core.recipe.recipe import load_recipe

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


QUEUES = sorted((ROOT / "benchmarks" / "queues").glob("*.yaml"))


@pytest.mark.parametrize("queue", QUEUES, ids=lambda path: path.stem)
def test_every_run_of_a_queue_is_a_recipe(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no two of all queues have one name, for they may share a folder."""
    monkeypatch.chdir(ROOT)
    names = [run["name"] for path in QUEUES for run in yaml.safe_load(path.read_text())]
    assert len(set(names)) == len(names)
    for run in yaml.safe_load(queue.read_text()):
        assert load_recipe(run["recipe"], [*run.get("set", []), f"name={run['name']}"]).name == run["name"]


def test_a_coin_pays_about_half_whatever_is_said() -> None:
    spec = importlib.util.spec_from_file_location("coin", ROOT / "benchmarks" / "queues" / "coin.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = ssl4rl.create_dataset("vision/rotation", "scenes:", size=100)
    paid = [module.coin(["right"] * 8, data[i]) for i in range(100)]
    assert paid == [module.coin(["wrong"] * 8, data[i]) for i in range(100)]
    assert 350 < sum(map(sum, paid)) < 450


@pytest.mark.slow
def test_a_queue_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    small = [*SHORT, "model.device=cpu", "train.workers=0"]
    asked = "--task 'vision/rotation[90deg,original=false,image_px=32]' -n 4"
    runs = [
        {"name": "one", "recipe": "quickstart_vision", "set": small, "eval": [asked]},
        {"name": "bad", "recipe": "quickstart_vision", "set": ["no.such=1"]},
        {"name": "two", "recipe": "quickstart_vision", "set": small},
    ]
    file, out, kept = tmp_path / "queue.yaml", tmp_path / "runs", tmp_path / "kept"
    file.write_text(yaml.safe_dump(runs))
    command = [sys.executable, str(ROOT / "benchmarks" / "run_queue.py"), str(file), "--out", str(out)]
    options = ["--json", str(tmp_path / "rows.json"), "--keep", str(kept)]
    first = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert first.stdout.splitlines()[:5] == [
        "one ...", f"one {asked} ...", "bad ...", f"bad: exit 2, see {out / 'bad'}.log", "two ...",
    ]  # fmt: skip
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["name"], len(row["curve"]), len(row["evals"])) for row in rows] == [("one", 2, 1), ("two", 2, 0)]
    assert rows[0]["evals"][0]["n"] == 4
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stdout.splitlines()[:2] == ["bad ...", f"bad: exit 2, see {out / 'bad'}.log"]
    page = ssl4rl.report([kept / "one", kept / "two"])
    assert "one" in page.page()
