"""Likeness by a CLIP built from a config: the cosine of its own features, and one line where there is none."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from ssl4rl import Example, Key, Media, Ssl4rlError
from ssl4rl.rewards.likeness import _clip, likeness
from tests.tiny_tokenizers import CHATML, make_tokenizer

PICTURE = Image.radial_gradient("L").resize((40, 30)).convert("RGB")
EXAMPLE = Example((Media("image", PICTURE), "What is this?"), "a disc", Key("a/b@1", "easy", 0, 0))


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CLIP of random weights in a folder."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(CHATML)
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 24, "eos_token_id": tokenizer.eos_token_id}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    monkeypatch.setenv("SSL4RL_CLIP", str(tmp_path))
    _clip.cache_clear()
    yield model
    _clip.cache_clear()


def test_likeness_is_the_models_cosine(clip: Any) -> None:
    replies = ["<think>hm</think><answer>a round disc</answer>", "a round disc", "<answer></answer>", "grey " * 99]
    found = likeness(replies, EXAMPLE)
    _, processor = _clip(os.environ["SSL4RL_CLIP"])
    text = processor.tokenizer(
        ["a round disc"], padding="max_length", truncation=True, max_length=24, return_tensors="pt"
    )
    shown = processor.image_processor(PICTURE, return_tensors="pt")
    with torch.no_grad():
        out = clip(**text, **shown)
    assert found[0] == found[1] == pytest.approx(float((out.text_embeds @ out.image_embeds.T)[0, 0]), abs=1e-5)
    assert found[2] == 0.0
    assert -1 <= found[3] <= 1
    assert found[3] != found[0]


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _clip.cache_clear()
    monkeypatch.delenv("SSL4RL_CLIP", raising=False)
    with pytest.raises(Ssl4rlError, match="needs a CLIP-type model; SSL4RL_CLIP=FOLDER names it"):
        likeness(["x"], EXAMPLE)
    monkeypatch.setenv("SSL4RL_CLIP", str(tmp_path))
    with pytest.raises(Ssl4rlError, match="does not load"):
        likeness(["x"], EXAMPLE)
    with pytest.raises(Ssl4rlError, match="needs a picture"):
        likeness(["x"], Example(("Words only",), "a"))
