"""May a model's completions share their prompt, as far as its config and signatures tell? It costs nothing.

Every model known to be wrong in a packed row is refused here; ``preflight`` then looks at numbers.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ssl4rl.core.grpo.logps.attention import ATTENTION, COPYING
from ssl4rl.core.grpo.logps.features import takes_features
from ssl4rl.core.grpo.logps.prefix import inner_model

_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier", "output_multiplier")


def why_unshareable(model: nn.Module) -> str | None:
    """Why completions of this model cannot share their prompt, in a line, or None if nothing speaks against it."""
    peft = getattr(model, "peft_config", {})
    if any(getattr(config, "is_prompt_learning", False) for config in peft.values()):
        return "its PEFT adapter puts virtual tokens before the prompt"
    inner = inner_model(model)
    text = inner.config.get_text_config(decoder=True)
    if inner.config.is_encoder_decoder:
        return "it is an encoder-decoder"
    return _layers(inner, text) or _attention(inner, text) or _forward(inner, text)


def bare_head(model: nn.Module) -> bool:
    """Whether logits are the head of the base model's hidden states, neither scaled nor capped after it."""
    inner = inner_model(model)
    text = inner.config.get_text_config(decoder=True)
    changed = [name for name in (*_CAPS, *_SCALES) if getattr(text, name, None) not in (None, 0, 1)]
    named = inspect.signature(inner.forward).parameters
    return (
        inner.base_model is not inner
        and inner.get_output_embeddings() is not None
        and not changed
        and "labels" in named
    )


def _layers(inner: PreTrainedModel, text: Any) -> str | None:
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - {"full_attention"}:
        return f"it has layers of {', '.join(sorted(kinds - {'full_attention'}))}"
    if getattr(inner, "_is_stateful", False):
        return "it keeps a recurrent state, which runs on from one completion into the next"
    if not kinds and getattr(text, "sliding_window", None) is not None:
        return f"its attention has a sliding window of {text.sliding_window} tokens"
    if getattr(text, "attention_chunk_size", None) is not None and not kinds:
        return f"its attention is chunked by {text.attention_chunk_size} tokens"
    return None


def _attention(inner: PreTrainedModel, text: Any) -> str | None:
    if not getattr(inner.get_decoder(), "_supports_attention_backend", False):
        return "its attention cannot be replaced (no attention-backend API)"
    if text._attn_implementation not in ("sdpa", "eager", ATTENTION, COPYING):
        return f"it was loaded with {text._attn_implementation}; load it with attn_implementation='sdpa'"
    capped = [name for name in _CAPS if getattr(text, name, None)]
    if capped:
        return f"it caps logits ({' and '.join(capped)})"
    scaled = [name for name in _SCALES if getattr(text, name, None) not in (None, 1)]
    if scaled:
        return f"it scales logits after its head ({scaled[0]})"
    if getattr(text, "use_bidirectional_attention", None) or not getattr(text, "is_causal", True):
        return "its attention is bidirectional"
    if getattr(text, "attention_dropout", 0.0):
        return f"it has attention dropout of {text.attention_dropout}"
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return f"its {rope['rope_type']} RoPE depends on the longest sequence in a batch"
    return None


def _forward(inner: PreTrainedModel, text: Any) -> str | None:
    if inner.base_model is inner or inner.get_output_embeddings() is None:
        return "it has no language-model head on a base model"
    named = inspect.signature(inner.base_model.forward).parameters
    if "position_ids" not in named:
        return "its forward takes no position_ids"
    if text is not inner.config:
        if "token_type_ids" in named:
            return "it attends to images, or to the whole prompt, in both directions"
        if not takes_features(inner):
            return "its forward takes no precomputed image features"
    return None
