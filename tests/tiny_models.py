"""Complete model folders of about 50 to 200 thousand parameters, built from configs, no download.

``build(kind, folder)`` writes what ``from_pretrained(folder)`` reads: config, safetensors, a byte-level BPE tokenizer
with the family's special tokens, a chat template for ``{"type": "image"}`` and ``{"type": "text"}`` parts and, for the
vision kinds, the image processor. Weights are random, but drawn wide (0.15, not 0.02) and with noise on biases and
norms: a tiny model at 0.02 puts out almost uniform probabilities, and then wrong positions or a leak between
completions would hardly move a log-prob.

``AutoModelForImageTextToText`` / ``AutoModelForCausalLM``, ``AutoTokenizer`` and ``AutoImageProcessor`` (which resolves
the hub's class name, say ``Qwen2VLImageProcessor``, to its ``...Pil`` twin) load from every folder.
``AutoProcessor.from_pretrained(folder)`` under transformers 5.23 without torchvision does not:

================================  ====================================================================================
kind                              AutoProcessor
================================  ====================================================================================
idefics3 llava gemma3 paligemma   loads
qwen2_vl qwen2_5_vl               ImportError: "Qwen2VLVideoProcessor requires the Torchvision library but it was not
qwen3_vl qwen3_5                  found in your environment. ..." (a hub folder may name Qwen3VLVideoProcessor)
smolvlm                           ImportError: "SmolVLMVideoProcessor requires the Torchvision library ..."; with
                                  torchvision it asks for num2words next: "Package `num2words` is required to run
                                  SmolVLM processor. ..."
internvl                          ValueError: "<folder> requires `torchvision` to be installed. Please install
                                  `torchvision` and try again."
================================  ====================================================================================

Nor can those processors be constructed directly with ``video_processor=None``: ``check_argument_for_proper_class``
looks the video class up and raises ``AttributeError: type object 'VIDEO_PROCESSOR_MAPPING' has no attribute
'_extra_content'``. ``image_only_processor`` below is a way round both that keeps the family's own code for pictures.
PaliGemma's processor adds ``labels`` to what it returns: drop them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from tests import tiny_tokenizers as styles

SHAREABLE_VISION = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "idefics3", "smolvlm", "llava", "internvl")
SHAREABLE_TEXT = ("qwen2", "qwen3", "llama")
UNSHAREABLE_VISION = ("gemma3", "paligemma", "qwen3_5")
UNSHAREABLE_TEXT = ("qwen2_window", "mistral_window", "gemma2", "gpt_oss", "falcon_h1", "mamba", "bloom")
VISION = SHAREABLE_VISION + UNSHAREABLE_VISION
TEXT = SHAREABLE_TEXT + UNSHAREABLE_TEXT
KINDS = VISION + TEXT

SPREAD = 0.15
HIDDEN = 64
IMAGE_PX = 32  # side of the picture the fixed-size towers take


class Ids(dict[str, int]):
    """Token ids by token, and the entries every text config takes."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(tokenizer.get_vocab())
        pad = tokenizer.pad_token_id
        bos = tokenizer.bos_token_id
        self.common: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "pad_token_id": pad,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": pad if bos is None else bos,
        }

    def decoder(self, **more: Any) -> dict[str, Any]:
        """The text decoder's sizes; two query heads share a key head, so that grouped-query attention is exercised."""
        sizes: dict[str, Any] = {
            "hidden_size": HIDDEN,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "initializer_range": SPREAD,
        }
        return {**self.common, **sizes, **more}

    def pick(self, **names: str) -> dict[str, int]:
        return {name: self[token] for name, token in names.items()}


def _tower(**more: Any) -> dict[str, Any]:
    """A tower for pictures of one size, 32 px in 8 px patches."""
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": SPREAD,
    }
    return {**sizes, "image_size": IMAGE_PX, "patch_size": 8, **more}


def _qwen_vision(ids: Ids, rope: Mapping[str, Any], tower: Mapping[str, Any], **text: Any) -> dict[str, Any]:
    """A Qwen vision-language config: M-RoPE, and a tower that takes pictures of any size."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3], **rope}
    sizes = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "initializer_range": SPREAD,
    }
    tokens = ids.pick(
        image_token_id="<|image_pad|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>",
        vision_end_token_id="<|vision_end|>",
    )
    return {"text_config": ids.decoder(rope_parameters=rope, **text), "vision_config": {**sizes, **tower}, **tokens}


def _qwen2_vl(ids: Ids) -> dict[str, Any]:
    config = _qwen_vision(ids, {}, {})
    config["vision_config"] = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": HIDDEN,
        "num_heads": 2,
        "mlp_ratio": 2,
        "initializer_range": SPREAD,
    }
    return config


def _qwen2_5_vl(ids: Ids) -> dict[str, Any]:
    return _qwen_vision(ids, {}, {"window_size": 56, "fullatt_block_indexes": [1], "tokens_per_second": 2})


def _qwen3_vl(ids: Ids) -> dict[str, Any]:
    return _qwen_vision(
        ids, {"mrope_interleaved": True}, {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    )


def _qwen3_5(ids: Ids) -> dict[str, Any]:
    """Qwen3.5: every other layer keeps a recurrent state instead of keys and values."""
    rope = {"mrope_interleaved": True, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
    linear = {
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    return _qwen_vision(
        ids, rope, {"num_position_embeddings": 64}, layer_types=["linear_attention", "full_attention"], **linear
    )


def _idefics(ids: Ids) -> dict[str, Any]:
    text = ids.decoder(model_type="llama")
    return {"text_config": text, "vision_config": _tower(), "scale_factor": 2, **ids.pick(image_token_id="<image>")}


def _llava(ids: Ids) -> dict[str, Any]:
    tower = _tower(model_type="clip_vision_model", projection_dim=16)
    return {
        "text_config": ids.decoder(model_type="llama"),
        "vision_config": tower,
        **ids.pick(image_token_index="<image>"),
    }


def _internvl(ids: Ids) -> dict[str, Any]:
    sides = [IMAGE_PX, IMAGE_PX]
    tower = _tower(image_size=sides, patch_size=[8, 8])
    text = ids.decoder(model_type="qwen2")
    return {
        "text_config": text,
        "vision_config": tower,
        "image_seq_length": 4,
        "tie_word_embeddings": False,
        **ids.pick(image_token_id="<IMG_CONTEXT>"),
    }


def _gemma3(ids: Ids) -> dict[str, Any]:
    layers = ["sliding_attention", "full_attention"]
    tokens = ids.pick(
        boi_token_index="<start_of_image>", eoi_token_index="<end_of_image>", image_token_index="<image_soft_token>"
    )
    return {
        "text_config": ids.decoder(query_pre_attn_scalar=16, sliding_window=8, layer_types=layers),
        "vision_config": _tower(model_type="siglip_vision_model", vision_use_head=False),
        "mm_tokens_per_image": 4,
        **tokens,
    }


def _paligemma(ids: Ids) -> dict[str, Any]:
    return {
        "text_config": ids.decoder(model_type="gemma"),
        "vision_config": _tower(model_type="siglip_vision_model", vision_use_head=False, projection_dim=HIDDEN),
        "projection_dim": HIDDEN,
        **ids.pick(image_token_index="<image>"),
    }


def _falcon_h1(ids: Ids) -> dict[str, Any]:
    sizes = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 16}
    return ids.decoder(**sizes)


def _mamba(ids: Ids) -> dict[str, Any]:
    return {**ids.common, "hidden_size": HIDDEN, "state_size": 8, "num_hidden_layers": 2}


def _bloom(ids: Ids) -> dict[str, Any]:
    return {**ids.common, "hidden_size": HIDDEN, "n_layer": 2, "n_head": 4, "initializer_range": SPREAD}


@dataclass(frozen=True)
class Family:
    """One kind: its config class and entries, its tokens, and for vision its image processor as the hub names it."""

    config: str
    entries: Callable[[Ids], dict[str, Any]]
    style: styles.Style
    processor: str = ""  # class of the processor, "" for text
    images: str = ""  # class of the image processor on the hub, without "Pil"
    image_entries: Mapping[str, Any] = field(default_factory=dict)
    processor_entries: Mapping[str, Any] = field(default_factory=dict)


_FIXED = {"do_resize": True, "size": {"height": IMAGE_PX, "width": IMAGE_PX}}
_LONGEST = {
    "size": {"longest_edge": IMAGE_PX},
    "max_image_size": {"longest_edge": IMAGE_PX},
    "do_image_splitting": False,
}
_CLIP = {"size": {"shortest_edge": IMAGE_PX}, "crop_size": {"height": IMAGE_PX, "width": IMAGE_PX}}
_QWEN = {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 16}
_QWEN3 = {"size": {"shortest_edge": 32 * 32, "longest_edge": 32 * 32 * 16}, "patch_size": 16}

FAMILIES: Mapping[str, Family] = {
    "qwen2_5_vl": Family(
        "Qwen2_5_VLConfig", _qwen2_5_vl, styles.QWEN_VL, "Qwen2_5_VLProcessor", "Qwen2VLImageProcessor", _QWEN
    ),
    "qwen2_vl": Family("Qwen2VLConfig", _qwen2_vl, styles.QWEN_VL, "Qwen2VLProcessor", "Qwen2VLImageProcessor", _QWEN),
    "qwen3_vl": Family("Qwen3VLConfig", _qwen3_vl, styles.QWEN_VL, "Qwen3VLProcessor", "Qwen2VLImageProcessor", _QWEN3),
    "qwen3_5": Family("Qwen3_5Config", _qwen3_5, styles.QWEN_VL, "Qwen3VLProcessor", "Qwen2VLImageProcessor", _QWEN3),
    "idefics3": Family(
        "Idefics3Config",
        _idefics,
        styles.IDEFICS,
        "Idefics3Processor",
        "Idefics3ImageProcessor",
        _LONGEST,
        {"image_seq_len": 4},
    ),
    "smolvlm": Family(
        "SmolVLMConfig",
        _idefics,
        styles.IDEFICS,
        "SmolVLMProcessor",
        "SmolVLMImageProcessor",
        _LONGEST,
        {"image_seq_len": 4},
    ),
    "llava": Family(
        "LlavaConfig",
        _llava,
        styles.LLAVA,
        "LlavaProcessor",
        "CLIPImageProcessor",
        _CLIP,
        {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
    ),
    "internvl": Family(
        "InternVLConfig",
        _internvl,
        styles.INTERN_VL,
        "InternVLProcessor",
        "GotOcr2ImageProcessor",
        {**_FIXED, "min_patches": 1, "max_patches": 1},
        {"image_seq_length": 4},
    ),
    "gemma3": Family(
        "Gemma3Config",
        _gemma3,
        styles.GEMMA,
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        _FIXED,
        {"image_seq_length": 4},
    ),
    "paligemma": Family(
        "PaliGemmaConfig",
        _paligemma,
        styles.PALI_GEMMA,
        "PaliGemmaProcessor",
        "SiglipImageProcessor",
        {**_FIXED, "image_seq_length": 16},
    ),
    "qwen2": Family("Qwen2Config", lambda ids: ids.decoder(), styles.CHATML),
    "qwen3": Family("Qwen3Config", lambda ids: ids.decoder(), styles.CHATML),
    "llama": Family("LlamaConfig", lambda ids: ids.decoder(tie_word_embeddings=True), styles.LLAMA),
    "qwen2_window": Family(
        "Qwen2Config",
        lambda ids: ids.decoder(use_sliding_window=True, sliding_window=8, max_window_layers=1),
        styles.CHATML,
    ),
    "mistral_window": Family("MistralConfig", lambda ids: ids.decoder(sliding_window=8), styles.PLAIN),
    "gemma2": Family("Gemma2Config", lambda ids: ids.decoder(sliding_window=8, query_pre_attn_scalar=16), styles.GEMMA),
    "gpt_oss": Family(
        "GptOssConfig",
        lambda ids: ids.decoder(sliding_window=8, num_local_experts=4, num_experts_per_tok=2),
        styles.CHATML,
    ),
    "falcon_h1": Family("FalconH1Config", _falcon_h1, styles.PLAIN),
    "mamba": Family("MambaConfig", _mamba, styles.PLAIN),
    "bloom": Family("BloomConfig", _bloom, styles.PLAIN),
}


def build(kind: str, folder: Path, *, seed: int = 0, layers: int = 2, head_width: int = 16) -> Path:
    """Write a model of ``kind``, one of ``KINDS``, into ``folder`` and return it.

    ``layers``: of the text model. ``head_width``: of its attention, 16 times a power of 2. The weights depend on
    ``kind``, ``seed``, ``layers`` and ``head_width`` only. Raises ValueError on an unknown kind.
    """
    if kind not in FAMILIES:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    family = FAMILIES[kind]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = styles.make_tokenizer(family.style)
    if kind == "paligemma":
        # Its processor adds 1,152 location tokens to any tokenizer; they must be counted before the embedding is made.
        tokenizer = _paligemma_tokens(tokenizer)
    entries = family.entries(Ids(tokenizer))
    if layers != 2:
        entries.get("text_config", entries)["num_hidden_layers"] = layers
    if head_width != 16:
        text = entries.get("text_config", entries)
        heads = HIDDEN // head_width  # Qwen2.5-VL takes no other width
        text |= {"head_dim": head_width, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 2)}
        if "mrope_section" in text.get("rope_parameters", {}):
            text["rope_parameters"]["mrope_section"] = [n * head_width // 16 for n in (2, 3, 3)]
    config: PreTrainedConfig = getattr(transformers, family.config)(**entries)
    auto = AutoModelForImageTextToText if kind in VISION else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto.from_config(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(0.1 * torch.randn_like(weight))
                elif not weight.any():  # Gemma3's projector starts at zero and would hide its pictures
                    weight.normal_(std=SPREAD)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family.images:
        _save_processor(family, tokenizer, folder)
    return folder


def _paligemma_tokens(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    from transformers.models.paligemma.processing_paligemma import EXTRA_TOKENS

    tokenizer.add_tokens(EXTRA_TOKENS)
    return tokenizer


def _save_processor(family: Family, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Image processor and processor entries under the hub's class names, as a downloaded folder has them."""
    image_class = getattr(transformers, f"{family.images}Pil")
    image_class(**family.image_entries).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    entries = json.loads(path.read_text())
    entries |= {"image_processor_type": family.images, "processor_class": family.processor}
    path.write_text(json.dumps(entries, indent=2))
    entries = {"processor_class": family.processor, **family.processor_entries}
    (folder / "processor_config.json").write_text(json.dumps(entries, indent=2))


def image_only_processor(folder: Path) -> ProcessorMixin:
    """The family's own processor over ``folder`` without its video half, hence without torchvision.

    ``ProcessorMixin`` takes the parts it wants from ``get_attributes()``; a subclass that names two of them never looks
    for the third. SmolVLM's class refuses to start without num2words, which only its video prompts use; Idefics3's
    treats pictures the same way.
    """
    entries = json.loads((folder / "processor_config.json").read_text())
    name = entries.pop("processor_class")
    base = getattr(transformers, "Idefics3Processor" if name == "SmolVLMProcessor" else name)
    parts = classmethod(lambda cls: ["image_processor", "tokenizer"])
    image_only = type(f"ImageOnly{name}", (base,), {"get_attributes": parts})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image_processor = AutoImageProcessor.from_pretrained(folder)
    processor: ProcessorMixin = image_only(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=tokenizer.chat_template, **entries
    )
    return processor
