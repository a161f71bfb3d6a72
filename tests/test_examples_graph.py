"""The scripts in examples/graph run on small inputs, as a user would call them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.tiny_models import build

FOLDER = Path(__file__).parents[1] / "examples" / "graph"
TOPICS = {"music": "a song for drums", "food": "bread and soup", "sport": "a race on foot", "art": "paint on paper"}


def call(name: str, *arguments: str) -> dict[str, Any]:
    summary: dict[str, Any] = runpy.run_path(str(FOLDER / f"{name}.py"))["main"](list(arguments))
    return summary


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_short_and_with_numbers(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 60
    assert "CPU core" in text
    assert "chance" in text


def test_own_tables(tmp_path: Path) -> None:
    nodes = [f"{i},{text} {i},{topic}" for i, (topic, text) in enumerate([*TOPICS.items()] * 20)]
    (tmp_path / "nodes.csv").write_text("\n".join(["id,title,topic", *nodes]))
    edges = [f"{i},{(i + step) % 80}" for i in range(80) for step in (4, 7)]
    (tmp_path / "edges.csv").write_text("\n".join(["source,target", *edges]))
    data = f"{tmp_path / 'edges.csv'}?nodes=nodes.csv"
    options = ["--label", "topic", "--values", "|".join(TOPICS), "--text", "title"]
    options += ["--steps", "1", "--prompts", "2", "--out", str(tmp_path)]
    summary = call("own_graph", data, *options)
    assert (summary["steps"], summary["warmup_steps"], summary["after"]["chance"]) == (1, 1, 0.25)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "own_graph" / "final")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # PyG, where it is imported
def test_own_pyg_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch_geometric.data import Data

    ring = torch.arange(60)
    edges = torch.cat([torch.stack([ring, (ring + step) % 60]) for step in (1, 2, 9)], dim=1)
    data = Data(edge_index=torch.cat([edges, edges.flip(0)], dim=1), num_nodes=60)
    (tmp_path / "processed").mkdir()
    torch.save((data.to_dict(), None, Data), tmp_path / "processed" / "data.pt")
    summary = call("own_graph", str(tmp_path), "--steps", "1", "--prompts", "2", "--out", str(tmp_path / "runs"))
    assert summary["steps"] == 1
    printed = capsys.readouterr().out
    assert printed.startswith("60 nodes, 180 edges, undirected; nodes carry nothing\n")
    assert printed.count("One edge is hidden.") >= 2


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_lora_reasoning(tmp_path: Path) -> None:
    base = build("llama", tmp_path / "llama")
    options = ["--steps", "1", "--prompts", "3", "--tokens", "8", "--out", str(tmp_path)]
    summary = call("lora_reasoning", str(base), *options)
    assert summary["steps"] == 1
    assert len(summary["tasks"]) == 3
    assert PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "lora_reasoning" / "final")
