"""What our self-contained pages share: templates, and examples as texts and figures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from ssl4rl.core import registry
from ssl4rl.core.types import Example, Media

_TEMPLATES = Path(__file__).parent  # a template lies beside the code that fills it
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_CAPTION_CHARS = 24
_UNSEEN = (*range(9), *range(11, 32), 0x7F, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = {code: repr(chr(code))[1:-1] for code in _UNSEEN}


def template(name: str) -> jinja2.Template:
    """A template of ours by its path below tools/, in which every text is escaped and a missing one is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def visible(text: str) -> str:
    """`text` with control characters, and those that turn the reading direction, written as escapes."""
    return text.translate(_VISIBLE)


def blocks(example: Example, plugin: registry.Plugin) -> Iterator[dict[str, Any]]:
    """The prompt in reading order: texts, and rows of figures (a short text before a picture is its caption)."""
    parts = [part for part in example.prompt if isinstance(part, Media) or part.strip()]
    row: list[dict[str, Any]] = []
    caption = ""
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if isinstance(part, Media):
            row.append({"caption": caption, **_figure(registry.shown(part, plugin), part.kind)})
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


def drawings(example: Example, plugin: registry.Plugin) -> list[str]:
    """What the plugin draws beside an example, for people only: sources of pictures.

    SVG inside a picture's source runs no script and loads nothing, whatever is in it.
    """
    things = example.meta.get("drawing")
    if things is None or "drawing" not in plugin.show:
        return []
    draw = registry.load(plugin.show["drawing"])
    texts = [draw(thing) for thing in (things if isinstance(things, list) else [things])]
    return [f"data:image/svg+xml;base64,{base64.b64encode(text.encode(errors='replace')).decode()}" for text in texts]


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
