"""Decoding with prompts kept once: against the plain decoder, and its attention against a softmax written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ssl4rl.core.grpo.logps.prefix import unshared_logps
from ssl4rl.core.grpo.model.policy import Encoded, Lora, Policy, load_policy
from ssl4rl.core.grpo.preflight import preflight
from ssl4rl.core.grpo.sampling import prefill as prefill_module
from ssl4rl.core.grpo.sampling.cascade import FIRST_TOKENS, Cascade
from ssl4rl.core.grpo.sampling.rollout import decoded_logps, generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.static import FIRST_ROOM
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media
from tests.core.grpo.cases import groups_of, load
from tests.tiny_models import SHAREABLE_TEXT, SHAREABLE_VISION, VISION

Tiny = Callable[[str], Path]
TOKENS = 3 * FIRST_TOKENS  # the rows' memory grows twice


def picture(seed: int) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Media("image", Image.fromarray(pixels))


def prompts(policy: Policy, kind: str) -> list[Encoded]:
    """Ragged ones, with no, one or two pictures, in double precision."""
    parts = ((), (picture(0),), (picture(1), " and ", picture(2)), (picture(3),))
    words = ("Hi", "What is it? Say A or B.", "Which?", "Which quarter of it is the darkest? Say which.")
    examples = [Example((*(p if kind in VISION else ()), text), "A") for p, text in zip(parts, words, strict=True)]
    found = [policy.encoder.encode(example, "Answer.") for example in examples]
    wide = [{name: x.double() if x.is_floating_point() else x for name, x in one.media.items()} for one in found]
    return [replace(one, media=media) for one, media in zip(found, wide, strict=True)]


def double(folder: Path, lora: Lora | None = None) -> Policy:
    """In double precision, where both decoders sample the same tokens unless one is wrong."""
    policy = load_policy(str(folder), device="cpu", lora=lora)
    policy.model.double()
    return policy


def uniforms(p: int, g: int) -> Any:
    return keyed_rng("cascade", p, g).random(TOKENS)


def tokens(
    policy: Policy, kind: str, shared: bool, sampling: Sampling, group_size: int = 6, static: bool = False
) -> list[list[list[int]]]:
    found = generate(policy, prompts(policy, kind), group_size, sampling, uniforms, shared=shared, static=static)
    return [[c.ids.tolist() for c in row] for row in found]


@pytest.mark.parametrize("kind", SHAREABLE_VISION + SHAREABLE_TEXT)
@pytest.mark.parametrize("static", [False, True])
def test_samples_what_the_plain_decoder_samples(kind: str, static: bool, tiny: Tiny) -> None:
    policy = double(tiny(kind))
    policy.eos_ids = [policy.eos_ids[0], *range(5, 17)]  # completions end at all times
    sampling = Sampling(max_new_tokens=TOKENS, temperature=1.3)
    shared = tokens(policy, kind, True, sampling, static=static)
    assert shared == tokens(policy, kind, False, sampling)
    lengths = {len(ids) for row in shared for ids in row}
    assert len(lengths) > 6
    assert max(lengths) > FIRST_ROOM > FIRST_TOKENS


def test_with_an_adapter(tiny: Tiny) -> None:
    kind = "qwen2_5_vl"
    policy = double(tiny(kind), Lora(r=2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    sampling = Sampling(max_new_tokens=TOKENS)
    adapted = tokens(policy, kind, True, sampling)
    assert adapted == tokens(policy, kind, False, sampling)
    with policy.model.disable_adapter():
        assert adapted != tokens(policy, kind, True, sampling)


def test_equal_beginnings_are_one_row_and_finished_ones_leave(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = double(tiny("llama"))
    sizes: list[tuple[int, int]] = []
    step = Cascade.step

    def look(self: Cascade, *inputs: Any) -> Tensor:
        sizes.append((len(self), len(self._kept_P)))
        return step(self, *inputs)

    monkeypatch.setattr(Cascade, "step", look)
    tokens(policy, "llama", True, Sampling(max_new_tokens=5, temperature=0.0))
    assert sizes == [(4, 4)] * 4
    sizes.clear()
    policy.eos_ids = list(range(5, 60))
    found = tokens(policy, "llama", True, Sampling(max_new_tokens=TOKENS, temperature=1.3), group_size=16)
    for t, (rows, kept) in enumerate(sizes, start=1):
        alive = [{tuple(ids[:t]) for ids in row if len(ids) > t} for row in found]
        assert sum(map(len, alive)) <= rows <= 4 * sum(map(len, alive)) / 3
        assert kept < 2 * sum(map(bool, alive))
    assert sizes[0] < (4 * 16, 4)
    assert sizes[-1][1] < 4


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "qwen3"])
def test_under_autocast(kind: str, tiny: Tiny) -> None:
    model, groups = load(kind, tiny(kind)).eval(), groups_of(kind, tiny(kind))
    with torch.no_grad():
        exact = unshared_logps(model, groups)
        with torch.autocast("cpu", torch.bfloat16):
            low = unshared_logps(model, groups)
            logp_N = decoded_logps(model, groups)
    error, usual = (
        float((x - exact.logp_PGT[exact.mask_PGT]).abs().mean()) for x in (logp_N, low.logp_PGT[low.mask_PGT])
    )
    assert error < 1.5 * usual < 0.1


@pytest.mark.parametrize("fault", ["position", "own position", "padding", "row"])
def test_preflight_sees_faults_of_decoding(fault: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "qwen2_5_vl"
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    if fault in ("position", "own position"):
        step = Cascade.step

        def moved(self: Cascade, model: Any, token_R: Tensor, position_AR: Tensor) -> Tensor:
            wrong_AR = position_AR + 1 if fault == "position" else position_AR + self.get_seq_length()
            return step(self, model, token_R, wrong_AR)

        monkeypatch.setattr(Cascade, "step", moved)
    elif fault == "padding":
        monkeypatch.setattr(prefill_module, "Cascade", lambda layers, seen_PL: Cascade(layers, None))
    else:
        update = Cascade.update

        def leaked(self: Cascade, key: Tensor, value: Tensor, *more: Any) -> Any:
            return update(self, key.roll(1, 0), value.roll(1, 0), *more)

        monkeypatch.setattr(Cascade, "update", leaked)
    result = preflight(model, groups)
    assert not result.ok
    assert result.reason.startswith("log-probs while decoding differ by")


def test_attention_equals_a_softmax_written_out() -> None:
    """Three prompts of which one is padded; rows 2, 0 and 3 of them; four query heads on two key heads."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    L, T, D = 5, 3, 8
    keys, values = normal(3, 2, L, D), normal(3, 2, L, D)
    seen = torch.ones(3, L, dtype=torch.bool)
    seen[0, :2] = False
    cascade = Cascade([(keys, values)], seen)
    prompt_R = [0, 0, 2, 2, 2]
    cascade.select(torch.tensor(prompt_R))
    query, own_keys, own_values = normal(5, 4, 1, D), normal(5, 2, T, D), normal(5, 2, T, D)
    out = cascade.attend(0, query, own_keys, own_values, 0.3)
    assert out.shape == (5, 1, 4, D)
    for r, p in enumerate(prompt_R):
        for h in range(4):
            k = torch.cat([keys[p, h // 2][seen[p]], own_keys[r, h // 2]])
            v = torch.cat([values[p, h // 2][seen[p]], own_values[r, h // 2]])
            expected = (query[r, h, 0] @ k.T * 0.3).softmax(-1) @ v
            torch.testing.assert_close(out[r, 0, h], expected, atol=1e-12, rtol=1e-10)


def test_rows_keep_their_tokens_through_growth_and_selection() -> None:
    cascade = Cascade([(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))], None)
    for t in range(FIRST_TOKENS + 2):
        new = torch.tensor([100.0, 200.0]).view(2, 1, 1, 1) + t
        keys, values = cascade.update(new, -new, 0)
        cascade._tokens += 1
    assert keys[1, 0, :, 0].tolist() == [200.0 + t for t in range(FIRST_TOKENS + 2)]
    cascade.select(torch.tensor([1, 1]))
    assert cascade.prompt_R.tolist() == [1, 1]
    keys, values = cascade.update(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), 0)
    assert keys[:, 0, -2:, 0].tolist() == [[200.0 + FIRST_TOKENS + 1, 1.0], [200.0 + FIRST_TOKENS + 1, 2.0]]
    assert values[0, 0, 0, 0] == -200.0
