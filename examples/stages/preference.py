"""A reward model: a small BERT made from a config, which learns from pairs of replies which one people like better.

The pairs are made here: a short answer in its tags is preferred to one that is cut, repeated or bare. With pairs of
your own, or a model that was trained elsewhere (`from_pretrained`), nothing else changes.
"""

from functools import cache

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

PAIRS, STEPS, LENGTH = 64, 40, 32


def encoded(texts: list[str]) -> torch.Tensor:
    """Bytes, cut and padded: [texts, LENGTH]."""
    rows = [list(text.encode()[:LENGTH]) for text in texts]
    return torch.tensor([[1 + byte for byte in row] + [0] * (LENGTH - len(row)) for row in rows])


def pairs(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Replies, and for each one that is liked less."""
    better = [f"<answer>{rng.choice([0, 90, 180, 270])}</answer>" for _ in range(PAIRS)]
    spoilt = [lambda t: t[: int(rng.integers(1, 14))], lambda t: t + t, lambda t: t[8:-9], lambda t: "well " + t]
    return better, [spoilt[int(rng.integers(len(spoilt)))](text) for text in better]


@cache
def judge() -> BertForSequenceClassification:
    """The model, trained by Bradley and Terry's likelihood; the same on every machine and in every resumed run."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        config = BertConfig(vocab_size=257, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                            intermediate_size=64, max_position_embeddings=LENGTH, num_labels=1)  # fmt: skip
        model = BertForSequenceClassification(config)
        optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
        better, worse = (encoded(texts) for texts in pairs(np.random.default_rng(0)))
        for _ in range(STEPS):
            margin = model(better, better > 0).logits - model(worse, worse > 0).logits
            loss = -torch.nn.functional.logsigmoid(margin).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def preferred(replies: list[str]) -> list[float]:
    """How much the model likes each reply, from 0 to 1."""
    with torch.no_grad():
        ids = encoded(replies)
        return torch.sigmoid(judge()(ids, ids > 0).logits[:, 0]).tolist()


preferred.range = (0.0, 1.0)  # type: ignore[attr-defined]
