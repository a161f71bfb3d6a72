"""Prompts come in order, whoever makes them; none is cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Encoder
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.stream import Prompt, PromptStream, check_lengths, encode
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.embedded.models import SHAPES, processor
from tests.fakes import FAKES

# torch counts this machine's cores
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

LEVEL = "90deg,original=false,image_px=32"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(processor(SHAPES["tiny_vlm"]), text_only=False)


Streams = Callable[..., PromptStream]


@pytest.fixture
def open_stream(encoder: Encoder) -> Iterator[Streams]:
    """Opens streams, and closes them behind the test.

    One that is left to the garbage collector makes whatever test runs by then wait 5 s for each of its workers.
    """
    with ExitStack() as stack:
        yield lambda dataset, **options: stack.enter_context(closing(PromptStream(dataset, encoder, **options)))


def scenes(size: int | None = None) -> TaskDataset:
    return create_dataset("vision/rotation", "scenes:", level=LEVEL, size=size, style="answer")


def content(prompts: list[Prompt]) -> list[tuple[int, str, list[int], bytes]]:
    return [
        (
            prompt.index,
            str(prompt.example.key),
            prompt.encoded.prompt_ids.tolist(),
            prompt.encoded.media["pixel_values"].numpy().tobytes(),
        )
        for prompt in prompts
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(open_stream: Streams, workers: int) -> None:
    alone = open_stream(scenes())
    stream = open_stream(scenes(), workers=workers)
    for n in (1, 20, 19):  # across the bounds of what a worker makes at a time
        assert content(stream.take(n)) == content(alone.take(n))
        assert stream.next_index == alone.next_index


@pytest.mark.parametrize("workers", [0, 1])
def test_start(open_stream: Streams, workers: int) -> None:
    whole = open_stream(scenes()).take(40)
    stream = open_stream(scenes(), start=37, workers=workers)
    assert content(stream.take(3)) == content(whole[37:])
    assert stream.next_index == 40


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bounded_dataset_ends(open_stream: Streams, workers: int) -> None:
    stream = open_stream(scenes(size=35), workers=workers)
    assert [prompt.index for prompt in stream.take(30)] == list(range(30))
    assert [prompt.index for prompt in stream.take(30)] == list(range(30, 35))
    assert stream.take(30) == []


def test_what_workers_send_is_whole(open_stream: Streams) -> None:
    """Tensors cross as arrays: the same dtypes and shapes come out."""
    here, there = (open_stream(scenes(), workers=w).take(1)[0] for w in (0, 1))
    assert there.encoded.prompt_ids.dtype == torch.long
    for name, tensor in here.encoded.media.items():
        assert there.encoded.media[name].dtype == tensor.dtype
        assert torch.equal(there.encoded.media[name], tensor)
    assert there.example.digest() == here.example.digest()


def test_workers_leave_the_global_generator_alone(open_stream: Streams) -> None:
    """Else dropout would differ between a run and its resumption, whose worker starts at another step."""
    after = []
    for workers in (0, 1):
        torch.manual_seed(3)
        open_stream(scenes(), workers=workers).take(1)
        after.append(torch.rand(1))
    assert torch.equal(*after)


def lengths(dataset: TaskDataset, encoder: Encoder, n: int) -> list[int]:
    return [len(encode(dataset, encoder, index).encoded.prompt_ids) for index in range(n)]


def words() -> TaskDataset:
    """Prompts of different lengths."""
    rng = random.Random(0)
    made = ",".join("x" * rng.randrange(1, 40) + str(i) for i in range(40))
    return create_dataset(f"{FAKES}:letter", f"words:{made}", style="answer", split="all")


@pytest.mark.parametrize("workers", [0, 1])
def test_long_prompts_are_skipped_and_counted(open_stream: Streams, encoder: Encoder, workers: int) -> None:
    known = lengths(words(), encoder, 60)
    limit = sorted(known)[45]
    stream = open_stream(words(), workers=workers, max_tokens=limit)
    taken = stream.take(30)
    fitting = [index for index, length in enumerate(known) if length <= limit]
    assert [prompt.index for prompt in taken] == fitting[:30]
    assert stream.next_index == taken[-1].index + 1
    assert stream.too_long == stream.next_index - 30 > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_divide_what_one_would_take(open_stream: Streams, workers: int) -> None:
    """By index; the last take is all that one bounded dataset has left, and one rank gets none of it."""
    streams = [open_stream(scenes(size=13), workers=workers, start=1, ranks=Ranks(r, 3)) for r in range(3)]
    taken = [[[p.index for p in stream.take(n)] for n in (4, 6, 5)] for stream in streams]
    assert taken == [[[3], [6, 9], [12]], [[1, 4], [7, 10], []], [[2], [5, 8], [11]]]
    assert [stream.next_index for stream in streams] == [13, 13, 13]


def test_check_lengths(encoder: Encoder) -> None:
    known = lengths(words(), encoder, 64)
    longest = max(known)
    assert check_lengths(words(), encoder, longest) == longest
    limit = sorted(known)[50]
    over = sum(length > limit for length in known)
    with pytest.raises(Ssl4rlError) as error:
        check_lengths(words(), encoder, limit)
    assert str(error.value) == (
        f"{over} of the first 64 prompts are longer than prompt.max_tokens={limit} (the longest has {longest} tokens); "
        "raise it, or make the pictures smaller with the level's image_px"
    )
    assert check_lengths(scenes(size=2), encoder, 10**6) > 10
