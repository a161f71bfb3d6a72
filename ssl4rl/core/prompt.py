"""From an example to chat messages: the one place where prompts are put together, and where a reply begins."""

from __future__ import annotations

import re
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


_OPENED = re.compile(r"<think>\s*\Z")


def opening(rendered: str) -> str:
    """What the chat template has already written of the reply: "<think>" and the white space behind it, or nothing.

    Some reasoning models' templates end the prompt with an opened thought. The reply is then that and what the model
    writes, and is scored so: `verifier.score(opening(rendered) + completion, example)`. A thought that the template
    also closes ("<think>\\n\\n</think>") says that none is wanted, and is no part of a reply that is asked for one.

    Args:
        rendered: the whole prompt as the template writes it.
    """
    found = _OPENED.search(rendered[-64:])
    return found[0] if found else ""


def left_to_write(reply: str, opened: str) -> str:
    """What is to be written of a whole reply (`verifier.complete`) behind what `opening` found.

    A reply without reasoning has the opened thought closed first.
    """
    if not opened:
        return reply
    return reply.removeprefix("<think>") if reply.startswith("<think>") else f"</think>{reply}"
