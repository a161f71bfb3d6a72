"""A look at a task's examples: as text or JSON here, as a page in `preview_page`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.source import Part, Problem
from ssl4rl.core.task import Level, Task
from ssl4rl.core.types import Example, Media
from ssl4rl.core.verify import Style, Verifier
from ssl4rl.tools.catalogue import show_chance


@dataclass(frozen=True)
class Preview:
    """Examples of one task at one level, and where they came from."""

    data: TaskDataset
    examples: tuple[Example, ...]
    plugin: registry.Plugin

    @property
    def task(self) -> Task[Any]:
        return self.data.components[0].task

    @property
    def level(self) -> Level:
        return self.data.components[0].level

    @property
    def verifier(self) -> Verifier:
        return self.data.components[0].verifier

    @property
    def uri(self) -> str:
        return self.data.components[0].split.source.uri

    @property
    def split(self) -> Part:
        return self.data.components[0].split.part

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the source found unusable when it was opened."""
        return tuple(self.data.components[0].split.source.problems)

    @property
    def taken(self) -> str:
        """What the source read and how, in one line; "": it has nothing to say."""
        return self.data.components[0].split.source.taken

    @property
    def rejected(self) -> Counter[str]:
        """The draws that gave no example: reason -> how often."""
        return Counter(str(draw["why"]) for example in self.examples for draw in example.meta.get("rejected", ()))


def collect(
    task: str,
    data: str | None = None,
    level: str | None = None,
    n: int = 8,
    seed: int = 0,
    split: Part = "train",
    style: Style = "think",
) -> Preview:
    """The first `n` examples of a task.

    Raises:
        Ssl4rlError: anything the caller can mend.
    """
    dataset = create_dataset(task, data, size=n, seed=seed, level=level, split=split, style=style)
    _, plugin = registry.resolve(task)
    return Preview(dataset, tuple(dataset), plugin)


def image_sizes(example: Example) -> list[list[int]]:
    """[width, height] in pixels of each picture, in the order of the prompt."""
    return [list(media.data.size) for media in example.media if media.kind == "image"]


def prompt_text(preview: Preview, example: Example) -> str:
    """The whole prompt as text, "<image>" in each picture's place, with the sentences about the answer's form."""
    return f"{example.text()}\n{preview.data.ask(example)}"


def to_json(preview: Preview) -> str:
    examples = [
        {
            "key": example.key.to_json() if example.key else None,
            "prompt": prompt_text(preview, example),
            "answer": example.answer,
            "accepted": list(example.accepted),
            "chance": preview.data.chance(example),
            "expected": preview.verifier.expected(example),
            "image_sizes": image_sizes(example),
            "digest": example.digest(),
            "rejected": example.meta.get("rejected", []),
        }
        for example in preview.examples
    ]
    record = {
        "task": preview.task.name,
        "version": preview.task.version,
        "level": preview.level.name,
        "params": dict(preview.level.params),
        "data": preview.uri,
        "taken": preview.taken,
        "split": preview.split,
        "seed": preview.data.seed,
        "style": preview.data.style,
        "examples": examples,
        "unusable_draws": dict(preview.rejected),
        "problems": [{"name": problem.name, "why": problem.why} for problem in preview.problems],
    }
    return json.dumps(record, indent=2, ensure_ascii=False)


def to_text(preview: Preview) -> str:
    blocks = [f"{preview.task.id}  {preview.level.name}  {preview.uri} ({preview.split}), seed {preview.data.seed}"]
    blocks += [f"taken: {preview.taken}"] if preview.taken else []
    for number, example in enumerate(preview.examples, start=1):
        sources = ", ".join(example.key.sources) if example.key else ""
        parts = [part if isinstance(part, str) else _label(part, preview) for part in example.prompt]
        parts.append(f"\n{preview.data.ask(example)}")
        answer = f"answer: {preview.verifier.render(example.answer)}   chance: "
        blocks.append(f"[{number}] {sources}\n{''.join(parts)}\n{answer}{show_chance(preview.data.chance(example))}")
    if preview.rejected:
        blocks.append(f"unusable draws: {', '.join(f'{why} ({n}x)' for why, n in preview.rejected.most_common())}")
    if preview.problems:
        blocks.append(f"unusable items: {', '.join(f'{p.name} ({p.why})' for p in preview.problems)}")
    return "\n\n".join(blocks)


def _label(media: Media, preview: Preview) -> str:
    look = registry.shown(media, preview.plugin)
    return f"\n{look}\n" if isinstance(look, str) else f"<{media.kind} {look.width}x{look.height}>"
