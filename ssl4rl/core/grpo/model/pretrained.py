"""Models from folders, hub ids and `embedded:`: their weights, adapters, and what of them is trained."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.grpo.model.norms import keep_averages
from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import holding


@dataclass(frozen=True)
class Lora:
    """LoRA settings, PEFT's words, and the seed of the adapter's first weights."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: str | Sequence[str] = "all-linear"
    seed: int = 0


def is_adapter(model: Any) -> bool:
    """Whether the model is in PEFT's wrapper."""
    return hasattr(model, "peft_config")


def device_named(name: str) -> torch.device:
    """The device; "auto" is the GPU where there is one. Raises Ssl4rlError for one that is not here."""
    gpu = torch.cuda.is_available()
    try:
        device = torch.device(("cuda" if gpu else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise Ssl4rlError(f"unknown device {name!r}; allowed: auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cuda" and not gpu:
        raise Ssl4rlError(f"device {name!r} is asked for, but torch {torch.__version__} finds no GPU here")
    return device


def takes_pictures(path: str, revision: str | None = None, trust: bool = False) -> bool:
    """Whether a folder's or hub id's model is one that sees, by its config alone.

    Raises:
        Ssl4rlError: there is no config that transformers knows.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    _check_folder(path)
    with _load_errors(path):
        config = AutoConfig.from_pretrained(path, revision=revision or "main", trust_remote_code=trust)
    brought = type(config) in AutoModelForImageTextToText._model_mapping or (
        trust and "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {})
    )
    return brought or config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


Attention = str | Mapping[str, str]
"""Of transformers: one for the whole model, or by part, "vision" and "text"."""


def load_model(
    path: str,
    weights: torch.dtype,
    attention: Attention,
    vision: bool,
    revision: str | None = None,
    *,
    trust: bool = False,
    quantize: str | None = None,
) -> Any:
    """A folder's or hub id's model, without an adapter.

    Args:
        quantize: "4bit" keeps its linear layers so (NF4 with quantized constants, as QLoRA, arXiv 2305.14314), and
            `weights` is what is computed in.
        vision: `takes_pictures`.
        revision: of a hub id; None is its newest.
        trust: run the code that the folder or repository brings (transformers' trust_remote_code).

    Raises:
        Ssl4rlError: it does not load, or lacks weights.
    """
    with _load_errors(path):
        more = {"quantization_config": _four_bits(weights)} if quantize else {}
        model, info = _from_pretrained(path, weights, attention, vision, revision or "main", trust, **more)
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):  # else bitsandbytes packs weights in the first pass without
            layer.support_avx512bf16_for_cpu = False  # gradient, in a form that passes none on from then on
    unfit = [*sorted(info["missing_keys"]), *sorted(str(key[0]) for key in info["mismatched_keys"])]
    if unfit:  # transformers would draw them at random and go on
        raise Ssl4rlError(f"model {path!r} lacks {len(unfit)} weights that its config asks for, {unfit[0]} among them")
    return model


def empty_model(path: str, dtype: torch.dtype, attention: Attention, vision: bool, revision: str | None = None) -> Any:
    """The same without weights, of its config alone: its parameters are on the device meta.

    Raises:
        Ssl4rlError: there is no config that transformers knows.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    auto = AutoModelForImageTextToText if vision else AutoModelForCausalLM
    with _load_errors(path):
        config = AutoConfig.from_pretrained(path, revision=revision or "main")
        with init_empty_weights():
            model = with_attention(auto.from_config, _by_part(config, attention), config, dtype=dtype)
        model.tie_weights()  # what was tied was put on meta twice
        return model


def _check_folder(path: str) -> None:
    """What a hub's error message about a local path would hide."""
    if os.path.isfile(path):
        raise Ssl4rlError(f"model path {path!r} is a file; name the folder that it lies in")
    if os.path.isdir(path) and not os.path.isfile(os.path.join(path, "config.json")):
        raise Ssl4rlError(f"model folder {path!r} holds no config.json, so no model{holding(Path(path))}")
    if not os.path.exists(path) and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise Ssl4rlError(f"model path {path!r} does not exist")


def _four_bits(arithmetic: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise Ssl4rlError("model.quantize='4bit': bitsandbytes is not installed; pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=arithmetic,
    )


def _from_pretrained(
    path: str, weights: torch.dtype, attention: Attention, vision: bool, revision: str, trust: bool, **more: Any
) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers says about the weights it found."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    auto = AutoModelForImageTextToText if vision else AutoModelForCausalLM
    common = {"dtype": weights, "output_loading_info": True, "ignore_mismatched_sizes": True, "revision": revision}
    common["trust_remote_code"] = trust
    by_part = _by_part(AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust), attention)
    model, info = with_attention(auto.from_pretrained, by_part, path, **common, **more)
    return model, info


def _by_part(config: Any, attention: Attention) -> str | dict[str, str]:
    """`attention` in transformers' words: by the names of the config's sections."""
    if isinstance(attention, str):
        return attention
    text = config.get_text_config(decoder=True)
    sections = [name for name in config.sub_configs if getattr(config, name, None) is not None]
    if not sections:
        return attention["text"]
    return {name: attention["text" if getattr(config, name) is text else "vision"] for name in sections}


def with_attention(make: Callable[..., Any], attention: Any, *args: Any, **common: Any) -> Any:
    """What `make` makes with that attention; a family without "sdpa" gets what transformers gives it."""
    try:
        return make(*args, attn_implementation=attention, **common)
    except ValueError as error:
        if attention != "sdpa" or "does not support an attention implementation" not in str(error):
            raise
        return make(*args, **common)


def with_adapter(model: Any, path: str, trainable: bool) -> Any:
    """The model under the adapter that the folder `path` holds."""
    from peft import PeftModel

    with _load_errors(path), no_deprecations():
        return PeftModel.from_pretrained(model, path, is_trainable=trainable)


@contextmanager
def no_deprecations() -> Iterator[None]:
    """Hushes transformers' new name for gradient checkpointing, which PEFT does not know and older releases lack."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
        yield


@contextmanager
def _load_errors(path: str) -> Iterator[None]:
    """What transformers, PEFT and safetensors raise on files they cannot use, as one line."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    expected = (
        *(OSError, ValueError, LookupError, ImportError, RuntimeError, TypeError, AttributeError),
        *(SafetensorError, StrictDataclassError),
    )
    try:
        yield
    except expected as error:
        local = os.path.exists(path)
        what = f"model folder {path!r} does not load" if local else f"{_no_folder(path)}, and as a hub id"
        if "trust_remote_code" in str(error):
            raise Ssl4rlError(f"{what}: it brings code of its own; model.trust_remote_code=true runs it") from error
        raise Ssl4rlError(f"{what}: {one_line(error)}") from error


def _no_folder(path: str) -> str:
    """That there is no such folder, with the nearest that there is."""
    near = nearest(Path(path).name, [at.name for at in Path(path).parent.glob("*/")]) if "/" in path else ""
    said = near.removeprefix("; ").removesuffix("?") if "did you mean" in near else ""
    return f"model {path!r} is no folder here{f' ({said}?)' if said else ''}"


def vision_modules(model: Any) -> Iterable[tuple[str, Any]]:
    """The vision tower of a model, by the names transformers' families use; the connector only where it is inside."""
    names = ("visual", "vision_model", "vision_tower")
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in names and not any(part in names for part in name.split(".")[:-1]):
            yield name, module


def prepare(model: Any, lora: Lora | None, freeze_vision: bool, gradient_checkpointing: bool) -> Any:
    """Adds the adapter if there is to be one, and says what is trained. Batch norms keep their averages (`norms`).

    Raises:
        Ssl4rlError: the adapter's targets are not in the model, or it has no gradient checkpointing.
    """
    keep_averages(model)
    if lora is not None:
        model = _add_lora(model, lora, freeze_vision)
    elif freeze_vision:
        for _, tower in vision_modules(model):
            tower.requires_grad_(False)
    if gradient_checkpointing:
        try:
            with no_deprecations():
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise Ssl4rlError(f"model.gradient_checkpointing: {one_line(error)}") from error
        if is_adapter(model):
            model.enable_input_require_grads()
    return model


def _add_lora(model: Any, lora: Lora, freeze_vision: bool) -> Any:
    from peft import LoraConfig, get_peft_model

    towers = [re.escape(name) for name, _ in vision_modules(model)] if freeze_vision else []
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target if isinstance(lora.target, str) else list(lora.target),
        exclude_modules="|".join(rf"(.*\.)?{name}\..*" for name in towers) or None,
        task_type="CAUSAL_LM",
    )
    try:
        with torch.random.fork_rng(devices=[]), no_deprecations():
            torch.manual_seed(lora.seed)
            model = get_peft_model(model, config)
    except ValueError as error:
        raise Ssl4rlError(f"model.lora.target={lora.target!r}: {one_line(error)}") from error
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model
