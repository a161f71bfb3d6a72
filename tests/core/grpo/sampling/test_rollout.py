"""The sampler, by all ways of decoding, against `model.generate` and against arithmetic."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl4rl.core.grpo.logps.prefix import Group, image_features
from ssl4rl.core.grpo.model.policy import Encoded, Policy, load_policy
from ssl4rl.core.grpo.model.pretrained import vision_modules
from ssl4rl.core.grpo.sampling.prefill import collate
from ssl4rl.core.grpo.sampling.rollout import Completion, generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
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


WAYS = {"plain": {}, "shared": {"shared": True}, "static": {"shared": True, "static": True}}
ALL = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ALL
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_generate_token_for_token(policies: Any, kind: str, way: dict[str, bool]) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    ours = generate(policy, prompts, 2, Sampling(temperature=0, max_new_tokens=40), **way)
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


@ALL
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_a_completion_does_not_depend_on_its_neighbours(policies: Any, kind: str, way: dict[str, bool]) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    sampling = Sampling(max_new_tokens=12)
    together = generate(policy, prompts, 3, sampling, uniforms, **way)
    alone = generate(policy, prompts[1:2], 3, sampling, lambda p, g: uniforms(p + 1, g), **way)
    fewer = generate(policy, prompts, 2, sampling, uniforms, **way)
    in_turn = generate(policy, prompts, 3, sampling, uniforms, max_rows=3, **way)
    assert ids(together)[1] == ids(alone)[0]
    assert [row[:2] for row in ids(together)] == ids(fewer)
    assert ids(together) == ids(in_turn)
    assert len({c.text for row in together for c in row}) > 1


@ALL
def test_equal_completions_are_one_object(policies: Any, way: dict[str, bool]) -> None:
    policy = policies("llama")
    (row,) = generate(policy, encoded(policy, "llama")[:1], 3, Sampling(temperature=0, max_new_tokens=4), **way)
    assert row[0] is row[1] is row[2]


@ALL
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl"])
def test_known_features_change_nothing(policies: Any, kind: str, way: dict[str, bool]) -> None:
    policy = policies(kind)
    prompts = encoded(policy, kind)
    groups = [Group(p.prompt_ids, p.media, [p.prompt_ids]) for p in prompts]
    with torch.no_grad():
        features = image_features(policy.model, groups)
    assert any(one is not None for one in features)
    settings = Sampling(max_new_tokens=8)
    straight = generate(policy, prompts, 3, settings, uniforms, **way)
    calls: list[int] = []
    hooks = [tower.register_forward_hook(lambda *_: calls.append(1)) for _, tower in vision_modules(policy.model)]
    for max_rows in (512, 3):
        kept = generate(policy, prompts, 3, settings, uniforms, max_rows, **way, features=features)
        assert ids(kept) == ids(straight)
    for hook in hooks:
        hook.remove()
    assert hooks
    assert not calls


@ALL
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl"])
def test_placeholders_are_never_sampled(policies: Any, kind: str, way: dict[str, bool]) -> None:
    policy = policies(kind)
    config = policy.model.config
    image_id = getattr(config, "image_token_id", None) or config.image_token_index
    assert image_id in policy.banned_ids
    assert not set(policy.eos_ids) & set(policy.banned_ids)
    sampling = Sampling(temperature=5.0, max_new_tokens=16)
    completions = generate(policy, encoded(policy, kind), 4, sampling, uniforms, **way)
    sampled = {int(i) for row in completions for c in row for i in c.ids}
    assert not sampled & set(policy.banned_ids)


@ALL
def test_truncated_means_no_end_of_turn(policies: Any, way: dict[str, bool]) -> None:
    policy = policies("llama")
    for row in generate(policy, encoded(policy, "llama"), 8, Sampling(max_new_tokens=16), uniforms, **way):
        for completion in row:
            ended = int(completion.ids[-1]) in policy.eos_ids
            assert completion.truncated == (not ended)
            assert ended or len(completion.ids) == 16
