"""Small text models made from a config on the spot, and a pretrained one that a package brings.

`embedded:tiny_llama` is a stock Llama of 0.59 M parameters at random weights, with a byte-level BPE tokenizer trained
on the embedded graph of Debian packages (scripts/make_text_tokenizer.py) and a chat template of a few tokens;
`embedded:tiny_structure` (0.39 M, two thirds of them the vocabulary) is for questions about structure. Saved, they load
with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKENIZER = Path(__file__).parent / "debian" / "tokenizer.json"


@dataclass(frozen=True)
class TextShape:
    """A small model's size. `init_std`: at the usual 0.02 models this narrow start to learn late, see docs/log.md.

    `tied`: one table for reading tokens and for writing them. The format warm-up makes the written ones long, and where
    they are read too, a narrow model takes longer to look past them.
    """

    width: int
    layers: int
    init_std: float
    tied: bool


SHAPES = {
    "tiny_llama": TextShape(width=128, layers=2, init_std=0.05, tied=True),
    "tiny_structure": TextShape(width=64, layers=3, init_std=0.12, tied=False),
}

_CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer() -> Any:
    """The tokenizer of both shapes: 2,048 tokens. Answer tags and what nodes are called are one token each."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZER),
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def build(kind: str, seed: int) -> tuple[Any, Any]:
    """A model of the shape `SHAPES[kind]` at random weights, float32, and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, text = SHAPES[kind], tokenizer()
    config = LlamaConfig(
        vocab_size=len(text),
        hidden_size=shape.width,
        intermediate_size=2 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        initializer_range=shape.init_std,
        pad_token_id=text.pad_token_id,
        bos_token_id=None,
        eos_token_id=text.eos_token_id,
        tie_word_embeddings=shape.tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return model, text
