"""Batches whose completions have mostly ended go on together: the same tokens, in fewer steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.sampling.cascade import FIRST_TOKENS, Cascade
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.static import FIRST_ROOM, StaticCascade
from ssl4rl.core.task import keyed_rng
from tests.core.grpo.sampling.test_cascade import double, prompts

Tiny = Callable[[str], Path]
TOKENS = 80


class Watched:
    """Counts steps and joins, of both cascades."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self.joined = 0, list[tuple[int, int, int]]()
        step, join = Cascade._logits, Cascade.join

        def counted(cascade: Cascade, *inputs: Any) -> Tensor:
            self.steps += 1
            return step(cascade, *inputs)

        def noted(cascade: Cascade, other: Cascade, prompts: int) -> None:
            self.joined.append((cascade.get_seq_length(), len(cascade), len(other)))
            join(cascade, other, prompts)

        monkeypatch.setattr(Cascade, "_logits", counted)
        monkeypatch.setattr(Cascade, "join", noted)


def sampled(policy: Any, kind: str, static: bool, max_rows: int, temperature: float = 1.3) -> list[list[list[int]]]:
    sampling = Sampling(max_new_tokens=TOKENS, temperature=temperature)
    found = generate(
        policy,
        prompts(policy, kind) * 2,
        6,
        sampling,
        lambda p, g: keyed_rng("sharing", p, g).random(TOKENS),
        max_rows,
        shared=True,
        static=static,
    )
    return [[c.ids.tolist() for c in row] for row in found]


@pytest.mark.parametrize("static", [False, True], ids=["shrinking", "static"])
@pytest.mark.parametrize("kind", ["llama", "qwen2_5_vl", "idefics3", "qwen3_vl"])
def test_the_same_tokens_in_fewer_steps(kind: str, static: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight ragged prompts, two at a time; their completions end at all times."""
    policy = double(tiny(kind))
    policy.eos_ids = [policy.eos_ids[0], *range(5, 12)]
    watched = Watched(monkeypatch)
    whole = sampled(policy, kind, static, 1000)
    assert not watched.joined
    alone = 0
    for at in range(0, 8, 2):  # what the pairs take one after another: a step for each token but the longest one's last
        longest = max(len(ids) for row in whole[at : at + 2] for ids in row)
        alone += longest - 1
    watched.steps = 0
    assert sampled(policy, kind, static, 12) == whole
    room = FIRST_ROOM if static else FIRST_TOKENS
    assert {tokens for tokens, _, _ in watched.joined} <= {room, 2 * room, 4 * room}
    assert len(watched.joined) >= 2
    assert watched.steps < 0.85 * alone
    lengths = {len(ids) for row in whole for ids in row}
    assert max(lengths) > 2 * FIRST_ROOM
    assert len(lengths) > 10


@pytest.mark.parametrize("static", [False, True], ids=["shrinking", "static"])
def test_nothing_waits_where_nobody_ends(static: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = double(tiny("llama"))
    policy.eos_ids = [policy.eos_ids[0]]
    policy.banned_ids = sorted({*policy.banned_ids, *policy.eos_ids})
    watched = Watched(monkeypatch)
    assert {len(ids) for row in sampled(policy, "llama", static, 12) for ids in row} == {TOKENS}
    assert not watched.joined
    assert watched.steps == 4 * (TOKENS - 1)


def test_greedy_ones_join_too(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = double(tiny("qwen2_5_vl"))
    policy.eos_ids = [policy.eos_ids[0], *range(5, 12)]
    assert sampled(policy, "qwen2_5_vl", True, 12, 0.0) == sampled(policy, "qwen2_5_vl", True, 1000, 0.0)


def test_a_cascade_takes_another_in() -> None:
    """Prompts of one and of three tokens; each row still attends to its own prompt and to its own tokens."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def filled(kind: type[Cascade], prompt: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]) -> Cascade:
        cascade = kind([prompt], None)
        room = FIRST_ROOM if kind is StaticCascade else FIRST_TOKENS
        for t in range(room):
            if kind is StaticCascade:
                cascade._now_1.fill_(t)  # type: ignore[attr-defined]
            cascade.update(own[0][:, :, t : t + 1], own[1][:, :, t : t + 1], 0)
            cascade._tokens += 1
        return cascade

    for kind, room in ((Cascade, FIRST_TOKENS), (StaticCascade, FIRST_ROOM)):
        prompts = [(normal(P, 1, L, 4), normal(P, 1, L, 4)) for P, L in ((2, 1), (1, 3))]
        owns = [(normal(P, 1, room, 4), normal(P, 1, room, 4)) for P in (2, 1)]
        one, other = (filled(kind, prompt, own) for prompt, own in zip(prompts, owns, strict=True))
        assert one.full
        one.join(other, 5)
        assert one.prompt_R.tolist() == [0, 1, 5]
        query, own_key, own_value = normal(3, 2, 1, 4), torch.cat([x[0] for x in owns]), torch.cat([x[1] for x in owns])
        one_more = [torch.zeros(3, 1, 0, 4, dtype=torch.float64)] * 2
        keys, values = (torch.cat([x, more], 2) for x, more in zip((own_key, own_value), one_more, strict=True))
        if kind is StaticCascade:
            one.remember(room)  # type: ignore[attr-defined]
        out = one.attend(0, query, keys, values, 0.3)
        for r, (at, p) in enumerate(((0, 0), (0, 1), (1, 0))):
            for h in range(2):
                k = torch.cat([prompts[at][0][p, 0], own_key[r, 0]])
                v = torch.cat([prompts[at][1][p, 0], own_value[r, 0]])
                torch.testing.assert_close(out[r, 0, h], (query[r, h, 0] @ k.T * 0.3).softmax(-1) @ v)


def test_only_full_ones_of_equal_age_join() -> None:
    one = Cascade([(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))], None)
    with pytest.raises(AssertionError, match="only full cascades of as many tokens join"):
        one.join(one, 1)
