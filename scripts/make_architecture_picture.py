# ruff: noqa: E501  (a picture reads better with a shape in a line)
"""Draws docs/images/architecture.svg: the rooms, and what passes between them. Run it after a room has moved."""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT = 1000, 560
# x, y, width, height, title, lines, colour
BOXES = [
    (20, 40, 200, 110, "vision, graph, yours", ["TASKS, SOURCES, SHOW:", "photos, graphs and", "what is asked of them"], "#dbeafe"),
    (20, 200, 200, 150, "core: the contract", ["task, source, dataset:", "an example is a function", "of its key", "verify: asks, reads, scores", "reward, mixture, recipe"], "#e0e7ff"),
    (20, 400, 200, 90, "export", ["rows for other trainers;", "ssl4rl.score(reply, info)"], "#dcfce7"),
    (290, 40, 200, 90, "grpo: run, opening", ["recipe taken apart, all", "checked before time is spent"], "#fef3c7"),
    (290, 170, 200, 90, "grpo/model, stream", ["policy and encoder;", "examples to prompt tensors"], "#fef3c7"),
    (290, 300, 200, 90, "grpo/sampling", ["prompt once, G completions", "beside it (a backend)"], "#fef3c7"),
    (290, 430, 200, 90, "grpo/logps", ["prompt and completions in", "one row; log-probs"], "#fef3c7"),
    (560, 300, 180, 90, "grpo/trainer", ["a step: sample, score,", "advantages, learn"], "#fde68a"),
    (560, 430, 180, 90, "grpo/update", ["advantage, loss, gradient", "over ranks, AdamW"], "#fef3c7"),
    (560, 170, 180, 90, "grpo/record", ["folder, checkpoints, lines,", "held-out figures, loggers"], "#fef3c7"),
    (560, 40, 180, 90, "grpo/trl", ["the same recipe through", "TRL's GRPOTrainer"], "#fef3c7"),
    (800, 40, 180, 110, "cli, ssl4rl.train ...", ["the command line and", "the Python door call", "the same functions"], "#fae8ff"),
    (800, 200, 180, 150, "tools", ["preview, check, audit,", "probe, report:", "a room a command"], "#fae8ff"),
    (800, 400, 180, 90, "embedded, rewards", ["small models and data,", "functions a recipe weighs"], "#dcfce7"),
]  # fmt: skip
# from, to, label, where the label stands beside the middle
ARROWS = [
    ((120, 150), (120, 200), "items", (8, 4)),
    ((120, 350), (120, 400), "examples", (8, 4)),
    ((220, 235), (290, 220), "examples", (-28, -12)),
    ((390, 260), (390, 300), "prompts", (8, 4)),
    ((490, 345), (560, 345), "completions", (-33, -8)),
    ((650, 390), (650, 430), "rewards", (8, 4)),
    ((560, 475), (490, 475), "groups", (-20, -8)),
    ((650, 300), (650, 260), "metrics", (8, 4)),
    ((740, 215), (800, 250), "run folder", (-22, 34)),
    ((490, 85), (560, 85), "", (0, 0)),
    ((390, 130), (390, 170), "", (0, 0)),
]


def box(x: int, y: int, w: int, h: int, title: str, lines: list[str], colour: str) -> str:
    texts = "".join(
        f'<text x="{x + 12}" y="{y + 46 + 19 * i}" font-size="12">{escape(line)}</text>' for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{colour}" stroke="#475569"/>'
        f'<text x="{x + 12}" y="{y + 25}" font-size="14" font-weight="600">{escape(title)}</text>{texts}'
    )


def arrow(start: tuple[int, int], end: tuple[int, int], label: str, off: tuple[int, int]) -> str:
    middle = ((start[0] + end[0]) // 2 + off[0], (start[1] + end[1]) // 2 + off[1])
    line = f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="#334155" stroke-width="2" marker-end="url(#to)"/>'
    return line + (f'<text x="{middle[0]}" y="{middle[1]}" font-size="11">{escape(label)}</text>' if label else "")


def main() -> None:
    """Writes the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="#0f172a">',
        '<defs><marker id="to" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#334155"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *(box(*one) for one in BOXES),
        *(arrow(*one) for one in ARROWS),
        '<text x="20" y="545" font-size="13">Imports run one way: contract, loop, modalities, tools, command line. '
        "Nobody imports a modality; they are found by name.</text>",
        "</svg>",
    ]
    OUT.write_text("\n".join(parts) + "\n")
    print(OUT.name)


if __name__ == "__main__":
    main()
