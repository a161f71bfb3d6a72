"""Prompts in order, encoded, perhaps by worker processes: the data side of the loop.

An example is a pure function of its index, so workers change nothing but the speed, and a resumed run starts at the
index after the last one used.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.policy import Encoded, Encoder
from ssl4rl.core.types import Example, Ssl4rlError

_CHUNK = 16


@dataclass(frozen=True)
class Prompt:
    """An example and its tensors."""

    index: int
    example: Example
    encoded: Encoded


def encode(dataset: TaskDataset, encoder: Encoder, index: int) -> Prompt:
    """The prompt at `index` of the dataset."""
    example = dataset[index]
    return Prompt(index, example, encoder.encode(example, dataset.ask(example)))


class PromptStream:
    """Prompts of a dataset from `start` on. `take(n)` gives the next `n` that fit.

    Args:
        dataset: its examples, unbounded or not.
        encoder: makes the tensors.
        start: the first index.
        workers: processes that make and encode examples ahead of time; 0 does it when asked.
        max_tokens: a longer prompt is skipped and counted in `too_long`.
    """

    def __init__(
        self, dataset: TaskDataset, encoder: Encoder, *, start: int = 0, workers: int = 0, max_tokens: int | None = None
    ) -> None:
        self.next_index, self.too_long, self._max_tokens = start, 0, max_tokens
        self._prompts = _prompts(dataset, encoder, start, workers)

    def take(self, n: int) -> list[Prompt]:
        """The next `n` prompts; fewer at the end of a bounded dataset."""
        taken: list[Prompt] = []
        while len(taken) < n:
            prompt = next(self._prompts, None)
            if prompt is None:
                break
            self.next_index = prompt.index + 1
            if self._max_tokens is not None and len(prompt.encoded.prompt_ids) > self._max_tokens:
                self.too_long += 1
            else:
                taken.append(prompt)
        return taken


def _prompts(dataset: TaskDataset, encoder: Encoder, start: int, workers: int) -> Iterator[Prompt]:
    chunks = _Chunks(dataset, encoder, start)
    if not workers:
        for chunk in chunks:
            yield from chunk
        return
    loader = DataLoader(
        chunks,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        collate_fn=_as_is,
        worker_init_fn=_ignore_interrupt,
        generator=torch.Generator(),  # or opening it would move the global one, and with it dropout, on a resumed run
    )
    for chunk in loader:
        for prompt in chunk:
            tensors = {name: torch.from_numpy(array) for name, array in prompt.encoded.media.items()}
            yield replace(prompt, encoded=Encoded(torch.from_numpy(prompt.encoded.prompt_ids), tensors))


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the run wants to finish its step, and needs its workers for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_is(chunk: Any) -> Any:
    return chunk


class _Chunks(IterableDataset[list[Prompt]]):
    """Runs of prompts in order. Worker w of W makes every W-th run; the loader takes them in turn, so order holds."""

    def __init__(self, dataset: TaskDataset, encoder: Encoder, start: int) -> None:
        self.dataset, self.encoder, self.start = dataset, encoder, start

    def __iter__(self) -> Iterator[list[Prompt]]:
        worker = get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker else (0, 1)
        size = _CHUNK if worker else 1
        first = self.start + number * size
        while self.dataset.size is None or first < self.dataset.size:
            end = first + size if self.dataset.size is None else min(first + size, self.dataset.size)
            chunk = [encode(self.dataset, self.encoder, index) for index in range(first, end)]
            yield [_packed(prompt) for prompt in chunk] if worker else chunk
            first += of * size


def _packed(prompt: Prompt) -> Any:
    """Arrays instead of tensors: they cross a pipe as bytes, without a shared-memory file each."""
    arrays: Any = {name: tensor.numpy() for name, tensor in prompt.encoded.media.items()}
    ids: Any = prompt.encoded.prompt_ids.numpy()
    return replace(prompt, encoded=Encoded(ids, arrays))


def check_lengths(dataset: TaskDataset, encoder: Encoder, max_tokens: int, n: int = 64) -> int:
    """The longest of the first `n` prompts, in tokens.

    Raises:
        Ssl4rlError: some are longer than `max_tokens`; they are counted, and none is ever cut.
    """
    n = n if dataset.size is None else min(n, dataset.size)
    lengths = [len(encode(dataset, encoder, index).encoded.prompt_ids) for index in range(n)]
    over = sum(length > max_tokens for length in lengths)
    if over:
        raise Ssl4rlError(
            f"{over} of the first {n} prompts are longer than prompt.max_tokens={max_tokens} (the longest has "
            f"{max(lengths)} tokens); raise it, or make the pictures smaller with the level's image_px"
        )
    return max(lengths)
