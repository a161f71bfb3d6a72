"""What all four tasks share: the prompt of a question with its pictures, and whether its answer can be given back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ssl4rl.core.types import Example, Media, Unusable
from ssl4rl.core.verify import Verifier
from ssl4rl.qa.labelled import Labelled
from ssl4rl.vision import pixels
from ssl4rl.vision.photo import Photo

_PLACE = re.compile(r"<\s?image[ _]?(\d{0,3})\s?>", re.IGNORECASE)
_TAG = re.compile(
    r"<(\|[^<>|]{1,40}\||\s?/?\s?(?:answer|think|thinking|thought|reasoning|image|img|video|audio|pad|unk|s|bos|eos|box|ref"
    r"|[a-z]{1,12}_of_[a-z]{1,12}|vision_[a-z]{1,12}|im_[a-z]{1,12}|fake_token[a-z_]{0,24}|global-img)\b[^<>]{0,40})>",
    re.IGNORECASE,
)
"""What chat templates, processors and our own verifiers take for more than text."""


def check_sizes(task: str, params: Mapping[str, Any]) -> None:
    """Refuse a side of pictures that cannot be. Raises Ssl4rlError."""
    pixels.check_between(task, params, "image_px", 8, 8192)


def pictures(item: Labelled, longest_px: int) -> list[Media]:
    """The item's pictures, upright, their longer side at most `longest_px`.

    Raises:
        Unusable: one cannot be decoded.
    """
    return [pixels.media(_sized(photo, longest_px)) for photo in item.photos]


def _sized(photo: Photo, longest_px: int) -> Any:
    image = photo.decode(longest_px)
    width, height = image.size
    if max(width, height) <= longest_px:
        return image
    scale = longest_px / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return pixels.cut(image, (0, 0, width, height), size)


def places(text: str) -> int:
    """How many pictures a text has places for: as often as it says <image>, up to the greatest <image 2>."""
    said = [place[1] for place in _PLACE.finditer(text)]
    return max([said.count(""), *(int(number) for number in said if number)])


def prompt(text: str, shown: Sequence[Media]) -> tuple[str | Media, ...]:
    """A text with its pictures: where it says <image> or <image 2>, else before it, numbered where there are several.

    What looks like a template's or our own tag in the text is written with round brackets.
    """
    left = dict(enumerate(shown))
    parts: list[str | Media] = []
    end = 0
    for place in _PLACE.finditer(text):
        parts.append(_plain(text[end : place.start()]))
        end = place.end()
        at = int(place[1]) - 1 if place[1] else min(left, default=-1)
        if at in left:
            parts.append(left.pop(at))
        elif place[1]:
            parts.append(f"picture {place[1]}")
    parts.append(_plain(text[end:]))
    first: list[str | Media] = []
    for at, medium in left.items():
        first += [f"Picture {at + 1}: ", medium, "\n"] if len(shown) > 1 else [medium]
    return tuple(part for part in (*first, *parts) if part != "")


def _plain(text: str) -> str:
    return _TAG.sub(r"(\1)", text)


def worded(item: Labelled, more: str = "") -> str:
    """Hint, question and what more is to be said, a line each."""
    hint = f"Hint: {item.hint}\n" if item.hint else ""
    return f"{hint}Question: {item.question}{f'{chr(10)}{more}' if more else ''}"


def given_back(example: Example, verifier: Verifier) -> Example:
    """The example, once its own answer earns 1.

    Raises:
        Unusable: it does not: what it says is no answer of this form.
    """
    if verifier.score(verifier.complete(example.answer), example).value < 1:
        raise Unusable(f"its answer {str(example.answer)[:40]!r} cannot be given back")
    return example
