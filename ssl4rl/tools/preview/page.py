"""The preview as one self-contained page: pictures, prompts, folded answers and replies to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl4rl.core.types import Example, Score
from ssl4rl.tools.catalogue import card, show_chance, summary, usual_chance
from ssl4rl.tools.page import blocks, drawings, save, template
from ssl4rl.tools.preview.preview import Preview
from ssl4rl.tools.preview.replies import lookup, sample_replies


def write(preview: Preview, path: str) -> str:
    """Writes the page and returns its path.

    Raises:
        Ssl4rlError: the file cannot be written.
    """
    save(render(preview), Path(path))
    return path


def render(preview: Preview) -> str:
    """The page's HTML. Nothing in it is loaded from elsewhere, and every text is escaped."""
    levels = [preview.task.level(name) for name in preview.task.levels]
    return template("preview/preview.html.jinja").render(
        preview=preview,
        summary=summary(preview.task),
        card=card(preview.task),
        levels=[(level, show_chance(usual_chance(preview.task.verifier_at(level)))) for level in levels],
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
        "blocks": list(blocks(example, preview.plugin)),
        "drawings": drawings(example, preview.plugin),
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
