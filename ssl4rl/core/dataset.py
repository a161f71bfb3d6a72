"""(tasks x sources x seed) -> examples by index, each a pure function of its key."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssl4rl.core.source import Split
from ssl4rl.core.task import Level, Task, keyed_rng
from ssl4rl.core.types import Example, Key, Score, Ssl4rlError, Unusable, VerifierFault
from ssl4rl.core.verify import Style, Verifier

MAX_ATTEMPTS = 64
"""Unusable draws in a row after which a source is declared unfit for a task."""


@dataclass(frozen=True)
class Component:
    """One task at one level on one part of a source, and its share of the mixture."""

    task: Task[Any]
    level: Level
    split: Split[Any]
    weight: float = 1.0

    @property
    def verifier(self) -> Verifier:
        return self.task.verifier_for(self.level.params)


class TaskDataset(Sequence[Example]):
    """Examples by index, the same on every machine, worker and rank, in whatever order they are asked for.

    Args:
        components: what is mixed; an index is given to one of them by its keyed generator, by weight.
        seed: another seed, other examples.
        size: the length; None is unbounded (iterate or index, but there is no `len`).
        style: the reply format asked for, "think" or "answer".
    """

    def __init__(
        self, components: Sequence[Component], seed: int = 0, size: int | None = None, style: Style = "think"
    ) -> None:
        if not components or min(c.weight for c in components) < 0 or sum(c.weight for c in components) <= 0:
            raise Ssl4rlError("a dataset needs at least one task, and weights >= 0 that are not all 0")
        if size is not None and size < 0:
            raise Ssl4rlError(f"size is {size}; allowed: 0 or more, or None for an unbounded dataset")
        self.components = tuple(components)
        self.seed, self.size, self.style = operator.index(seed), size, style
        total = sum(c.weight for c in components)
        self._shares = [c.weight / total for c in components]
        self._by_key = {(c.task.id, c.level.name): c for c in components}

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError("this dataset is unbounded (size=None); it has no length")
        return self.size

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices: an example at a time
        index = operator.index(index)  # numpy's integers too, whose key would otherwise not hash
        if self.size is not None and index < 0:
            index += self.size
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(f"index {index} outside a dataset of {self.size}")
        return self._make(self.pick(index), index)

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while self.size is None or index < self.size:
            yield self[index]
            index += 1

    def pick(self, index: int) -> Component:
        """The component that the example at `index` comes from."""
        if len(self.components) == 1:
            return self.components[0]
        return self.components[int(keyed_rng("mixture", self.seed, index).choice(len(self._shares), p=self._shares))]

    def _make(self, component: Component, index: int) -> Example:
        task, level, split = component.task, component.level, component.split
        rejected: list[dict[str, Any]] = []
        for attempt in range(MAX_ATTEMPTS):
            rng = keyed_rng(task.id, level.name, self.seed, index, attempt)
            chosen = split.draw(task.draws, self.seed, index, rng, attempt)
            ids = tuple(split.source.id(i) for i in chosen)
            try:
                items = [split.source[i] for i in chosen]
                example = task.make(items, level.params, rng)
            except Unusable as why:
                rejected.append({"sources": list(ids), "why": str(why)})
                continue
            key = Key(task.id, level.name, self.seed, index, attempt, ids)
            meta = {**example.meta, "rejected": rejected} if rejected else example.meta
            return replace(example, key=key, meta=meta)
        reasons = Counter(str(r["why"]) for r in rejected).most_common(3)
        raise Ssl4rlError(
            f"{task.name} found no usable example in {MAX_ATTEMPTS} draws from {split.source.uri} ({split.part}): "
            + ", ".join(f"{why} ({count}x)" for why, count in reasons)
        )

    def component_of(self, example: Example) -> Component:
        """The component an example came from, by its key.

        Raises:
            Ssl4rlError: the example is of another dataset.
        """
        key = example.key
        component = self._by_key.get((key.task, key.level)) if key else None
        if component is None:
            raise Ssl4rlError(f"example {key} is not of this dataset ({', '.join(t for t, _ in self._by_key)})")
        return component

    def remake(self, key: Key) -> Example:
        """The example that `key` names, made again.

        Raises:
            Ssl4rlError: another dataset's key, or the source's content is no longer the same.
        """
        component = self.pick(key.index)
        if (key.task, key.level, key.seed) != (component.task.id, component.level.name, self.seed):
            raise Ssl4rlError(f"example {key} is not of this dataset (seed {self.seed})")
        example = self._make(component, key.index)
        if example.key != key:
            raise Ssl4rlError(
                f"example {key} cannot be made again: the content of {component.split.source.uri} changed"
            )
        return example

    def ask(self, example: Example) -> str:
        """The sentences about the answer's form that end this example's prompt."""
        return self.component_of(example).verifier.ask(self.style)

    def score_answer(self, answer: str, example: Example, *, truncated: bool = False) -> Score:
        """The verdict on what a model replied.

        Raises:
            VerifierFault: the verifier itself raised; names the example's key.
        """
        verifier = self.component_of(example).verifier
        try:
            return verifier.score(answer, example, style=self.style, truncated=truncated)
        except Exception as error:
            raise VerifierFault(
                f"the verifier of example {example.key} raised {type(error).__name__}: {error}"
            ) from error

    def chance(self, example: Example) -> float:
        """Probability that a random valid answer to this example is correct."""
        return self.component_of(example).verifier.chance(example)
