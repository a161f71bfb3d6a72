"""Tokenizers for the tiny models: byte-level BPE trained on a few sentences, special tokens, a chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "By how many degrees was the picture turned? Answer 0, 90, 180 or 270.",
    "Which of the four parts is missing? Reply with A, B, C or D.",
    "<think>The sky is at the left, so it was turned.</think><answer>90</answer>",
    "The neighbours of node n3 are n1, n4 and n7. Is the edge (n1, n7) missing?",
    "You are a helpful assistant. Put the parts in order, for example 3, 1, 2, 4.",
)

TEMPLATE = (
    "@BOS@{% for m in messages %}{{ '@OPEN@' + m['role'] + '@MIDDLE@' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}{{ '@IMAGE@' }}{% elif part['type'] == 'video' %}{{ '@VIDEO@' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '@CLOSE@' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '@OPEN@assistant@MIDDLE@' }}{% endif %}"
)


@dataclass(frozen=True)
class Style:
    """How a family writes a chat: a turn is ``opening role middle ... close``; what a picture and a clip are."""

    opening: str
    middle: str
    close: str
    eos: str
    bos: str | None = None
    pad: str = "<pad>"
    image: str = ""
    video: str = ""
    named: Mapping[str, str] = field(default_factory=dict)  # tokens the processor asks the tokenizer for by attribute
    extra: tuple[str, ...] = ()

    def template(self) -> str:
        parts = {
            "BOS": self.bos or "",
            "OPEN": self.opening,
            "MIDDLE": self.middle,
            "IMAGE": self.image,
            "VIDEO": self.video,
            "CLOSE": self.close,
        }
        template = TEMPLATE
        for name, text in parts.items():
            template = template.replace(f"@{name}@", text.replace("\n", "\\n"))
        return template


CHATML = Style("<|im_start|>", "\n", "<|im_end|>\n", eos="<|im_end|>", pad="<|endoftext|>", extra=("<|im_start|>",))
QWEN_VL = Style(
    "<|im_start|>",
    "\n",
    "<|im_end|>\n",
    eos="<|im_end|>",
    pad="<|endoftext|>",
    image="<|vision_start|><|image_pad|><|vision_end|>",
    video="<|vision_start|><|video_pad|><|vision_end|>",
    named={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    extra=("<|im_start|>", "<|vision_start|>", "<|vision_end|>"),
)
INTERN_VL = Style(
    "<|im_start|>",
    "\n",
    "<|im_end|>\n",
    eos="<|im_end|>",
    pad="<|endoftext|>",
    image="<IMG_CONTEXT>\n",
    named={
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    extra=("<|im_start|>",),
)
LLAMA = Style(
    "<|start_header_id|>",
    "<|end_header_id|>\n\n",
    "<|eot_id|>",
    bos="<|begin_of_text|>",
    eos="<|eot_id|>",
    extra=("<|start_header_id|>", "<|end_header_id|>"),
)
IDEFICS = Style(
    "",
    ":",
    "<end_of_utterance>\n",
    bos="<|im_start|>",
    eos="<end_of_utterance>",
    image="<image>",
    named={
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    },
    extra=tuple(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
)
LLAVA = Style("", ": ", "\n", bos="<s>", eos="</s>", image="<image>\n", named={"image_token": "<image>"})
GEMMA = Style(
    "<start_of_turn>",
    "\n",
    "<end_of_turn>\n",
    bos="<bos>",
    eos="<end_of_turn>",
    image="<start_of_image>",
    named={"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
    extra=("<start_of_turn>",),
)
PALI_GEMMA = Style("", ": ", "\n", bos="<bos>", eos="<eos>", image="<image>", named={"image_token": "<image>"})
PLAIN = Style("", ": ", "\n", bos="<s>", eos="</s>")


def make_tokenizer(style: Style) -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 tokens: every string round-trips, and no file is read."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, initial_alphabet=alphabet, special_tokens=[style.pad], show_progress=False
    )
    bpe.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=style.pad,
        eos_token=style.eos,
        bos_token=style.bos,
        extra_special_tokens=dict(style.named),
        padding_side="left",
    )
    tokenizer.add_tokens(list(style.extra), special_tokens=True)
    tokenizer.chat_template = style.template()
    return tokenizer
