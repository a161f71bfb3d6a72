"""Models, groups of ragged length and the comparison that the shared-prefix tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel

from ssl4rl.core.grpo.logps.prefix import Group, TokenLogps
from ssl4rl.core.grpo.preflight import gradient_difference
from tests.tiny_models import VISION, image_only_processor

# Images, question and completion lengths of each prompt: two images, none, one; a branch of one token; even and ragged.
PROMPTS = (
    (2, "What is this, and that?", (1, 7, 24)),
    (0, "Hi", (5, 5, 5)),
    (1, "Which of the four parts is missing now? Answer A, B, C or D.", (3, 12)),
)
DROPPED = ("input_ids", "attention_mask", "labels")


def load(kind: str, folder: Path, **more: Any) -> PreTrainedModel:
    auto = AutoModelForImageTextToText if kind in VISION else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_pretrained(folder, **more)
    return model


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def groups_of(kind: str, folder: Path, prompts: Any = PROMPTS) -> list[Group]:
    """One group for each of ``prompts``; completions are ordinary tokens drawn at random."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = image_only_processor(folder) if kind in VISION else None
    generator = torch.Generator().manual_seed(0)
    groups = []
    for seed, (images, question, lengths) in enumerate(prompts):
        content: Any = [{"type": "image"}] * images + [{"type": "text", "text": question}] if processor else question
        messages = [{"role": "user", "content": content}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        if processor and images:
            pictures = [noise(60 + 20 * i, 90 - 20 * i, seed + 10 * i) for i in range(images)]
            inputs = dict(processor(text=[text], images=[pictures], return_tensors="pt"))
        else:
            inputs = dict(tokenizer(text, return_tensors="pt", return_token_type_ids=kind in ("gemma3", "paligemma")))
        media = {name: value for name, value in inputs.items() if name not in DROPPED}
        completions = [torch.randint(5, 250, (length,), generator=generator) for length in lengths]
        groups.append(Group(inputs["input_ids"][0], media, completions))
    return groups


def plain_logps(model: Any, groups: list[Group], temperature: float = 1.0) -> Tensor:
    """[P, G, T] by the model's own forward on one completion at a time: no padding, nothing of ours."""
    shape = (
        len(groups),
        max(len(g.completion_ids) for g in groups),
        max(len(c) for g in groups for c in g.completion_ids),
    )
    rows = []
    for group in groups:
        for ids in group.completion_ids:
            media = dict(group.media)
            for name in ("mm_token_type_ids", "token_type_ids"):
                if name in media:
                    after = int(model.config.model_type == "paligemma")
                    media[name] = torch.cat([media[name], media[name].new_full((1, len(ids)), after)], dim=1)
            row = torch.cat([group.prompt_ids, ids]).unsqueeze(0)
            logits = model(input_ids=row, **media, use_cache=False).logits[0, len(group.prompt_ids) - 1 : -1]
            logp = (logits / temperature).log_softmax(-1).gather(1, ids[:, None])[:, 0]
            rows.append(torch.nn.functional.pad(logp, (0, shape[2] - len(ids))))
        rows += [torch.zeros(shape[2])] * (shape[1] - len(group.completion_ids))
    return torch.stack(rows).view(shape)


def score(logp_PGT: Tensor) -> Tensor:
    """A fixed random weighting. The GRPO loss at ratio 1 would be the same under every bug; this is not."""
    return (torch.randn(logp_PGT.shape, generator=torch.Generator().manual_seed(1)) * logp_PGT).sum()


def gradients(model: nn.Module, logps: Callable[[], Tensor | TokenLogps]) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probs [P, G, T] and the gradient of their ``score`` by parameter, by an ordinary backward pass."""
    model.zero_grad()
    result = logps()
    logp_PGT = result.logp_PGT if isinstance(result, TokenLogps) else result
    torch.autograd.backward(score(logp_PGT))
    return logp_PGT.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def differences(left: tuple[Tensor, dict[str, Tensor]], right: tuple[Tensor, dict[str, Tensor]]) -> tuple[float, float]:
    """The largest |log-prob difference| and the worst tensor's relative gradient difference."""
    assert left[1].keys() == right[1].keys()
    worst = gradient_difference([left[1][name] for name in left[1]], [right[1][name] for name in left[1]])
    return float((left[0] - right[0]).abs().max()), worst
