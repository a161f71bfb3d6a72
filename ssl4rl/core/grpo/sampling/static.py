"""Decoding in steps of one shape, so that a GPU can replay them as CUDA graphs.

A step of `Cascade` launches some hundred kernels from Python, and a small model on a GPU spends its time waiting for
the next. `StaticCascade` does the same sums on memory of a fixed size: what changes from token to token (tokens,
positions, how many there are) lies in tensors, so one recorded graph does for many tokens. Shapes change when the
rows' memory doubles, and then a new graph is recorded; rows that have ended are dropped there and nowhere else, and
completions that begin alike are not computed together.

On other devices the same step runs without a graph, which is how it is tested.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ssl4rl.core.grpo.sampling.cascade import Cascade, attended

FIRST_ROOM = 32  # tokens that a row's memory starts with
WARM_UP = 2  # steps before one is recorded: libraries choose their kernels, autocast casts the weights


class StaticCascade(Cascade):
    """A `Cascade` whose `step` has the same shapes, and reads and writes the same memory, until its rows are chosen
    anew (`select`) or their memory is full and doubles."""

    def __init__(self, prompts: Sequence[tuple[Tensor, Tensor]], seen_PL: Tensor | None) -> None:
        super().__init__(prompts, seen_PL)
        device = self.device
        self.room = FIRST_ROOM
        self._now_1 = torch.zeros(1, dtype=torch.long, device=device)  # the place of the token that a step adds
        self._place_T = torch.arange(self.room, device=device)
        self._later_T = torch.zeros(self.room, dtype=torch.bool, device=device)
        self._run: Replayed | None = None

    @property
    def full(self) -> bool:
        """Whether the next step doubles the rows' memory: the time to drop rows, since shapes change anyway."""
        return self._tokens == self.room

    def select(self, parent_R: Tensor) -> None:
        """As `Cascade.select`. The memory of tokens to come is zero: their weight is, and 0 x anything must be 0."""
        super().select(parent_R)
        self.remember(self.room)

    def join(self, other: Cascade, prompts: int) -> None:
        """As `Cascade.join`; another step is to be recorded."""
        super().join(other, prompts)
        self._run = None

    def skip(self, tokens: int) -> None:
        """As `Cascade.skip`."""
        super().skip(tokens)
        rows = next(rows for rows in self._rows if rows is not None)
        self.room, self._run = rows[0].shape[3], None
        self._place_T = torch.arange(self.room, device=self._now_1.device)
        self._later_T = self._place_T >= self._tokens

    def remember(self, room: int) -> None:
        """Memory of `room` tokens a row, with those that there are; another step is to be recorded."""
        t = self._tokens
        for layer, rows in enumerate(self._rows):
            if rows is not None:
                (R, K, D, _), Dv = rows[0].shape, rows[1].shape[3]
                grown = rows[0].new_zeros(R, K, D, room), rows[1].new_zeros(R, K, room, Dv)
                grown[0][..., :t], grown[1][:, :, :t] = rows[0][..., :t], rows[1][:, :, :t]
                self._rows[layer] = grown
        self.room, self._run = room, None
        self._place_T = torch.arange(room, device=self._now_1.device)
        self._later_T = self._place_T >= t

    def update(self, key_RK1D: Tensor, value_RK1D: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Writes a token to every row where `step` says. Returns the whole memory [R, K, T, D]."""
        key_RK1D, value_RK1D = attended(key_RK1D), attended(value_RK1D)
        rows = self._rows[layer_idx]
        if rows is None:
            (R, K), D = key_RK1D.shape[:2], key_RK1D.shape[3]
            rows = key_RK1D.new_zeros(R, K, D, self.room), value_RK1D.new_zeros(R, K, self.room, value_RK1D.shape[3])
            self._rows[layer_idx] = rows
        rows[0].index_copy_(3, self._now_1, key_RK1D.mT)
        rows[1].index_copy_(2, self._now_1, value_RK1D)
        return rows[0].mT, rows[1]

    def _hide(self, score_PKMQS: Tensor, prompt_tokens: int) -> None:
        super()._hide(score_PKMQS, prompt_tokens)
        score_PKMQS[..., prompt_tokens:].masked_fill_(self._later_T, -torch.inf)

    def step(self, model: PreTrainedModel, token_R: Tensor, position_AR: Tensor) -> Tensor:
        """As `Cascade.step`. The logits [R, V] are overwritten by the next step."""
        if self.full:
            self.remember(2 * self.room)
        if self._run is None:
            self._token_R, self._position_AR = token_R.clone(), position_AR.clone()
            self._run = Replayed(token_R.device)
        self._token_R.copy_(token_R)
        self._position_AR.copy_(position_AR)
        self._now_1.fill_(self._tokens)
        logits_RV = self._run(lambda: self._step(model))
        self._tokens += 1
        return logits_RV

    def _step(self, model: PreTrainedModel) -> Tensor:
        """What is recorded: nothing here waits for the GPU, or depends on a number outside a tensor."""
        torch.gt(self._place_T, self._now_1, out=self._later_T)
        return self._logits(model, self._token_R, self._position_AR)


class Replayed:
    """Calls what it is given, the same each time; on a GPU, after `WARM_UP` calls, replays a CUDA graph of it instead.

    `run` takes its inputs from tensors that stay where they are, and a replay writes the same output again. Where it
    cannot be recorded a warning says so, and it goes on being called. Nothing of `run` is kept, which may hold much.
    """

    def __init__(self, device: torch.device) -> None:
        self._calls, self._device = 0, device
        self._record = device.type == "cuda"
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, run: Callable[[], Tensor]) -> Tensor:
        if self._replay is not None:
            return self._replay()
        if not self._record:
            return run()
        self._calls += 1
        if self._calls <= WARM_UP:
            return aside(run, self._device)
        try:
            self._replay = recorded(run, self._device)
        except RuntimeError as error:
            self._record = False
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            warnings.warn(f"decoding runs without a CUDA graph, kernel by kernel: {reason}", RuntimeWarning, 2)
            return run()
        return self._replay()


def aside(run: Callable[[], Tensor], device: torch.device) -> Tensor:
    """What `run` returns, computed on a stream of its own as PyTorch asks for before recording."""
    here = torch.cuda.current_stream(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        out = run()
    here.wait_stream(stream)
    out.record_stream(here)
    return out


def recorded(run: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """`run` as a CUDA graph, not yet run. Other threads (nccl's watchdog) may use the GPU meanwhile.

    The stream decides what is recorded: with one of another device `run` would just run, and its replay do nothing.
    """
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        out = run()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay
