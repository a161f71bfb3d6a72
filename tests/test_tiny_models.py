"""The tiny folders are what they say: every part loads, and a picture reaches the logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from transformers.utils import is_torchvision_available

from tests.tiny_models import KINDS, TEXT, VISION, build, image_only_processor

AUTO_PROCESSOR = ("idefics3", "llava", "gemma3", "paligemma")


def test_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'gpt5'"):
        build("gpt5", tmp_path)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
def test_same_seed_same_weights(kind: str, tmp_path: Path) -> None:
    weights = [
        (build(kind, tmp_path / str(i), seed=seed) / "model.safetensors").read_bytes()
        for i, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("kind", TEXT)
def test_text_folder(kind: str, tmp_path: Path) -> None:
    folder = build(kind, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "The café: <think>naïve 3 < 4</think> n1→n2\n\n ok"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert "user" in prompt
    assert "hi" in prompt
    assert prompt.index("hi") < prompt.index("assistant")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert 40_000 < sum(weight.numel() for weight in model.parameters()) < 230_000
    with torch.no_grad():
        probability = model(**tokenizer(prompt, return_tensors="pt")).logits.softmax(-1).max(-1).values.mean()
    assert probability > 5 / len(tokenizer), "too near uniform to tell a right log-prob from a wrong one"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor and numpy 2
@pytest.mark.parametrize("kind", VISION)
def test_vision_folder(kind: str, tmp_path: Path) -> None:
    folder = build(kind, tmp_path)
    processor = image_only_processor(folder)
    content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    logits = []
    for seed in (0, 1):
        picture = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (56, 56, 3), dtype=np.uint8))
        inputs = processor(text=[prompt], images=[[picture]], return_tensors="pt")
        with torch.no_grad():
            logits.append(model(**{name: x for name, x in inputs.items() if name != "labels"}).logits[0, -1])
    assert (logits[0] - logits[1]).abs().max() > 0.1


@pytest.mark.skipif(is_torchvision_available(), reason="the table is about life without torchvision")
@pytest.mark.parametrize("kind", VISION)
def test_auto_processor_table(kind: str, tmp_path: Path) -> None:
    folder = build(kind, tmp_path)
    if kind in AUTO_PROCESSOR:
        assert AutoProcessor.from_pretrained(folder).chat_template
    else:
        with pytest.raises((ImportError, ValueError), match=r"(?i)torchvision"):
            AutoProcessor.from_pretrained(folder)


def test_every_kind_has_a_test() -> None:
    assert set(KINDS) == set(TEXT) | set(VISION)
