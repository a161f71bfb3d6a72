"""A look at a task's examples (`ssl4rl preview`, `ssl4rl.preview`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.source import Part, Problem
from ssl4rl.core.task import Level, Task
from ssl4rl.core.types import Example, Media, Score
from ssl4rl.core.verify import Style, Verifier
from ssl4rl.tools.asked import Place, at_least
from ssl4rl.tools.catalogue import card, paragraphs, show_chance, summary, usual_chance
from ssl4rl.tools.page import blocks, drawings, template
from ssl4rl.tools.preview.replies import lookup, sample_replies
from ssl4rl.tools.shown import Shown


@dataclass(frozen=True, repr=False)
class Preview(Shown):
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

    def to_json(self) -> dict[str, Any]:
        examples = [
            {
                "key": example.key.to_json() if example.key else None,
                "names": list(self.data.names(example)),
                "prompt": prompt_text(self, example),
                "answer": example.answer,
                "accepted": list(example.accepted),
                "chance": self.data.chance(example),
                "expected": self.verifier.expected(example),
                "image_sizes": image_sizes(example),
                "digest": example.digest(),
                "rejected": example.meta.get("rejected", []),
            }
            for example in self.examples
        ]
        return {
            "task": self.task.name,
            "version": self.task.version,
            "level": self.level.name,
            "params": dict(self.level.params),
            "data": self.uri,
            "taken": self.taken,
            "split": self.split,
            "seed": self.data.seed,
            "style": self.data.style,
            "examples": examples,
            "unusable_draws": dict(self.rejected),
            "problems": [{"name": problem.name, "why": problem.why} for problem in self.problems],
        }

    def __str__(self) -> str:
        found = [f"{self.task.id}  {self.level.name}  {self.uri} ({self.split}), seed {self.data.seed}"]
        found += [f"taken: {self.taken}"] if self.taken else []
        for number, example in enumerate(self.examples, start=1):
            sources = ", ".join(_sources(self, example))
            parts = [part if isinstance(part, str) else _label(part, self) for part in example.prompt]
            parts.append(f"\n{self.data.ask(example)}")
            answer = f"answer: {self.verifier.render(example.answer)}   chance: "
            found.append(f"[{number}] {sources}\n{''.join(parts)}\n{answer}{show_chance(self.data.chance(example))}")
        if self.rejected:
            found.append(f"unusable draws: {', '.join(f'{why} ({n}x)' for why, n in self.rejected.most_common())}")
        if self.problems:
            found.append(f"unusable items: {', '.join(f'{p.name} ({p.why})' for p in self.problems)}")
        return "\n\n".join(found)

    def page(self) -> str:
        levels = [self.task.level(name) for name in self.task.levels]
        return template("preview/preview.html.jinja").render(
            preview=self,
            summary=summary(self.task),
            card=paragraphs(card(self.task)),
            levels=[(level, show_chance(usual_chance(self.task.verifier_at(level)))) for level in levels],
            examples=[_example(self, example) for example in self.examples],
            draws=len(self.examples) + self.rejected.total(),
        )


def preview(
    task: str,
    data: Place | None = None,
    level: str | None = None,
    *,
    n: int = 8,
    seed: int = 0,
    split: Part = "train",
    style: Style = "think",
) -> Preview:
    """The first `n` examples of a task as a model is asked them, with answers, and with replies and their verdicts.

    Args:
        task: "vision/rotation", or a file's, "./my.py:TASKS".
        data: a folder or another source's URI; None is the task's own.
        level: a level, perhaps with parameters: "90deg,image_px=64"; None is the easiest.
        split: "train", "held_out" or "all".
        style: the reply format asked for, "think" or "answer".

    Raises:
        Ssl4rlError: an unknown name, a source that cannot be read, or no usable example in it.
    """
    at_least(1, n=n)
    dataset = create_dataset(task, data, size=n, seed=seed, level=level, split=split, style=style)
    return Preview(dataset, tuple(dataset), registry.resolve(task)[1])


def image_sizes(example: Example) -> list[list[int]]:
    """[width, height] in pixels of each picture, in the order of the prompt; a clip's frames one by one."""
    return [list(picture.size) for picture in example.pictures]


def prompt_text(preview: Preview, example: Example) -> str:
    """The whole prompt as text, "<image>" in each picture's place, with the sentences about the answer's form."""
    return f"{example.text()}\n{preview.data.ask(example)}"


def _label(media: Media, preview: Preview) -> str:
    look = registry.shown(media, preview.plugin)
    return f"\n{look}\n" if isinstance(look, str) else f"<{media.kind} {look.width}x{look.height}>"


def _sources(preview: Preview, example: Example) -> list[str]:
    """The items of an example by name and content id, "cat.jpg (7efeb3742237fea0)"."""
    ids = example.key.sources if example.key else ()
    names = [name if name.isprintable() else ascii(name) for name in preview.data.names(example)]
    return [f"{name} ({identity})" if name else identity for name, identity in zip(names, ids, strict=True)]


def _example(preview: Preview, example: Example) -> dict[str, Any]:
    replies = sample_replies(preview.data, example)
    known: list[tuple[str | None, str | None, Score]] = [(reply.text, reply.inner, reply.score) for reply in replies]
    known += [(None, text, score) for text, score in lookup(preview.data, example)]
    return {
        "key": str(example.key),
        "sources": _sources(preview, example),
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
