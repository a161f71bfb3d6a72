"""Sampled rollouts for people: prompts made again from their keys, completions as they were written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import open_recipe
from ssl4rl.core.recipe import make_recipe
from ssl4rl.core.types import VERDICTS, Key, Ssl4rlError
from ssl4rl.tools.catalogue import show_chance
from ssl4rl.tools.page import blocks, drawings, visible
from ssl4rl.tools.run_log import LoggedRollout, Run, number, pick_rollouts

_STAGES = {1: ("Sampled",), 2: ("Early", "Late"), 3: ("Early", "Middle", "Late")}


@dataclass(frozen=True)
class Completion:
    """What a policy wrote, and how many of the group wrote the same."""

    text: str
    verdict: str
    reward: str
    tokens: str
    times: int


@dataclass(frozen=True)
class Card:
    """One prompt and its group. `blocks` is None where the prompt cannot be made again."""

    key: str
    sources: Sequence[str]
    blocks: list[dict[str, Any]] | None
    drawings: Sequence[str]
    ask: str
    answer: str
    chance: str
    completions: Sequence[Completion]


@dataclass(frozen=True)
class Stage:
    """Cards of one step; `step` counts GRPO steps."""

    name: str
    step: int
    cards: Sequence[Card]


def stages(run: Run) -> tuple[list[Stage], str]:
    """Rollouts from early, middle and late in a run, and a line that says why pictures are missing, if they are."""
    groups = pick_rollouts(run.folder)
    if not groups:
        return [], ""
    maker = _Maker(run)
    found = [
        Stage(name, group[0].step - run.warmup_steps, [maker.card(rollout) for rollout in group])
        for name, group in zip(_STAGES[len(groups)], groups, strict=True)
    ]
    return found, maker.problem


class _Maker:
    """Makes prompts again; the first thing that hinders it is kept in `problem`."""

    def __init__(self, run: Run) -> None:
        self.problem = ""
        self._data: TaskDataset | None = None
        self._plugins: dict[str, registry.Plugin] = {}
        try:
            recipe = make_recipe(run.recipe)
            self._data, _ = open_recipe(recipe)
            for spec in recipe.tasks:
                task, plugin = registry.resolve(spec.task)
                self._plugins[task.id] = plugin
        except Ssl4rlError as error:
            self.problem = str(error)

    def card(self, rollout: LoggedRollout) -> Card:
        record = rollout.record
        completions = _completions(record.get("completions"))
        try:
            key = Key.from_json(record["key"])
        except (KeyError, TypeError):
            self.problem = self.problem or "a rollout was logged without its key"
            return Card("", (), None, (), "", _plain(record.get("answer")), "", completions)
        try:
            if self._data is None:
                raise Ssl4rlError(self.problem)
            example = self._data.remake(key)
            if json.loads(json.dumps(example.answer)) != record.get("answer"):
                raise Ssl4rlError(f"example {key} has another answer today: its task changed since")
        except Ssl4rlError as error:
            self.problem = self.problem or str(error)
            return Card(str(key), key.sources, None, (), "", _plain(record.get("answer")), "", completions)
        return Card(
            key=str(key),
            sources=key.sources,
            blocks=list(blocks(example, self._plugins[key.task])),
            drawings=drawings(example, self._plugins[key.task]),
            ask=self._data.ask(example),
            answer=self._data.component_of(example).verifier.render(example.answer),
            chance=show_chance(self._data.chance(example)),
            completions=completions,
        )


def _plain(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer)


def _completions(records: Any) -> list[Completion]:
    """Equal ones once, in the order of sampling."""
    times: dict[tuple[str, str, str, str], int] = {}
    for record in records if isinstance(records, list) else ():
        if isinstance(record, Mapping):
            verdict = record.get("verdict")
            reward, tokens = number(record.get("reward")), number(record.get("tokens"))
            same = (
                visible(str(record.get("text", ""))),
                verdict if verdict in VERDICTS else "unparsed",
                f"{reward if reward is not None else math.nan:.2f}",
                f"{tokens:.0f}" if tokens is not None else "",
            )
            times[same] = times.get(same, 0) + 1
    return [Completion(*same, count) for same, count in times.items()]
