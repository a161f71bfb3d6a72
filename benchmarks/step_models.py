"""The models that step_vs_trl.py compares: random weights, a tokenizer of single bytes, the family's own processor."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Idefics3Config,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)

IMAGE_PX = 224
_TEMPLATE = (
    "{% for m in messages %}{% for part in m['content'] %}{% if part['type'] == 'image' %}@IMAGE@"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
_TEXT_TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
_QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_IDEFICS_TOKENS = ("<fake_token_around_image>", "<global-img>", "<image>")
_SMALL = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 8192,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
_QWEN_3B = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 128000,
    "tie_word_embeddings": True,
}
_QWEN_3B_TOWER = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_SMALL_TOWER = {
    "depth": 4,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_heads": 8,
    "out_hidden_size": 256,
    "fullatt_block_indexes": [3],
}

MODELS = ("qwen2_5_vl", "idefics3", "llama", "qwen2_5_vl_3b")


def _tokenizer(tokens: tuple[str, ...], named: dict[str, str], template: str) -> PreTrainedTokenizerFast:
    """A token a byte, so that a prompt can be given any length."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        pad_token="<pad>",
        eos_token="<eos>",
        padding_side="left",
        extra_special_tokens=named,
    )
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


def _qwen(text: dict[str, Any], tower: dict[str, Any]) -> tuple[Any, Any]:
    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    template = _TEMPLATE.replace("@IMAGE@", "<|vision_start|><|image_pad|><|vision_end|>")
    tokenizer = _tokenizer(_QWEN_TOKENS, named, template)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(_QWEN_TOKENS))
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    section = [half // 4, half * 3 // 8, half - half // 4 - half * 3 // 8]
    config = Qwen2_5_VLConfig(
        text_config={
            **text,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section},
            **_ends(tokenizer),
        },
        vision_config=tower,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )
    images = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=IMAGE_PX * IMAGE_PX)
    # the video half needs torchvision; pictures do not
    parts = classmethod(lambda cls: ["image_processor", "tokenizer"])
    image_only = type("Qwen2_5_VLProcessor", (Qwen2_5_VLProcessor,), {"get_attributes": parts})
    return config, image_only(image_processor=images, tokenizer=tokenizer, chat_template=template)


def _idefics() -> tuple[Any, Any]:
    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    }
    template = _TEMPLATE.replace("@IMAGE@", "<image>")
    tokenizer = _tokenizer((*_IDEFICS_TOKENS, "<end_of_utterance>"), named, template)
    tower = {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "image_size": IMAGE_PX,
        "patch_size": 14,
    }
    config = Idefics3Config(
        text_config={**_SMALL, "model_type": "llama", **_ends(tokenizer)},
        vision_config=tower,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    edge = {"longest_edge": IMAGE_PX}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size=edge, max_image_size=edge)
    return config, Idefics3Processor(images, tokenizer, image_seq_len=64, chat_template=template)


def _ends(tokenizer: Any) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.eos_token_id,
    }


def build(name: str, device: torch.device, dtype: torch.dtype, seed: int = 0) -> tuple[Any, Any, bool]:
    """The model, its processor (a tokenizer for a text model), and whether it takes pictures."""
    if name == "llama":
        processor: Any = _tokenizer((), {}, _TEXT_TEMPLATE)
        config: Any = LlamaConfig(**_SMALL, **_ends(processor))
        auto: Any = AutoModelForCausalLM
    else:
        auto = AutoModelForImageTextToText
        config, processor = {
            "qwen2_5_vl": lambda: _qwen(_SMALL, _SMALL_TOWER),
            "qwen2_5_vl_3b": lambda: _qwen(_QWEN_3B, _QWEN_3B_TOWER),
            "idefics3": _idefics,
        }[name]()
    torch.manual_seed(seed)
    with torch.device(device):
        model = auto.from_config(config, dtype=dtype)
    tokenizer = processor if name == "llama" else processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor, name != "llama"
