"""The sampler, by both ways of decoding, against `model.generate` and against arithmetic."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl4rl.core.grpo import rollout
from ssl4rl.core.grpo.policy import Encoded, Policy, load_policy
from ssl4rl.core.grpo.prefix import Group, image_features
from ssl4rl.core.grpo.pretrained import vision_modules
from ssl4rl.core.grpo.rollout import Completion, Sampling, collate, generate, sample
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media
from tests.tiny_models import build

KINDS = ("qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl", "llama", "qwen2")
TEXT = ("llama", "qwen2")


def picture(seed: int, side: int = 32) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Media("image", Image.fromarray(pixels))


def questions(kind: str) -> list[Example]:
    if kind in TEXT:
        texts = ("What is it?", "Which of the two is longer, and why?", "Which of the four is the longest? Say it.")
        return [Example((text,), "A") for text in texts]
    return [
        Example((picture(0), "What is it?"), "A"),
        Example(("First: ", picture(1), " second: ", picture(2), "Which one is brighter?"), "B"),
        Example((picture(3), "Which quarter of it is the darkest? Say which, and nothing else."), "C"),
    ]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Policy] = {}

    def get(kind: str) -> Policy:
        if kind not in made:
            made[kind] = load_policy(str(build(kind, tmp_path_factory.mktemp("models") / kind)), device="cpu")
        return made[kind]

    return get


def encoded(policy: Policy, kind: str) -> list[Encoded]:
    return [policy.encoder.encode(example, "Answer inside <answer> </answer>.") for example in questions(kind)]


def uniforms(p: int, g: int) -> Any:
    return keyed_rng("test", p, g).random(40)


def ids(completions: list[list[Completion]]) -> list[list[list[int]]]:
    return [[c.ids.tolist() for c in row] for row in completions]


BOTH = pytest.mark.parametrize("shared", [False, True], ids=["plain", "shared"])


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_generate_token_for_token(policies: Any, kind: str, shared: bool) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    ours = generate(policy, prompts, 2, Sampling(temperature=0, max_new_tokens=40), shared=shared)
    for prompt, row in zip(prompts, ours, strict=True):
        batch = collate([prompt], policy.pad_id, policy.device)
        theirs = policy.model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=40,
            suppress_tokens=policy.banned_ids,
            eos_token_id=policy.eos_ids,
            pad_token_id=policy.pad_id,
        )[0, len(prompt.prompt_ids) :]
        assert [c.ids.tolist() for c in row] == [theirs.tolist()] * 2


@BOTH
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_a_completion_does_not_depend_on_its_neighbours(policies: Any, kind: str, shared: bool) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    sampling = Sampling(max_new_tokens=12)
    together = generate(policy, prompts, 3, sampling, uniforms, shared=shared)
    alone = generate(policy, prompts[1:2], 3, sampling, lambda p, g: uniforms(p + 1, g), shared=shared)
    fewer = generate(policy, prompts, 2, sampling, uniforms, shared=shared)
    in_turn = generate(policy, prompts, 3, sampling, uniforms, max_rows=3, shared=shared)
    assert ids(together)[1] == ids(alone)[0]
    assert [row[:2] for row in ids(together)] == ids(fewer)
    assert ids(together) == ids(in_turn)
    assert len({c.text for row in together for c in row}) > 1


@BOTH
def test_equal_completions_are_one_object(policies: Any, shared: bool) -> None:
    policy = policies("llama")
    (row,) = generate(policy, encoded(policy, "llama")[:1], 3, Sampling(temperature=0, max_new_tokens=4), shared=shared)
    assert row[0] is row[1] is row[2]


@BOTH
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl"])
def test_known_features_change_nothing(policies: Any, kind: str, shared: bool) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    groups = [Group(p.prompt_ids, p.media, [p.prompt_ids]) for p in prompts]
    with torch.no_grad():
        features = image_features(policy.model, groups)
    assert any(one is not None for one in features)
    settings = Sampling(max_new_tokens=8)
    straight = generate(policy, prompts, 3, settings, uniforms, shared=shared)
    calls: list[int] = []
    hooks = [tower.register_forward_hook(lambda *_: calls.append(1)) for _, tower in vision_modules(policy.model)]
    for max_rows in (512, 3):
        kept = generate(policy, prompts, 3, settings, uniforms, max_rows, shared=shared, features=features)
        assert ids(kept) == ids(straight)
    for hook in hooks:
        hook.remove()
    assert hooks
    assert not calls


@BOTH
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl"])
def test_placeholders_are_never_sampled(policies: Any, kind: str, shared: bool) -> None:
    policy = policies(kind)
    config = policy.model.config
    image_id = getattr(config, "image_token_id", None) or config.image_token_index
    assert image_id in policy.banned_ids
    assert not set(policy.eos_ids) & set(policy.banned_ids)
    sampling = Sampling(temperature=5.0, max_new_tokens=16)
    completions = generate(policy, encoded(policy, kind), 4, sampling, uniforms, shared=shared)
    sampled = {int(i) for row in completions for c in row for i in c.ids}
    assert not sampled & set(policy.banned_ids)


@BOTH
def test_truncated_means_no_end_of_turn(policies: Any, shared: bool) -> None:
    policy = policies("llama")
    for row in generate(policy, encoded(policy, "llama"), 8, Sampling(max_new_tokens=16), uniforms, shared=shared):
        for completion in row:
            ended = int(completion.ids[-1]) in policy.eos_ids
            assert completion.truncated == (not ended)
            assert ended or len(completion.ids) == 16


def test_sampling_inverts_the_cumulative_distribution() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(5, 4)
    at = torch.tensor([0.0, 0.0999, 0.1001, 0.5999, 0.6001], dtype=torch.float64)
    assert sample(logits, Sampling(), at).tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=2), {2, 3}),
        (Sampling(top_p=0.65), {2, 3}),
        (Sampling(top_p=0.4), {3}),
        (Sampling(min_p=0.49), {1, 2, 3}),
        (Sampling(min_p=0.51), {2, 3}),
        (Sampling(temperature=0.0), {3}),
    ],
)
def test_filters(sampling: Sampling, kept: set[int]) -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(1000, 4)
    at = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert set(sample(logits, sampling, at).tolist()) == kept


def test_sampled_shares_agree_with_the_probabilities() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(1000, 4)
    at = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert sample(logits, Sampling(), at).bincount().tolist() == [100, 200, 300, 400]
    sharper = sample(logits, Sampling(temperature=0.5), at).bincount() / 1000  # squares: 1, 4, 9, 16 of 30
    torch.testing.assert_close(sharper, torch.tensor([1, 4, 9, 16]) / 30, atol=2e-3, rtol=0)


def test_rows_are_sampled_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(100, 37, generator=generator)
    at = torch.rand(100, 3, dtype=torch.float64, generator=generator)
    for sampling in (Sampling(temperature=0.7), Sampling(top_p=0.8, top_k=9)):
        whole = rollout._sample_each(logits, sampling, at)
        with monkeypatch.context() as patch:
            patch.setattr(rollout, "_CACHED", 37 * 7)
            assert torch.equal(rollout._sample_each(logits, sampling, at), whole)
