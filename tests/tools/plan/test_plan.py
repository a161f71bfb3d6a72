"""A plan against what runs took, and what it says of recipes that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ssl4rl
from ssl4rl.cli import cli
from ssl4rl.cli import run as command
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.plan.fit import GB, needed
from tests.core.grpo.runs import recipe
from tests.tiny_models import build
from tests.tools.plan.measured import peaks

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny VLM, full": ("embedded:tiny_vlm", {}),
    "Llama, LoRA": ("llama", {"lora": {"r": 4}}),
    "Qwen2.5-VL, LoRA, checkpointing": (
        "qwen2_5_vl",
        {"lora": {"r": 4}, "freeze_vision": True, "gradient_checkpointing": True},
    ),
    "Llama, full, unshared": ("llama", {}),
}


def settings(out: Path, kind: str, model: dict[str, Any], beta: float = 0.01, **train: Any) -> Recipe:
    path = kind
    if ":" not in kind:
        folder = out / kind
        folder.mkdir(exist_ok=True)
        build(kind, folder)
        path = str(folder)
    return recipe(
        out,
        path,
        text=kind == "llama",
        model={"path": path, "device": "cpu", **model},
        sampling={"max_new_tokens": 40},
        grpo={"group_size": 3, "prompts_per_step": 8, "beta": beta, "updates_per_step": 2},
        train={"steps": 2, "checkpoint_every": 10, "tokens_per_microbatch": 512, **train},
        prompt={"style": "answer", "max_tokens": 2000},
        eval={"n": 8},
    )


def close(out: Path, given: Recipe) -> dict[str, tuple[float, float]]:
    """MiB measured and planned by phase; fails beyond 15 %."""
    found = peaks(given)
    planned = ssl4rl.plan(given, cards=()).peaks
    assert found.keys() == planned.keys()
    both = {name: (found[name] / 2**20, sum(planned[name].values()) / 2**20) for name in found}
    for name, (real, plan) in both.items():
        assert 0.85 <= plan / real <= 1.15, (name, both)
    return both


@pytest.mark.slow
def test_a_tiny_vlm_takes_what_was_planned(tmp_path: Path) -> None:
    close(tmp_path, settings(tmp_path, *CASES["tiny VLM, full"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name != "tiny VLM, full"])
def test_a_run_takes_what_was_planned(name: str, tmp_path: Path) -> None:
    shared = "off" if "unshared" in name else "auto"
    close(tmp_path, settings(tmp_path, *CASES[name], shared=shared))


@pytest.mark.slow
def test_without_a_reference_and_old_log_probs(tmp_path: Path) -> None:
    given = settings(tmp_path, *CASES["Llama, LoRA"], beta=0.0)
    one = given.model_copy(update={"grpo": given.grpo.model_copy(update={"updates_per_step": 1})})
    planned = ssl4rl.plan(one, cards=()).peaks
    assert list(planned) == ["sampling", "update", "evaluation"]
    assert not any("reference" in parts for parts in planned.values())


def large(folder: Path) -> Path:
    """A Llama of 2.6 billion parameters in few layers: its config, and a tokenizer; no weights."""
    build("llama", folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    sizes = {"hidden_size": 8192, "intermediate_size": 22528, "num_hidden_layers": 3, "num_attention_heads": 64}
    config |= {**sizes, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 32000, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def unmade(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    folder = large(tmp_path_factory.mktemp("large"))

    def made(**sections: Any) -> Recipe:
        model = {"path": str(folder), "device": "auto", **sections.pop("model", {})}
        given = {"sampling": {"max_new_tokens": 512}, "grpo": {"group_size": 8, "prompts_per_step": 64}, **sections}
        return recipe(folder, str(folder), text=True, model=model, **given)

    return made


@pytest.mark.slow
def test_weights_are_counted_and_never_made(unmade: Callable[..., Recipe], tmp_path: Path) -> None:
    given = unmade(model={"lora": {"r": 16}, "gradient_checkpointing": True})
    found = ssl4rl.plan(given, cards=())
    # embedding and head; in a layer four matrices of attention, three of the MLP, two norms; a norm
    dense = 2 * 32000 * 8192 + 3 * (2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 22528 + 2 * 8192) + 8192
    adapter = 16 * 3 * (2 * (8192 + 8192) + 2 * (8192 + 1024) + 3 * (8192 + 22528))
    assert (found.parameters, found.trained) == (dense + adapter, adapter)
    tied = ssl4rl.plan(settings(tmp_path, "llama", {}), cards=())
    assert tied.parameters == load_policy(tied.recipe.model.path, device="cpu").model.num_parameters()
    update = found.peaks["update"]
    assert update["weights"] == pytest.approx(2 * dense, rel=0.01)
    assert update["adapter"] == pytest.approx(4 * adapter, rel=0.01)
    assert update["optimizer"] == pytest.approx(8 * adapter, rel=0.01)
    # keys and values: 512 rows x at least 511 tokens x 3 layers x 2 x 8 x 128 in bfloat16
    assert found.peaks["sampling"]["prompts and replies"] > 512 * 511 * 3 * 2 * 8 * 128 * 2


@pytest.mark.slow
def test_a_smaller_card_is_fitted_by_overrides_that_hold(unmade: Callable[..., Recipe]) -> None:
    given = unmade(grpo={"group_size": 8, "prompts_per_step": 64, "beta": 0.01})
    found = ssl4rl.plan(given, cards=(24, 80))
    for fit in found.fits:
        assert fit.overrides is not None
        again = ssl4rl.plan(given, cards=(), **fit.overrides)
        assert max(map(needed, again.peaks.values())) == pytest.approx(fit.peak)
        assert fit.peak <= fit.gb * GB
        assert f"{fit.gb} GB: " in str(found)


@pytest.mark.slow
def test_moments_are_divided_over_processes(unmade: Callable[..., Recipe]) -> None:
    found = [ssl4rl.plan(unmade(), gpus=n, cards=(), train={"shard": "optimizer"}).peaks["update"] for n in (1, 4)]
    assert found[1]["optimizer"] == pytest.approx(found[0]["optimizer"] / 4, rel=0.1)


@pytest.mark.slow
def test_gradients_and_float32_weights_are_divided_over_processes(unmade: Callable[..., Recipe]) -> None:
    whole, part = (
        ssl4rl.plan(unmade(), gpus=4, cards=(), train={"shard": shard}).peaks["update"]
        for shard in ("optimizer", "gradients")
    )
    assert part["weights"] == pytest.approx(whole["weights"] / 2, rel=0.01), "bfloat16"
    for name in ("gradients", "master weights"):
        assert part[name] == pytest.approx(whole["weights"] / 4, rel=0.1)
    assert part["optimizer"] == whole["optimizer"]
    assert "bfloat16 copies" not in part


SEVEN = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
SEVEN |= {"num_key_value_heads": 4, "vocab_size": 152064}
THREE = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16}
THREE |= {"num_key_value_heads": 2, "vocab_size": 151936}
TOWER = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "window_size": 112}


def qwen(folder: Path, text: dict[str, int], tied: bool) -> Path:
    """A config of Qwen2.5-VL's published sizes beside a small tokenizer and the processor; no weights."""
    build("qwen2_5_vl", folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {**text, "tie_word_embeddings": tied}
    config["text_config"]["layer_types"] = ["full_attention"] * text["num_hidden_layers"]
    config["text_config"]["rope_parameters"]["mrope_section"] = [16, 24, 24]
    config["text_config"].pop("head_dim", None)
    config["vision_config"] |= {**TOWER, "out_hidden_size": text["hidden_size"]}
    config["vision_config"]["fullatt_block_indexes"] = [7, 15, 23, 31]
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "tied", "shard", "parameters"),
    [(THREE, True, "optimizer", 3_754_622_976), (SEVEN, False, "gradients", 8_292_166_656)],
    ids=["3B", "7B"],
)
def test_the_papers_setting_fits_eight_gpus(
    text: dict[str, int], tied: bool, shard: str, parameters: int, tmp_path: Path
) -> None:
    """All weights trained, 512 prompts, replies of 2,048 tokens, a KL term; the 7B with divided gradients alone."""
    given = {"model": {"path": str(qwen(tmp_path, text, tied))}, "data": "sample:", "min_items": 1}
    found = ssl4rl.plan("qwen2_5_vl_3b_8gpu", gpus=8, cards=(), train={"shard": shard}, **given)
    assert found.parameters == found.trained == parameters
    assert found.bytes_needed < 80 * GB


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["plan", "quickstart_graph", "model.device=cpu", "grpo.prompts_per_step=2"]
    told = CliRunner().invoke(cli, [*given, "--json"])
    record = json.loads(told.output)
    assert record["device"] == "cpu"
    assert list(record["bytes"]) == ["sampling", "update", "evaluation"]
    assert record["prompt_tokens"]["n"] == 64
    assert command(["plan", "quickstart_graph", "model.path=./no/such/model"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "./no/such/model" in err
    with pytest.raises(Ssl4rlError, match="gpus is 0"):
        ssl4rl.plan("quickstart_graph", gpus=0)
