"""Which tokens end a reply, and which may never be sampled."""

from __future__ import annotations

from typing import Any

from ssl4rl.core.types import Ssl4rlError

_PLACEHOLDER_FIELDS = (
    *("image_token", "video_token", "audio_token", "vision_start_token", "vision_end_token"),
    *("boi_token", "eoi_token", "fake_image_token", "global_image_tag", "global_image_token"),
)


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a reply, the tokenizer's own first. Raises Ssl4rlError without any."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [named] if isinstance(named, int) else list(named or ())
    own = tokenizer.eos_token_id
    ordered = [own, *ids] if own is not None else ids
    if not ordered:
        raise Ssl4rlError("neither the tokenizer nor the generation config names an end-of-turn token")
    return list(dict.fromkeys(int(i) for i in ordered))


def placeholder_ids(config: Any, processor: Any, tokenizer: Any) -> set[int]:
    """Tokens that stand for a medium: sampled by the policy they would crash the next forward pass, so they are banned.

    Read off the config's `*_token_id` / `*_token_index` fields and the processor's placeholder tokens; padding too.
    """
    found: set[int] = set()
    for owner in (config, getattr(config, "text_config", None)):
        for name, value in vars(owner).items() if owner is not None else ():
            media = any(word in name for word in ("image", "video", "audio", "vision", "boi", "eoi"))
            if media and name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
                found.add(value)
    unknown = tokenizer.unk_token_id
    for name in _PLACEHOLDER_FIELDS:
        token = getattr(processor, name, None)
        text = getattr(token, "content", token)
        if isinstance(text, str) and (found_id := tokenizer.convert_tokens_to_ids(text)) not in (None, unknown):
            found.add(found_id)
    if tokenizer.pad_token_id is not None:
        found.add(tokenizer.pad_token_id)
    return found
