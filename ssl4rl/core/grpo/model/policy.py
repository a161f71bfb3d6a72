"""The model that is trained, with all that turns examples into its tensors and its tokens into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from ssl4rl.core import registry
from ssl4rl.core.grpo.model.adapters import adapter_config, check_adapter, check_targets
from ssl4rl.core.grpo.model.pretrained import (
    Lora,
    device_named,
    is_adapter,
    load_model,
    prepare,
    takes_pictures,
    with_adapter,
)
from ssl4rl.core.grpo.model.processors import (
    check_options,
    has_processor,
    load_processor,
    media_arguments,
    original_files,
    save_processor,
)
from ssl4rl.core.grpo.model.templates import check_template, written
from ssl4rl.core.grpo.model.tokens import eos_ids, placeholder_ids
from ssl4rl.core.prompt import left_to_write, messages, opening
from ssl4rl.core.types import Example, Ssl4rlError, shortened

# a processor may fail anywhere on what it does not expect
_REFUSALS = (
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    ImportError,
    OSError,
    StrictDataclassError,
)


@dataclass(frozen=True)
class Asked:
    """A prompt with media before the processor, for an engine that has its own.

    `text`: as the chat template wrote it, placeholders not expanded. `talk`: the messages, in which each medium is a
    part without data. `media`: (kind, data) in order.
    """

    text: str
    talk: list[dict[str, Any]]
    media: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Encoded:
    """One prompt as tensors, without batch padding.

    `prompt_ids`: long [L]. `media`: the processor's other tensors for this prompt alone, as it returned them. `asked`:
    what they were made of; None for text alone.
    """

    prompt_ids: Tensor
    media: Mapping[str, Tensor] = field(default_factory=dict)
    asked: Asked | None = None


@dataclass(frozen=True)
class Encoder:
    """Examples to prompt tensors. Holds no weights, so data workers can have one.

    `text_only`: the "processor" is a tokenizer. `system`: a system message for every prompt. `options`: what the
    processor is called with, for instance `{"do_image_splitting": False}`.
    """

    processor: Any
    text_only: bool
    system: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Any:
        return self.processor if self.text_only else self.processor.tokenizer

    @property
    def _template_owner(self) -> Any:
        """Whose chat template counts: the processor's, else the tokenizer's; None without any."""
        return next((o for o in (self.processor, self.tokenizer) if getattr(o, "chat_template", None)), None)

    def render(self, example: Example, ask: str) -> str:
        """The prompt as the chat template writes it, placeholders not yet expanded; plain text without a template.

        Raises:
            Ssl4rlError: a medium that the model has no placeholder for, or a template that refuses the prompt.
        """
        talk = messages(example, ask, self.system)
        owner = self._template_owner
        if self.text_only or owner is None:
            for message in talk:
                parts = [part["text"] if "text" in part else self._placeholder(part) for part in message["content"]]
                message["content"] = "".join(parts)
        if owner is None:
            return "\n".join(message["content"] for message in talk) + "\n"
        return written(owner, talk)

    @cached_property
    def opening(self) -> str:
        """What the template writes of every reply, see `core.prompt.opening`."""
        return opening(self.render(Example(("Question",), None), ""))

    def _placeholder(self, part: Mapping[str, Any]) -> str:
        token = getattr(self.processor, f"{part['type']}_token", None)
        if not token:
            raise Ssl4rlError(
                f"the model has neither a chat template nor a placeholder for parts of kind {part['type']!r}"
            )
        return str(token)

    def encode(self, example: Example, ask: str) -> Encoded:
        """The prompt's tensors.

        Raises:
            Ssl4rlError: the example shows a medium that the model does not take, or one that its processor refuses.
        """
        if self.text_only and example.media:
            kinds = sorted({medium.kind for medium in example.media})
            raise Ssl4rlError(f"the model reads text only, but {example.key} shows {', '.join(kinds)}")
        text = self.render(example, ask)
        media = media_arguments(self.processor, example, text)
        options = self.options if example.media else {}
        special = self._adds_special_tokens(text)
        try:
            tensors = dict(
                self.processor(text=[text], **media, **options, return_tensors="pt", add_special_tokens=special)
            )
        except _REFUSALS as error:
            raise Ssl4rlError(f"{self._asked(example)}: {shortened(' '.join(str(error).split()), 240)}") from error
        ids = tensors.pop("input_ids")[0]
        for unused in ("attention_mask", "labels"):
            tensors.pop(unused, None)
        if not example.media:
            return Encoded(ids)
        pictures = [(medium.kind, medium.data) for medium in example.media]
        return Encoded(ids, tensors, Asked(text, messages(example, ask, self.system), pictures))

    def _asked(self, example: Example) -> str:
        """What a processor refused, as an error says it."""
        sizes = [f"{m.data.width}x{m.data.height}" for m in example.media if hasattr(m.data, "width")]
        shown = f" with pictures of {', '.join(dict.fromkeys(sizes))} px" if sizes else ""
        options = f"with model.processor={dict(self.options)} " if self.options and example.media else ""
        return f"{options}the model's processor refuses {example.key or 'a prompt'}{shown}"

    def _adds_special_tokens(self, text: str) -> bool:
        """As `apply_chat_template(tokenize=True)` of transformers decides it.

        A tokenizer's template writes all that is needed; a processor's may leave the BOS to the tokenizer (LLaVA).
        """
        if self._template_owner is None:
            return True
        bos = self.tokenizer.bos_token
        return not self.text_only and not (bos and text.startswith(bos))


class Policy:
    """A model and its encoder on a device.

    Args:
        model: the transformers (or PEFT) model, in the precision it is to be trained in.
        encoder: its prompts.
        name: what to call it in reports.
        origin: the folder or hub id it was loaded from; None for an embedded model.
        device: where it runs; moved there.
        on_host: leave it where it is, for someone else to move.
    """

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        name: str,
        origin: str | None,
        device: torch.device,
        on_host: bool = False,
    ) -> None:
        self.model = model if on_host else model.to(device)
        self.encoder, self.name, self.origin, self.device = encoder, name, origin, device
        self.half = device.type == "cuda"  # arithmetic in bfloat16
        self.masters: dict[int, Tensor] | None = None  # of bfloat16 weights, where ranks divide them
        self._originals = original_files(origin)  # now: a checkpoint that is resumed may be gone when the next is saved
        self.eos_ids = eos_ids(model, encoder.tokenizer)
        self.banned_ids = sorted(
            placeholder_ids(model.config, encoder.processor, encoder.tokenizer) - set(self.eos_ids)
        )

    @property
    def pad_id(self) -> int:
        pad = self.encoder.tokenizer.pad_token_id
        return int(pad if pad is not None else self.eos_ids[0])

    def decode(self, ids: Tensor) -> str:
        """The whole reply: what the template opened, then the text of completion tokens.

        Special tokens are left out (answer tags stay even where they are special).
        """
        silent = {*self.eos_ids, self.pad_id}
        kept = [i for i in ids.tolist() if i not in silent]
        text: str = self.encoder.tokenizer.decode(kept, skip_special_tokens=False)
        return self.encoder.opening + text

    def tokens(self, text: str) -> Tensor:
        """long [C]: the tokens of a whole reply that the template has not written, with the end of turn."""
        text = left_to_write(text, self.encoder.opening)
        ids = self.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor([*ids, self.eos_ids[0]], dtype=torch.long)

    def save(self, folder: Path) -> None:
        """Writes weights (or the adapter) and processor so that `from_pretrained(folder)` loads them."""
        # PEFT would ask the hub whether the vocabulary was resized; it never is
        self.model.save_pretrained(folder, **({"save_embedding_layers": False} if is_adapter(self.model) else {}))
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """Writes the processor alone."""
        save_processor(self.encoder.processor, self._originals, self.encoder.options, folder)


def autocast(policy: Policy) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic on a GPU, float32 on the CPU."""
    return torch.autocast(policy.device.type, dtype=torch.bfloat16) if policy.half else nullcontext()


@dataclass(frozen=True)
class Prepared:
    """What there is of a policy before its weights: enough to make prompts, and to refuse what cannot be trained.

    `path`: what was asked for. `adapter`: its config where that is an adapter's folder. `source`: where the weights
    lie, at `revision` of a hub. `origin`: where the processor comes from; None for an embedded model. `built`: a model
    that its package makes together with its processor.
    """

    path: str
    encoder: Encoder
    source: str
    origin: str | None
    adapter: Mapping[str, Any] | None = None
    revision: str | None = None
    built: Any = None
    trust: bool = False


def prepare_encoder(
    path: str,
    *,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    lora: Lora | None = None,
    code: str = "",
    trust: bool = False,
) -> Prepared:
    """Reads configs and the processor, and tries the chat template, before any weights are loaded.

    Args:
        path, lora: as `load_policy` takes them.
        system: a system message for every prompt.
        options: what the processor is called with on pictures.
        code: a Python file that registers classes with transformers' Auto classes, run first.
        trust: run the code that the model's own folder or repository brings (transformers' trust_remote_code).

    Raises:
        Ssl4rlError: nothing loads from there, an adapter is not what `lora` says, an option that the processor does not
            read, or a template that refuses a question.
    """
    if code:
        registry.load_file(code)
    adapter = adapter_config(path)
    if adapter is not None and lora is not None:
        check_adapter(path, adapter, lora)
    source = path if adapter is None else str(adapter["base_model_name_or_path"])
    revision = adapter.get("revision") if adapter else None
    build = registry.model_builder(source)
    built, processor = build() if build is not None else (None, None)
    vision = hasattr(processor, "image_processor") if built is not None else takes_pictures(source, revision, trust)
    origin = path if adapter is not None and has_processor(path, vision) else source
    if processor is None or origin != source:
        processor = load_processor(origin, vision=vision, revision=revision if origin == source else None, trust=trust)
    try:
        check_options(processor, options or {})
        encoder = Encoder(processor, text_only=not vision, system=system, options=dict(options or {}))
        check_template(encoder)
    except Ssl4rlError as error:
        raise Ssl4rlError(f"{path}: {error}") from error
    published = None if registry.model_builder(origin) else origin
    return Prepared(path, encoder, source, published, adapter, revision, built, trust)


def load_policy(
    path: str,
    *,
    name: str | None = None,
    lora: Lora | None = None,
    freeze_vision: bool = False,
    gradient_checkpointing: bool = False,
    attention: str | Mapping[str, str] = "sdpa",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str = "auto",
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    trainable: bool = True,
    code: str = "",
    trust: bool = False,
    prepared: Prepared | None = None,
    quantize: str | None = None,
    on_host: bool = False,
) -> Policy:
    """Loads a policy from `embedded:NAME`, a local folder or a hub id.

    A folder that holds a PEFT adapter loads its base model and the adapter, which then is what is trained; `lora` must
    say the same of it, or nothing. Weights that are trained are kept in float32 (a step at lr 1e-6 is lost in
    bfloat16's 8 bits); those of a base model under an adapter are bfloat16 on a GPU.

    Args:
        attention: of transformers, for the whole model or by part ("vision", "text"); a family without "sdpa" gets what
            transformers gives it.
        quantize: "4bit" keeps the base model under an adapter so.
        on_host: leave the weights in the host's memory, in the precision that `device` asks for.
        options: what the processor is called with on pictures, for instance `{"do_image_splitting": False}`.
        code, trust: as `prepare_encoder` takes them.
        prepared: what `prepare_encoder` made of the same arguments already.

    Raises:
        Ssl4rlError: nothing loads from there, in one line with the reason; or what `prepare_encoder` refuses.
    """
    where = device_named(device)
    ready = prepared or prepare_encoder(path, system=system, options=options, lora=lora, code=code, trust=trust)
    full = trainable and lora is None and ready.adapter is None
    if dtype == "auto":
        weights = torch.float32 if full or where.type == "cpu" else torch.bfloat16
    else:
        weights = getattr(torch, dtype)
    if ready.built is not None:
        if quantize:
            raise Ssl4rlError(
                f"model.quantize={quantize!r}: {path} is made in memory; a folder or a hub id can be quantized"
            )
        model = ready.built.to(weights)
    else:
        vision = not ready.encoder.text_only
        model = load_model(
            ready.source, weights, attention, vision, ready.revision, trust=ready.trust, quantize=quantize
        )
    if ready.adapter is not None:
        model = with_adapter(model, path, trainable)
        if lora is not None:
            check_targets(path, model, lora, freeze_vision)
    if trainable:
        model = prepare(model, lora if ready.adapter is None else None, freeze_vision, gradient_checkpointing)
    return Policy(model, ready.encoder, name or path, ready.origin, where, on_host)
