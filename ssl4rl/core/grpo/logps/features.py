"""What a vision tower makes of the pictures and clips of prompts: each prompt's apart, once for many passes.

transformers' multimodal models compute them by ``get_image_features`` and ``get_video_features`` and take the results
back as ``mm_encoder_outputs``; ``takes_features`` says which do. Nothing here knows of completions.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

NOT_MEDIA = ("input_ids", "attention_mask", "position_ids", "labels")
_TIMES = ("second_per_grid_ts",)  # positions are counted from it, so half precision would move them


@dataclass(frozen=True)
class Seen:
    """What the vision tower and its projector made of the pictures, or of the clips, of one prompt.

    ``pooled``: a tensor each, or one stacked; ``deepstack``: the same for each text layer that Qwen3-VL feeds.
    """

    pooled: Sequence[Tensor] | Tensor
    deepstack: Sequence[Sequence[Tensor]] = ()


MediaFeatures = Mapping[str, Seen]
"""A prompt's, by kind, "image" or "video"."""

PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
"""The entry of the processor's tensors that is there where a prompt shows one of a kind."""


def takes_features(inner: PreTrainedModel) -> bool:
    """Whether images can be computed apart from the text model's pass."""
    named = inspect.signature(inner.base_model.forward).parameters
    return "mm_encoder_outputs" in named and hasattr(inner.base_model, "get_image_features")


def shows(media: Mapping[str, Tensor]) -> list[str]:
    """The kinds that a prompt's tensors hold."""
    return [kind for kind, name in PIXELS.items() if name in media]


def tower_features(inner: PreTrainedModel, media: Sequence[Mapping[str, Tensor]]) -> list[MediaFeatures | None]:
    """The vision tower's and projector's output for each prompt's ``media``, None where it shows nothing."""
    found: list[dict[str, Seen]] = [{} for _ in media]
    for kind in PIXELS:
        for features, seen in zip(found, _of_kind(inner, kind, media), strict=True):
            if seen is not None:
                features[kind] = seen
    return [features or None for features in found]


def _of_kind(inner: PreTrainedModel, kind: str, media: Sequence[Mapping[str, Tensor]]) -> list[Seen | None]:
    if not any(PIXELS[kind] in one for one in media):
        return [None] * len(media)
    tower = getattr(inner.base_model, f"get_{kind}_features")
    taken = [accepted(tower, media_on(inner, one)) for one in media]
    found: list[Seen | None] = []
    for shapes, run in groupby(taken, key=_shapes):
        # Families pad and stack unequal images in different ways, so only prompts of equal shapes go in together.
        alike = list(run)
        found += _seen(tower, alike) if PIXELS[kind] in shapes else [None] * len(alike)
    return found


def _shapes(media: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in media.items()}


def _seen(tower: Any, media: Sequence[Mapping[str, Tensor]]) -> list[Seen | None]:
    """Features of prompts whose media have the same shapes, all through the tower together."""
    P = len(media)
    together = {name: torch.cat([one[name] for one in media]) for name in media[0]}
    output = tower(**together, return_dict=True)
    deepstack = getattr(output, "deepstack_features", None) or ()
    if any(len(images) % P for images in (output.pooler_output, *deepstack)):
        # A model that drops an image (Idefics3 does an all-black one) leaves no telling whose it was.
        return [feature for one in media for feature in _seen(tower, [one])]
    layers = [_parts(layer, P) for layer in deepstack]
    pooled = _parts(output.pooler_output, P)
    return [Seen(pooled[p], [layer[p] for layer in layers]) for p in range(P)]


def _parts(images: Any, P: int) -> list[Any]:
    """A tensor, or a sequence with an entry an image, in P equal parts along its first axis."""
    size = len(images) // P
    return [images[p * size : (p + 1) * size] for p in range(P)]


def joined(features: Sequence[MediaFeatures | None]) -> dict[str, SimpleNamespace]:
    """The features of several prompts, in order, as the model's ``mm_encoder_outputs``; empty without any."""
    found = {}
    for kind in PIXELS:
        seen = [one[kind] for one in features if one is not None and kind in one]
        if seen:
            found[kind] = _joined(seen)
    return found


def _joined(seen: Sequence[Seen]) -> SimpleNamespace:
    if isinstance(seen[0].pooled, Tensor):
        pooled: Any = torch.cat([one.pooled for one in seen if isinstance(one.pooled, Tensor)])
    else:
        pooled = [image for one in seen for image in one.pooled]
    layers = zip(*(one.deepstack for one in seen), strict=True)
    return SimpleNamespace(
        pooler_output=pooled, deepstack_features=[[x for part in layer for x in part] for layer in layers]
    )


def media_on(inner: PreTrainedModel, media: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One prompt's media on the model's device, pixels in its dtype; ids and masks that came with them are left out."""
    here = {name: value.to(inner.device) for name, value in media.items() if name not in NOT_MEDIA}
    floats = {name for name, value in here.items() if value.is_floating_point() and name not in _TIMES}
    return {name: value.to(inner.dtype) if name in floats else value for name, value in here.items()}


def accepted(function: Any, media: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries that ``function`` names among its parameters."""
    named = inspect.signature(function).parameters
    return {name: value for name, value in media.items() if name in named}
