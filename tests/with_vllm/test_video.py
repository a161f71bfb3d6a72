"""Clips as clips, here where a torchvision stands for their processors: each prompt's clip computed once, the same
numbers as the model's own forward, a whole run, and vLLM's log-probs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.logps.features import shows
from ssl4rl.core.grpo.logps.prefix import Group, image_features, shared_logps, unshared_logps
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.cases import differences as apart
from tests.core.grpo.cases import gradients, plain_logps
from tests.core.grpo.runs import metrics, recipe, run
from tests.with_vllm.cases import differences, opened, sampled

pytestmark = pytest.mark.vllm

Tiny = Callable[[str], Path]
CLIP = {"task": "video/arrow", "level": "easy,frames=4,frame_px=56,shown=video"}
CLIP_AND_PICTURES = {"task": "video/next", "level": "easy,frames=4,frame_px=56,shown=video"}
PICTURES = {"task": "video/arrow", "level": "easy,frame_px=56"}
TOLERANCE = 1e-4


def prompts(policy: Policy, *tasks: dict[str, str]) -> list[Group]:
    """Two prompts of each task, with completions of ordinary tokens drawn at random."""
    generator = torch.Generator().manual_seed(0)
    groups = []
    for task in tasks:
        dataset = create_dataset(task["task"], level=task["level"], size=2)
        for example in dataset:
            encoded = policy.encoder.encode(example, dataset.ask(example))
            drawn = [torch.randint(5, 250, (length,), generator=generator) for length in (1, 5, 9)]
            groups.append(Group(encoded.prompt_ids, encoded.media, drawn))
    return groups


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl"])
def test_a_clip_is_computed_once_and_rightly(tiny: Tiny, kind: str) -> None:
    policy = load_policy(str(tiny(kind)), device="cpu")
    model, groups = policy.model.eval(), prompts(policy, CLIP, CLIP_AND_PICTURES, PICTURES)
    kinds = [["video"], ["video"], ["image", "video"], ["image", "video"], ["image"], ["image"]]
    assert [shows(group.media) for group in groups] == kinds
    plain = gradients(model, lambda: plain_logps(model, groups))
    assert plain[0].abs().max() > 1, "log-probs too flat to mean anything"
    for logps in (shared_logps, unshared_logps):
        assert max(apart(gradients(model, lambda own=logps: own(model, groups)), plain)) <= TOLERANCE
    with torch.no_grad():
        features = image_features(model, groups)
        assert [sorted(one or ()) for one in features] == kinds
        picked = shared_logps(model, groups, image_features=features).logp_PGT
        assert (picked - plain[0]).abs().max() <= TOLERANCE
        decoded = decoded_logps(model, groups)
        flat = torch.cat(
            [plain[0][p, g, : len(ids)] for p, x in enumerate(groups) for g, ids in enumerate(x.completion_ids)]
        )
        assert (decoded - flat).abs().max() <= TOLERANCE


def test_other_frames_give_other_numbers(tiny: Tiny) -> None:
    """Else the test above would pass with a clip that nobody looks at, or that is looked at from its first frame."""
    policy = load_policy(str(tiny("qwen2_5_vl")), device="cpu")
    model, (group, _) = policy.model.eval(), prompts(policy, CLIP)
    pixels = group.media["pixel_values_videos"]
    swapped = torch.cat([pixels[len(pixels) // 2 :], pixels[: len(pixels) // 2]])  # the later half first
    turned = Group(group.prompt_ids, {**group.media, "pixel_values_videos": swapped}, group.completion_ids)
    with torch.no_grad():
        one, other = (shared_logps(model, [x]).logp_PGT for x in (group, turned))
    assert (one - other).abs().max() > 1e-2


def test_a_run_on_clips(tiny: Tiny, tmp_path: Path) -> None:
    said = run(
        recipe(
            tmp_path,
            tiny("qwen2_5_vl"),
            tasks=[CLIP, CLIP_AND_PICTURES],
            data="moving:",
            prompt={"max_tokens": 256},
            grpo={"beta": 0.01},
        )
    )
    assert any("shared" in line for line in said)
    assert [line["step"] for line in metrics(tmp_path / "run") if line["phase"] == "train"] == [1, 2, 3, 4]


@pytest.mark.parametrize(("kind", "why"), [("idefics3", "takes no clips"), ("llava", "takes no clips")])
def test_a_model_without_clips_says_so(tiny: Tiny, kind: str, why: str) -> None:
    policy = load_policy(str(tiny(kind)), device="cpu")
    with pytest.raises(
        Ssl4rlError, match=f"shows a clip, and the model's processor {why}; show its frames as pictures"
    ):
        prompts(policy, CLIP)


def test_a_template_without_clips_says_so(tiny: Tiny) -> None:
    policy = load_policy(str(tiny("qwen2_5_vl")), device="cpu")
    for owner in (policy.encoder.processor, policy.encoder.tokenizer):
        owner.chat_template = owner.chat_template.replace("'video'", "'film'")
    with pytest.raises(Ssl4rlError, match="shows a clip, which the model's chat template leaves out"):
        prompts(policy, CLIP)


@pytest.mark.parametrize("task", [CLIP, CLIP_AND_PICTURES], ids=["clip", "clip and pictures"])
def test_log_probs_of_vllm(tiny: Tiny, tmp_path: Path, closed: Callable[[Any], Any], task: dict[str, str]) -> None:
    larger = {**task, "level": task["level"].replace("frame_px=56", "frame_px=112")}
    sections = {"tasks": [larger], "data": "moving:", "prompt": {"max_tokens": 512}}
    trainer = opened(tmp_path, tiny("qwen2_5_vl"), warmup={"steps": 1, "lr": 0.01}, **sections)
    closed(trainer.backend)
    assert differences(trainer, sampled(trainer)).max() < 1e-4
    trainer.run_step()
    trainer.run_step()
    assert differences(trainer, sampled(trainer)).max() < 1e-4


def test_positions_that_vllm_counts_otherwise_are_refused(
    tiny: Tiny, tmp_path: Path, closed: Callable[[Any], Any]
) -> None:
    """At 56 px a clip is two positions wide and, at two a second, three long: its text goes on from 2 or from 3."""
    trainer = opened(tmp_path, tiny("qwen2_5_vl"), tasks=[CLIP], data="moving:")
    closed(trainer.backend)
    with pytest.raises(Ssl4rlError, match="vLLM would count positions behind this clip from its last frame"):
        sampled(trainer)
