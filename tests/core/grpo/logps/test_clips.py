"""Clips in a packed row: what stands for a processor's clip here is a picture that is handed over as one of a clip.

Real processors of clips need torchvision; tests/with_vllm/test_video.py has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo.logps.features import shows
from ssl4rl.core.grpo.logps.prefix import Group, image_features, shared_logps, unshared_logps
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from tests.core.grpo.cases import differences, gradients, groups_of, load, plain_logps

Tiny = Callable[[str], Path]
# pictures, question, lengths of completions
PROMPTS = (
    (1, "Does this clip run backwards?", (1, 7)),
    (0, "Hi", (5, 5)),
    (2, "Which picture comes next?", (3, 12)),
    (1, "What is this?", (4,)),
)


def as_clip(group: Group, image_id: int, clip_id: int) -> Group:
    """The first picture of a prompt as a clip of one moment; pictures behind it stay."""
    patches = int(group.media["image_grid_thw"][0].prod())
    ids, kinds = group.prompt_ids.clone(), group.media["mm_token_type_ids"].clone()
    (first,) = (ids == image_id).nonzero()[:1].tolist()
    until = next(i for i in range(first[0], len(ids)) if ids[i] != image_id)
    ids[first[0] : until], kinds[:, first[0] : until] = clip_id, 2
    media = {"pixel_values_videos": group.media["pixel_values"][:patches], "mm_token_type_ids": kinds}
    media["video_grid_thw"] = group.media["image_grid_thw"][:1]
    if len(group.media["image_grid_thw"]) > 1:
        media |= {"pixel_values": group.media["pixel_values"][patches:]}
        media |= {"image_grid_thw": group.media["image_grid_thw"][1:]}
    return replace(group, prompt_ids=ids, media=media)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_shared_equals_the_models_own_forward(kind: str, tiny: Tiny) -> None:
    model = load(kind, tiny(kind))
    clip, text, both, picture = groups_of(kind, tiny(kind), PROMPTS)
    tokens = (model.config.image_token_id, model.config.video_token_id)
    groups = [as_clip(clip, *tokens), text, as_clip(both, *tokens), picture]
    assert [shows(group.media) for group in groups] == [["video"], [], ["image", "video"], ["image"]]
    plain = gradients(model, lambda: plain_logps(model, groups))
    assert plain[0].abs().max() > 1, "log-probs too flat to mean anything"
    for logps in (shared_logps, unshared_logps):
        assert max(differences(gradients(model, lambda own=logps: own(model, groups)), plain)) <= 1e-4  # type: ignore[misc]
    flat = [plain[0][p, g, : len(ids)] for p, own in enumerate(groups) for g, ids in enumerate(own.completion_ids)]
    with torch.no_grad():
        assert (decoded_logps(model, groups) - torch.cat(flat)).abs().max() <= 1e-4
        features = image_features(model, groups)
        assert [sorted(one or ()) for one in features] == [["video"], [], ["image", "video"], ["image"]]
        assert (shared_logps(model, groups, image_features=features).logp_PGT - plain[0]).abs().max() <= 1e-4


def test_positions_of_a_clip_are_marked_where_a_processor_did_not(tiny: Tiny) -> None:
    model = load("qwen2_5_vl", tiny("qwen2_5_vl"))
    (clip, *_) = groups_of("qwen2_5_vl", tiny("qwen2_5_vl"), PROMPTS[:1])
    clip = as_clip(clip, model.config.image_token_id, model.config.video_token_id)
    bare = replace(clip, media={name: value for name, value in clip.media.items() if name != "mm_token_type_ids"})
    with torch.no_grad():
        assert shared_logps(model, [bare]).logp_PGT.equal(shared_logps(model, [clip]).logp_PGT)
