"""What a trained language model has lost of plain language: perplexity of prose it was not trained on, plain questions.

    python benchmarks/language_kept.py MODEL... [--texts 40] [--json OUT]

A MODEL is what `ssl4rl eval` takes: `embedded:smollm2`, a folder, a run's `final`. Perplexity: e to the mean negative
log-probability of a token, over the first 256 tokens of Debian changelogs (/usr/share/doc/*/changelog.Debian.gz, in the
order of a hash of their names; nothing of them is kept). Plain questions: of four ends of a sentence
(plain_questions.tsv, written for this, Apache-2.0) the one of highest log-probability is taken; chance .25.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.record.evaluate import wilson

QUESTIONS = Path(__file__).parent / "plain_questions.tsv"
TOKENS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = [measured(model, asked.texts) for model in asked.models]
    for row in rows:
        low, high = row["ci95"]
        print(
            f"{row['model']}: perplexity {row['perplexity']:.2f} ({row['tokens']} tokens), plain questions "
            f"{row['accuracy']:.3f} ({low:.2f}-{high:.2f}, n {row['n']}, chance .25)"
        )
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


@torch.no_grad()
def measured(name: str, texts: int) -> dict[str, Any]:
    """Both figures of one model."""
    policy = load_policy(name, trainable=False)
    tokenizer, model = policy.encoder.tokenizer, policy.model
    loss, count = 0.0, 0
    for text in changelogs(texts):
        logps = _logps(model, tokenizer(text, add_special_tokens=False)["input_ids"][:TOKENS])
        loss, count = loss - float(logps.sum()), count + len(logps)
    right, n = 0, 0
    with QUESTIONS.open() as file:
        for begin, *ends in list(csv.reader(file, delimiter="\t"))[1:]:
            head = len(tokenizer(begin, add_special_tokens=False)["input_ids"])
            whole = [tokenizer(f"{begin} {end}", add_special_tokens=False)["input_ids"] for end in ends]
            scores = [float(_logps(model, ids)[head - 1 :].sum()) for ids in whole]
            right, n = right + (scores.index(max(scores)) == 0), n + 1
    return {
        "model": name, "perplexity": math.exp(loss / count), "tokens": count,
        "accuracy": right / n, "ci95": list(wilson(right, n)), "n": n,
    }  # fmt: skip


def _logps(model: Any, ids: list[int]) -> torch.Tensor:
    """Of each token but the first, float32."""
    row = torch.tensor([ids])
    logits = model(input_ids=row).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(-1, row[0, 1:, None])[:, 0]


def changelogs(most: int) -> list[str]:
    """The beginnings of this system's Debian changelogs, each long enough."""
    files = sorted(
        Path("/usr/share/doc").glob("*/changelog.Debian.gz"),
        key=lambda file: hashlib.blake2b(file.parent.name.encode()).digest(),
    )
    found = []
    for file in files:
        with gzip.open(file, "rt", errors="replace") as opened:
            text = opened.read(4000)
        if len(text) > 2000:
            found.append(text)
        if len(found) == most:
            break
    return found


if __name__ == "__main__":
    main()
