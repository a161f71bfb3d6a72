"""The embedded models that see: which sentences are one token, and which of them vLLM takes on a CPU."""

from __future__ import annotations

import pytest

import ssl4rl
from ssl4rl.embedded.models import SHAPES, tokenizer

EASY = [
    ("vision/rotation", "90deg"),
    ("vision/jigsaw", "2x2,form=picture"),
    ("vision/similarity", "easy"),
    ("vision/flipped", "2x2"),
    ("vision/flipped", "whole"),
    ("vision/difference", "easy"),
    ("vision/correspondence", "easy"),
    ("vision/depth_order", "easy"),
    ("video/order", "easy"),
    ("video/arrow", "easy"),
    ("video/odd", "clip"),
    ("video/next", "easy"),
]


@pytest.mark.parametrize(("task", "level"), EASY)
def test_a_prompt_is_a_few_tokens(task: str, level: str) -> None:
    data = ssl4rl.create_dataset(task, level=level, size=1, seed=0)
    text = "".join(part if isinstance(part, str) else "<image>" for part in data[0].prompt)
    asked = f"{text} {data.components[0].verifier.instruction}"
    assert len(tokenizer(all_tasks=True)(asked)["input_ids"]) <= 18


@pytest.mark.parametrize("answer", ["red", "green", "yes", "no", "forwards", "backwards"])
def test_an_answer_is_one_token(answer: str) -> None:
    assert tokenizer(all_tasks=True).tokenize(f"<answer>{answer}</answer>") == ["<answer>", answer, "</answer>"]


def test_any_text_comes_back() -> None:
    known = tokenizer(all_tasks=True)
    text = "A hundred mirrored greens, yesterday: red or green, yes or no."
    assert known.decode(known(text)["input_ids"]) == text


def test_a_model_for_all_tasks_has_heads_of_the_width_that_vllm_takes() -> None:
    widths = {name: shape.width // shape.heads for name, shape in SHAPES.items()}
    assert widths == {
        "tiny_vlm": 24,
        "tiny_vlm_several": 24,
        "tiny_vlm_all": 32,
        "tiny_vlm_3x3": 24,
        "small_vlm": 32,
    }
