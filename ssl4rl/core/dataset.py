"""(tasks x sources x seed) -> examples by index, each a pure function of its key."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from ssl4rl.core.source import Split
from ssl4rl.core.task import Level, Task, keyed_rng
from ssl4rl.core.types import Example, Key, Media, Score, Ssl4rlError, Unusable, VerifierFault
from ssl4rl.core.verify import Style, Verifier
from ssl4rl.core.verify.made import refuse
from ssl4rl.core.verify.several import join

MAX_ATTEMPTS = 64
"""Unusable draws in a row after which a source is declared unfit for a task."""


_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio
_FULL = 1 << 64


@dataclass(frozen=True)
class Component:
    """One task at one level on one part of a source, and its share of the mixture.

    `entry`: which line of the mixture it comes from; the levels of one line share it, in order from easy to hard.
    `named`: how the task was named, "vision/rotation" or "./my.py:TASKS".
    """

    task: Task[Any]
    level: Level
    split: Split[Any]
    weight: float = 1.0
    entry: int = 0
    named: str = ""

    @property
    def name(self) -> str:
        """ "task@version[level]", as reports call it."""
        return f"{self.task.id}[{self.level.name}]"

    @property
    def verifier(self) -> Verifier:
        return self.task.verifier_at(self.level)


class TaskDataset(Sequence[Example]):
    """Examples by index, the same on every machine, worker and rank, in whatever order they are asked for.

    Args:
        components: what is mixed; each index is given to one of them, by weight.
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
        self._weights = [c.weight for c in components]
        self._start = int(keyed_rng("mixture", self.seed).integers(_FULL, dtype=np.uint64))
        self._by_key: dict[tuple[str, str], list[Component]] = {}
        for c in components:
            self._by_key.setdefault((c.task.id, c.level.name), []).append(c)

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError("this dataset is unbounded (size=None); it has no length")
        return self.size

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """The example at an index, or a list of those in a slice; an unbounded dataset's slice needs an end."""
        if isinstance(index, slice):
            return [self[i] for i in self._indices(index)]
        index = operator.index(index)  # numpy's integers too, whose key would otherwise not hash
        if self.size is not None and index < 0:
            index += self.size
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(f"index {index} outside a dataset of {self.size}")
        return self._make(self.components[self.pick(index)], index)

    def _indices(self, part: slice) -> range:
        if self.size is not None:
            return range(*part.indices(self.size))
        start, stop, step = part.start or 0, part.stop, 1 if part.step is None else part.step
        if stop is None or min(start, stop) < 0 or step < 1:
            raise IndexError(
                f"{part} of a dataset without a length (size=None); allowed: from 0 on, forwards, to an end"
            )
        return range(start, stop, step)

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while self.size is None or index < self.size:
            yield self[index]
            index += 1

    def pick(self, index: int, weights: Sequence[float] | None = None) -> int:
        """Which component (its position) the example at `index` comes from.

        Args:
            index: the example's.
            weights: of the components, in place of their own; at least one above 0.

        Returns:
            A position in `components`. Indices next to each other are spread evenly (a golden-ratio sequence, started
            by the seed), so a batch holds every component's share to within one example or two.
        """
        weights = self._weights if weights is None else weights
        whole = float(sum(weights))
        at = whole * ((self._start + index * _GOLDEN) % _FULL / _FULL)
        reached = 0.0
        for position, weight in enumerate(weights):
            reached += weight
            if at < reached:
                return position
        return max(position for position, weight in enumerate(weights) if weight > 0)  # rounding at the very end

    def at(self, index: int, component: int) -> Example:
        """The example that component number `component` makes at `index`, whatever the weights.

        With weights that move, what `index` holds is a function of the weights in force; this is the pure part.
        """
        return self._make(self.components[component], index)

    def _make(self, component: Component, index: int) -> Example:
        n = component.level.questions
        asked: list[Example] = []
        sources: list[str] = []
        rejected: list[dict[str, Any]] = []
        for number in range(index * n, index * n + n):
            example, chosen, unusable = self._question(component, number)
            asked.append(example)
            sources += [component.split.source.id(i) for i in chosen]
            rejected += unusable
        example = asked[0] if n == 1 else join(asked)
        key = Key(component.task.id, component.level.name, self.seed, index, len(rejected), tuple(sources))
        meta = {**example.meta, "rejected": rejected} if rejected else example.meta
        return replace(example, key=key, meta=meta)

    def _question(self, component: Component, number: int) -> tuple[Example, list[int], list[dict[str, Any]]]:
        """Question `number` of a component, without a key; its items; the draws before it that were unusable."""
        task, level, split = component.task, component.level, component.split
        rejected: list[dict[str, Any]] = []
        for attempt in range(MAX_ATTEMPTS):
            rng = keyed_rng(task.id, level.name, self.seed, number, attempt)
            chosen = split.draw(task.draws, self.seed, number, rng, attempt)
            ids = [split.source.id(i) for i in chosen]
            try:
                items = [split.source[i] for i in chosen]
                made = task.make(items, level.params, rng)
            except Unusable as why:
                rejected.append({"sources": ids, "why": str(why)})
                continue
            verifier = task.verifier_for(level.params)
            _require(task, made, verifier)
            notes = verifier.notes(made)
            return replace(made, meta={**made.meta, **notes}) if notes else made, chosen, rejected
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
        components = self._by_key.get((key.task, key.level), []) if key else []
        if not components:
            raise Ssl4rlError(f"example {key} is not of this dataset ({', '.join(t for t, _ in self._by_key)})")
        return components[0]

    def remake(self, key: Key) -> Example:
        """The example that `key` names, made again: its task and level say from which component.

        Raises:
            Ssl4rlError: another dataset's key, or the source's content is no longer the same.
        """
        components = self._by_key.get((key.task, key.level), [])
        if not components or key.seed != self.seed:
            raise Ssl4rlError(f"example {key} is not of this dataset (seed {self.seed})")
        for component in components:
            example = self._make(component, key.index)
            if example.key == key:
                return example
        raise Ssl4rlError(
            f"example {key} cannot be made again: the content of {components[0].split.source.uri} changed"
        )

    def names(self, example: Example) -> tuple[str, ...]:
        """What the items of an example are called (`Source.name`), in the order of its key's sources.

        The example is made again for it.

        Raises:
            Ssl4rlError: it is of another dataset, or the source's content is no longer the same.
        """
        component, key = self.component_of(example), example.key
        assert key is not None
        for component in self._by_key[key.task, key.level]:
            source, n = component.split.source, component.level.questions
            asked = (self._question(component, number) for number in range(key.index * n, key.index * n + n))
            items = [i for _, chosen, _ in asked for i in chosen]
            if tuple(source.id(i) for i in items) == key.sources:
                return tuple(source.name(i) for i in items)
        raise Ssl4rlError(f"example {key} cannot be made again: the content of {component.split.source.uri} changed")

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

    def expected(self, example: Example) -> float:
        """Mean accuracy of the best guess at this example, partial credit included."""
        return self.component_of(example).verifier.expected(example)


def _require(task: Task[Any], made: Any, verifier: Verifier) -> None:
    """Raises Ssl4rlError where a task made something that cannot be asked or scored; names the task."""
    try:
        if not isinstance(made, Example):
            refuse("what make() returned", made, "an Example")
        if isinstance(made.prompt, str) or not all(isinstance(part, (str, Media)) for part in made.prompt):
            refuse("prompt", made.prompt, "a tuple of texts and Media")
        verifier.require(made)
    except Ssl4rlError as error:
        raise Ssl4rlError(f"{task.name} made an example that cannot be scored: {error}") from error
