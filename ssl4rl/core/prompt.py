"""From an example to chat messages: the one place where prompts are put together."""

from __future__ import annotations

from typing import Any

from ssl4rl.core.types import Example


def messages(example: Example, ask: str, system: str | None = None) -> list[dict[str, Any]]:
    """The conversation that asks `example`, in the structured form chat templates take.

    Args:
        example: the question.
        ask: the verifier's sentences about the answer's form; they come last.
        system: a system message, or None.

    Returns:
        Messages whose user content is a list of `{"type": "text", "text": ...}` and `{"type": KIND}` parts, the media
        in the order of `example.media`.
    """
    parts: list[dict[str, Any]] = []
    for part in (*example.prompt, f"\n{ask}"):
        if not isinstance(part, str):
            parts.append({"type": part.kind})
        elif parts and parts[-1]["type"] == "text":
            parts[-1]["text"] += part
        else:
            parts.append({"type": "text", "text": part})
    user = {"role": "user", "content": parts}
    if system is None:
        return [user]
    return [{"role": "system", "content": [{"type": "text", "text": system}]}, user]
