"""Small models made from a config on the spot: nothing is downloaded, nothing is pretrained.

`embedded:tiny_vlm` is a stock Idefics3 vision-language model of about half a million parameters with a byte-level BPE
tokenizer trained here on the words of the tasks' prompts, and a chat template. Saved, it loads with
`AutoModelForImageTextToText.from_pretrained` and `AutoProcessor.from_pretrained` like any other. Models for text alone
are in `text_models.py` and `smollm2.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.verify import Choice, Several
from ssl4rl.embedded import text_models
from ssl4rl.embedded.smollm2 import load_smollm2


@dataclass(frozen=True)
class Shape:
    """A small model's size. `merge` x `merge` patches become one image token.

    `questions`: the words round so many questions in one prompt are tokens of their own. `all_tasks`: so are the
    sentences of the easy levels of every task of pictures and clips, not of the first five alone. `heads` of attention;
    width / heads is 32 in those that vLLM samples on a CPU too.
    """

    image_px: int
    patch_px: int
    merge: int
    width: int
    vision_layers: int
    text_layers: int
    questions: int = 1
    all_tasks: bool = False
    heads: int = 4

    @property
    def image_tokens(self) -> int:
        return (self.image_px // self.patch_px // self.merge) ** 2


SHAPES = {
    "tiny_vlm": Shape(image_px=32, patch_px=8, merge=2, width=96, vision_layers=3, text_layers=2),
    "tiny_vlm_several": Shape(image_px=32, patch_px=8, merge=2, width=96, vision_layers=3, text_layers=2, questions=8),
    "tiny_vlm_all": Shape(
        image_px=32, patch_px=8, merge=2, width=96, vision_layers=3, text_layers=2, all_tasks=True, heads=3
    ),
    "tiny_vlm_3x3": Shape(image_px=48, patch_px=8, merge=2, width=96, vision_layers=3, text_layers=2),
    "small_vlm": Shape(image_px=64, patch_px=8, merge=2, width=128, vision_layers=4, text_layers=2),
}

SMOLLM2 = "smollm2"
NAMES = (*SHAPES, *text_models.SHAPES, SMOLLM2)
"""What may follow "embedded:"."""

_SPECIAL = ["<pad>", "<unk>", "<bos>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>"]
_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_VOCABULARY = 2048
_INIT_STD = 0.05  # at the usual 0.02 a model this narrow starts to learn late: docs/log.md
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_SENTENCES = """
This picture was turned. By how many degrees counter-clockwise (0: not turned)?
The second picture is the first one, turned. By how many degrees counter-clockwise was it turned (0: not turned)?
List the tile numbers in the order of the original picture, row by row from the top left: first the number of the tile\
 that belongs in the top left place, and so on.
List the tile numbers in the order of the original picture, from top to bottom: first the number of the tile that\
 belongs in the topmost place, and so on.
List the tile numbers in the order of the original picture, from left to right: first the number of the tile that\
 belongs in the leftmost place, and so on.
The piece was cut out of the picture, then changed a little in colour and size.
In which quarter of the picture does it lie?
The grey cell of the picture is hidden.
The grey cells of the picture are hidden.
Which patch belongs in the cell with the red frame?
Both are crops of pictures and may be mirrored, recoloured or blurred.
Do they come from the same picture or from different pictures?
Answer in degrees: 0 or 180.
Answer in degrees: 0, 90, 180 or 270.
Answer in degrees: 0, 45, 90, 135, 180, 225, 270 or 315.
Answer in degrees: a multiple of 15 from 0 to 345.
Answer with one letter: A, B, C or D.
Answer with one of these: top left, top right, bottom left or bottom right.
Answer with one of these: same or different.
Reply with nothing but the answer inside <answer> </answer>.
First reason inside <think> </think>, then give the answer inside <answer> </answer>.
"""
_LATER_SENTENCES = """
All are crops of pictures and may be mirrored, recoloured or blurred.
Which view comes from the same picture as the first one?
The second picture is a copy of the first.
Was it mirrored (its left and right sides exchanged)?
The picture was cut into 2 x 2 patches, and one patch was turned upside down (by 180 degrees).
The second picture shows the first of 2 x 2 patches, and one of them was replaced by something from elsewhere.
Which patch?
The second picture is another view of the first one's place.
The white ring of the first picture marks a point.
Which ring of the second picture marks the same point?
Rings mark points of the picture.
Which ring's point is nearest to the camera?
In which order were these frames filmed?
Are these frames shown forwards or backwards?
Which of these frames is from another clip?
Which of these was filmed next?
Answer with one of these: red or green.
Answer with one of these: yes or no.
Answer with one of these: forwards or backwards.
Answer with one letter: A or B.
Answer with a whole number from 1 to 4.
Answer with the numbers 1 to 3, each once, separated by commas, for example 3,2,1.
"""
_LATER_LABELS = [
    "First picture:",
    "Second picture:",
    "View A:",
    "View B:",
    "Frame 1:",
    "Frame 2:",
    "Frame 3:",
    "Frame 4:",
]
_LATER_ANSWERS = ["red", "green", "yes", "no", "forwards", "backwards"]
_GRIDS = {(2, 1): "from top to bottom", (1, 2): "from left to right"} | {
    (n, n): "row by row from the top left" for n in (2, 3, 4)
}


def _sentences() -> list[str]:
    """The sentences of the tasks' prompts, each one token: a small model finds a picture among few tokens sooner."""
    found = _SENTENCES.strip().split("\n")
    for (rows, cols), reading in _GRIDS.items():
        tiles = f"{rows} x {cols} tiles (rows x columns)"
        count = rows * cols
        order = ",".join(str(tile) for tile in range(count, 0, -1))
        found += [
            f"These are the {tiles} of one picture, shuffled.",
            f"A picture was cut into {tiles} and the tiles were shuffled.",
            f"The tiles as shown here are numbered 1 to {count}, {reading}.",
            f"Answer with the numbers 1 to {count}, each once, separated by commas, for example {order}.",
        ]
    return found


_PHRASES = """User:|System:|Assistant:|Tile |: |
Tile |First picture: |
Second picture: |
This picture was turned.| By how many degrees counter-clockwise (|: not turned)?|
The second picture is the first one, turned.| By how many degrees counter-clockwise was it turned (|
These are the | x | tiles (rows x columns) of one picture, shuffled.
A picture was cut into | tiles (rows x columns) and the tiles were shuffled.
 The tiles as shown here are numbered |, row by row from the top left.
 List the tile numbers in the order of the original picture, row by row from the top left:
 first the number of the tile that belongs in the top left place, and so on.
 List the tile numbers in the order of the original picture, from top to bottom:
 first the number of the tile that belongs in the topmost place, and so on.
 List the tile numbers in the order of the original picture, from left to right:
 first the number of the tile that belongs in the leftmost place, and so on.
First: |
Second: |
Both are crops of pictures and may be mirrored, recoloured or blurred.
 Do they come from the same picture or from different pictures?
Picture: |
Piece: |
Patch A: |
Patch B: |
Patch C: |
Patch D: |
The piece was cut out of the picture, then changed a little in colour and size.
 In which quarter of the picture does it lie?
The grey cell of the picture is hidden.| Which patch belongs in the cell with the red frame?
|
Answer in degrees:| or |, | a multiple of | from | to |
Answer with one letter:| A, B, C or D.| A, B, C, D, E, F, G or H.|
Answer with one of these:| top left, top right, bottom left or bottom right.| same or different.|
Answer with a whole number from |
Answer with the numbers | to |, each once, separated by commas, for example |\
 each once, separated by commas, for example |
Answer with four whole numbers x|,y|:| the left, top, right and bottom edge in per cent of the picture, from |
 Reply with nothing but the answer inside | First reason inside |, then give the answer inside |.|,| |
User:|
Assistant:|A|B|C|D|E|F|G|H|same|different|top left|top right|bottom left|bottom right"""


def _corpus() -> list[str]:
    """The clauses of the tasks' prompts, their words (for prompts worded otherwise) and the numbers answers use."""
    phrases = [part for line in _PHRASES.split("|") for part in (line, *line.split("\n")) if part]
    words = [form for phrase in phrases for word in phrase.split() for form in (word, f" {word}")]
    numbers = [f"{n}{comma}" for n in [*range(100), *range(105, 360, 15)] for comma in ("", ",")]
    return [*(phrases * 3), *words, *(numbers * 3)]


def tokenizer(questions: int = 1, all_tasks: bool = False) -> Any:
    """A byte-level BPE tokenizer of at most 2,048 tokens, the same on every machine.

    The sentences of the tasks' own prompts are one token each, and so are the answer tags; what else they say is merged
    within clauses rather than words. Any other text is spelt in smaller pieces. For the arguments see `Shape`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    clause = Regex(r"[^.?!:\n]+[.?!:\n]*")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # a number takes its comma along: "3,1,2,4" is four tokens, "90" and "90," two different ones
            pre_tokenizers.Split(Regex(r"\d+,?"), behavior="isolated"),
            pre_tokenizers.Split(clause, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY - len(_TAGS),
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<end_of_utterance>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    fast.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in _TAGS])
    fast.add_tokens([AddedToken(text, lstrip=True, normalized=False, special=False) for text in _sentences()])
    if questions > 1:
        round_them = [f"Question {k}:" for k in range(1, questions + 1)]
        round_them += [Several(Choice("AB"), k).instruction.partition(". ")[2] for k in range(2, questions + 1)]
        fast.add_tokens([AddedToken(t, lstrip=True, rstrip=True, normalized=False, special=False) for t in round_them])
    if all_tasks:
        sentences = _LATER_SENTENCES.strip().split("\n")
        fast.add_tokens([AddedToken(text, lstrip=True, normalized=False, special=False) for text in sentences])
        labels = [AddedToken(t, lstrip=True, rstrip=True, normalized=False, special=False) for t in _LATER_LABELS]
        words = [AddedToken(t, single_word=True, normalized=False, special=False) for t in _LATER_ANSWERS]
        fast.add_tokens(labels + words)
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def processor(shape: Shape) -> Any:
    """An Idefics3 processor that keeps each picture whole: one picture, `shape.image_tokens` tokens."""
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    edge = {"longest_edge": shape.image_px}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size=edge, max_image_size=edge)
    text = tokenizer(shape.questions, shape.all_tasks)
    return Idefics3Processor(images, text, image_seq_len=shape.image_tokens, chat_template=_CHAT_TEMPLATE)


def build(name: str) -> tuple[Any, Any]:
    """An embedded model, and its processor or tokenizer.

    Args:
        name: one of `NAMES`, perhaps with the seed of its weights: "tiny_vlm#1" (without one: 0).

    Raises:
        Ssl4rlError: there is no such embedded model, or the package that brings it is not installed.
    """
    kind, _, seed = name.partition("#")
    if kind not in NAMES:
        raise Ssl4rlError(f"unknown embedded model {kind!r}{nearest(kind, NAMES)}")
    if seed and not seed.isdecimal():
        raise Ssl4rlError(f"embedded model {name!r}: the seed after '#' is {seed!r}; allowed: a whole number from 0")
    if kind == SMOLLM2:
        if seed:
            raise Ssl4rlError(f"embedded model {name!r}: it is pretrained, so nothing may follow its name")
        model, prepared = load_smollm2()
    elif kind in SHAPES:
        model, prepared = _vision_language(SHAPES[kind], int(seed or 0))
    else:
        model, prepared = text_models.build(kind, int(seed or 0))
    model.name_or_path = f"embedded:{name}"  # an adapter's config names its base by this
    text = getattr(prepared, "tokenizer", prepared)
    model.generation_config.eos_token_id = text.eos_token_id
    model.generation_config.pad_token_id = text.pad_token_id
    return model, prepared


def _vision_language(shape: Shape, seed: int) -> tuple[Any, Any]:
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    prepared = processor(shape)
    text = prepared.tokenizer
    sizes = {
        "hidden_size": shape.width,
        "intermediate_size": 2 * shape.width,
        "num_attention_heads": shape.heads,
        "initializer_range": _INIT_STD,
    }
    config = Idefics3Config(
        vision_config={
            **sizes,
            "num_hidden_layers": shape.vision_layers,
            "patch_size": shape.patch_px,
            "image_size": shape.image_px,
        },
        text_config={
            **sizes,
            "model_type": "llama",
            "num_hidden_layers": shape.text_layers,
            "num_key_value_heads": shape.heads,
            "vocab_size": len(text),
            "max_position_embeddings": 4096,
            "pad_token_id": text.pad_token_id,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": text.eos_token_id,
            "tie_word_embeddings": False,
        },
        scale_factor=shape.merge,
        image_token_id=text.convert_tokens_to_ids("<image>"),
        pad_token_id=text.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Idefics3ForConditionalGeneration(config), prepared
