"""What a model's template, processor and adapter refuse, or would pass over in silence: a line, before any weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from ssl4rl.core.grpo.model.policy import load_policy, prepare_encoder
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.types import Example, Media, Ssl4rlError
from tests.core.grpo.cases import noise

SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
TURNS = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"


@pytest.fixture
def without_weights(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str | None], str]:
    """A model's folder whose weights are gone, with another chat template: what is refused is refused before them."""

    def folder(kind: str, template: str | None = None) -> str:
        path = tmp_path / "model"
        shutil.copytree(tiny(kind), path, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
        if template is not None:
            tokenizer = AutoTokenizer.from_pretrained(path)
            tokenizer.chat_template = template
            tokenizer.save_pretrained(path)
        return str(path)

    return folder


def refusal(path: str, **settings: Any) -> str:
    with pytest.raises(Ssl4rlError) as error:
        load_policy(path, device="cpu", **settings)
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("kind", "template", "line"),
    [
        (
            "llama",
            SYSTEM + PLAIN,
            "the model's chat template refuses the prompt: System role not supported; it takes the question without a "
            "system message (prompt.system)",
        ),
        (
            "llama",
            TURNS + PLAIN,
            "the model's chat template refuses the prompt: Conversation roles must alternate user/assistant/user/"
            "assistant/...; it takes the question without a system message (prompt.system)",
        ),
        (
            "llama",
            "{% for m in messages %}\n{% if %}",
            "the model's chat template has an error on line 2: Expected an expression, got 'end of statement block'",
        ),
        (
            "llama",
            "{{ messages[-1]['content'] }}",
            "the model's chat template leaves out the system message (prompt.system)",
        ),
        ("llama", "{{ messages[0]['content'] }}", "the model's chat template leaves out the question"),
        ("llama", "{{ 1 / 0 }}", "the model's chat template refuses the prompt: division by zero"),
        (
            "idefics3",
            PLAIN,
            'the model\'s chat template refuses the prompt: can only concatenate str (not "list") to str',
        ),
        (
            "idefics3",
            "{% for m in messages %}{{ m['content'] }}{% endfor %}",
            "the model's chat template takes text only and writes pictures down as words",
        ),
        (
            "idefics3",
            "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}"
            "{{ raise_exception('no pictures') }}{% endif %}{{ p['text'] }}{% endfor %}{% endfor %}",
            "the model's chat template refuses the prompt: no pictures; it takes the question without a picture",
        ),
    ],
)
def test_a_template_that_refuses(
    without_weights: Callable[[str, str | None], str], kind: str, template: str, line: str
) -> None:
    assert refusal(without_weights(kind, template), system="Be short.") == line


def test_without_a_system_message_such_templates_do(without_weights: Callable[[str, str | None], str]) -> None:
    for template in (SYSTEM + PLAIN, TURNS + PLAIN):
        encoder = prepare_encoder(without_weights("llama", template)).encoder
        assert encoder.render(Example(("Which?",), "A"), "Say.") == "user: Which?\nSay."


@pytest.mark.parametrize(
    ("kind", "options", "line"),
    [
        (
            "qwen2_5_vl",
            {"max_pixel": 3},
            "unknown key 'model.processor.max_pixel' for Qwen2VLImageProcessorPil; did you mean 'max_pixels'?",
        ),
        (  # transformers knows it, and Qwen's processor never reads it
            "qwen2_5_vl",
            {"max_pixels": 3136, "do_center_crop": True},
            "unknown key 'model.processor.do_center_crop' for Qwen2VLImageProcessorPil; did you mean 'do_convert_rgb'?",
        ),
        (
            "idefics3",
            {"do_image_spliting": False},
            "unknown key 'model.processor.do_image_spliting' for Idefics3ImageProcessorPil; did you mean "
            "'do_image_splitting'?",
        ),
        ("llama", {"max_pixels": 3}, "model.processor.max_pixels: the model reads text only, no pictures"),
    ],
)
def test_a_processor_option_that_does_nothing(
    without_weights: Callable[[str, str | None], str], kind: str, options: dict[str, Any], line: str
) -> None:
    assert refusal(without_weights(kind, None), options=options) == line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"do_resize": False},
            "with model.processor={'do_resize': False} the model's processor refuses a prompt with pictures of 40x40 "
            "px: cannot reshape array of size 4800 into shape (3,1,2,14,1,2,14)",
        ),
        (
            {"max_pixels": "abc"},
            "with model.processor={'max_pixels': 'abc'} the model's processor refuses a prompt with pictures of 40x40 "
            "px: Validation error for field 'max_pixels': TypeError: Field 'max_pixels' expected int, got str (value: "
            "'abc')",
        ),
    ],
)
def test_a_picture_that_the_processor_refuses(
    without_weights: Callable[[str, str | None], str], options: dict[str, Any], line: str
) -> None:
    encoder = prepare_encoder(without_weights("qwen2_5_vl", None), options=options).encoder
    with pytest.raises(Ssl4rlError) as error:
        encoder.encode(Example((Media("image", noise(40, 40, 0)), "Which?"), "A"), "Say.")
    assert str(error.value) == line


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of r=4 on some of tiny_vlm's layers."""
    folder = tmp_path_factory.mktemp("adapter") / "a"
    lora = Lora(r=4, alpha=8, target=["q_proj", "v_proj"])
    load_policy("embedded:tiny_vlm", lora=lora, freeze_vision=True, device="cpu").save(folder)
    return folder


SAME = {"r": 4, "alpha": 8, "target": ["q_proj", "v_proj"]}


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"r": 64}, "model.lora.r=64: the adapter has r=4"),
        ({"alpha": 32}, "model.lora.alpha=32: the adapter has lora_alpha=8"),
        ({"dropout": 0.1}, "model.lora.dropout=0.1: the adapter has lora_dropout=0.0"),
        (
            {"target": "all-linear"},
            "model.lora.target='all-linear': the adapter leaves out 'model.connector.modality_projection.proj'",
        ),
        (
            {"target": ["q_proj"]},
            "model.lora.target=['q_proj']: the adapter adapts 'model.text_model.layers.0.self_attn.v_proj'",
        ),
        (
            {"target": r".*text_model.*\.(q|k|v)_proj"},
            "model.lora.target='.*text_model.*\\\\.(q|k|v)_proj': the adapter leaves out "
            "'model.text_model.layers.0.self_attn.k_proj'",
        ),
    ],
)
def test_an_adapter_under_other_settings(adapter: Path, asked: dict[str, Any], line: str) -> None:
    end = f"; {str(adapter)!r} is trained on as it was made: leave model.lora out, or let it agree"
    assert refusal(str(adapter), lora=Lora(**{**SAME, **asked}), freeze_vision=True) == line + end


def test_an_adapter_under_its_own_settings_or_none(adapter: Path) -> None:
    """Where the tower is not frozen, the list asks for its layers too, which this adapter lacks."""
    for lora in (Lora(**SAME), Lora(**{**SAME, "target": r".*text_model.*\.(q|v)_proj"}), None):
        policy = load_policy(str(adapter), lora=lora, freeze_vision=True, device="cpu")
        assert policy.model.peft_config["default"].r == 4
    assert "the adapter leaves out 'model.vision_model.encoder.layers.0.self_attn." in refusal(
        str(adapter), lora=Lora(**SAME)
    )


def test_all_linear_is_what_it_was(tmp_path: Path) -> None:
    lora = Lora(r=2, alpha=4)
    load_policy("embedded:tiny_vlm", lora=lora, device="cpu").save(tmp_path / "all")
    policy = load_policy(str(tmp_path / "all"), lora=lora, freeze_vision=True, device="cpu")
    trained = [name for name, p in policy.model.named_parameters() if p.requires_grad]
    assert trained
    assert not any("vision_model" in name for name in trained)  # freeze_vision holds for an adapter that has the tower


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"use_dora": True}, "model.lora says nothing of use_dora, and the adapter has True"),
        ({"rank_pattern": {"q_proj": 8}}, "model.lora says nothing of rank_pattern, and the adapter has {'q_proj': 8}"),
        ({"bias": "all"}, "model.lora says nothing of bias, and the adapter has 'all'"),
        ({"peft_type": "LOHA"}, "model.lora: the adapter is of type LOHA"),
    ],
)
def test_what_an_adapter_has_beside_lora(adapter: Path, tmp_path: Path, entry: dict[str, Any], line: str) -> None:
    folder = tmp_path / "other"
    shutil.copytree(adapter, folder)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | entry))
    assert refusal(str(folder), lora=Lora(**SAME)).startswith(line + "; ")
