"""The recipe's model without its weights, from its config alone."""

from __future__ import annotations

from typing import Any

import torch

from ssl4rl.core.grpo.model.policy import Policy, Prepared
from ssl4rl.core.grpo.model.pretrained import Lora, empty_model, prepare
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.tools.plan.weightless import weightless


def open_policy(recipe: Recipe, prepared: Prepared, gpu: bool) -> Policy:
    """A policy as `load_policy` makes it, of weightless tensors.

    Raises:
        Ssl4rlError: what `load_policy` refuses.
    """
    settings = recipe.model
    lora = _adapter(recipe, prepared)
    if settings.dtype == "auto":
        dtype = torch.bfloat16 if gpu and lora is not None else torch.float32
    else:
        dtype = getattr(torch, settings.dtype)
    if prepared.built is not None:
        model: Any = prepared.built.to(dtype)
    else:
        vision = not prepared.encoder.text_only
        attention = settings.attention if isinstance(settings.attention, str) else settings.attention.model_dump()
        model = empty_model(prepared.source, dtype, attention, vision, prepared.revision)
    model = prepare(model, lora, settings.freeze_vision, settings.gradient_checkpointing)
    return Policy(weightless(model), prepared.encoder, settings.path, prepared.origin, torch.device("cpu"))


def _adapter(recipe: Recipe, prepared: Prepared) -> Lora | None:
    """The recipe's, or that of the folder that its path names."""
    if recipe.model.lora is not None:
        return Lora(**recipe.model.lora.model_dump())
    if prepared.adapter is None:
        return None
    theirs = prepared.adapter
    target = theirs.get("target_modules") or "all-linear"
    return Lora(r=int(theirs.get("r", 8)), target=target if isinstance(target, str) else tuple(target))
