"""What a vision tower makes of the images of prompts: each prompt's apart, to be computed once and used in many passes.

transformers' multimodal models compute images by ``get_image_features`` and take the result back as
``mm_encoder_outputs``; ``takes_features`` says which do. Nothing here knows of completions.
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


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision tower and its projector made of one prompt's images.

    ``pooled``: a tensor an image, or one stacked; ``deepstack``: the same for each text layer that Qwen3-VL feeds.
    """

    pooled: Sequence[Tensor] | Tensor
    deepstack: Sequence[Sequence[Tensor]] = ()


def takes_features(inner: PreTrainedModel) -> bool:
    """Whether images can be computed apart from the text model's pass."""
    named = inspect.signature(inner.base_model.forward).parameters
    return "mm_encoder_outputs" in named and hasattr(inner.base_model, "get_image_features")


def tower_features(inner: PreTrainedModel, media: Sequence[Mapping[str, Tensor]]) -> list[ImageFeatures | None]:
    """The vision tower's and projector's output for each prompt's ``media``, None where it holds no images."""
    if not any("pixel_values" in one for one in media):
        return [None] * len(media)
    taken = [accepted(inner.base_model.get_image_features, media_on(inner, one)) for one in media]
    found: list[ImageFeatures | None] = []
    for shapes, run in groupby(taken, key=_shapes):
        # Families pad and stack unequal images in different ways, so only prompts of equal shapes go in together.
        alike = list(run)
        found += _features_of(inner, alike) if "pixel_values" in shapes else [None] * len(alike)
    return found


def _shapes(media: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in media.items()}


def _features_of(inner: PreTrainedModel, media: Sequence[Mapping[str, Tensor]]) -> list[ImageFeatures | None]:
    """Features of prompts whose media have the same shapes, all through the tower together."""
    P = len(media)
    together = {name: torch.cat([one[name] for one in media]) for name in media[0]}
    output = inner.base_model.get_image_features(**together, return_dict=True)
    deepstack = getattr(output, "deepstack_features", None) or ()
    if any(len(images) % P for images in (output.pooler_output, *deepstack)):
        # A model that drops an image (Idefics3 does an all-black one) leaves no telling whose it was.
        return [feature for one in media for feature in _features_of(inner, [one])]
    layers = [_parts(layer, P) for layer in deepstack]
    pooled = _parts(output.pooler_output, P)
    return [ImageFeatures(pooled[p], [layer[p] for layer in layers]) for p in range(P)]


def _parts(images: Any, P: int) -> list[Any]:
    """A tensor, or a sequence with an entry an image, in P equal parts along its first axis."""
    size = len(images) // P
    return [images[p * size : (p + 1) * size] for p in range(P)]


def joined(features: Sequence[ImageFeatures | None]) -> SimpleNamespace | None:
    """The features of several prompts, in order, as the model's ``mm_encoder_outputs["image"]``."""
    real = [one for one in features if one is not None]
    if not real:
        return None
    if isinstance(real[0].pooled, Tensor):
        pooled: Any = torch.cat([one.pooled for one in real if isinstance(one.pooled, Tensor)])
    else:
        pooled = [image for one in real for image in one.pooled]
    layers = zip(*(one.deepstack for one in real), strict=True)
    return SimpleNamespace(
        pooler_output=pooled, deepstack_features=[[x for part in layer for x in part] for layer in layers]
    )


def media_on(inner: PreTrainedModel, media: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One prompt's media on the model's device, pixels in its dtype; ids and masks that came with them are left out."""
    here = {name: value.to(inner.device) for name, value in media.items() if name not in NOT_MEDIA}
    return {name: value.to(inner.dtype) if value.is_floating_point() else value for name, value in here.items()}


def accepted(function: Any, media: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries that ``function`` names among its parameters."""
    named = inspect.signature(function).parameters
    return {name: value for name, value in media.items() if name in named}
