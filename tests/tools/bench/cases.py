"""Three small benchmarks in the layouts of MMBench, BLINK and SEED-Bench, rotations and all, and replies to them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ssl4rl.core.task import keyed_rng
from tests.vision.files import b64, write_tsv

WORDS = ("zebra", "harbour", "violin", "meadow", "copper", "lantern", "glacier", "pepper", "orchid", "tunnel")
NAMES = ("MMBench_made", "BLINK_made", "SEEDBench_made")
_OPTIONS = {"MMBench_made": (2, 3, 4), "BLINK_made": (2, 4), "SEEDBench_made": (4,)}
_CATEGORIES = {
    "MMBench_made": ("action_recognition", "attribute_comparison", "ocr"),
    "BLINK_made": ("Relative_Depth", "Visual_Correspondence"),
    "SEEDBench_made": ("Scene Understanding", "Instance Identity", "Spatial Relation"),
}
COLUMNS = {
    "MMBench_made": ["index", "question", "hint", *"ABCD", "answer", "category", "image", "l2-category", "split"],
    "BLINK_made": ["index", "question", *"ABCD", "answer", "category", "image"],
    "SEEDBench_made": ["index", "image", "question", *"ABCD", "answer", "category"],
}
Row = dict[str, str]


def rows(name: str, questions: int = 40) -> Iterator[Row]:
    """The file's rows: every question, then its rotations, a million apart."""
    for number in range(questions):
        rng = keyed_rng("case", name, number)
        n = int(rng.choice(_OPTIONS[name]))
        texts = [str(word) for word in rng.choice(WORDS, n, replace=False)]
        right = int(rng.integers(n))
        category = str(rng.choice(_CATEGORIES[name]))
        for k in range(n):
            moved = [texts[(i + k) % n] for i in range(n)]
            yield {
                "index": str(number + k * 1_000_000),
                "question": f"Which word fits picture {number}?",
                "hint": "Look twice." if number % 3 == 0 else "",
                **{letter: moved[i] if i < n else "" for i, letter in enumerate("ABCD")},
                "answer": "ABCD"[(right - k) % n],
                "category": category,
                "l2-category": "perception" if category != "ocr" else "reasoning",
                "split": "dev",
                "image": _pictures(name, number) if k == 0 else str(number),
            }


def _pictures(name: str, number: int) -> str:
    """base64 of one picture, or of two in a list."""
    cells = []
    for i in range(2 if name == "BLINK_made" else 1):
        stream = io.BytesIO()
        values = keyed_rng("picture", name, number, i).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(values).save(stream, "PNG")
        cells.append(b64(stream.getvalue()))
    return cells[0] if len(cells) == 1 else json.dumps(cells).replace('"', "'")


def write(folder: Path, name: str) -> str:
    """The TSV of a case."""
    return write_tsv(folder / f"{name}.tsv", COLUMNS[name], *([row[c] for c in COLUMNS[name]] for row in rows(name)))


def reply(name: str, row: Row) -> str:
    """What an imagined model says to a row: nearly always right on easy questions, else anything."""
    number = int(row["index"]) % 1_000_000
    rng = keyed_rng("reply", name, int(row["index"]))
    letters = [letter for letter in "ABCD" if row[letter]]
    right = rng.random() < (0.99 if number % 2 else 0.6)
    letter = row["answer"] if right else str(rng.choice([x for x in letters if x != row["answer"]]))
    kind = rng.random()
    if kind < 0.02:
        return ""
    if kind < 0.05:
        return "I cannot tell from what is shown here."
    return f"<answer> {letter}. {row[letter]} </answer>" if kind < 0.4 else f"<answer> {letter} </answer>"
