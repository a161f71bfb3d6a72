"""Makes ssl4rl/embedded/debian/tokenizer.json: the tokenizer of the embedded text models.

    python scripts/make_text_tokenizer.py

Byte-level BPE of 2,048 tokens, trained on the descriptions and sections of the embedded Debian packages; the same
on every machine. Whatever the graph tasks name nodes by is one token wherever it stands alone: letters, numbers up to
99, given names, and pairs of the first twelve letters ("A-B", also with a space before), so that an undirected edge is
one token. So are the sentences that our prompts repeat; any other text is spelt in smaller pieces.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ssl4rl.graph.serialise.naming import GIVEN
from ssl4rl.graph.sources.debian import load

OUT = Path(__file__).parents[1] / "ssl4rl" / "embedded" / "debian" / "tokenizer.json"
VOCABULARY = 2048
SPECIAL = ["<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>"]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
NUMBERS = 100
PAIRED = ascii_uppercase[:12]
_REPLY = (
    "Reply with nothing but the answer inside <answer> </answer>.",
    "First reason inside <think> </think>, then give the answer inside <answer> </answer>.",
)
PHRASES = (
    *_REPLY,
    *("Answer with one letter: A, B, C or D.", "Answer with one letter: A, B or C.", "Answer with one letter: A or B."),
    *("Answer with one number: 1, 2, 3 or 4.", "Answer with one letter:", "Answer with one number:"),
    *("Answer with one of these:", "Answer with a whole number from", "Answer with the names of the nodes"),
    *("separated by commas.", "Node:", "Neighbours:", "Which section?", "Which text is the node's?"),
    *("Undirected graph. Nodes:", "Directed graph. Nodes:", "Edges:", "Friendships among", "Joint papers among"),
    *("Who follows whom among", "Who cites whom among", " is connected to ", " points to ", " are friends."),
    *(" wrote a paper together.", " follows ", " cites ", "One edge is hidden. Which?", "One edge was added. Which?"),
    *("How many edges is", " away from ", "Which node lies in most triangles?"),
)
# What stands between names: commas, colons, brackets. A run of signs at the end of a piece takes its space along.
GAPS = (
    ", ",
    ": ",
    "; ",
    ". ",
    ",\n",
    ".\n",
    ":\n",
    "\n",
    "\n\n",
    " (",
    ") ",
    "), (",
    "(",
    ")",
    "[",
    "]",
    "] ",
    " [",
    " -> ",
)
PIECE = r"[^\w\s]+ ?\z|\s*\n\s*| ?\p{L}+(?:-\p{L}+)*| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"


def corpus() -> list[str]:
    """Texts as prompts hold them: descriptions and sections after a space or in brackets, and what joins names."""
    graph = load()
    texts = [f" {graph.value('text', node)}" for node in range(graph.num_nodes)]
    sections = sorted({graph.value("section", node) for node in range(graph.num_nodes)})
    words = [f" {word}" for phrase in PHRASES for word in phrase.split()]
    masks = [" ___", "___"]
    return [*texts, *(sorted([*sections, *(f" {s}" for s in sections), *masks]) * 50), *(words * 5), *(GAPS * 50)]


def train() -> Tokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    pairs = [f"{u}-{v}" for u in PAIRED for v in PAIRED if u != v]
    whole = [*ascii_uppercase, *map(str, range(NUMBERS)), *GIVEN, *pairs]
    asks = [phrase for phrase in PHRASES if phrase.startswith(("Answer", "separated")) and phrase.endswith(".")]
    reply = [f"{ask} {reply}" for ask in asks for reply in _REPLY]
    alone = [AddedToken(name, single_word=True, normalized=False, special=False) for name in whole]
    alone += [AddedToken(f" {pair}", normalized=False, special=False) for pair in pairs]  # in edge lists and options
    alone += [AddedToken(text, normalized=False, special=False) for text in (*TAGS, *PHRASES, *reply)]
    trainer = trainers.BpeTrainer(
        # letters and digits are bytes of the alphabet already
        vocab_size=VOCABULARY - len(alone) + len(ascii_uppercase) + 10,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    bpe.add_tokens(alone)
    return bpe


def text() -> str:
    """The file's content."""
    content: dict[str, Any] = json.loads(train().to_str())
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
    print(f"{Tokenizer.from_file(str(OUT)).get_vocab_size()} tokens, {OUT.stat().st_size / 1024:.0f} KiB")
