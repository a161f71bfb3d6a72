"""The model that is trained, with all that turns examples into its tensors and its tokens into text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ssl4rl.core.grpo.processors import load_processor, save_processor
from ssl4rl.core.prompt import messages
from ssl4rl.core.types import Example, Ssl4rlError

EMBEDDED = "embedded:"
_PROCESSOR_ARGUMENT = {"image": "images", "audio": "audio", "video": "videos"}
_PLACEHOLDER_FIELDS = (
    *("image_token", "video_token", "audio_token", "vision_start_token", "vision_end_token"),
    *("boi_token", "eoi_token", "fake_image_token", "global_image_tag", "global_image_token"),
)


@dataclass(frozen=True)
class Encoded:
    """One prompt as tensors, without batch padding.

    `prompt_ids`: long [L]. `media`: the processor's other tensors for this prompt alone, as it returned them.
    """

    prompt_ids: Tensor
    media: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """Examples to prompt tensors. Holds no weights, so data workers can have one.

    `text_only`: the "processor" is a tokenizer. `system`: a system message for every prompt.
    """

    processor: Any
    text_only: bool
    system: str | None = None

    @property
    def tokenizer(self) -> Any:
        return self.processor if self.text_only else self.processor.tokenizer

    def render(self, example: Example, ask: str) -> str:
        """The prompt as the chat template writes it, placeholders not yet expanded."""
        talk = messages(example, ask, self.system)
        if self.text_only:
            for message in talk:
                message["content"] = "".join(part["text"] for part in message["content"])
        owner = self.processor if getattr(self.processor, "chat_template", None) else self.tokenizer
        if not getattr(owner, "chat_template", None):
            contents = [m["content"] for m in talk]
            return (
                "\n".join(c if isinstance(c, str) else "".join(p.get("text", "") for p in c) for c in contents) + "\n"
            )
        text: str = owner.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        return text

    def encode(self, example: Example, ask: str) -> Encoded:
        """The prompt's tensors.

        Raises:
            Ssl4rlError: the example shows a medium that the model does not take.
        """
        if self.text_only and example.media:
            kinds = sorted({medium.kind for medium in example.media})
            raise Ssl4rlError(f"the model reads text only, but {example.key} shows {', '.join(kinds)}")
        text = self.render(example, ask)
        media: dict[str, list[Any]] = {}
        for medium in example.media:
            media.setdefault(_PROCESSOR_ARGUMENT.get(medium.kind, medium.kind), []).append(medium.data)
        nested = {name: [items] for name, items in media.items()}
        special = not getattr(self.tokenizer, "chat_template", None) and not getattr(
            self.processor, "chat_template", None
        )
        tensors = dict(self.processor(text=[text], **nested, return_tensors="pt", add_special_tokens=special))
        ids = tensors.pop("input_ids")[0]
        for unused in ("attention_mask", "labels"):
            tensors.pop(unused, None)
        return Encoded(ids, tensors if example.media else {})


class Policy:
    """A model and its encoder on a device.

    Args:
        model: the transformers (or PEFT) model, in the precision it is to be trained in.
        encoder: its prompts.
        name: what to call it in reports.
        origin: the folder or hub id it was loaded from; None for an embedded model.
        device: where it runs; moved there.
    """

    def __init__(self, model: Any, encoder: Encoder, name: str, origin: str | None, device: torch.device) -> None:
        self.model = model.to(device)
        self.encoder, self.name, self.origin, self.device = encoder, name, origin, device
        self.eos_ids = _eos_ids(model, encoder.tokenizer)
        self.banned_ids = sorted(placeholder_ids(model.config, encoder) - set(self.eos_ids))

    @property
    def pad_id(self) -> int:
        pad = self.encoder.tokenizer.pad_token_id
        return int(pad if pad is not None else self.eos_ids[0])

    def decode(self, ids: Tensor) -> str:
        """The text of completion tokens, special tokens left out (answer tags stay even where they are special)."""
        kept = [i for i in ids.tolist() if i not in self.eos_ids and i != self.pad_id]
        text: str = self.encoder.tokenizer.decode(kept, skip_special_tokens=False)
        return text

    def tokens(self, text: str) -> Tensor:
        """long [C]: the tokens of a completion, with the end of turn."""
        ids = self.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor([*ids, self.eos_ids[0]], dtype=torch.long)

    def save(self, folder: Path) -> None:
        """Writes weights (or the adapter) and processor so that `from_pretrained(folder)` loads them."""
        self.model.save_pretrained(folder)
        save_processor(self.encoder.processor, self.origin, folder)


def _eos_ids(model: Any, tokenizer: Any) -> list[int]:
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [named] if isinstance(named, int) else list(named or ())
    own = tokenizer.eos_token_id
    ordered = [own, *ids] if own is not None else ids
    if not ordered:
        raise Ssl4rlError("neither the tokenizer nor the generation config names an end-of-turn token")
    return list(dict.fromkeys(int(i) for i in ordered))


def placeholder_ids(config: Any, encoder: Encoder) -> set[int]:
    """Tokens that stand for a medium: sampled by the policy they would crash the next forward pass, so they are banned.

    Read off the config's `*_token_id` / `*_token_index` fields and the processor's placeholder tokens; padding too.
    """
    found: set[int] = set()
    for owner in (config, getattr(config, "text_config", None)):
        for name, value in vars(owner).items() if owner is not None else ():
            media = any(word in name for word in ("image", "video", "audio", "vision", "boi", "eoi"))
            if media and name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
                found.add(value)
    tokenizer = encoder.tokenizer
    unknown = tokenizer.unk_token_id
    for name in _PLACEHOLDER_FIELDS:
        token = getattr(encoder.processor, name, None)
        text = getattr(token, "content", token)
        if isinstance(text, str) and (found_id := tokenizer.convert_tokens_to_ids(text)) not in (None, unknown):
            found.add(found_id)
    if tokenizer.pad_token_id is not None:
        found.add(tokenizer.pad_token_id)
    return found


@dataclass(frozen=True)
class Lora:
    """LoRA settings, PEFT's words."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: str | Sequence[str] = "all-linear"


def load_policy(
    path: str,
    *,
    name: str | None = None,
    lora: Lora | None = None,
    freeze_vision: bool = False,
    gradient_checkpointing: bool = False,
    attention: str = "sdpa",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str = "auto",
    system: str | None = None,
    trainable: bool = True,
) -> Policy:
    """Loads a policy from `embedded:NAME`, a local folder or a hub id.

    A folder that holds a PEFT adapter loads its base model and the adapter, which then is what is trained. Weights that
    are trained are kept in float32 (a step at lr 1e-6 is lost in bfloat16's 8 bits); frozen ones are bfloat16 on a GPU.

    Raises:
        Ssl4rlError: nothing loads from there, in one line with the reason.
    """
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    full = trainable and lora is None
    if dtype == "auto":
        weights = torch.float32 if full or where.type == "cpu" else torch.bfloat16
    else:
        weights = getattr(torch, dtype)
    if path.startswith(EMBEDDED):
        from ssl4rl.embedded.models import build

        model, processor = build(path.removeprefix(EMBEDDED))
        model, vision, origin = model.to(weights), True, None
    else:
        model, vision = _from_pretrained(path, weights, attention, trainable=trainable and lora is None)
        processor, origin = load_processor(path, vision=vision), path
    if trainable:
        model = _prepare(model, None if hasattr(model, "peft_config") else lora, freeze_vision, gradient_checkpointing)
    return Policy(model, Encoder(processor, text_only=not vision, system=system), name or path, origin, where)


def _from_pretrained(path: str, weights: torch.dtype, attention: str, trainable: bool) -> tuple[Any, bool]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        adapter = (Path(path) / "adapter_config.json").is_file()
        if adapter:
            from peft import PeftConfig, PeftModel

            base = PeftConfig.from_pretrained(path).base_model_name_or_path
            if base.startswith(EMBEDDED):
                from ssl4rl.embedded.models import build

                model, vision = build(base.removeprefix(EMBEDDED))[0].to(weights), True
            else:
                model, vision = _from_pretrained(base, weights, attention, trainable)
            return PeftModel.from_pretrained(model, path, is_trainable=trainable), vision
        config = AutoConfig.from_pretrained(path)
        vision = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        auto = AutoModelForImageTextToText if vision else AutoModelForCausalLM
        return auto.from_pretrained(path, dtype=weights, attn_implementation=attention), vision
    except (OSError, ValueError, KeyError, ImportError) as error:
        line = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
        kind = "model folder" if Path(path).exists() else "model path or hub id"
        raise Ssl4rlError(f"{kind} {path!r} does not load: {line}") from error


def vision_modules(model: Any) -> Iterable[tuple[str, Any]]:
    """The vision tower (not the connector) of a model, by the names transformers' families use."""
    names = ("visual", "vision_model", "vision_tower")
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in names and not any(part in names for part in name.split(".")[:-1]):
            yield name, module


def _prepare(model: Any, lora: Lora | None, freeze_vision: bool, gradient_checkpointing: bool) -> Any:
    if lora is not None:
        from peft import LoraConfig, get_peft_model

        towers = [name for name, _ in vision_modules(model)] if freeze_vision else []
        target = lora.target if isinstance(lora.target, str) else list(lora.target)
        exclude = "|".join(rf".*{name}\..*" for name in towers) or None
        config = LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=target,
            exclude_modules=exclude,
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    elif freeze_vision:
        for _, tower in vision_modules(model):
            tower.requires_grad_(False)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if lora is not None:
            model.enable_input_require_grads()
    return model
