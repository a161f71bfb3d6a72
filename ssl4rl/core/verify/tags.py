"""Where in a completion the answer stands: tags, thoughts, and what chat models leave behind a reply.

Linear in the length of the completion, whatever it holds: the last `</think>` and what stands behind the reply are
looked for from the end, in the mirrored text, no answer is looked for behind the sixteenth, and a completion with more
than 20,000 "<" or ">" has none.
"""

from __future__ import annotations

import re
from typing import Literal

Style = Literal["think", "answer"]
STYLES: tuple[Style, ...] = ("think", "answer")

_MOST_ANSWERS = 16
_MOST_BRACKETS = 20_000

# Each begins with one character that stands for itself, which the search for it leaps to, and gives up at the next.
_ANSWER_TAG = re.compile(r"<([\s/]*+)answer(?:\s[^<>]*)?>", re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<\s*+[tr](?:hink|hinking|hought|easoning)(?:\s[^<>]*)?>", re.IGNORECASE)
_OTHER_BRACKETS = (("&lt;", "<"), ("&gt;", ">"), ("＜", "<"), ("＞", ">"))

# These read the mirrored text, where a search from the left finds what is last.
_CLOSED = r">\s*+[gkt](?:niht|nikniht|hguoht|ninosaer)\s*/\s*<"
_OPENED = r">\s*+[gkt](?:niht|nikniht|hguoht|ninosaer)\s*<"
_WORDS = (
    "</s>",
    "<s>",
    "<pad>",
    "<eos>",
    "<bos>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<turn|>",
    "[EOS]",
    "[/INST]",
)
_MARK = "|".join([r">[|｜][^<>|｜]{1,60}[|｜]<", *(re.escape(word[::-1]) for word in _WORDS)])
_LAST_CLOSE = re.compile(_CLOSED, re.IGNORECASE)
_EMPTY_THOUGHT = re.compile(rf"{_CLOSED}(?:\s*{_OPENED})+", re.IGNORECASE)
_BEHIND = re.compile(rf"(?:\s++|{_MARK})*+", re.IGNORECASE)


def tagged(text: str, style: Style = "think") -> str:
    """A completion in the asked form with `text` between the answer tags and no reasoning."""
    return f"<think></think><answer>{text}</answer>" if style == "think" else f"<answer>{text}</answer>"


def read_tags(completion: str, style: Style | None, truncated: bool) -> tuple[list[str], bool]:
    """The insides of all answer tags after the reasoning, and whether the completion has exactly the asked form.

    Tags may be in any case, with blanks, attributes or `&lt;`. An empty thought is nothing, so that it neither hides
    nor parts answers, nor are end-of-turn marks behind the reply; there `</answer>` may be missing, unless the
    completion was cut off. No inside at all is given when a thought is left open, an answer stands in an answer, or
    more than sixteen are given.

    The form is asked to the letter, but for end-of-turn marks and white space. An empty thought has no reasoning in it,
    so that the form `answer` allows one in front: where the chat template opens the thought, there is no other way.
    """
    text = completion
    for other, bracket in _OTHER_BRACKETS:
        if other in text:
            text = text.replace(other, bracket)
    if max(text.count("<"), text.count(">")) > _MOST_BRACKETS:
        return [], False
    mirrored = _EMPTY_THOUGHT.sub(" ", text[::-1])
    behind = _BEHIND.match(mirrored)
    last = _LAST_CLOSE.search(mirrored)
    rest = mirrored[behind.end() if behind else 0 : last.start() if last else None]
    return _insides(rest[::-1], truncated), _has_form(completion, style)


def _insides(rest: str, truncated: bool) -> list[str]:
    if _OPEN_THOUGHT.search(rest):
        return []
    found: list[str] = []
    opened: int | None = None
    for tag in _ANSWER_TAG.finditer(rest):
        closes = "/" in tag[1]
        if closes and opened is not None:
            found.append(rest[opened : tag.start()])
            opened = None
        elif not closes:
            if opened is not None or len(found) == _MOST_ANSWERS:
                return []
            opened = tag.end()
    if opened is not None:
        if truncated:
            return []
        found.append(rest[opened:])
    return found


def _has_form(completion: str, style: Style | None) -> bool:
    behind = _BEHIND.match(completion[::-1])
    body = completion[: len(completion) - behind.end()] if behind else completion
    reasoning, closed, rest = body.rpartition("</think>")
    reply = rest.strip()
    alone = reply.startswith("<answer>") and reply.endswith("</answer>")
    alone = alone and reply.count("<answer>") == reply.count("</answer>") == 1
    reasoning = reasoning.strip()
    thought = bool(closed) and reasoning.startswith("<think>") and reasoning.count("think>") == 1
    if style == "answer":
        return alone and (not closed or reasoning == "<think>")
    if style == "think":
        return alone and thought
    return alone and (thought or not closed)
