"""A reward by how well a reply's words fit the picture, by a CLIP-type model: for captions and descriptions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ssl4rl.core.types import Example, Ssl4rlError

VARIABLE = "SSL4RL_CLIP"
"""The environment variable that names the model: a folder, or a hub id."""
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)


def likeness(replies: Sequence[str], example: Example) -> list[float]:
    """Cosine of each reply's words with the example's first picture, in [-1, 1] (CLIPScore without its factor and
    without its cut at 0, arXiv 2104.08718); 0 for a reply of no words.

    The words are those in `<answer>`, else the whole reply, cut to what the model reads. The model is what
    SSL4RL_CLIP names: CLIP, SigLIP or another that transformers' AutoModel gives picture and text features for.

    Raises:
        Ssl4rlError: no such model, or an example without a picture.
    """
    import torch

    pictures = example.pictures
    if not pictures:
        raise Ssl4rlError(f"reward 'likeness' needs a picture, and {example.key} shows none")
    model, processor = _clip(os.environ.get(VARIABLE, ""))
    words = [found[-1].strip() if (found := _ANSWER.findall(reply)) else reply.strip() for reply in replies]
    said = [word for word in words if word]
    if not said:
        return [0.0] * len(words)
    longest = getattr(model.config.text_config, "max_position_embeddings", 64)
    text = processor.tokenizer(said, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    shown = processor.image_processor(pictures[0].convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        text_GD = _features(model.get_text_features(**text))
        picture_1D = _features(model.get_image_features(**shown))
    cosines = iter(torch.nn.functional.cosine_similarity(text_GD, picture_1D).tolist())
    return [next(cosines) if word else 0.0 for word in words]


def _features(found: Any) -> Any:
    """[N, D]: releases of transformers give the tensor itself or an output that holds it."""
    return getattr(found, "pooler_output", found)


@lru_cache(maxsize=1)
def _clip(path: str) -> tuple[Any, Any]:
    """The model, on the CPU and in evaluation, and its processor. Raises Ssl4rlError."""
    if not path:
        raise Ssl4rlError(f"reward 'likeness' needs a CLIP-type model; {VARIABLE}=FOLDER names it")
    from types import SimpleNamespace

    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(path).eval()
        parts = {"tokenizer": AutoTokenizer, "image_processor": AutoImageProcessor}
        processor = SimpleNamespace(**{name: auto.from_pretrained(path) for name, auto in parts.items()})
    except (OSError, ValueError, ImportError) as error:
        raise Ssl4rlError(f"{VARIABLE}={path!r} does not load: {' '.join(str(error).split())[:200]}") from error
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        raise Ssl4rlError(f"{VARIABLE}={path!r} is a {type(model).__name__}; allowed: a CLIP-type model")
    return model, processor


likeness.range = (-1.0, 1.0)  # type: ignore[attr-defined]
