"""The preview as one self-contained page: pictures, prompts, folded answers and replies to try."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from ssl4rl.core.types import Example, Media, Score, Ssl4rlError
from ssl4rl.tools.catalogue import card, show_chance, summary, usual_chance
from ssl4rl.tools.preview import Preview, shown
from ssl4rl.tools.replies import lookup, sample_replies

_TEMPLATES = Path(__file__).parent / "templates"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_CAPTION_CHARS = 24


def write(preview: Preview, path: str) -> str:
    """Writes the page and returns its path.

    Raises:
        Ssl4rlError: the file cannot be written.
    """
    text = render(preview)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Ssl4rlError(f"cannot write {path!r}: {error.strerror}") from error
    return path


def render(preview: Preview) -> str:
    """The page's HTML. Nothing in it is loaded from elsewhere, and every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    levels = [preview.task.level(name) for name in preview.task.levels]
    return environment.get_template("preview.html.jinja").render(
        preview=preview,
        summary=summary(preview.task),
        card=card(preview.task),
        levels=[(level, show_chance(usual_chance(preview.task.verifier_for(level.params)))) for level in levels],
        examples=[_example(preview, example) for example in preview.examples],
        draws=len(preview.examples) + preview.rejected.total(),
    )


def _example(preview: Preview, example: Example) -> dict[str, Any]:
    replies = sample_replies(preview.data, example)
    known: list[tuple[str | None, str | None, Score]] = [(reply.text, reply.inner, reply.score) for reply in replies]
    known += [(None, text, score) for text, score in lookup(preview.data, example)]
    return {
        "key": str(example.key),
        "sources": example.key.sources if example.key else (),
        "blocks": list(_blocks(preview, example)),
        "ask": preview.data.ask(example),
        "answers": [preview.verifier.render(answer) for answer in example.accepted],
        "chance": show_chance(preview.data.chance(example)),
        "expected": show_chance(preview.verifier.expected(example)),
        "replies": replies,
        "known": [
            {"text": text, "inner": inner, "verdict": score.verdict, "value": round(score.value, 3)}
            for text, inner, score in known
        ],
    }


def _blocks(preview: Preview, example: Example) -> Iterator[dict[str, Any]]:
    """The prompt in reading order: texts, and rows of figures (a short text before a picture is its caption)."""
    parts = [part for part in example.prompt if isinstance(part, Media) or part.strip()]
    row: list[dict[str, Any]] = []
    caption = ""
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if isinstance(part, Media):
            row.append({"caption": caption, **_figure(shown(part, preview.plugin), part.kind)})
            caption = ""
        elif isinstance(after, Media) and len(part.strip()) <= _CAPTION_CHARS:
            caption = part.strip()
        else:
            if row:
                yield _row(row)
                row = []
            yield {"text": part.strip("\n"), "wide": part.strip().count("\n") >= 3}
    if row:
        yield _row(row)


def _row(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures side by side, or n x n where more than four make a square.

    None is larger than the screen likes; small pictures grow by a whole factor, in crisp pixels.
    """
    target_px = 320 if len(figures) <= 2 else 200 if len(figures) <= 4 else 132
    for figure in figures:
        if figure["src"]:
            long_px = max(figure["width"], figure["height"])
            scale = max(1, target_px // long_px) if long_px <= target_px else target_px / long_px
            figure["shown_px"] = max(1, round(figure["width"] * scale))
            figure["crisp"] = scale > 1
    side = math.isqrt(len(figures))
    return {"figures": figures, "columns": side if side > 2 and side * side == len(figures) else None}


def _figure(look: Any, kind: str) -> dict[str, Any]:
    if isinstance(look, str):
        return {"src": None, "text": look, "kind": kind}
    picture = look if look.mode in _PNG_MODES else look.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"src": source, "width": look.width, "height": look.height, "kind": kind}
