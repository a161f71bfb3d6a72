"""What a model that takes no clips says of one. Models that do need torchvision: tests/with_vllm/test_video.py."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssl4rl.core.grpo.model.policy import prepare_encoder
from ssl4rl.core.grpo.model.processors import media_arguments
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Example, Media, Ssl4rlError
from tests.core.grpo.cases import noise

Tiny = Callable[[str], Path]
CLIP = Example((Media("video", (noise(8, 8, 0), noise(8, 8, 1))), "What is this?"), "A")


def refused(path: Path | str) -> str:
    dataset = create_dataset("video/arrow", level="easy,frame_px=56,shown=video", size=1)
    with pytest.raises(Ssl4rlError) as error:
        prepare_encoder(str(path)).encoder.encode(dataset[0], dataset.ask(dataset[0]))
    return str(error.value).partition(" shows ")[2]


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_a_model_that_takes_none(kind: str, tiny: Tiny) -> None:
    assert refused(tiny(kind)) == "a clip, and the model's processor takes no clips; show its frames as pictures"


def test_an_embedded_model_takes_none() -> None:
    assert refused("embedded:tiny_vlm").endswith("takes no clips; show its frames as pictures")


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="its processor of clips loads here")
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_a_model_whose_processor_of_clips_does_not_load(kind: str, tiny: Tiny) -> None:
    told = refused(tiny(kind))
    assert told.startswith("a clip, and the model's processor needs torchvision for clips, which is not installed")


def test_what_a_processor_of_clips_is_called_with() -> None:
    takes = SimpleNamespace(video_processor=object(), video_token="<clip>")
    given = media_arguments(takes, CLIP, "<clip>What is this?")
    assert [[len(frames) for frames in prompt] for prompt in given["videos"]] == [[2]]
    assert given["do_sample_frames"] is False
    assert given["video_metadata"] == [{"total_num_frames": 2, "fps": 2.0, "frames_indices": [0, 1]}]
    with pytest.raises(Ssl4rlError, match="shows a clip, which the model's chat template leaves out"):
        media_arguments(takes, CLIP, "What is this?")
