"""Who may share a prompt: by structure, by numbers, and how those that may not are still trained right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor

from ssl4rl.core.grpo import preflight as preflight_module
from ssl4rl.core.grpo.logps import attention
from ssl4rl.core.grpo.logps import prefix as prefix_module
from ssl4rl.core.grpo.logps.layout import layout
from ssl4rl.core.grpo.logps.prefix import shared_logps, unshared_logps
from ssl4rl.core.grpo.logps.structure import why_unshareable
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.preflight import Ways, gradient_difference, kept_ways, preflight
from tests.core.grpo.cases import differences, gradients, groups_of, load, plain_logps
from tests.core.grpo.runs import recipe, resumed, run, run_until, same
from tests.tiny_models import SHAREABLE_TEXT, SHAREABLE_VISION, UNSHAREABLE_TEXT, UNSHAREABLE_VISION

Tiny = Callable[[str], Path]

REASONS = {
    "gemma3": "it has layers of sliding_attention",
    "paligemma": "its attention is bidirectional",
    "qwen3_5": "it has layers of linear_attention",
    "qwen2_window": "it has layers of sliding_attention",
    "mistral_window": "its attention has a sliding window of 8 tokens",
    "gemma2": "it has layers of sliding_attention",
    "gpt_oss": "it has layers of sliding_attention",
    "falcon_h1": "it has layers of hybrid",
    "mamba": "it has layers of linear_attention",
    "bloom": "its attention cannot be replaced (no attention-backend API)",
}
UNSHAREABLE = UNSHAREABLE_VISION + UNSHAREABLE_TEXT
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # PaliGemma's processor, numpy 2
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # PEFT, transformers 5.23
]


@pytest.mark.parametrize("kind", SHAREABLE_VISION + SHAREABLE_TEXT)
def test_shareable_pass(kind: str, tiny: Tiny) -> None:
    model = load(kind, tiny(kind)).train()
    assert why_unshareable(model) is None
    result = preflight(model, groups_of(kind, tiny(kind)))
    assert result.ok
    assert result.reason == ""
    assert result.logp_difference <= 1e-4
    assert result.gradient_difference <= 1e-4
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("kind", UNSHAREABLE)
def test_unshareable_are_refused_and_still_right_unshared(kind: str, tiny: Tiny) -> None:
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    before = model.config.get_text_config()._attn_implementation
    result = preflight(model, groups)
    assert not result.ok
    assert result.reason == why_unshareable(model) == REASONS[kind]
    assert model.config.get_text_config()._attn_implementation == before
    unshared = gradients(model, lambda: unshared_logps(model, groups))
    logp, gradient = differences(gradients(model, lambda: plain_logps(model, groups)), unshared)
    assert logp <= 1e-4
    assert gradient <= 1e-4


@pytest.mark.parametrize("kind", UNSHAREABLE)
def test_numbers_alone_refuse_them_too(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "why_unshareable", lambda model: None)
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    before = model.config.get_text_config()._attn_implementation
    result = preflight(model, groups)
    assert not result.ok
    assert result.reason.startswith(
        "packed log-probs differ" if kind in ("paligemma", "qwen3_5", "falcon_h1") else "its packed"
    )
    assert model.config.get_text_config()._attn_implementation == before


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
@pytest.mark.parametrize("fault", ["raises", "leaks"])
def test_where_the_fast_attention_fails_the_slow_one_is_used(
    kind: str, fault: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(q: Tensor, k: Tensor, v: Tensor, plan: attention.Layout, scale: float) -> Tensor:
        if fault == "raises":
            raise RuntimeError("no kernel image")
        whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
        return whole[0].transpose(0, 1)

    monkeypatch.setattr(attention, "merged_attention", wrong)
    model = load(kind, tiny(kind))
    groups = groups_of(kind, tiny(kind))
    result = preflight(model, groups)
    assert result.ok
    said = {"raises": "RuntimeError: no kernel image", "leaks": "packed log-probs differ by"}
    assert said[fault] in result.reason
    assert result.logp_difference < 1e-4
    text = model.config.get_text_config(decoder=True)
    assert text._attn_implementation == attention.COPYING
    again = shared_logps(model, groups)  # stays in place
    assert text._attn_implementation == attention.COPYING
    slow = unshared_logps(model, groups)
    torch.testing.assert_close(again.logp_PGT[again.mask_PGT], slow.logp_PGT[slow.mask_PGT], atol=1e-4, rtol=0)


def test_a_run_on_the_slow_attention_says_so_and_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*inputs: Any) -> Tensor:
        raise RuntimeError("no kernel image\nand a page of a compiler's output")

    monkeypatch.setattr(attention, "merged_attention", wrong)
    straight, stopped = recipe(tmp_path / "straight"), recipe(tmp_path / "stopped")
    said = run(straight)
    (warned,) = [line for line in said if "WARNING prompts' keys are copied" in line]
    assert warned.endswith("its packed forward fails: RuntimeError: no kernel image")
    run_until(stopped, 3, monkeypatch)
    run(resumed(stopped))
    assert same(straight.folder, stopped.folder)


@pytest.mark.parametrize("began", ["shared", "unshared"])
def test_a_resumed_run_shares_as_it_began(began: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the check would find by then: here nothing is near enough for it, before the stop or after."""
    straight, stopped = recipe(tmp_path / "straight"), recipe(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        if began == "unshared":
            patch.setattr(preflight_module, "TOLERANCE", -1.0)
        run(straight)
        run_until(stopped, 3, patch)
    if began == "shared":
        monkeypatch.setattr(preflight_module, "TOLERANCE", -1.0)
    said = run(resumed(stopped))
    (line,) = [line for line in said if "shared prompts" in line]
    if began == "shared":
        assert line == "shared prompts: on, as was found before step 2's checkpoint"
    else:
        assert line.startswith(
            "WARNING shared prompts: OFF, training runs unshared and slower, as was found before step 2's checkpoint "
            "(packed log-probs differ by "
        )
    assert same(straight.folder, stopped.folder)
    found = [json.loads((made.folder / "summary.json").read_text()) for made in (straight, stopped)]
    assert found[0]["preflight"] == found[1]["preflight"]
    assert found[0]["shared_prompts"] == found[1]["shared_prompts"] == (began == "shared")


def test_what_a_checkpoint_kept_holds_under_its_circumstances_alone() -> None:
    policy, train = load_policy("embedded:tiny_vlm", device="cpu"), recipe(Path("out")).train
    said: list[str] = []
    kept = Ways(attention.COPYING, False, {"ok": True, "reason": "no kernel image", "logp_noise": None})
    state = {"step": 7, "ways": kept.state(policy, train)}
    assert kept_ways(state, policy, train, said.append) == kept
    assert said == [
        "WARNING shared prompts: on, copying keys, as was found before step 7's checkpoint (no kernel image)"
    ]
    said.clear()
    state["ways"]["under"]["torch"] = "2.6.0"
    assert kept_ways(state, policy, train, said.append) is None
    assert said == [f"shared prompts: checked anew, for since step 7 torch was 2.6.0, is {torch.__version__}"]
    said.clear()
    whole = kept.state(policy, train)
    for name, value in [("attention", "eager"), ("static", 1), ("report", {"reason": [1]}), ("under", None)]:
        assert kept_ways({"step": 7, "ways": {**whole, name: value}}, policy, train, said.append) is None
    assert kept_ways({"step": 7}, policy, train, said.append) is None, "of before this was kept"
    assert (
        kept_ways({"step": 7, "ways": whole}, policy, recipe(Path("out"), train={"shared": "off"}).train, said.append)
        is None
    )
    assert said == []


@pytest.mark.parametrize("precision", ["autocast", "weights"])
@pytest.mark.parametrize("fault", [None, "positions", "leak"])
def test_half_precision(precision: str, fault: str | None, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding passes, faults do not."""
    kind = "qwen2_5_vl"
    right_positions = prefix_module._row_positions
    if fault == "positions":

        def off_by_one(inner: Any, groups: Any) -> torch.Tensor:
            position = right_positions(inner, groups)
            prompts = sum(len(group.prompt_ids) - 1 for group in groups)
            return torch.cat([position[..., :prompts], position[..., prompts:] + 1], dim=-1)

        monkeypatch.setattr(prefix_module, "_row_positions", off_by_one)
    if fault == "leak":

        def one_branch(prompts: Any, branches: Any, device: Any) -> Any:
            return layout(prompts, [[sum(lengths)] for lengths in branches], device)

        monkeypatch.setattr(prefix_module, "layout", one_branch)
    model = load(kind, tiny(kind), dtype=torch.bfloat16 if precision == "weights" else torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        result = preflight(model, groups_of(kind, tiny(kind)))
    assert result.ok == (fault is None), result


def test_lora_passes_and_prompt_tuning_does_not(tiny: Tiny) -> None:
    groups = groups_of("llama", tiny("llama"))
    lora = get_peft_model(load("llama", tiny("llama")), LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.5))
    assert preflight(lora, groups).ok, "dropout is off while the two are compared"
    prompt = get_peft_model(
        load("llama", tiny("llama")), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    )
    assert preflight(prompt, groups).reason == "its PEFT adapter puts virtual tokens before the prompt"


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [
        ("attention_dropout", 0.1, "it has attention dropout of 0.1"),
        ("rope_parameters", {"rope_type": "longrope"}, "its longrope RoPE depends on the longest sequence in a batch"),
        ("logits_scaling", 8.0, "it scales logits after its head (logits_scaling)"),
        ("final_logit_softcapping", 30.0, "it caps logits (final_logit_softcapping)"),
        ("use_bidirectional_attention", True, "its attention is bidirectional"),
        ("attention_chunk_size", 16, "its attention is chunked by 16 tokens"),
    ],
)
def test_config_entries_that_speak_against(entry: str, value: Any, reason: str, tiny: Tiny) -> None:
    model = load("llama", tiny("llama"))
    setattr(model.config, entry, value)
    assert why_unshareable(model) == reason


def test_gradient_difference_by_hand() -> None:
    left = [torch.tensor([3.0, 4.0]), torch.tensor([1e-9])]
    right = [torch.tensor([3.0, 4.5]), torch.tensor([-1e-9])]
    assert gradient_difference(left, right) == pytest.approx(0.1)
    assert gradient_difference([], []) == 0.0
