"""Every recipe resolves, and runs for two steps: on its own small model, or on one of the same architecture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from ssl4rl.core import registry
from ssl4rl.core.grpo import opening
from ssl4rl.core.grpo import run as running
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.opening import open_data
from ssl4rl.core.grpo.sampling.prefill import collate
from ssl4rl.core.grpo.stream import check_lengths, encode
from ssl4rl.core.recipe.files import shipped
from ssl4rl.core.recipe.recipe import Recipe, load_recipe
from ssl4rl.core.types import Example, Score, Ssl4rlError
from ssl4rl.core.verify import Verifier
from tests.core.grpo.runs import metrics, photographs, weights
from tests.tiny_models import build
from tests.vision.files import b64, encoded, write_tsv

# PEFT, where a user calls it, and transformers 5.23
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

RECIPES = shipped()
STAGED = [name for name, path in RECIPES.items() if "\nstages:" in path.read_text()]
MADE_HERE = [name for name, path in RECIPES.items() if "embedded:" in path.read_text()]
ON_SITE = [name for name in MADE_HERE if name not in STAGED]
REAL = [name for name in RECIPES if name not in MADE_HERE]
PAPER = [name for name in REAL if name.startswith("paper_")]
FAMILY = {"paper": "qwen2_5_vl", "qwen2_5_vl": "qwen2_5_vl", "qwen3_vl": "qwen3_vl", "smolvlm": "smolvlm"}
SLOW = ("qwen2_5_vl_7b_lora", "qwen2_5_vl_3b_8gpu", "smolvlm_full", *PAPER)  # their architectures are run by others


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos"), 12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("models")

    def folder(recipe: str) -> Path:
        kind = next(kind for start, kind in FAMILY.items() if recipe.startswith(start))
        return root / kind if (root / kind).exists() else build(kind, root / kind)

    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_resolves(name: str) -> None:
    recipe = load_recipe(RECIPES[name])
    assert recipe.name == name
    for part in recipe.tasks:
        task, _ = registry.resolve(part.task)
        assert task.level(part.level)


def test_the_recipes_for_real_models() -> None:
    """What the papers' settings are scaled from stays what it is."""
    assert set(REAL) >= {"qwen2_5_vl_3b_lora", "qwen2_5_vl_3b_full", "qwen3_vl_4b_lora", "smolvlm_lora", "smolvlm_full"}
    for name in [name for name in REAL if name not in PAPER]:
        recipe, text = load_recipe(RECIPES[name]), RECIPES[name].read_text()
        assert (recipe.model.lora is not None) == name.endswith("_lora")
        assert recipe.model.path.count("/") == 1
        assert (recipe.grpo.group_size, recipe.grpo.beta, recipe.grpo.updates_per_step) == (5, 0.01, 4)
        assert (recipe.prompt.style, recipe.prompt.max_tokens, recipe.data) == ("think", 1024, "photos/")
        assert recipe.optim.lr == (1e-6 if recipe.model.lora is None else pytest.approx(1.5e-5, rel=0.4))
        assert recipe.model.gradient_checkpointing
        assert "Estimated, not run here." in text
        longest = recipe.grpo.group_size * recipe.sampling.max_new_tokens + 1024
        assert longest <= recipe.train.tokens_per_microbatch, "one group alone would break the memory it promises"
    mixed = [name for name in REAL if len(load_recipe(RECIPES[name]).tasks) > 1]
    assert "qwen2_5_vl_3b_lora" in mixed


def test_the_papers_experiments(tmp_path: Path) -> None:
    """Its settings, and the benchmark's pictures named; without the name, or with another, they are refused."""
    assert PAPER == ["paper_contrastive", "paper_jigsaw", "paper_position", "paper_rotation"]
    rows = [[str(i), "Q?", "x", "y", "A", b64(encoded(i, size=(64, 64)))] for i in range(40)]
    tsv = write_tsv(tmp_path / "MMBench_DEV_EN.tsv", ["index", "question", "A", "B", "answer", "image"], *rows)
    for name in PAPER:
        recipe = load_recipe(RECIPES[name], [f"data=tsv:{tsv}"])
        assert recipe.model.path == "Qwen/Qwen2.5-VL-3B-Instruct"
        assert (recipe.grpo.group_size, recipe.grpo.prompts_per_step, recipe.grpo.updates_per_step) == (5, 512, 4)
        assert (recipe.grpo.beta, recipe.optim.lr, recipe.sampling.max_new_tokens) == (0.01, 1e-6, 2048)
        assert [task.task for task in recipe.tasks] == [name.replace("paper_", "vision/")]
        assert open_data(recipe).train.components[0].split.source.benchmark == "MMBench_DEV_EN"
    for named in ("[]", "[SEEDBench_IMG]"):
        with pytest.raises(Ssl4rlError, match=r"say benchmark_data=\[MMBench_DEV_EN\]"):
            open_data(load_recipe(RECIPES["paper_position"], [f"data=tsv:{tsv}", f"benchmark_data={named}"]))


def by_characters(
    self: Verifier, completion: str, example: Example, *, style: Any = None, truncated: bool = False
) -> Score:
    """A random model never answers; so that groups have variance, replies are worth what their characters say."""
    worth = crc32(completion.encode()) % 101 / 100
    return Score(worth, "correct" if worth == 1 else "wrong", None, {"accuracy": worth, "format": 1.0})


def train(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Policy]:
    """The summary and the policy as it was trained."""
    policies: list[Policy] = []
    load = opening.load

    def keep(*given: Any) -> Policy:
        policies.append(load(*given))
        return policies[0]

    monkeypatch.setattr(opening, "load", keep)
    monkeypatch.setattr(opening, "check_lengths", partial(check_lengths, n=8))  # 64 take longer than the run
    monkeypatch.setattr(Verifier, "score", by_characters)
    summary = running.train(recipe, say=lambda line: None, bar=False)
    return summary, policies[0]


def numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in numbers(value)]
    if isinstance(tree, list):
        return [x for value in tree for x in numbers(value)]
    return [float(tree)] if isinstance(tree, (int, float)) else []


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in REAL])
def test_two_steps_on_the_same_architecture(
    tmp_path: Path, photos: Path, model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    base = model(name)
    small = [
        *(f"model.path={base}", "model.device=cpu", f"data={photos}", "min_items=1", f"out={tmp_path}"),
        *("train.steps=2", "train.workers=0", "eval.n=2"),
        *("grpo.prompts_per_step=4", "grpo.group_size=2", "sampling.max_new_tokens=6"),
    ]
    recipe = load_recipe(RECIPES[name], small)
    summary, trained = train(recipe, monkeypatch)

    folder = recipe.folder
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert (summary["steps"], summary["before"]["n"], summary["after"]["n"]) == (2, 2, 2)
    assert summary["shared_prompts"]
    lines = metrics(folder)
    assert [line["phase"] for line in lines] == ["eval", "train", "train", "eval"]
    assert all(map(math.isfinite, numbers(lines)))
    assert all(line["grad_norm"] > 0 for line in lines if line["phase"] == "train")

    if recipe.model.lora:
        loaded: Any = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), folder / "final")
        assert any(bool(x.any()) for key, x in weights(folder / "final").items() if "lora_B" in key)
    else:
        loaded = AutoModelForImageTextToText.from_pretrained(folder / "final")
        before, after = weights(base), weights(folder / "final")
        assert before.keys() == after.keys()
        assert any(not torch.equal(before[key], after[key]) for key in before)
    again = load_policy(str(folder / "final"), device="cpu")
    batch = collate([encode(open_data(recipe).train, again.encoder, 0).encoded], again.pad_id, again.device)
    with torch.no_grad():
        logits = [m.eval()(**batch).logits for m in (trained.model, loaded, again.model)]
    # not bit for bit: the trained model's patch embedding is a matrix product by now (patches.py)
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[1], logits[2], rtol=0, atol=0)

    more = [f"model.path={folder / 'final'}", "name=more", "train.steps=1", "eval.n=1"]
    further, _ = train(load_recipe(RECIPES[name], [*small, *more]), monkeypatch)
    assert further["steps"] == 1


@pytest.mark.parametrize("name", STAGED)
def test_a_step_of_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    small = ["model.device=cpu", "grpo.prompts_per_step=4", "train.workers=0", "eval.n=4", f"out={tmp_path}"]
    count = len(load_recipe(RECIPES[name]).stages)
    recipe = load_recipe(RECIPES[name], [*small, *(f"stages.{i}.train.steps=1" for i in range(count))])
    summary, _ = train(recipe, monkeypatch)
    assert (summary["steps"], summary["after"]["n"]) == (count, 4)
    assert AutoModelForImageTextToText.from_pretrained(recipe.folder / "final")


@pytest.mark.parametrize("name", ON_SITE)
def test_two_steps_on_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    small = ["model.device=cpu", "warmup.steps=2", "train.steps=2", "train.workers=0", "eval.n=4", f"out={tmp_path}"]
    if name.startswith("smollm2"):  # it takes a step in tests/embedded/test_smollm2.py, where it is installed
        small.append("model.path=embedded:tiny_llama")
    recipe = load_recipe(RECIPES[name], [*small, "warmup.prompts_per_step=4", "grpo.prompts_per_step=4"])
    summary, _ = train(recipe, monkeypatch)
    assert (summary["warmup_steps"], summary["steps"], summary["after"]["n"]) == (2, 2, 4)
    lines = metrics(recipe.folder)
    assert [line["phase"] for line in lines] == ["warmup", "warmup", "eval", "train", "train", "eval"]
    assert all(map(math.isfinite, numbers(lines)))
    assert all(line["grad_norm"] > 0 for line in lines if line["phase"] != "eval")
    if recipe.model.lora:  # of a base that only we know by its name
        assert isinstance(load_policy(str(recipe.folder / "final"), device="cpu").model, PeftModel)
        return
    auto = AutoModelForImageTextToText if "vlm" in recipe.model.path else AutoModelForCausalLM
    assert auto.from_pretrained(recipe.folder / "final")
