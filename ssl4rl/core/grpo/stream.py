"""Prompts in order, encoded, perhaps by worker processes: the data side of the loop.

An example is a pure function of its index and of the component that makes it, and the component one of the index and
of the weights in force. So workers change nothing but the speed, and a resumed run starts at the index after the last
one used.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Encoded, Encoder
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.workers import starting, tie
from ssl4rl.core.types import Example, Ssl4rlError

_CHUNK = 16


@dataclass(frozen=True)
class Prompt:
    """An example and its tensors; `component` is the position in the dataset of what made it."""

    index: int
    example: Example
    encoded: Encoded
    component: int = 0


def encode(dataset: TaskDataset, encoder: Encoder, index: int, component: int | None = None) -> Prompt:
    """The prompt at `index` of the dataset; None is the component that the dataset's own weights give it."""
    component = dataset.pick(index) if component is None else component
    example = dataset.at(index, component)
    return Prompt(index, example, encoder.encode(example, dataset.ask(example)), component)


class PromptStream:
    """Prompts of a dataset from `start` on. `take(n)` gives the next `n` that fit.

    Args:
        dataset: its examples, unbounded or not.
        encoder: makes the tensors.
        start: the first index.
        workers: processes that make and encode examples ahead of time; 0 does it when asked.
        max_tokens: a longer prompt is skipped and counted in `too_long`.
        ranks: processes that share the prompts by their index; `take` then gives this one's part, and all must call it.
        weights: of the dataset's components, in place of its own. They may be set anew between two calls of `take`;
            what was made ahead for a component that an index then no longer falls to is made again.
    """

    def __init__(
        self,
        dataset: TaskDataset,
        encoder: Encoder,
        *,
        start: int = 0,
        workers: int = 0,
        max_tokens: int | None = None,
        weights: Sequence[float] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.next_index, self.too_long, self.taken, self.weights = start, 0, 0, weights
        self._ranks = ranks
        self._dataset, self._encoder, self._max_tokens = dataset, encoder, max_tokens
        self._prompts = self._ahead(start, workers) if workers else self._when_asked(start)

    def take(self, n: int) -> list[Prompt]:
        """The next `n` prompts, those of all ranks together; fewer at the end of a bounded dataset."""
        mine: list[Prompt] = []
        while n > 0:
            bound = self._dataset.size
            last = self.next_index + n if bound is None else min(self.next_index + n, bound)
            indices = range(self.next_index, last)
            if not indices:
                break
            found = [self._draw() for index in indices if self._ranks.own(index)]
            fits = [p for p in found if self._max_tokens is None or len(p.encoded.prompt_ids) <= self._max_tokens]
            (too_long,) = self._ranks.sums([len(found) - len(fits)]) if self._max_tokens is not None else (0,)
            self.next_index = last
            self.too_long += int(too_long)
            self.taken += len(indices) - int(too_long)
            n -= len(indices) - int(too_long)
            mine += fits
        return mine

    def close(self) -> None:
        """Ends the workers now. Else they last until Python collects this, which may be in a later worker's memory."""
        self._prompts.close()

    def _draw(self) -> Prompt:
        """This rank's next prompt, of the component that its index falls to now."""
        prompt = next(self._prompts)
        component = self._dataset.pick(prompt.index, self.weights)
        if component == prompt.component:
            return prompt
        return encode(self._dataset, self._encoder, prompt.index, component)

    def _plan(self, start: int, size: int) -> Iterator[list[tuple[int, int]]]:
        """Runs of `size` of this rank's indices with the components that they fall to by the weights of the moment."""
        bound, step = self._dataset.size, self._ranks.size
        start += (self._ranks.rank - start) % step
        while bound is None or start < bound:
            end = start + size * step if bound is None else min(start + size * step, bound)
            yield [(index, self._dataset.pick(index, self.weights)) for index in range(start, end, step)]
            start += size * step

    def _when_asked(self, start: int) -> Generator[Prompt, None, None]:
        for ((index, component),) in self._plan(start, 1):
            yield encode(self._dataset, self._encoder, index, component)

    def _ahead(self, start: int, workers: int) -> Generator[Prompt, None, None]:
        loader = DataLoader(
            _Runs(self._dataset, self._encoder),
            sampler=self._plan(start, _CHUNK),  # runs here, a few chunks before their prompts are taken
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4,
            collate_fn=_as_is,
            worker_init_fn=tie,
            # or opening it would move the global one, and with it dropout, on a resumed run
            generator=torch.Generator(),
        )
        with starting():
            chunks = iter(loader)
        for chunk in chunks:
            for prompt in chunk:
                tensors = {name: torch.from_numpy(array) for name, array in prompt.encoded.media.items()}
                ids = torch.from_numpy(prompt.encoded.prompt_ids)
                yield replace(prompt, encoded=Encoded(ids, tensors, prompt.encoded.asked))


def _as_is(chunk: Any) -> Any:
    return chunk


class _Runs(Dataset[list[Prompt]]):
    """What a worker holds: runs of (index, component) in, prompts out."""

    def __init__(self, dataset: TaskDataset, encoder: Encoder) -> None:
        self.dataset, self.encoder = dataset, encoder

    def __getitem__(self, run: Any) -> list[Prompt]:
        return [_packed(encode(self.dataset, self.encoder, index, component)) for index, component in run]


def _packed(prompt: Prompt) -> Any:
    """Arrays instead of tensors: they cross a pipe as bytes, without a shared-memory file each."""
    arrays: Any = {name: tensor.numpy() for name, tensor in prompt.encoded.media.items()}
    ids: Any = prompt.encoded.prompt_ids.numpy()
    return replace(prompt, encoded=Encoded(ids, arrays, prompt.encoded.asked))


def check_lengths(dataset: TaskDataset, encoder: Encoder, max_tokens: int, n: int = 64) -> int:
    """The longest of the first `n` prompts, in tokens.

    Raises:
        Ssl4rlError: some are longer than `max_tokens`; they are counted, and none is ever cut.
    """
    prompts = first_prompts(dataset, encoder, n)
    n, lengths = len(prompts), [len(prompt.encoded.prompt_ids) for prompt in prompts]
    over = sum(length > max_tokens for length in lengths)
    if over:
        raise Ssl4rlError(
            f"{over} of the first {n} prompts are longer than prompt.max_tokens={max_tokens} (the longest has "
            f"{max(lengths)} tokens); raise it, or make the pictures smaller with the level's image_px"
        )
    return max(lengths)


def first_prompts(dataset: TaskDataset, encoder: Encoder, n: int) -> list[Prompt]:
    """The first `n` prompts, each of the dataset's components in turn, those that weigh nothing yet too."""
    n = n if dataset.size is None else min(n, dataset.size)
    parts = len(dataset.components)
    return [encode(dataset, encoder, index, index % parts) for index in range(n)]
