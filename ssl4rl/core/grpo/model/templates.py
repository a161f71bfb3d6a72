"""A model's chat template, which is a program of somebody else's: what it refuses or leaves out, said in one line.

Templates are tried on a question before any weights are loaded. Some raise (Gemma's on a system message, Mistral's
where roles do not alternate), some fail (a list where they expect text), and some do worse and say nothing: they leave
the system message out, or write a picture down as Python prints a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.types import Example, Media, Ssl4rlError

FAILURES = (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
_QUESTION, _ASK = "Which of these is it?", "Reply with nothing but the answer."


def written(owner: Any, talk: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as the chat template of `owner` (a processor or tokenizer) writes it, the reply's start included.

    Raises:
        Ssl4rlError: the template refuses it, or has a fault.
    """
    try:
        return str(owner.apply_chat_template(talk, add_generation_prompt=True, tokenize=False))
    except TemplateSyntaxError as error:
        raise Ssl4rlError(f"the model's chat template has an error on line {error.lineno}: {error.message}") from error
    except FAILURES as error:
        raise Ssl4rlError(f"the model's chat template refuses the prompt: {one_line(error)}") from error


def check_template(encoder: Any) -> None:
    """Renders a question, with a picture for a model that sees, through a `policy.Encoder`.

    Raises:
        Ssl4rlError: the template refuses it (and what it would take), or leaves part of it out.
    """
    shown = () if encoder.text_only else (Media("image", None),)
    example = Example((*shown, _QUESTION), "A")
    try:
        text = encoder.render(example, _ASK)
    except Ssl4rlError as error:
        raise Ssl4rlError(f"{error}{_way_out(encoder, example)}") from error
    if "'type': 'image'" in text:
        raise Ssl4rlError("the model's chat template takes text only and writes pictures down as words")
    for part, what in ((_QUESTION, "the question"), (_ASK, "what the answer should look like")):
        if part not in text:
            raise Ssl4rlError(f"the model's chat template leaves out {what}")
    if encoder.system is not None and encoder.system.strip() not in text:
        raise Ssl4rlError("the model's chat template leaves out the system message (prompt.system)")


def _way_out(encoder: Any, example: Example) -> str:
    """What would be taken in place of what was refused."""
    if encoder.system is not None and _renders(replace(encoder, system=None), example):
        return "; it takes the question without a system message (prompt.system)"
    if example.media and _renders(encoder, Example((_QUESTION,), "A")):
        return "; it takes the question without a picture"
    return ""


def _renders(encoder: Any, example: Example) -> bool:
    try:
        encoder.render(example, _ASK)
    except Ssl4rlError:
        return False
    return True
