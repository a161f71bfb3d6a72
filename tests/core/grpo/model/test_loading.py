"""How a model is loaded beside the usual way: in 4 bits, with attention by part."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.runs import metrics, recipe, run
from tests.tiny_models import build


def test_attention_by_part(tmp_path: Path) -> None:
    build("qwen2_5_vl", tmp_path)
    model = load_policy(str(tmp_path), attention={"vision": "eager", "text": "sdpa"}, device="cpu").model
    assert model.config.vision_config._attn_implementation == "eager"
    assert model.config.get_text_config()._attn_implementation == "sdpa"
    build("llama", tmp_path / "llama")
    model = load_policy(str(tmp_path / "llama"), attention={"vision": "eager", "text": "sdpa"}, device="cpu").model
    assert model.config._attn_implementation == "sdpa"
    made = recipe(tmp_path, model={"attention": {"vision": "flash_attention_2"}})
    assert made.model.model_dump()["attention"] == {"vision": "flash_attention_2", "text": "sdpa"}
    with pytest.raises(Ssl4rlError, match=r"unknown key 'model\.attention\.visoin'; did you mean 'vision'"):
        recipe(tmp_path, model={"attention": {"visoin": "sdpa"}})


def test_four_bits_ask_for_an_adapter_and_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Ssl4rlError, match=r"model: quantize keeps the base model in 4 bits.*it needs model.lora"):
        recipe(tmp_path, model={"quantize": "4bit"})
    build("llama", tmp_path)
    monkeypatch.setattr("ssl4rl.core.grpo.model.pretrained.find_spec", lambda name: None)
    with pytest.raises(Ssl4rlError) as error:
        load_policy(str(tmp_path), lora=Lora(r=2), device="cpu", quantize="4bit")
    assert str(error.value) == "model.quantize='4bit': bitsandbytes is not installed; pip install bitsandbytes"


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_an_adapter_learns_on_four_bits(tmp_path: Path) -> None:
    build("llama", tmp_path)
    plain = load_policy(str(tmp_path), lora=Lora(r=2), device="cpu").model
    model = load_policy(str(tmp_path), lora=Lora(r=2), device="cpu", quantize="4bit").model
    layer, full = (m.base_model.model.model.layers[0].mlp.up_proj.base_layer.weight for m in (model, plain))
    assert (layer.dtype, layer.numel()) == (torch.uint8, full.numel() // 2)
    given = {"path": str(tmp_path), "lora": {"r": 2}, "quantize": "4bit"}
    said = run(recipe(tmp_path, str(tmp_path), text=True, model=given, warmup={"steps": 1, "prompts_per_step": 2}))
    assert any(line.startswith("shared prompts: on") for line in said), said
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [2, 3, 4, 5]
